"""The committed run of profile `open`, which every comparison shows beside the rerun.

``python -m bench keep`` copies the numbers of a finished `open` run to ``results/open/``; the
tables stage reads them back.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from bench.provenance import job_digest
from bench.stage import whole_folder
from bench.status import models_left_out
from genhmr.types import UserError

Json = dict[str, Any]
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


def _readme(job: Json) -> str:
    """What kind of run it was, in words; the numbers lie beside."""
    base = "transformer/base"
    trained = {name: steps for name, steps in job["steps"].items() if name not in job["shipped"]}
    origin = "trained from nothing"
    if base in job["shipped"]:
        origin = "the shipped weights (datasets/open/weights/README.md)"
    lengths = sorted({f"{steps:,}" for name, steps in trained.items() if name != base})
    left_out = sorted(
        name.removeprefix("transformer/").replace("tokenizer/", "tokenizer ")
        for name in models_left_out(job)
    )
    return f"""# The committed run of profile `open`

It stands as the third column (`open_run`) beside the reported numbers and the rerun in every
comparison, so that a newcomer's short trainings have something to stand beside. All of it is the
open world, none of it the paper's data. `python -m bench keep` wrote this folder; the machine, the
commit and the seconds of every stage are in `provenance/`.

* Base: {origin}.
* Variants: {len(set(trained) - {base})} trained, {" or ".join(lengths) or "no"} steps each.
* Not run: {", ".join(left_out) or "nothing"}.
"""


def keep(job: Json, results: Path) -> Path:
    """Copies the numbers of a finished `open` run to ``results/open``; returns that folder.

    Args:
        job: ``build/plan/tables.json``.
        results: the results folder.

    Raises:
        UserError: another profile or other inference settings were planned, or the results are
            missing.
    """
    if job["profile"] != "open" or job["source"] != "open":
        raise UserError(
            f"profile {job['profile']} on {job['source']} data is planned: only a run of profile "
            "open in the open world is kept (dvc exp run -S profile=open)."
        )
    if job["turned"]:
        raise UserError(
            f"{', '.join(job['turned'])} in params.yaml: a run is kept with the paper's settings."
        )
    target = results / "open"
    wanted = (NUMBERS, "summary.json", "compare", "claims", "provenance")
    sources = [results / name for name in wanted]
    for path in sources:
        if not path.exists():
            raise UserError(f"{path} is missing: let `dvc repro` finish first.")
    for stage in ("tables", "claims"):
        record = json.loads((results / "provenance" / f"{stage}.json").read_text())
        if record["job_sha256"] != job_digest(job):
            raise UserError(
                f"{results} was written by another plan than build/plan: let `dvc repro` finish "
                "first."
            )
    with whole_folder(target) as part:
        for path in sources:
            copy = shutil.copytree if path.is_dir() else shutil.copy
            copy(path, part / path.name)
        (part / "plan.json").write_text(json.dumps(job, indent=1, sort_keys=True) + "\n")
        (part / "README.md").write_text(_readme(job))
    return target
