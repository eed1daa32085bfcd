"""What the paper's layout adds to bare numbers: best, second best, and differences.

Computed for both sides of a table, the reported and the rerun one, and put into the tidy frame, so
that CSV, LaTeX and report show the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

Json = dict[str, Any]
SIDES = ("reported", "rerun")
BEST, SECOND = "best", "second"


def lay_out(tidy: pd.DataFrame, layout: Json) -> pd.DataFrame:
    """Adds ``<side>_mark`` ("best", "second", "") and ``<side>_delta`` for both sides.

    Args:
        tidy: of one table, see :func:`bench.tidy.build_table`.
        layout: of the ledger. ``underline: true`` marks the second best; ``among`` names the keys
            within whose values rows compete; ``better_than_others: {...}`` names rows whose gain
            over the best of the others is printed; ``delta_from: {...}`` the row that every other
            is compared with.

    Returns:
        A copy. Lower is better. Times are not marked; a rerun that was trained too briefly to
        rank is not either. Deltas are NaN where the layout asks for none.
    """
    tidy = tidy.copy()
    for side in SIDES:
        tidy[f"{side}_mark"], tidy[f"{side}_delta"] = "", np.nan
    within = ["dataset", "metric", *layout.get("among", [])]
    for _, group in tidy[tidy["metric"] != "aiti"].groupby(within, sort=False):
        for side in SIDES:
            _mark(tidy, group, side, bool(layout.get("underline")))
            _differ(tidy, group, side, layout)
    return tidy


def _rows_like(group: pd.DataFrame, wanted: Json) -> pd.Series:
    return pd.concat([group[key] == value for key, value in wanted.items()], axis=1).all(axis=1)


def _mark(tidy: pd.DataFrame, group: pd.DataFrame, side: str, underline: bool) -> None:
    values = group[side].dropna()
    brief = side == "rerun" and group["status"].str.contains("too short|smoke").any()
    if len(values) < 2 or brief:
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
