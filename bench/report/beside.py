"""What stands beside a comparison: best, second best, differences, and the committed open run.

``results/numbers.csv`` holds them as the LaTeX prints them (``bench.layout``); the committed run
has a file of the same columns in ``results/open``, whose reruns are the open run's numbers here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from bench.report.readers import PLACE
from genhmr.types import UserError

_CELL = ["row", "role", "metric"]  # of a table, whatever data stand in for a role
_OWN = ("reported_mark", "reported_delta", "rerun_mark", "rerun_delta")
# What a rerun of the committed run is called beside another's.
_OPEN = {
    "rerun": "open_run",
    "n": "open_n",
    "seeds": "open_seeds",
    "low": "open_low",
    "high": "open_high",
    "status": "open_status",
    "rerun_mark": "open_run_mark",
    "rerun_delta": "open_run_delta",
}


def complete(
    compared: pd.DataFrame,
    number: str,
    numbers: pd.DataFrame,
    kept: pd.DataFrame | None,
    path: Path,
) -> pd.DataFrame:
    """A comparison with the marks and differences of every side, and the open run's numbers.

    Args:
        compared: ``compare/tableNN.csv``.
        number: of the table, two digits.
        numbers: ``numbers.csv`` of the same run.
        kept: ``numbers.csv`` of the committed open run, or None.
        path: of ``numbers``, for the sentence.

    Returns:
        ``compared`` with ``reported_mark``, ``reported_delta``, ``rerun_mark``, ``rerun_delta``
        and, where a run is kept, ``open_run``, its ``open_...`` (n, seeds, ends of the interval,
        status), ``open_run_mark`` and ``open_run_delta``.

    Raises:
        UserError: the two files are of two runs.
    """
    own = numbers[numbers["table"] == number]
    names = [
        dataset if dataset == paper else f"{dataset} beside {paper}"
        for dataset, paper in zip(own["dataset"], own["stands_for"])
    ]
    own = own.assign(dataset=names).set_index(PLACE)
    places = pd.MultiIndex.from_frame(compared[PLACE])
    same = len(own) == len(compared) and not own.index.has_duplicates
    if same:
        own = own.reindex(places)
        # The comparison is rounded; a place that only it has is NaN on one side.
        same = np.allclose(own["n"], compared["n"]) and np.allclose(
            own["rerun"], compared["rerun"], atol=0.006, equal_nan=True
        )
    if not same:
        raise UserError(
            f"{path} is of another run than compare/table{number}.csv: run "
            "`python -m bench tables` again."
        )
    compared = compared.assign(**{name: own[name].to_numpy() for name in _OWN})
    if kept is None:  # gone since the tables were written
        return compared.drop(columns=["open_run", "open_n"], errors="ignore")
    other = kept[kept["table"] == number].set_index(_CELL)
    cells = [(row, role, metric) for (row, _, metric), role in zip(places, own["role"])]
    found = other.reindex(pd.MultiIndex.from_tuples(cells))
    beside = {name: found[column].to_numpy() for column, name in _OPEN.items()}
    for name in ("open_n", "open_seeds"):
        beside[name] = np.nan_to_num(beside[name])
    return compared.assign(**beside).fillna({"open_run_mark": "", "open_status": ""})
