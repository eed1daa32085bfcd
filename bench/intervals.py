"""Intervals of means over images that come in sequences, and over trainings.

Frames of one video are near copies of each other: resampling them one by one gives intervals that
are far too narrow. Whole sequences are drawn instead wherever there are enough of them. A handful
of trainings is too few to be drawn: what their seeds change is Student's, and joins the sequences
as independent errors do, as the root of the sum of squares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import binom, norm
from scipy.stats import t as student

DRAWS = 2000
_AT_ONCE = 1 << 20  # indices drawn in one go
_TOLD = 10  # draws beyond an end, below which they do not tell where it is
FEW = 5  # sequences; below that the draws are of frames, and the result says so


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval.

    Attributes:
        mean: of the values.
        low, high: its ends, see :meth:`Draws.end`.
        n: number of values.
        unit: what was drawn, "sequences" or "frames".
    """

    mean: float
    low: float
    high: float
    n: int
    unit: str


@dataclass(frozen=True)
class Draws:
    """A mean and the means of resamples.

    Attributes:
        mean: of the values.
        means: (draws,) of the resamples, over all trainings.
        unit: what was drawn, "sequences" or "frames".
        drawn: how many of them a resample has.
        trainings: (S,) the mean of each training.
    """

    mean: float
    means: np.ndarray
    unit: str
    drawn: int
    trainings: np.ndarray

    def end(self, share: float) -> float:
        """Where the interval ends below which the mean lies with this probability.

        The percentile is expanded as Student's t is wider than the normal distribution
        (Hesterberg, "What Teachers Should Know About the Bootstrap", The American Statistician
        2015): that of nine sequences would hold 90 % instead of 95 %. So far out that few of the
        draws lie beyond, as for a level that is divided by many parts, it is Student's interval
        with the deviation of the draws.
        """
        if self.drawn < 2:
            return float("nan")
        freedom = self.drawn - 1
        out = student.ppf(share, freedom) * np.sqrt(self.drawn / freedom)
        if norm.cdf(-abs(out)) * len(self.means) < _TOLD:
            away = out * self.means.std()
        else:
            away = np.percentile(self.means, 100 * norm.cdf(out)) - self.mean
        count = len(self.trainings)
        if count > 1:
            error = self.trainings.std(ddof=1) / np.sqrt(count)
            away = np.hypot(away, student.ppf(share, count - 1) * error)
        return float(self.mean + np.copysign(away, share - 0.5))


def bootstrap_means(
    values: np.ndarray,
    sequences: np.ndarray,
    seed: int = 0,
    draws: int = DRAWS,
    aggregate: str = "frames",
) -> Draws:
    """Mean of per-frame values, and the means of resamples (clusters drawn whole).

    Args:
        values: (N,) one a frame, or (N, S) one a frame and training; for a paired comparison the
            differences.
        sequences: (N,) the sequence of each.
        seed: of the draws.
        draws: number of resamples.
        aggregate: "frames" for the mean over frames, "sequences" for the mean of the means.
    """
    values = np.asarray(values, np.float64).reshape(len(values), -1)
    names, index = np.unique(np.asarray(sequences), return_inverse=True)
    counts = np.bincount(index, minlength=len(names)).astype(np.float64)
    sums = np.stack([np.bincount(index, weights=v, minlength=len(names)) for v in values.T], 1)
    if aggregate == "sequences":
        sums, counts = sums / counts[:, None], np.ones(len(names))
    trainings = sums.sum(0) / counts.sum()
    by_sequence = len(names) >= FEW or aggregate == "sequences"
    if not by_sequence:
        sums, counts = values, np.ones(len(values))
    pooled = sums.mean(1)
    rng = np.random.default_rng(seed)
    means = np.empty(draws)
    block = max(1, _AT_ONCE // len(pooled))
    for start in range(0, draws, block):
        own = means[start : start + block]
        chosen = rng.integers(0, len(pooled), (len(own), len(pooled)))
        own[:] = pooled[chosen].sum(1) / counts[chosen].sum(1)
    unit = "sequences" if by_sequence else "frames"
    return Draws(float(trainings.mean()), means, unit, len(pooled), trainings)


def bootstrap(
    values: np.ndarray,
    sequences: np.ndarray,
    seed: int = 0,
    draws: int = DRAWS,
    aggregate: str = "frames",
) -> Interval:
    """Mean of per-frame values and its 95 % interval.

    Args:
        values, sequences, seed, draws, aggregate: see :func:`bootstrap_means`.

    Returns:
        The interval; NaN ends for fewer than two frames, or than two sequences whose means count.
    """
    if len(values) < 2:
        mean = float(np.mean(values))
        return Interval(mean, float("nan"), float("nan"), len(values), "frames")
    found = bootstrap_means(values, sequences, seed, draws, aggregate)
    return Interval(found.mean, found.end(0.025), found.end(0.975), len(values), found.unit)


def median_end(values: np.ndarray, share: float) -> float:
    """Where the interval of a median ends, below which it lies with this probability at most.

    An order statistic, as the sign test has it: it holds for any distribution, and one round that
    something else slowed down moves it by no more than a rank.

    Args:
        values: (N,) independent of each other, such as rounds of a timing.
        share: below a half of the lower end (0.025 of a 95 % interval), above it of the upper.

    Returns:
        One of the values; NaN where there are too few (fewer than six at 95 %).
    """
    rank = int(binom.ppf(min(share, 1 - share), len(values), 0.5))
    if rank < 1:
        return float("nan")
    return float(np.sort(values)[rank - 1 if share < 0.5 else -rank])
