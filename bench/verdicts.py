"""What a set of numbers says of a claim: supported, contradicted, undecided or not run.

The paper's tables answer with a number; a rerun answers with one number an image, hence with an
interval. No model is loaded here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.claims import Cell, Comparison, Ledger
from bench.intervals import bootstrap_means
from bench.status import NOT_RUN
from genhmr.types import UserError

SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided"
_DRAWS = 10_000  # enough for the tail of a level divided by some thirty parts


@dataclass(frozen=True)
class Answer:
    """What numbers say of one comparison: a verdict, and why in a few words."""

    verdict: str
    detail: str


def judge_reported(comparison: Comparison, ledger: Ledger) -> Answer:
    """What the paper's own table says. A direction must hold as printed; a size must be possible
    for numbers that round to the printed ones.
    """
    values = [ledger.value(cell) for _, cell in comparison.terms]
    total = sum(weight * value for (weight, _), value in zip(comparison.terms, values))
    if comparison.size is None:
        shown = f"{comparison.label} ({' / '.join(f'{v:g}' for v in values)})"
        if abs(total) < 1e-9:
            return Answer(UNDECIDED, f"{shown}, equal as printed")
        return Answer(SUPPORTED if total < 0 else CONTRADICTED, shown)
    slack = [abs(w) * ledger.half_unit(cell) for w, cell in comparison.terms]
    low, high = -total - sum(slack), -total + sum(slack)
    if comparison.percent:
        before = values[0]
        low, high = 100 * low / (before + slack[0]), 100 * high / (before - slack[0])
        total = 100 * total / before
    stated = float(comparison.size)
    decimals = len(comparison.size.partition(".")[2])
    half = 0.5 * 10.0**-decimals
    agrees = low <= stated + half + 1e-9 and high >= stated - half - 1e-9
    shown = f"{comparison.label}, recomputed {-total:.{max(decimals, 1)}f}"
    return Answer(SUPPORTED if agrees else CONTRADICTED, shown)


@dataclass(frozen=True)
class Samples:
    """What a rerun measured for one cell.

    Attributes:
        values: one number an image or pose, its name as the index.
        sequences: the sequence of each, with the same index.
        training: how the model was trained, in a few words; only equals are compared.
        model: whose numbers they are.
        spread: how far the difference of two trainings of one configuration may lie from zero
            (95 %, over seeds); None where it was not measured.
    """

    values: pd.Series
    sequences: pd.Series
    training: str = ""
    model: str = ""
    spread: float | None = None


# The samples of a cell; or why there are none.
Measured = Callable[[Cell], "Samples | str"]


def judge_rerun(
    comparison: Comparison, measured: Measured, parts: int = 1, seed: int = 0
) -> Answer:
    """What a rerun says, at 95 %: paired over the images, whole sequences drawn.

    Of a claimed size only the direction is judged: millimetres do not carry over between worlds.
    Two models that were trained apart differ by their seeds too: a difference between them counts
    only where it exceeds what seeds alone change, and is undecided where that was not measured.

    Args:
        comparison: one part of a claim.
        measured: looks up the samples of a cell.
        parts: of the claim. It is supported only where all are, which needs no correction; one
            is enough to contradict it, so for that the level is Bonferroni's.
        seed: of the draws.

    Raises:
        UserError: the cells were measured on different images.
    """
    total: pd.Series | None = None
    first: Samples | None = None
    shares: dict[str, float] = {}  # of each model in the sum: within one its seed cancels
    for weight, cell in comparison.terms:
        found = measured(cell)
        if isinstance(found, str):
            return Answer(NOT_RUN, found)
        first, values = first or found, found.values
        shares[found.model] = shares.get(found.model, 0.0) + weight
        if found.training != first.training:
            return Answer(NOT_RUN, f"{first.training} here and {found.training} there")
        if total is not None and not values.index.equals(total.index):
            raise UserError(
                f"the rows of '{comparison.label}' were measured on different images: rerun the "
                "evaluation stages."
            )
        total = weight * values if total is None else total + weight * values
    if len(shares) == 1 and not total.any():
        return Answer(NOT_RUN, f"{comparison.label}: both sides are the same numbers of one model")
    sequences = first.sequences.to_numpy()
    mean, means, unit = bootstrap_means(total.to_numpy(), sequences, seed, _DRAWS)
    low, high = np.percentile(means, [2.5, 97.5])
    shown = (
        f"{comparison.label}: {mean:+.2f} [{low:+.2f}, {high:+.2f}] over {unit}, n = {len(total)}"
    )
    if len(shares) > 1:
        if first.spread is None:
            return Answer(UNDECIDED, f"{shown}; one training each, and no spread over seeds")
        spread = first.spread * np.sqrt(sum(share**2 for share in shares.values()) / 2)
        if abs(mean) <= spread:
            return Answer(UNDECIDED, f"{shown}; seeds alone change {spread:.2f}")
    if high < 0:
        return Answer(SUPPORTED, shown)
    surely_above = np.percentile(means, 2.5 / parts) > 0
    return Answer(CONTRADICTED if surely_above else UNDECIDED, shown)


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
    return Answer(SUPPORTED, f"all {len(answers)} parts")
