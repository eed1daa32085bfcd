"""The committed run of profile `open`, which every comparison shows beside the rerun.

``python -m bench keep`` (``bench.keep``) writes ``results/open/``; the tables stage reads it back.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from genhmr.types import UserError

NUMBERS = "numbers.csv"
_CELL = ["table", "row", "role", "metric"]


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
        return kept.assign(role=kept["role"].fillna("")).set_index(_CELL)[["rerun", "n"]]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} is damaged: restore results/open.") from error


def attach(tidy: pd.DataFrame, kept: pd.DataFrame | None) -> pd.DataFrame:
    """Adds ``open_run`` and ``open_n`` to a tidy frame; unchanged where nothing is kept.

    Args:
        tidy: see :func:`bench.tidy.build_table`.
        kept: see :func:`read_kept`.
    """
    if kept is None:
        return tidy
    names = {"rerun": "open_run", "n": "open_n"}
    joined = tidy.join(kept.rename(columns=names), on=_CELL)
    return joined.assign(open_n=joined["open_n"].fillna(0).astype(int))
