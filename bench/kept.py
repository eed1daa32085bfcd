"""The committed run of profile `open`, which every comparison shows beside the rerun.

``python -m bench keep`` (``bench.keep``) writes ``results/open/``; tables and claims read it back.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from bench.status import NOT_RUN
from genhmr.types import UserError

NUMBERS = "numbers.csv"
ABOUT = "about.json"
_CELL = ["table", "row", "role", "metric"]
# What a tidy frame gets of that run, by the names that its own rerun has in it.
_BESIDE = {"rerun": "open_run", "low": "open_low", "high": "open_high", "n": "open_n",
           "seeds": "open_seeds", "status": "open_status", "dataset": "open_dataset"}  # fmt: skip
_COLUMN = ["table", "column"]


def read_kept(folder: Path) -> pd.DataFrame | None:
    """The numbers of the committed run, None where there is none.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / NUMBERS
    if not path.exists():
        return None
    try:
        kept = pd.read_csv(path, dtype={"table": str}, keep_default_na=False, na_values=[""])
        return kept.assign(role=kept["role"].fillna("")).set_index(_CELL)[list(_BESIDE)]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} is damaged: restore results/open.") from error


def about_kept(folder: Path) -> str:
    """What the committed run was made with, as words for a caption; "" where it does not say so.

    Its numbers stand beside those of runs with other crops and other weights.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / ABOUT
    if not path.exists():
        return ""
    try:
        about = json.loads(path.read_text())
        height = int(about["crop"])
        return f"crops of {height} x {height * 3 // 4} pixels, base of commit {about['commit']}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged: restore results/open.") from error


def attach(tidy: pd.DataFrame, kept: pd.DataFrame | None) -> pd.DataFrame:
    """Adds ``open_run, open_low, open_high, open_n, open_seeds, open_status, open_dataset``.

    Args:
        tidy: see :func:`bench.tidy.build_table`.
        kept: see :func:`read_kept`; None leaves the frame as it is.

    Returns:
        A copy. A number that the kept run does not have is ``not run``, with n and seeds of 0.
    """
    if kept is None:
        return tidy
    joined = tidy.join(kept.rename(columns=_BESIDE), on=_CELL)
    # A row that came after that run has no line in it: its set is that of the other rows.
    names = joined.groupby("role")["open_dataset"].transform("first").fillna(joined["role"])
    return joined.assign(
        open_n=joined["open_n"].fillna(0).astype(int),
        open_seeds=joined["open_seeds"].fillna(0).astype(int),
        open_status=joined["open_status"].fillna(NOT_RUN),
        open_dataset=names,
    )


def read_kept_claims(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Verdicts on the claims and rank correlations of the committed run, None where there is none.

    Raises:
        UserError: a file is missing or damaged.
    """
    if not (folder / NUMBERS).exists():
        return None
    judged, ranked = folder / "claims" / "claims.csv", folder / "claims" / "ranking.csv"
    try:
        verdicts = pd.read_csv(judged, dtype=str, keep_default_na=False).set_index("id")
        order = pd.read_csv(ranked, dtype={"table": str}).set_index(_COLUMN)
        return verdicts[["rerun", "rerun_detail"]], order[["rerun_on", "rows", "tau", "p"]]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{judged.parent} is damaged: restore results/open.") from error


def attach_verdicts(verdicts: pd.DataFrame, kept: pd.DataFrame) -> pd.DataFrame:
    """Adds ``open_run`` and ``open_run_detail`` after the paper's verdict.

    Args:
        verdicts: see :func:`bench.claims_report.judge`.
        kept: the first of :func:`read_kept_claims`.
    """
    names = {"rerun": "open_run", "rerun_detail": "open_run_detail"}
    joined = verdicts.join(kept.rename(columns=names), on="id")
    joined = joined.fillna({"open_run": NOT_RUN, "open_run_detail": "a claim added since that run"})
    before = list(verdicts.columns[: verdicts.columns.get_loc("rerun")])
    return joined[[*before, *names.values(), "rerun", "rerun_detail"]]


def attach_order(order: pd.DataFrame, kept: pd.DataFrame) -> pd.DataFrame:
    """Adds ``open_rows, open_tau, open_p``, and columns of tables that only that run has ranked.

    Args:
        order: see :func:`bench.claims_report.ranking`.
        kept: the second of :func:`read_kept_claims`.
    """
    joined = order.set_index(_COLUMN).join(kept.add_prefix("open_"), how="outer")
    joined["rerun_on"] = joined["rerun_on"].fillna(joined.pop("open_rerun_on"))
    whole = {"rows": "Int64", "open_rows": "Int64"}
    return joined.astype(whole).reset_index()
