"""What the stages that train or score share: the device, scratch folders, whole outputs."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import torch

from genhmr.train import parallel
from genhmr.train.checkpoint import load_weights
from genhmr.types import UserError

Json = dict[str, Any]


def pick_device(name: str) -> str:
    """ "auto" becomes "cuda" where there is one.

    Raises:
        UserError: "cuda" is asked for and not there.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("params.yaml: 'device' is cuda, but torch sees no GPU: use auto or cpu.")
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def fast_bfloat16(device: str) -> bool:
    """Whether bfloat16 products are faster than float32 there: on GPUs and on recent CPUs.

    A CPU without the instructions emulates them, several times slower than float32.
    """
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return device != "cpu" or bool(supported())


def fresh_folder(folder: Path) -> Path:
    """An empty folder; of several processes the first makes it."""
    if parallel.rank() > 0:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


@contextmanager
def scratch_folder(folder: Path, job: Json, inputs: list[Path]) -> Iterator[Path]:
    """A scratch folder that a stopped run finds again, and that a finished one removes.

    Its name depends on the job and on its input files, so that a checkpoint is never continued
    on other data; without the removal a rerun would find a finished training and do nothing.
    """
    digest = hashlib.sha256(json.dumps(job, sort_keys=True).encode())
    for path in inputs:
        digest.update(path.read_bytes())
    own = folder / digest.hexdigest()[:16]
    with parallel.leader_first():
        for other in folder.glob("*"):
            if other != own:
                shutil.rmtree(other)
        own.mkdir(parents=True, exist_ok=True)
    yield own
    parallel.wait()
    if parallel.rank() == 0:
        shutil.rmtree(folder)


def export_shipped(source: str, folder: Path, name: str) -> None:
    """Takes shipped weights as they are; reading them first finds a damaged file."""
    load_weights(Path(source))
    shutil.copyfile(source, folder / name)
    click.echo(f"{folder}: shipped weights {source}")


def write_history(folder: Path, history: list[dict[str, float]]) -> None:
    """What the training logged, as ``history.json``."""
    (folder / "history.json").write_text(json.dumps(history, indent=0) + "\n")


def part_folder(out: Path) -> Path:
    """An empty folder beside ``out`` to write into; ``finish`` puts it in its place."""
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    return part


def finish(part: Path, out: Path) -> None:
    """Replaces ``out`` by what is complete now."""
    shutil.rmtree(out, ignore_errors=True)
    part.rename(out)
