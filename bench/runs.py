"""The runs of a training that was stopped and goes on: a note beside its scratch folder.

A run stands in it from its start, since one that is killed writes no record.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Json = dict[str, Any]


def write_whole(path: Path, content: Any) -> None:
    """Writes JSON so that a reader, or a crash, finds the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(content, indent=1) + "\n")
    part.replace(path)


def _note(scratch: Path) -> Path:
    return scratch.with_name(f"{scratch.name}.runs.json")


def noted_runs(scratch: Path) -> list[Json]:
    """The runs so far, the present one last; none where the note is missing or damaged.

    Args:
        scratch: folder of a training's checkpoints.
    """
    try:
        return list(json.loads(_note(scratch).read_text())["runs"])
    except (OSError, ValueError, KeyError, TypeError):
        return []  # nothing that a training should fail for


def begin_run(scratch: Path, run: Json) -> None:
    """Adds the present run."""
    write_whole(_note(scratch), {"runs": [*noted_runs(scratch), run]})


def forget_earlier_runs(scratch: Path) -> None:
    """What went before left no checkpoint: the present run starts from the beginning."""
    if _note(scratch).exists():
        write_whole(_note(scratch), {"runs": noted_runs(scratch)[-1:]})


def end_runs(scratch: Path) -> None:
    """The training is done and its record has them all."""
    _note(scratch).unlink(missing_ok=True)
