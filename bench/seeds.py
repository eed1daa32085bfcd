"""Trainings with several seeds: a change of their number trains what is new alone.

DVC knows one output a model, all seeds in it, and reruns the whole stage when `seeds` goes from
three to five. So finished seeds stay in the scratch folder, each with its own provenance, and are
taken from there by a job that is the same in everything but its seeds.
"""

from __future__ import annotations

import json
import os
import shutil
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click
import torch

from bench.inputs import inputs_of
from bench.provenance import describe, job_digest
from bench.stage import pick_device
from genhmr.data.digest import sha256_of
from genhmr.train import parallel
from genhmr.train.checkpoint import TOKENIZER_FILE

Json = dict[str, Any]
MADE = "made.json"
MADE_FROM = "made_from.txt"


def _made_from(kind: str, job: Json, build: Path) -> str:
    """SHA-256 of all that decides how a seed's training ends, and that is not the seed.

    Settings, code, body, shards and the models below, and where sums are rounded: another device,
    number of processes or version of torch is another training.
    """
    alike = {key: value for key, value in job.items() if key not in ("seed", "seeds")}
    content = inputs_of(kind, "job", {f"{kind}/job.json": alike}, build)
    if kind == "transformer":
        below = build / "models" / "tokenizer" / job["tokenizer"] / TOKENIZER_FILE
        content["tokenizer"] = sha256_of(below)
    device = pick_device(job["device"])
    content["device"] = [torch.cuda.get_device_name() if device == "cuda" else device]
    content["processes"] = os.environ.get("WORLD_SIZE", "1")
    content["torch"] = torch.__version__
    return job_digest(content)


class KeptSeeds:
    """The finished seeds of one model, in ``<scratch>.seeds/<what they were made from>/<seed>``.

    A job none of whose seeds is new takes nothing: who asks for the same training again
    (``dvc repro -f``) wants it trained. A job of one seed neither keeps nor takes.

    Args:
        kind: "tokenizer" or "transformer".
        job: of the plan.
        build: folder of the shards and of the models that the training starts from.
        scratch: scratch folder of the model.

    Attributes:
        taken: provenance of every seed that was taken.
    """

    def __init__(self, kind: str, job: Json, build: Path, scratch: Path) -> None:
        self.taken: dict[int, Json] = {}
        self._folder: Path | None = None
        self._offered: list[int] = []
        seeds = job.get("seeds", ())
        if len(seeds) < 2 or job["weights"]:
            return
        self._made_from = _made_from(kind, job, build)
        self._folder = scratch.with_name(f"{scratch.name}.seeds") / self._made_from[:16]
        whole = [seed for seed in seeds if _is_whole(self._folder / str(seed))]
        if len(whole) < len(seeds):
            self._offered = whole

    def watch(self, scratch: Path) -> None:
        """Keeps nothing of a training that was begun with other code or another body.

        Args:
            scratch: of the training that now starts or goes on from a checkpoint, which does not
                depend on them.
        """
        if self._folder is None or parallel.rank() > 0:
            return
        note = scratch / MADE_FROM
        if not note.exists():
            note.write_text(self._made_from)
        if note.read_text() != self._made_from:
            self._folder = None

    def take(self, seed: int, target: Path) -> bool:
        """Copies a finished seed's files into ``target``; False where it must be trained."""
        if seed not in self._offered or self._folder is None:
            return False
        source = self._folder / str(seed)
        made = json.loads((source / MADE).read_text())
        if parallel.rank() == 0:
            _copy_files(source, target, made["files"])
        self.taken[seed] = {key: value for key, value in made.items() if key != "files"}
        return True

    def put(self, seed: int, source: Path, seconds: float) -> None:
        """Keeps the files in ``source``, which are all of a seed's model.

        Args:
            seed: that was trained.
            source: its folder; what lies in folders below it is not the seed's.
            seconds: that its training took.
        """
        if self._folder is None or parallel.rank() > 0:
            return
        whole = self._folder / str(seed)
        part = whole.with_name(f"{seed}.part")
        files = [path.name for path in source.iterdir() if path.is_file()]
        try:
            for former in (part, whole):
                shutil.rmtree(former, ignore_errors=True)
            _copy_files(source, part, files)
            made = {
                "ended": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "seconds": round(seconds, 1),
                **describe(),
                "files": {name: sha256_of(part / name) for name in files},
            }
            (part / MADE).write_text(json.dumps(made, indent=1) + "\n")
            part.rename(whole)
        except OSError as error:  # the training itself is well
            click.echo(f"seed {seed} is not kept for a later run: {error}")
            return
        for other in self._folder.parent.iterdir():
            if other != self._folder and other.is_dir():  # nothing can take it any more
                shutil.rmtree(other, ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    """Whether a kept seed's files are what they were when it was trained."""
    try:
        files = json.loads((folder / MADE).read_text())["files"]
        return all(sha256_of(folder / name) == digest for name, digest in files.items())
    except (OSError, ValueError, KeyError):
        return False


def _copy_files(source: Path, target: Path, names: list[str] | Json) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copyfile(source / name, target / name)
