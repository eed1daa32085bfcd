"""Bootstrap intervals of means over images that come in sequences, and over trainings.

Frames of one video are near copies of each other: resampling them one by one gives intervals that
are far too narrow. Whole sequences are drawn instead wherever there are enough of them. Where a
model was trained with several seeds these are drawn as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DRAWS = 2000
_AT_ONCE = 1 << 20  # indices drawn in one go
FEW = 5  # sequences; below that the draws are of frames, and the result says so


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % percentile interval.

    Attributes:
        mean: of the values.
        low, high: 2.5 and 97.5 % of the means of the draws.
        n: number of values.
        unit: what was drawn, "sequences" or "frames".
    """

    mean: float
    low: float
    high: float
    n: int
    unit: str


def bootstrap_means(
    values: np.ndarray,
    sequences: np.ndarray,
    seed: int = 0,
    draws: int = DRAWS,
    aggregate: str = "frames",
) -> tuple[float, np.ndarray, str]:
    """Mean of per-frame values, and the means of resamples (clusters drawn whole).

    Args:
        values: (N,) one a frame, or (N, S) one a frame and training, whose columns are then
            drawn too; for a paired comparison the differences.
        sequences: (N,) the sequence of each.
        seed: of the draws.
        draws: number of resamples.
        aggregate: "frames" for the mean over frames, "sequences" for the mean of the means.

    Returns:
        The mean, (draws,) means, and what was drawn, "sequences" or "frames".
    """
    values = np.asarray(values, np.float64).reshape(len(values), -1)
    names, index = np.unique(np.asarray(sequences), return_inverse=True)
    counts = np.bincount(index, minlength=len(names)).astype(np.float64)
    sums = np.stack([np.bincount(index, weights=v, minlength=len(names)) for v in values.T], 1)
    if aggregate == "sequences":
        sums, counts = sums / counts[:, None], np.ones(len(names))
    mean = float(sums.sum() / (counts.sum() * sums.shape[1]))
    by_sequence = len(names) >= FEW
    if not by_sequence and aggregate == "frames":
        sums, counts = values, np.ones(len(values))
    rng = np.random.default_rng(seed)
    means = np.empty(draws)
    block = max(1, _AT_ONCE // sums.size)
    for start in range(0, draws, block):
        own = means[start : start + block]
        chosen = rng.integers(0, len(sums), (len(own), len(sums)))
        totals = sums[chosen].sum(1)  # (draws, S)
        if sums.shape[1] > 1:
            trainings = rng.integers(0, sums.shape[1], totals.shape)
            totals = np.take_along_axis(totals, trainings, 1)
        own[:] = totals.mean(1) / counts[chosen].sum(1)
    return mean, means, "sequences" if by_sequence or aggregate == "sequences" else "frames"


def bootstrap(
    values: np.ndarray,
    sequences: np.ndarray,
    seed: int = 0,
    draws: int = DRAWS,
    aggregate: str = "frames",
) -> Interval:
    """Mean of per-frame values and its 95 % interval (Efron's percentiles).

    Args:
        values, sequences, seed, draws, aggregate: see :func:`bootstrap_means`.

    Returns:
        The interval; NaN ends for fewer than two frames.
    """
    if len(values) < 2:
        mean = float(np.mean(values))
        return Interval(mean, float("nan"), float("nan"), len(values), "frames")
    mean, means, unit = bootstrap_means(values, sequences, seed, draws, aggregate)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(mean, float(low), float(high), len(values), unit)
