"""`python -m bench keep`: what a run of profile `open` measured joins ``results/open``.

The whole profile takes a day of one core, so it is run in pieces, on whatever machine is at hand:
``dvc repro evaluate@loss-mask evaluate@loss-pose``, then ``keep``. The errors of every image and
pose are stored, so that pieces add up: tables and claims of ``results/open`` are made anew from
all that is stored. A piece belongs to the settings of all jobs that it follows from, to the shipped
weights among them and to the shards that it saw; pieces that do not belong together are not mixed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench.claims_report import write_claims
from bench.histories import keep_history
from bench.kept import ABOUT, NUMBERS
from bench.plan import build_jobs
from bench.provenance import job_digest, record_of
from bench.stage import whole_folder
from bench.status import METRICS, models_left_out
from bench.tables import write_tables
from genhmr.data.digest import sha256_of
from genhmr.types import UserError, restore

Json = dict[str, Any]
MEASURED = "measured"
PIECES = "pieces.json"
BEFORE = "all rows from before errors were stored"


@dataclass(frozen=True)
class Piece:
    """One model of the plan, trained and scored.

    Attributes:
        scored: its evaluation job, for example "evaluate/loss-mask".
        table: file with its errors, image by image or pose by pose.
        records: name of the provenance file of every job that it follows from, and that job's
            SHA-256.
        roles: of the data sets that it saw.
        signature: SHA-256 of these jobs, but for the device, and of the shipped weights.
    """

    scored: str
    table: str
    records: dict[str, str]
    roles: tuple[str, ...]
    signature: str


def pieces_of(jobs: dict[str, Json]) -> dict[str, Piece]:
    """The pieces of a plan, by model as "tokenizer/t48"; without those that it leaves out.

    Args:
        jobs: see :func:`bench.plan.build_jobs`; the shipped weights that they name are read.
    """
    weights: dict[str, bytes] = {}  # most pieces follow from the same files
    return {
        model: _piece(model, jobs, weights)
        for model in (key.removesuffix(".json") for key in jobs)
        if model.startswith(("tokenizer/", "transformer/")) and "skip" not in jobs[f"{model}.json"]
    }


def _piece(model: str, jobs: dict[str, Json], weights: dict[str, bytes]) -> Piece:
    kind, _, name = model.partition("/")
    scored = ("evaluate-tokenizer/" if kind == "tokenizer" else "evaluate/") + name
    trained = [model]
    if kind == "transformer":
        below = (f"tokenizer/{jobs[f'{model}.json']['tokenizer']}", "backbone/base", "lifter/base")
        trained += [key for key in below if "skip" not in jobs[f"{key}.json"]]
    roles = set(jobs[f"{scored}.json"]["sets"]) | set(jobs[f"{model}.json"]["train_on"])
    for key in trained:
        if not jobs[f"{key}.json"].get("weights"):  # what shipped weights saw is in them
            roles |= set(jobs[f"{key}.json"].get("train_on", ()))
    parts = [*trained, scored, *sorted(f"data/{role}" for role in roles)]
    records, digest = {}, hashlib.sha256()
    for key in parts:
        job = jobs[f"{key}.json"]
        records[record_of(key)] = job_digest(job)
        digest.update(job_digest({k: v for k, v in job.items() if k != "device"}).encode())
        if path := job.get("weights"):
            if path not in weights:
                weights[path] = _read(Path(path))
            digest.update(weights[path])
    table = "per_pose.parquet" if kind == "tokenizer" else "per_image.parquet"
    return Piece(scored, table, records, tuple(sorted(roles)), digest.hexdigest())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        remedy = restore(path, "put the weights there")
        raise UserError(f"{path} is missing: {remedy}.") from error


def _finished(
    job: Json, build: Path, results: Path, pieces: dict[str, Piece]
) -> dict[str, Piece]:
    """The pieces all of whose jobs have run as they are planned.

    Raises:
        UserError: the plan is no part of an `open` run, or none of it has run.
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
    made = {
        path.stem: json.loads(path.read_text()).get("job_sha256")
        for path in (results / "provenance").glob("*.json")
    }
    finished = {
        name: piece for name, piece in pieces.items()
        if piece.records.items() <= made.items()
        and (build / piece.scored / piece.table).exists()
    }  # fmt: skip
    if not finished:
        raise UserError(
            f"no model in {build}/evaluate* was trained and scored as params.yaml plans "
            f"({results}/provenance): run one first (dvc repro, with -f if its outputs came from "
            "the cache)."
        )
    return finished


def _shards(build: Path, roles: Iterable[str]) -> dict[str, str]:
    """SHA-256 of the manifests of prepared data sets, which name that of every file."""
    return {
        f"{role}/{path.parent.name}": sha256_of(path)
        for role in roles
        for path in sorted((build / "data" / role).glob("*/manifest.json"))
    }


def _store(source: Path, piece: Piece, model: Path, target: Path) -> None:
    """Errors as float32 (1e-5 mm), compressed; timings and use of the codes as they are; losses."""
    target.mkdir(parents=True)
    frame = pd.read_parquet(source / piece.table)
    frame = frame.astype({metric: "float32" for metric in METRICS})
    frame.to_parquet(target / piece.table, compression="zstd")
    for name in ("timing.json", "codebook.json"):
        if (source / name).exists():
            shutil.copy(source / name, target)
    keep_history(model, target)


def _kept_before(
    target: Path, wanted: dict[str, Piece], shards: dict[str, str]
) -> tuple[dict[str, Json], list[str]]:
    """What is stored and still belongs to the plan and the shards; the names of what does not."""
    path = target / PIECES
    if not path.exists():
        return {}, [BEFORE] if (target / NUMBERS).exists() else []
    stored = json.loads(path.read_text())
    same = {
        name: entry for name, entry in stored.items()
        if name in wanted
        and entry["signature"] == wanted[name].signature
        and all(shards.get(shard, sha) == sha for shard, sha in entry["shards"].items())
    }  # fmt: skip
    return same, sorted(set(stored) - set(same))


def keep(
    params: Json, variants: Json, build: Path, reported: Path, results: Path, drop: bool = False
) -> list[str]:
    """Adds what is finished of the planned run to ``results/open``.

    Args:
        params: content of params.yaml.
        variants: content of variants.yaml.
        build: folder of the data and of the evaluations.
        reported: folder of the paper's CSVs.
        results: the results folder.
        drop: whether what does not belong to the plan any more may go.

    Returns:
        The models that stand in ``results/open`` now.

    Raises:
        UserError: another profile or other inference settings are planned, nothing that is
            planned has run, or something would go.
    """
    jobs, whole = (build_jobs(own, variants) for own in (params, params | {"models": []}))
    wanted = pieces_of(whole)
    planned = {name: piece for name, piece in wanted.items() if "skip" not in jobs[f"{name}.json"]}
    run = _finished(jobs["tables.json"], build, results, planned)
    target = results / "open"
    shards = {name: _shards(build, piece.roles) for name, piece in run.items()}
    before, gone = _kept_before(target, wanted, {k: v for own in shards.values()
                                                 for k, v in own.items()})  # fmt: skip
    gone = [name for name in gone if name not in run]
    if gone and not drop:
        raise UserError(
            f"{target} would lose {', '.join(gone)}: other settings, weights or data than this "
            "run's. Take the change back, or drop them with --drop."
        )
    before = {name: entry for name, entry in before.items() if name not in run}
    entries = before | {
        name: {"signature": piece.signature, "shards": shards[name]} for name, piece in run.items()
    }
    job = dict(whole["tables.json"])
    job["skipped"] = job["skipped"] | {
        name: "not in results/open yet" for name in wanted if name not in entries
    }
    job["short"] = [name for name in job["short"] if name not in job["skipped"]]
    with whole_folder(target) as part:
        for name, piece in run.items():
            stored = part / MEASURED / piece.scored
            _store(build / piece.scored, piece, build / "models" / name, stored)
            _copy_records(piece, results / "provenance", part / "provenance")
        for name in before:
            scored = wanted[name].scored
            shutil.copytree(target / MEASURED / scored, part / MEASURED / scored)
            _copy_records(wanted[name], target / "provenance", part / "provenance")
        write_tables(variants, job, part / MEASURED, reported, part)
        shutil.rmtree(part / "tables")  # as CSV and LaTeX they are written beside every rerun
        write_claims(variants, job, part / MEASURED, reported, part / "claims")
        (part / ABOUT).write_text(json.dumps(_about(whole, part / "provenance"), indent=1) + "\n")
        (part / PIECES).write_text(json.dumps(entries, indent=1, sort_keys=True) + "\n")
        (part / "README.md").write_text(_readme(job))
    return sorted(entries)


def _about(jobs: dict[str, Json], provenance: Path) -> Json:
    """Crop height in pixels, and the commit at which the base was trained or taken over."""
    record = provenance / f"{record_of('transformer/base')}.json"
    commit = json.loads(record.read_text()).get("commit") if record.exists() else None
    return {"crop": jobs["evaluate/base.json"]["crop"], "commit": (commit or "unknown")[:12]}


def _copy_records(piece: Piece, source: Path, target: Path) -> None:
    """Its provenance; a record that is there is of the same job and stays."""
    target.mkdir(exist_ok=True)
    for name in piece.records:
        if (source / f"{name}.json").exists() and not (target / f"{name}.json").exists():
            shutil.copy(source / f"{name}.json", target)


def _readme(job: Json) -> str:
    """What kind of run it was, in words; the numbers lie beside."""
    base = "transformer/base"
    trained = {
        name: steps for name, steps in job["steps"].items()
        if name not in job["shipped"] and name not in job["skipped"]
    }  # fmt: skip
    origin, start, plan = "trained from nothing", "", "`profile: open`"
    if base in job["shipped"]:
        origin = "the shipped weights (datasets/open/weights/README.md)"
        start = (
            ", from the shipped backbone, lifter and base tokenizer: any row can be rerun from the "
            "repository alone. The backbone is as the base's training left it, by which all rows "
            "gain, the base's own configuration perhaps more"
        )
        plan += " and `weights: shipped`"
    lengths = sorted({f"{steps:,}" for name, steps in trained.items() if name != base})
    left_out = sorted(
        name.removeprefix("transformer/").replace("tokenizer/", "tokenizer ")
        for name in models_left_out(job)
    )
    return f"""# The committed run of profile `open`

It stands as the third column (`open_run`) beside the reported numbers and the rerun in every
comparison, so that a newcomer's short trainings have something to stand beside. All of it is the
open world, none of it the paper's data. It grows in pieces: with {plan} in
`params.yaml` run some models (`dvc repro evaluate@loss-pose`), then `python -m bench keep` adds the
errors of every image and pose to `measured/` and makes tables and claims anew from all of it; the
machine, the commit and the seconds of every piece are in `provenance/`.

* Base: {origin}.
* Variants: {len(set(trained) - {base})} trained, {" or ".join(lengths) or "no"} steps each{start}.
* Not run: {", ".join(left_out) or "nothing"}.
"""
