"""The paper's tables as data: numbers, units, digits, protocol, and the differences it prints.

``bench/reported/ledger.yaml`` says what each table holds and how it is printed; ``tableNN.csv`` has
its errors and times, ``deltaNN.csv`` the differences that it prints beside them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from bench.status import METRICS
from genhmr.types import UserError

Json = dict[str, Any]

AITI = "aiti_s"  # the one column that is no error of a data set
TIME = "aiti"
_NEEDED = ("title", "stage")
_BY_NAME = ("unit", "decimals", "protocol")


def read_reported(path: Path) -> pd.DataFrame:
    """The paper's numbers of one table; UserError where the file is missing or damaged."""
    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is missing or damaged: restore bench/reported.") from error


def read_ledger(folder: Path) -> dict[str, Json]:
    """What every table of the paper is, by its two digits.

    Returns:
        ``title`` and ``stage`` in words, ``unit`` and ``decimals`` by metric, ``protocol`` by kind
        of data set, and where the table has them ``layout`` (:mod:`bench.layout`) and ``notes``.
        The entry ``defaults`` of the file is merged into each table; its own go before it.

    Raises:
        UserError: ``ledger.yaml`` is missing, no YAML, or lacks something of a table.
    """
    path = folder / "ledger.yaml"
    try:
        ledger = yaml.safe_load(path.read_text(encoding="utf-8"))
        usual = ledger.pop("defaults", {})
        whole = {number: _merged(usual, entry) for number, entry in ledger.items()}
        for number, entry in whole.items():
            missing = [name for name in _NEEDED if name not in entry]
            missing += [f"{name} of {metric}" for name in ("unit", "decimals")
                        for metric in (*METRICS, TIME) if metric not in entry[name]]  # fmt: skip
            if missing:
                raise ValueError(f"table {number} lacks {', '.join(missing)}")
    except (OSError, AttributeError, TypeError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path} is damaged: restore bench/reported ({error}).") from error
    return whole


def _merged(usual: Json, entry: Json) -> Json:
    both = {name: usual.get(name, {}) | entry.get(name, {}) for name in _BY_NAME}
    return usual | entry | both


def metric_of(column: str) -> str:
    """``3dpw_pa_mpjpe`` is a ``pa_mpjpe``, ``aiti_s`` an ``aiti``."""
    return TIME if column == AITI else column.partition("_")[2]


def half_unit(entry: Json, column: str) -> float:
    """Half of the last digit that a column is printed with: what rounding may have hidden.

    Args:
        entry: of :func:`read_ledger`.
        column: of ``tableNN.csv``.

    Returns:
        Millimetres, or seconds of a time: 0.05 for an error with one decimal.
    """
    return 0.5 * 10.0 ** -entry["decimals"][metric_of(column)]


def key_columns(reported: pd.DataFrame) -> list[str]:
    """The columns of a reported table that identify its rows."""
    return [name for name in reported if not name.endswith((*METRICS, AITI))]


def read_deltas(path: Path, reported: pd.DataFrame) -> pd.DataFrame:
    """The differences that the paper prints beside the errors of a table.

    Args:
        path: of ``deltaNN.csv``.
        reported: the numbers of that table.

    Returns:
        Rows and columns of ``reported``, NaN where no difference is printed.

    Raises:
        UserError: the file is missing or damaged, or its rows are not those of the table.
    """
    deltas, keys = read_reported(path), key_columns(reported)
    if set(keys) <= set(deltas) <= set(reported):
        whole = reported[keys].merge(deltas, on=keys, how="left")
        found = whole.drop(columns=keys).notna().any(axis=1).sum()
        if len(whole) == len(reported) and found == len(deltas):
            return whole.reindex(columns=reported.columns)
    raise UserError(f"{path} has other rows or columns than its table: restore bench/reported.")
