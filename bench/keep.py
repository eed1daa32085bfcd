"""`python -m bench keep`: what a run of profile `open` measured joins ``results/open``.

The whole profile takes a day of one core, so it is run in pieces, on whatever machine is at hand:
``dvc repro evaluate@loss-mask evaluate@loss-pose``, then ``keep``. The errors of every image and
pose are stored, so that pieces add up: tables and claims of ``results/open`` are made anew from
all that is stored. A piece is dropped once variants.yaml, params.yaml or the shipped weights say
that it would be another one today.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench.claims_report import write_claims
from bench.plan import build_jobs
from bench.provenance import job_digest
from bench.stage import whole_folder
from bench.status import METRICS, models_left_out
from bench.tables import write_tables
from genhmr.types import UserError

Json = dict[str, Any]
MEASURED = "measured"
PIECES = "pieces.json"
_SHARED = ("data-*", "pretrain", "train-lifter")  # provenance of what several models build on


@dataclass(frozen=True)
class Piece:
    """One model of the plan, trained and scored.

    Attributes:
        scored: its evaluation job, for example "evaluate/loss-mask".
        table: file with its errors, image by image or pose by pose.
        signature: SHA-256 of all jobs that it follows from and of the shipped weights among them.
    """

    scored: str
    table: str
    signature: str

    @property
    def records(self) -> tuple[str, str]:
        """Stems of its provenance files."""
        kind, name = self.scored.split("/")
        training = "train-tokenizer" if kind == "evaluate-tokenizer" else "train-transformer"
        return f"{training}-{name}", f"{kind}-{name}"


def pieces_of(jobs: dict[str, Json]) -> dict[str, Piece]:
    """The pieces of a plan, by model as "tokenizer/t48"; without those that it leaves out.

    Args:
        jobs: see :func:`bench.plan.build_jobs`; the shipped weights that they name are read.
    """
    pieces = {}
    for key, job in jobs.items():
        kind, _, name = key.removesuffix(".json").partition("/")
        if kind not in ("tokenizer", "transformer") or "skip" in job:
            continue
        scored = ("evaluate-tokenizer/" if kind == "tokenizer" else "evaluate/") + name
        roles = {*job["train_on"], *jobs[f"{scored}.json"]["sets"]}
        parts = [key, f"{scored}.json", *sorted(f"data/{role}.json" for role in roles)]
        if kind == "transformer":
            below = (f"tokenizer/{job['tokenizer']}", "backbone/base", "lifter/base")
            parts += [f"{model}.json" for model in below]
        shipped = sorted({path for part in parts if (path := jobs[part].get("weights"))})
        digest = hashlib.sha256()
        for part in parts:
            digest.update(job_digest(jobs[part]).encode())
        for path in shipped:
            digest.update(Path(path).read_bytes())
        table = "per_pose.parquet" if kind == "tokenizer" else "per_image.parquet"
        pieces[f"{kind}/{name}"] = Piece(scored, table, digest.hexdigest())
    return pieces


def _finished(
    jobs: dict[str, Json], build: Path, results: Path, pieces: dict[str, Piece]
) -> dict[str, Piece]:
    """The pieces that have run as they are planned.

    Raises:
        UserError: the plan is no part of an `open` run, or none of it has run.
    """
    job = jobs["tables.json"]
    if job["profile"] != "open" or job["source"] != "open":
        raise UserError(
            f"profile {job['profile']} on {job['source']} data is planned: only a run of profile "
            "open in the open world is kept (dvc exp run -S profile=open)."
        )
    if job["turned"]:
        raise UserError(
            f"{', '.join(job['turned'])} in params.yaml: a run is kept with the paper's settings."
        )
    finished = {}
    for name, piece in pieces.items():
        record = results / "provenance" / f"{piece.records[1]}.json"
        made = json.loads(record.read_text())["job_sha256"] if record.exists() else None
        planned = job_digest(jobs[f"{piece.scored}.json"])
        if made == planned and (build / piece.scored / piece.table).exists():
            finished[name] = piece
    if not finished:
        raise UserError(
            f"nothing in {build}/evaluate* is what params.yaml plans: run it first (dvc repro)."
        )
    return finished


def _store(source: Path, piece: Piece, target: Path) -> None:
    """Errors as float32 (1e-5 mm), compressed; timings as they are."""
    target.mkdir(parents=True)
    frame = pd.read_parquet(source / piece.table)
    frame = frame.astype({metric: "float32" for metric in METRICS})
    frame.to_parquet(target / piece.table, compression="zstd")
    if (source / "timing.json").exists():
        shutil.copy(source / "timing.json", target)


def _kept_before(target: Path, wanted: dict[str, Piece]) -> tuple[dict[str, Piece], list[str]]:
    """What is stored and would still be the same, and the names of what would not."""
    path = target / PIECES
    stored = json.loads(path.read_text()) if path.exists() else {}
    same = {
        name: piece for name, piece in wanted.items()
        if stored.get(name) == piece.signature
        and (target / MEASURED / piece.scored / piece.table).exists()
    }  # fmt: skip
    return same, sorted(set(stored) - set(same))


def keep(
    params: Json, variants: Json, build: Path, reported: Path, results: Path
) -> tuple[list[str], list[str]]:
    """Adds what is finished of the planned run to ``results/open``.

    Args:
        params: content of params.yaml.
        variants: content of variants.yaml.
        build: folder of the evaluations.
        reported: folder of the paper's CSVs.
        results: the results folder.

    Returns:
        The models that stand in ``results/open`` now, and those that were dropped from it.

    Raises:
        UserError: another profile or other inference settings are planned, or nothing that is
            planned has run.
    """
    jobs = build_jobs(params, variants)
    run = _finished(jobs, build, results, pieces_of(jobs))
    whole = build_jobs(params | {"models": []}, variants)
    wanted = pieces_of(whole)
    target = results / "open"
    before, gone = _kept_before(target, wanted)
    before = {name: piece for name, piece in before.items() if name not in run}
    job = dict(whole["tables.json"])
    job["skipped"] = job["skipped"] | {
        name: "not in results/open yet" for name in wanted if name not in {*before, *run}
    }
    job["short"] = [name for name in job["short"] if name not in job["skipped"]]
    with whole_folder(target) as part:
        for name, piece in run.items():
            _store(build / piece.scored, piece, part / MEASURED / piece.scored)
            _copy_records(piece.records, results / "provenance", part / "provenance")
        _copy_records(_SHARED, results / "provenance", part / "provenance")
        for piece in before.values():
            shutil.copytree(target / MEASURED / piece.scored, part / MEASURED / piece.scored)
            _copy_records(piece.records, target / "provenance", part / "provenance")
        write_tables(variants, job, part / MEASURED, reported, part)
        shutil.rmtree(part / "tables")  # as CSV and LaTeX they are written beside every rerun
        write_claims(variants, job, part / MEASURED, reported, part / "claims")
        signatures = {name: piece.signature for name, piece in {**before, **run}.items()}
        (part / PIECES).write_text(json.dumps(signatures, indent=1, sort_keys=True) + "\n")
        (part / "README.md").write_text(_readme(job))
    return sorted(signatures), [name for name in gone if name not in run]


def _copy_records(patterns: tuple[str, ...], source: Path, target: Path) -> None:
    """Provenance files; one that is there already is of this run and stays."""
    target.mkdir(exist_ok=True)
    for pattern in patterns:
        for path in source.glob(f"{pattern}.json"):
            if not (target / path.name).exists():
                shutil.copy(path, target)


def _readme(job: Json) -> str:
    """What kind of run it was, in words; the numbers lie beside."""
    base = "transformer/base"
    trained = {
        name: steps for name, steps in job["steps"].items()
        if name not in job["shipped"] and name not in job["skipped"]
    }  # fmt: skip
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
open world, none of it the paper's data. It grows in pieces: with `profile: open`,
`weights: shipped` and `seeds: 2` in `params.yaml` run some models (`dvc repro evaluate@loss-pose`),
then `python -m bench keep` adds the errors of every image and pose to `measured/` and makes tables
and claims anew from all of it; the machine, the commit and the seconds of every piece are in
`provenance/`.

* Base: {origin}.
* Variants: {len(set(trained) - {base})} trained, {" or ".join(lengths) or "no"} steps each.
* Not run: {", ".join(left_out) or "nothing"}.
"""
