"""Trainings with several seeds: a change of their number trains what is new alone.

DVC knows one output a model, all seeds in it, and reruns the whole stage when `seeds` goes from
three to five. So finished seeds stay in the scratch folder, and are taken from there by a job that
is the same in everything but its seeds: settings, code, body, shards and the models below it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from bench.inputs import inputs_of
from bench.provenance import job_digest
from genhmr.data.digest import sha256_of
from genhmr.train import parallel
from genhmr.train.checkpoint import TOKENIZER_FILE

Json = dict[str, Any]


class KeptSeeds:
    """The finished seeds of one model, under ``<scratch>.seeds/<what they were made from>/<seed>``.

    A job none of whose seeds is new takes nothing: who asks for the same training again
    (``dvc repro -f``) wants it trained. A job of one seed neither keeps nor takes.

    Args:
        kind: "tokenizer" or "transformer".
        job: of the plan.
        seeds: of the job.
        build: folder of the shards and of the models that the training starts from.
        scratch: scratch folder of the model.

    Attributes:
        taken: the seeds that this job need not train.
    """

    def __init__(
        self, kind: str, job: Json, seeds: list[int], build: Path, scratch: Path
    ) -> None:
        self._folder: Path | None = None
        self.taken: list[int] = []
        if len(seeds) < 2:
            return
        around = scratch.with_name(f"{scratch.name}.seeds")
        alike = {key: value for key, value in job.items() if key != "seeds"}
        made_from = inputs_of(kind, "job", {f"{kind}/job.json": alike}, build)
        if kind == "transformer":
            below = build / "models" / "tokenizer" / job["tokenizer"] / TOKENIZER_FILE
            made_from["tokenizer"] = sha256_of(below)
        self._folder = around / job_digest(made_from)[:16]
        kept = [seed for seed in seeds if (self._folder / str(seed)).is_dir()]
        if len(kept) < len(seeds):
            self.taken = kept
        with parallel.leader_first():
            if parallel.rank() == 0:
                for other in around.glob("*"):
                    if other != self._folder:
                        shutil.rmtree(other)

    def take(self, seed: int, target: Path) -> bool:
        """Copies a finished seed's files into ``target``; False where it must be trained."""
        if seed not in self.taken or self._folder is None:
            return False
        if parallel.rank() == 0:
            _copy_files(self._folder / str(seed), target)
        return True

    def put(self, seed: int, source: Path) -> None:
        """Keeps the files in ``source``, which are all of the model of a seed that was trained."""
        if self._folder is None or parallel.rank() > 0:
            return
        whole = self._folder / str(seed)
        part = whole.with_name(f"{seed}.part")
        for former in (part, whole):
            shutil.rmtree(former, ignore_errors=True)
        _copy_files(source, part)
        os.rename(part, whole)


def _copy_files(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        if path.is_file():
            shutil.copyfile(path, target / path.name)
