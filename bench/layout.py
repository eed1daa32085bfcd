"""What the paper's layout adds to bare numbers: best, second best, and differences.

Computed alike for every block of a table, the reported, the committed open run's and the rerun's,
and put into the tidy frame, so that CSV, LaTeX and report show the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from bench.ledger import TIME, half_unit, key_columns
from bench.status import may_rank

Json = dict[str, Any]
# The blocks of a table in the order they are printed, and the columns with the status and with the
# data set of each.
SIDES = {"reported": None, "open_run": "open_status", "rerun": "status"}
DATASETS = {"reported": "stands_for", "open_run": "open_dataset", "rerun": "dataset"}
BEST, SECOND = "best", "second"


@dataclass(frozen=True)
class Printed:
    """A table to print.

    Attributes:
        tidy: one line a number, laid out (:func:`lay_out`).
        keys: the columns that identify a row.
        number: of the table.
        entry: of the ledger (:func:`bench.ledger.read_ledger`).
        blocks: what each side is, in words.
    """

    tidy: pd.DataFrame
    keys: list[str]
    number: int
    entry: Json
    blocks: Json = field(default_factory=dict)

    @property
    def layout(self) -> Json:
        """How the paper prints it."""
        return self.entry.get("layout", {})

    @property
    def notes(self) -> list[Json]:
        """The paper's own, below the table."""
        return self.entry.get("notes", [])

    @property
    def sides(self) -> list[str]:
        """The blocks that there are: without a kept run two."""
        return sides_of(self.tidy)

    def decimals(self, metric: str, side: str) -> int:
        """Digits behind the point: the paper's; of our own times one more, machines got faster."""
        own_time = metric == TIME and side != "reported"
        return self.entry["decimals"][metric] + own_time


def notes_on(row: Json, notes: list[Json]) -> list[Json]:
    """Those of the paper's notes that mark a row.

    Args:
        row: the columns that identify it.
        notes: of the ledger; one without ``rows`` is on the whole table and marks none.
    """
    return [
        note for note in notes
        if "rows" in note and all(row[name] in values for name, values in note["rows"].items())
    ]  # fmt: skip


def sides_of(tidy: pd.DataFrame) -> list[str]:
    """Those of ``SIDES`` that a tidy frame has."""
    return [side for side in SIDES if side in tidy]


def lay_out(tidy: pd.DataFrame, layout: Json) -> pd.DataFrame:
    """Adds ``<side>_mark`` ("best", "second", "") and ``<side>_delta`` for every side.

    Args:
        tidy: of one table, see :func:`bench.tidy.build_table` and :func:`bench.kept.attach`.
        layout: of the ledger. ``underline: true`` marks the second best; ``among`` names the keys
            within whose values rows compete; ``better_than_others: {...}`` names rows whose gain
            over the best of the others is printed; ``delta_from: {...}`` the row that every other
            is compared with.

    Returns:
        A copy. Lower is better. Times are not marked; where a row was trained too briefly to
        rank, its block's column has neither marks nor deltas. Deltas are NaN where the layout asks
        for none or one of the two rows has not run.
    """
    tidy = tidy.copy()
    sides = sides_of(tidy)
    for side in sides:
        tidy[f"{side}_mark"], tidy[f"{side}_delta"] = "", np.nan
    within = ["dataset", "metric", *layout.get("among", [])]
    for _, group in tidy[tidy["metric"] != TIME].groupby(within, sort=False):
        for side in sides:
            status = SIDES[side]
            if status is None or group[status].map(may_rank).all():
                _mark(tidy, group, side, bool(layout.get("underline")))
                _differ(tidy, group, side, layout)
    return tidy


def as_printed(
    tidy: pd.DataFrame, deltas: pd.DataFrame | None, reported: pd.DataFrame, entry: Json
) -> pd.DataFrame:
    """The paper's own differences in place of those that its numbers give.

    Args:
        tidy: of :func:`lay_out`, still in the order of ``reported``.
        deltas: see :func:`bench.ledger.read_deltas`; None leaves the frame as it is.
        reported: the paper's numbers.
        entry: of the ledger.

    Returns:
        A copy whose ``reported_delta`` is the printed one, NaN where none is printed. Where it is
        farther from the recomputed one than rounding explains (of the two errors and of the
        difference), ``reported_delta_recomputed`` has the latter; elsewhere that is NaN.
    """
    if deltas is None:
        return tidy
    columns = reported.columns.difference(key_columns(reported), sort=False)
    printed = deltas[columns].to_numpy(float).ravel()
    slack = 3 * np.tile([half_unit(entry, column) for column in columns], len(reported)) + 1e-9
    own = tidy["reported_delta"].to_numpy(float)
    differs = np.abs(printed - own) > slack
    return tidy.assign(
        reported_delta=printed, reported_delta_recomputed=np.where(differs, own, np.nan)
    )


def _rows_like(group: pd.DataFrame, wanted: Json) -> pd.Series:
    return pd.concat([group[key] == value for key, value in wanted.items()], axis=1).all(axis=1)


def _mark(tidy: pd.DataFrame, group: pd.DataFrame, side: str, underline: bool) -> None:
    values = group[side].dropna()
    if len(values) < 2:
        return
    order = sorted(values.unique())
    tidy.loc[values.index[values == order[0]], f"{side}_mark"] = BEST
    if underline and len(order) > 1:
        tidy.loc[values.index[values == order[1]], f"{side}_mark"] = SECOND


def _differ(tidy: pd.DataFrame, group: pd.DataFrame, side: str, layout: Json) -> None:
    if "better_than_others" in layout:
        own = _rows_like(group, layout["better_than_others"])
        if own.any():
            tidy.loc[group.index[own], f"{side}_delta"] = (
                group.loc[~own, side].min() - group.loc[own, side]
            )
    if "delta_from" in layout:
        base = _rows_like(group, layout["delta_from"])
        if base.any():
            others = group.index[~base]
            tidy.loc[others, f"{side}_delta"] = (
                group.loc[others, side] - group.loc[base, side].iloc[0]
            )
