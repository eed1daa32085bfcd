"""What a set of numbers says of a claim: supported, contradicted, undecided or not run.

The paper's tables answer with a number; a rerun answers with one number an image, hence with an
interval. No model is loaded here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.claims import RANGE, Cell, Comparison, Ledger
from bench.intervals import Draws, bootstrap_means, median_end
from bench.status import CONTRADICTED, NOT_RUN, SUPPORTED, UNDECIDED, Chance
from genhmr.types import UserError

_DRAWS = 10_000


@dataclass(frozen=True)
class Answer:
    """What numbers say of one comparison.

    Attributes:
        verdict: of the four.
        detail: why, in a few words.
        direction: a size is claimed, and only its sign was judged.
    """

    verdict: str
    detail: str
    direction: bool = False


def judge_reported(comparison: Comparison, ledger: Ledger) -> Answer:
    """What the paper's own table says, within what rounding may have hidden.

    A direction is undecided where numbers that round to the printed ones could also have the other;
    a size must be possible for such numbers.
    """
    if comparison.premise is not None:
        if answer := _without_premise(judge_reported(comparison.premise, ledger)):
            return answer
    asked = f"{comparison.column}: {comparison.label}"
    values = [ledger.value(cell) for _, cell in comparison.terms]
    total = sum(weight * value for (weight, _), value in zip(comparison.terms, values))
    slack = [abs(w) * ledger.half_unit(cell) for w, cell in comparison.terms]
    if comparison.size is None:
        shown = f"{asked} ({' / '.join(f'{v:g}' for v in values)})"
        if abs(total) < 1e-9:
            return Answer(UNDECIDED, f"{shown}, equal as printed")
        if abs(total) < sum(slack) - 1e-9:
            return Answer(UNDECIDED, f"{shown}, within the rounding of the printed numbers")
        return Answer(SUPPORTED if total < 0 else CONTRADICTED, shown)
    low, high = -total - sum(slack), -total + sum(slack)
    if comparison.percent:
        before = values[0]
        low, high = 100 * low / (before + slack[0]), 100 * high / (before - slack[0])
        total = 100 * total / before
    ends = comparison.size.split(RANGE)
    decimals = len(ends[0].partition(".")[2])
    half = 0.5 * 10.0**-decimals
    agrees = low <= float(ends[-1]) + half + 1e-9 and high >= float(ends[0]) - half - 1e-9
    shown = f"{asked}, recomputed {-total:.{max(decimals, 1)}f}"
    return Answer(SUPPORTED if agrees else CONTRADICTED, shown)


def _without_premise(held: Answer) -> Answer | None:
    """The answer where a premise is not known to hold, None where it does."""
    if held.verdict == SUPPORTED:
        return None
    if held.verdict == NOT_RUN:
        return held
    return Answer(UNDECIDED, f"no benefit was shown that could diminish: {held.detail}")


@dataclass(frozen=True)
class Samples:
    """What a rerun measured for one cell.

    Attributes:
        values: a line an image or pose, its name as the index, and a column a training; of a time
            a line a round.
        sequences: the sequence of each, with the same index.
        training: how the model was trained, in a few words; only equals are compared.
        model: whose numbers they are.
        what: was measured, and on which set: the column of the paper names another where the open
            world stands in for it.
        chance: what another seed changes; None where it was not measured.
        timed: the values are times, milliseconds.
    """

    values: pd.DataFrame
    sequences: pd.Series
    training: str = ""
    model: str = ""
    what: str = ""
    chance: Chance | None = None
    timed: bool = False


# The samples of a cell; or why there are none.
Measured = Callable[[Cell], "Samples | str"]


def judge_rerun(
    comparison: Comparison, measured: Measured, parts: int = 1, seed: int = 0
) -> Answer:
    """What a rerun says, at 95 %: paired over the images, whole sequences drawn.

    Of a claimed size only the direction is judged: millimetres do not carry over between worlds.
    Two models that were trained apart differ by their seeds too: a difference between them counts
    only where it exceeds what seeds and images together change, and is undecided where the former
    was not measured. Within one model the verdict is of the trainings that ran, and says how many:
    several of them widen its interval, one tells nothing of another.

    Args:
        comparison: one part of a claim.
        measured: looks up the samples of a cell.
        parts: of the claim. It is supported only where all are, which needs no correction; one
            is enough to contradict it, so for that the level is Bonferroni's.
        seed: of the draws.

    Raises:
        UserError: the cells were measured on different images.
    """
    if comparison.premise is not None:
        if answer := _without_premise(judge_rerun(comparison.premise, measured, 1, seed)):
            return answer
    sized = comparison.size is not None
    cells: list[tuple[float, Samples]] = []
    for weight, cell in comparison.terms:
        found = measured(cell)
        if isinstance(found, str):
            return Answer(NOT_RUN, found, sized)
        cells.append((weight, found))
    first = cells[0][1]
    for _, found in cells[1:]:
        if found.training != first.training:
            return Answer(NOT_RUN, f"{first.training} here and {found.training} there", sized)
        if not found.values.index.equals(first.values.index):
            raise UserError(
                f"the rows of '{comparison.column}: {comparison.label}' were measured on different "
                "images: rerun the evaluation stages."
            )
    asked = f"{first.what}: {comparison.label}"
    apart = len({found.model for _, found in cells}) > 1
    total = sum(
        weight * (found.values.mean(axis=1, skipna=False) if apart else found.values).to_numpy()
        for weight, found in cells
    )
    if not apart and not total.any():
        told = f"{asked}: both sides are the same numbers of one model"
        return Answer(NOT_RUN, told, sized)
    if first.timed:
        return _judge_times(asked, total.ravel(), parts, sized)
    draws = bootstrap_means(total, first.sequences.to_numpy(), seed, _DRAWS)
    mean, low, high = draws.mean, draws.end(0.025), draws.end(0.975)
    if np.isnan([mean, low, high]).any():
        why = "an image diverged" if np.isnan(mean) else "one image has no interval"
        return Answer(UNDECIDED, f"{asked}: {why}", sized)
    shown = f"{asked}: {mean:+.2f} [{low:+.2f}, {high:+.2f}] over {draws.unit}, n = {len(total)}"
    if not apart:
        count = len(draws.trainings)
        shown += ", one training" if count == 1 else f", {count} trainings"
    if sized and comparison.percent:
        shown += f", {-100 * mean / first.values.to_numpy().mean():.2f} % less"
    if not apart:
        return Answer(_sign(high, draws.end(0.025 / parts)), shown, sized)
    answer = _judge_apart(cells, draws, parts)
    return Answer(answer.verdict, f"{shown}{answer.detail}", sized)


def _judge_apart(cells: Sequence[tuple[float, Samples]], draws: Draws, parts: int) -> Answer:
    """Of models that were trained apart: against what their seeds and the images change together.

    Args:
        cells: weights of the sum, and what was measured.
        draws: of the sum over the images.
        parts: of the claim, see :func:`judge_rerun`.
    """
    chance, mean = cells[0][1].chance, draws.mean
    if chance is None:
        return Answer(UNDECIDED, "; one training each, and no spread over seeds")
    shares: dict[str, float] = {}  # within one model its seed cancels
    counts = {found.model: found.values.shape[1] for _, found in cells}
    for weight, found in cells:
        shares[found.model] = shares.get(found.model, 0.0) + weight
    variance = sum(share**2 / counts[name] for name, share in shares.items())
    level = 0.05 / parts if mean > 0 else 0.05
    seeds = chance.width(variance, level)
    images = draws.end(1 - level / 2) - mean if mean < 0 else mean - draws.end(level / 2)
    both = float(np.hypot(seeds, images))
    if abs(mean) > both:
        return Answer(SUPPORTED if mean < 0 else CONTRADICTED, "")
    alone = abs(mean) <= seeds
    told = f"seeds alone change {seeds:.2f}" if alone else f"seeds and images change {both:.2f}"
    return Answer(UNDECIDED, f"; {told}" + f" in one of {parts} parts" * (level < 0.05))


def _sign(high: float, low: float) -> str:
    """What an interval says of a sum that is claimed to be below zero, by its two ends."""
    if high < 0:
        return SUPPORTED
    return CONTRADICTED if low > 0 else UNDECIDED


def _judge_times(asked: str, differences: np.ndarray, parts: int, sized: bool) -> Answer:
    """Of times the median of the rounds counts, as it is printed, with the sign test's interval.

    Args:
        asked: what is compared, in words.
        differences: (rounds,) of two settings that were timed in turn, milliseconds.
        parts: of the claim, see :func:`judge_rerun`.
        sized: a size is claimed, of which the direction is judged.
    """
    low, high = median_end(differences, 0.025), median_end(differences, 0.975)
    shown = f"{asked}: {np.median(differences):+.2f} [{low:+.2f}, {high:+.2f}]"
    shown += f" over {len(differences)} rounds"
    return Answer(_sign(high, median_end(differences, 0.025 / parts)), shown, sized)


def combine(answers: list[Answer]) -> Answer:
    """The verdict of a claim: contradicted once is contradicted, supported needs every part."""
    for verdict in (CONTRADICTED, NOT_RUN, UNDECIDED):
        against = [answer for answer in answers if answer.verdict == verdict]
        if against:
            reasons = list(dict.fromkeys(answer.detail for answer in against))
            detail = "; ".join(reasons[:3]) + ("; ..." if len(reasons) > 3 else "")
            if verdict == NOT_RUN:
                return Answer(verdict, detail)
            return Answer(verdict, f"{len(against)} of {len(answers)} parts: {detail}")
    told = f"all {len(answers)} parts"
    if sized := [answer.detail for answer in answers if answer.direction]:
        told += f", in direction alone: {'; '.join(sized[:3])}" + ("; ..." if sized[3:] else "")
    return Answer(SUPPORTED, told)
