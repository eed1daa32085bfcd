"""Stages `inputs-*`: what goes into a job, as one small file that its stage depends on.

``build/inputs/<kind>/<name>.json`` holds SHA-256s of the job's settings, of every file of code that
its command can reach by imports, of the body and the weights it reads, and of the manifests of the
shards it is given (which hold those of the shards). One file instead of twenty dependencies a
stage, because DVC parses and writes its whole lock file after each stage: with 120 stages that took
longer than most of them. It is also finer: data and code that a job does not use do not rerun it.
For the same reason the backbone and the lifter, from which every transformer starts, are in there.

There are three such stages: `world` needs the plan alone, `motion` the motion sets, `images` the
image sets, the backbone and the lifter.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from bench.imports import code_of
from bench.provenance import job_digest
from genhmr.data.digest import sha256_of
from genhmr.types import UserError

Json = dict[str, Any]

# The module that runs each kind of job.
MODULES = {
    "data": "bench.data",
    "backbone": "bench.backbone",
    "lifter": "bench.lifter",
    "tokenizer": "bench.tokenizers",
    "transformer": "bench.transformers",
    "evaluate-tokenizer": "bench.evaluate_tokenizer",
    "evaluate": "bench.evaluate",
}
# The kinds of job that each stage notes.
GROUPS = {
    "world": ("data", "backbone"),
    "motion": ("lifter", "tokenizer", "evaluate-tokenizer"),
    "images": ("transformer", "evaluate"),
}
MOTION = "datasets/open/motion"
# Beside what a job reads in a folder: notes, and files for other commands.
OTHERS = ("*.md", "LICENSE*", "SMPL_to_J19.pkl", "*.pth")


@dataclass(frozen=True)
class Needs:
    """What a job reads beside its settings and the tokenizer or transformer of earlier stages.

    Attributes:
        code: files of this repository.
        files: files and folders of the open world or of a licence.
        data: splits of the data sets, as ``"lab/train"``.
        models: folders of models that are no variants, as ``"lifter"``.
    """

    code: tuple[str, ...]
    files: tuple[str, ...]
    data: tuple[str, ...]
    models: tuple[str, ...] = ()


def needs_of(kind: str, name: str, jobs: dict[str, Json], root: Path) -> Needs:
    """What one job of the plan reads.

    Args:
        kind: a key of ``MODULES``.
        name: of the job.
        jobs: job by path, see :func:`bench.plan.build_jobs`.
        root: of the repository.
    """
    job = jobs[f"{kind}/{name}.json"]
    if "skip" in job:
        return Needs((), (), ())
    bodies = job.get("bodies", "datasets/open/body")  # the backbone's pictures show the open body
    shows_motion = job.get("source") == "open" or (
        kind == "backbone" and not job["weights"] and not job["import"]
    )
    files = [bodies, job.get("weights"), job.get("import"), MOTION if shows_motion else None]
    if job.get("detections") == "openpose":
        files += [f"{dataset['raw']}/openpose" for dataset in job["sets"].values()]
    trained_on = () if job.get("weights") else job.get("train_on", ())
    if kind == "evaluate":  # the mean pose of what the model was trained on
        trained_on = jobs[f"transformer/{name}.json"]["train_on"]
    data = [f"{role}/train" for role in trained_on]
    splits = job.get("sets", {})
    data += [f"{role}/{split if kind != 'evaluate' else 'test'}" for role, split in splits.items()]
    return Needs(
        tuple(str(path) for path in code_of(MODULES[kind], root)),
        tuple(path for path in files if path),
        tuple(data),
        ("backbone", "lifter") if kind == "transformer" else (),
    )


def read_jobs(plan: Path) -> dict[str, Json]:
    """The jobs of all kinds that have inputs, by path, as they lie under ``build/plan``."""
    return {
        f"{kind}/{path.name}": json.loads(path.read_text())
        for kind in MODULES
        for path in sorted((plan / kind).glob("*.json"))
    }


def _digest(path: Path, pattern: str = "*") -> str:
    """SHA-256 of a file, or of the files of a folder and their names; a word where it is absent."""
    if path.is_file():
        return sha256_of(path)
    if not path.is_dir():
        return "not there"
    digest = hashlib.sha256()
    for file in sorted(f for f in path.rglob(pattern) if f.is_file()):
        if any(fnmatch(file.name, other) for other in OTHERS):
            continue
        digest.update(f"{file.relative_to(path)} {sha256_of(file)}\n".encode())
    return digest.hexdigest()


def inputs_of(
    kind: str,
    name: str,
    jobs: dict[str, Json],
    build: Path,
    root: Path = Path(),
    digest: Callable[..., str] = _digest,
) -> Json:
    """SHA-256s of all that goes into a job, see :class:`Needs`.

    Args:
        kind, name, jobs, root: see :func:`needs_of`.
        build: folder of the shards and of the models.
        digest: of a file or folder.
    """
    needs = needs_of(kind, name, jobs, root)
    return {
        "settings": job_digest(jobs[f"{kind}/{name}.json"]),
        "code": {path: digest(root / path) for path in needs.code},
        "files": {path: digest(root / path) for path in needs.files},
        "data": {split: digest(build / "data" / split, "*.json") for split in needs.data},
        "models": {model: digest(build / "models" / model) for model in needs.models},
    }


def write_inputs(group: str, build: Path, root: Path = Path()) -> int:
    """Writes ``<build>/inputs/<kind>/<name>.json`` for a group, replacing what was there.

    Args:
        group: a key of ``GROUPS``.
        build: folder of the plan, the shards and the models.
        root: of the repository, to which the paths in the jobs are relative.

    Returns:
        How many jobs there are.

    Raises:
        UserError: there is no plan; nothing is written.
    """
    plan, out = build / "plan", build / "inputs"
    jobs = read_jobs(plan)
    if not jobs:
        raise UserError(f"{plan} is missing: run `python -m bench plan` first.")
    known: dict[tuple[Path, str], str] = {}

    def digest(path: Path, pattern: str = "*") -> str:
        if (path, pattern) not in known:
            known[path, pattern] = _digest(path, pattern)
        return known[path, pattern]

    count = 0
    for kind in GROUPS[group]:
        part = out / f"{kind}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for key in (key for key in jobs if key.startswith(f"{kind}/")):
            name = Path(key).stem
            content = inputs_of(kind, name, jobs, build, root, digest)
            text = json.dumps(content, indent=1, sort_keys=True)
            (part / f"{name}.json").write_text(text + "\n")
            count += 1
        shutil.rmtree(out / kind, ignore_errors=True)
        part.rename(out / kind)
    return count
