"""What the stages that train or score share: the device, scratch folders, whole outputs."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click
import torch

from bench.runs import forget_earlier_runs
from genhmr.data.digest import sha256_of
from genhmr.train import parallel
from genhmr.train.checkpoint import load_weights
from genhmr.types import UserError

Json = dict[str, Any]
T = TypeVar("T")


def pick_device(name: str) -> str:
    """ "auto" becomes "cuda" where there is one.

    Raises:
        UserError: "cuda" is asked for and not there.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("params.yaml: 'device' is cuda, but torch sees no GPU: use auto or cpu.")
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder to write into that takes the place of ``out`` once the block has ended well.

    After an error ``out`` is what it was, and after a kill too, the next time it is written. Of
    several processes the first makes and moves it.

    Raises:
        ValueError: ``out`` is the working directory or a folder above it: replacing it would
            delete far more than an output.
    """
    out = _replaceable(out)
    part = out.with_name(out.name + ".part")
    with parallel.leader_first():
        if parallel.rank() == 0:
            _recover(out)
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
    try:
        yield part
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    parallel.wait()
    if parallel.rank() == 0:
        _replace(out, part)


@contextmanager
def growing_folder(out: Path) -> Iterator[Path]:
    """A folder like that of :func:`whole_folder` that is found again after an error or a kill.

    For what can tell which of its content is still good. It lies in ``<out>.begun`` beside ``out``,
    since a link may lead to another disk, and has a folder ``shards``, which takes the place of
    ``out`` in the end, and room for notes.
    """
    out = _replaceable(out)
    begun = out.with_name(out.name + ".begun")
    _recover(out)
    (begun / "shards").mkdir(parents=True, exist_ok=True)
    yield begun
    _replace(out, begun / "shards")
    shutil.rmtree(begun)


def _replaceable(out: Path) -> Path:
    out = out.resolve()
    if Path.cwd().is_relative_to(out):
        raise ValueError(f"{out} is not a folder for outputs")
    return out


def _former(out: Path) -> Path:
    return out.with_name(out.name + ".former")


def _recover(out: Path) -> None:
    """Undoes the first half of a replacement that was killed."""
    if _former(out).exists() and not out.exists():
        _former(out).rename(out)
    shutil.rmtree(_former(out), ignore_errors=True)


def _replace(out: Path, by: Path) -> None:
    if out.exists():
        out.rename(_former(out))
    by.rename(out)
    shutil.rmtree(_former(out), ignore_errors=True)


def spread(items: Sequence[T], count: int) -> Iterator[T]:
    """``count`` items spread evenly over the whole sequence; all of them if ``count`` is 0.

    Video frames are alike from one to the next: an even choice keeps every sequence.
    """
    if count <= 0 or count >= len(items):
        yield from items
        return
    for index in range(count):
        yield items[index * len(items) // count]


def seed_folder(folder: Path, index: int) -> Path:
    """Where the model of the ``index``-th seed lies: the first in ``folder`` itself."""
    return folder / f"seed-{index}" if index else folder


class FinishedSeeds(Protocol):
    """What a training with several seeds asks of :class:`bench.seeds.KeptSeeds`.

    Stated here: a training's code is all that it imports, and what keeps its seeds is none of it.
    """

    def watch(self, scratch: Path) -> None: ...

    def take(self, seed: int, target: Path) -> bool: ...

    def put(self, seed: int, source: Path, seconds: float) -> None: ...


def require_made(paths: Sequence[Path]) -> None:
    """Refuses to begin where an earlier stage has not run.

    Raises:
        UserError: naming the first file that is missing.
    """
    for path in paths:
        if not path.is_file():
            raise UserError(
                f"{path} is missing: run the stage that makes it first, as `dvc repro` does."
            )


@contextmanager
def scratch_folder(folder: Path, job: Json, inputs: list[Path]) -> Iterator[Path]:
    """A scratch folder that a stopped run finds again, and that a finished one removes.

    Its name depends on the job and on its input files, so that a checkpoint is never continued
    on other data; without the removal a rerun would find a finished training and do nothing.

    Raises:
        UserError: an input file is missing.
    """
    require_made(inputs)
    digest = hashlib.sha256(json.dumps(job, sort_keys=True).encode())
    for path in inputs:
        digest.update(sha256_of(path).encode())
    own = folder / digest.hexdigest()[:16]
    with parallel.leader_first():
        for other in folder.glob("*"):
            if other != own:
                shutil.rmtree(other)
        own.mkdir(parents=True, exist_ok=True)
        if parallel.rank() == 0 and not any(own.rglob("*.pt")):
            forget_earlier_runs(folder)
    yield own
    parallel.wait()
    if parallel.rank() == 0:
        shutil.rmtree(folder)


def export_shipped(source: str, target: Path, wanted: Json, entry: str) -> None:
    """Takes shipped weights as they are, if they are what the job asks for.

    Args:
        source: the shipped file; reading it finds a damaged one.
        target: where to copy it.
        wanted: sizes of the job.
        entry: of the file's configuration that holds its sizes.

    Raises:
        UserError: the file is missing or damaged, or has other sizes.
    """
    sizes = load_weights(Path(source))[1].get(entry, {})
    if other := {k: v for k, v in wanted.items() if sizes.get(k) != v}:
        shipped = {k: sizes.get(k) for k in other}
        raise UserError(
            f"{source} was trained with {shipped} and this job asks for {other}: "
            "set weights to trained in params.yaml, or take the edit of variants.yaml back."
        )
    shutil.copyfile(source, target)
    click.echo(f"shipped weights {source}")


def write_history(folder: Path, history: list[dict[str, float]]) -> None:
    """What the training logged, as ``history.json``."""
    (folder / "history.json").write_text(json.dumps(history, indent=0) + "\n")
