"""What the commands of the stages share: where things lie, their jobs, and what is left out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from genhmr.types import UserError

BUILD = Path("build")
RESULTS = Path("results")
PROVENANCE = RESULTS / "provenance"
SKIPPED = "skipped.json"


def read_job(kind: str, name: str | None = None) -> dict[str, Any]:
    """A job of the plan; UserError where there is none, with the names of those there are."""
    path = BUILD / "plan" / (f"{kind}/{name}.json" if name else f"{kind}.json")
    if not path.exists():
        known = sorted(p.stem for p in path.parent.glob("*.json"))
        hint = f"choose one of {', '.join(known)}" if known else "run `python -m bench plan` first"
        raise UserError(f"no job {path}: {hint}.")
    return json.loads(path.read_text())


def left_out(job: dict[str, Any], out: Path, record: str, inputs: Iterable[Path] = ()) -> bool:
    """Leaves a note in place of what this run does without; True if it does.

    Here rather than in the stages: most of them take seconds to import torch.

    Args:
        job: it is left out where it says ``skip``.
        out: of the stage.
        record: name of its provenance; one of an earlier run is removed.
        inputs: outputs of earlier stages; it is left out too where one of them was.
    """
    notes = [folder / SKIPPED for folder in inputs if (folder / SKIPPED).exists()]
    if "skip" not in job and not notes:
        return False
    reason = job.get("skip") or json.loads(notes[0].read_text())["skip"]
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / SKIPPED).write_text(json.dumps({"skip": reason}) + "\n")
    (PROVENANCE / f"{record}.json").unlink(missing_ok=True)
    click.echo(f"{out}: {reason}")
    return True
