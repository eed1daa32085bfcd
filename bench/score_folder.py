"""The folder that a result of `python -m bench score` is written to: asked before the work."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.stage import whole_folder
from genhmr.types import UserError


def require_place(out: Path) -> None:
    """Refuses a folder that could not be written, or that would replace more than a result.

    What is tried is made for real and removed again: a system like /proc says of a folder that
    it can be written, and then refuses.

    Raises:
        UserError: ``out`` cannot be made, or holds what `score` did not write.
    """
    try:
        _refuse_foreign(out)
        _try_to_make(out)
    except OSError as error:
        raise UserError(_cannot(out, error)) from error


@contextmanager
def result_folder(out: Path) -> Iterator[Path]:
    """A folder to write into that becomes ``out``, as :func:`bench.stage.whole_folder` does it.

    Raises:
        UserError: the system refuses; ``out`` is then what it was.
    """
    try:
        with whole_folder(out) as part:
            yield part
    except OSError as error:
        raise UserError(_cannot(out, error)) from error


def _cannot(out: Path, error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{out} cannot be written ({reason}): name another folder with --out."


def _refuse_foreign(out: Path) -> None:
    """A result replaces an older result and nothing else."""
    if blocked := next((path for path in out.parents if path.exists() and not path.is_dir()), None):
        raise UserError(f"{out} cannot be made: {blocked} is a file. Name another with --out.")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        mine = "protocols" in json.loads((out / "about.json").read_text())
    except (OSError, ValueError):
        mine = False
    if not mine:
        raise UserError(
            f"{out} exists and is no result of score: name another folder with --out, or remove it."
        )


def _try_to_make(out: Path) -> None:
    """Makes what is missing above ``out`` and a folder beside it, and takes all of it back."""
    out = out.resolve()
    trial = out.with_name(f"{out.name}.trial")
    missing = [path for path in (trial, *trial.parents) if not path.exists()]
    made: list[Path] = []
    try:
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            made.append(folder)
    finally:
        with suppress(OSError):  # another result may have gone into it meanwhile
            for folder in reversed(made):
                folder.rmdir()
