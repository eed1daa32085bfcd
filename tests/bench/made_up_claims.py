"""One claim of each kind about a made-up table of three rows, k = 1, 2 and 3."""

import shutil
from pathlib import Path

import pandas as pd

from bench.claims import Ledger

CLAIMS = {
    "lower": {"kind": "lower", "row": {"k": 1}, "than": [{"k": 2}], "columns": ["3dpw_mpjpe"]},
    "best": {"kind": "best", "row": {"k": 1}, "columns": ["3dpw_mpjpe"]},
    "worst": {"kind": "worst", "row": {"k": 3}, "columns": ["3dpw_mpjpe"]},
    "ordered": {
        "kind": "ordered", "rows": [{"k": 3}, {"k": 2}, {"k": 1}], "columns": ["3dpw_mpjpe"],
    },
    "slower": {
        "kind": "slower", "small": [{"k": 2}, {"k": 1}], "large": [{"k": 3}, {"k": 1}],
        "columns": ["3dpw_mpjpe"],
    },
    "reduction": {"kind": "reduction", "from": {"k": 3}, "to": {"k": 1},
                  "by": {"3dpw_mpjpe": "6.0"}},
}  # fmt: skip


def claim_of(kind):
    return {"id": kind, "table": "02", "statement": "so", "where": "Table 2", **CLAIMS[kind]}


def ledger_of(folder, numbers):
    rows = [{"k": k, "3dpw_mpjpe": float(v)} for k, v in zip((1, 2, 3), numbers)]
    pd.DataFrame(rows).to_csv(folder / "table02.csv", index=False)
    shutil.copy(Path(__file__).parents[2] / "bench" / "reported" / "ledger.yaml", folder)
    return Ledger(folder)
