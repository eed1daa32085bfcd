"""`python -m bench explain 2:5:3dpw:mpjpe`: a printed number, walked back to what made it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from bench.claims import Cell, Ledger
from bench.claims_report import rerun_samples
from bench.explain_cell import find_cell
from bench.explain_chain import (
    code_behind,
    data_behind,
    in_lines,
    job_of,
    made_by,
    read_record,
    settings_of,
    short_sha256,
    stages_behind,
)
from bench.explain_open import between_rounds, open_run
from bench.inputs import read_jobs
from bench.intervals import median_end
from bench.jobs import SKIPPED
from bench.tables_latex import METRIC_NAMES
from bench.tidy import AITI, REPORTED_NAMES, Rerun, load_metrics, model_of, timed_as
from genhmr.types import UserError

Json = dict[str, Any]


def explain(place: str, variants: Json, pipeline: Json, build: Path, results: Path) -> str:
    """The whole text of the command: the paper's number, this run's, the committed run's.

    Args:
        place: see :func:`bench.explain_cell.find_cell`.
        variants: content of variants.yaml.
        pipeline: content of dvc.yaml.
        build: folder of the jobs, models and metrics.
        results: folder of the provenance and of the committed run.

    Raises:
        UserError: no such cell, or a damaged file.
    """
    ledger = Ledger(Path("bench/reported"))
    cell, row = find_cell(place, variants, ledger)
    timed = cell.column == AITI
    kind, _, metric = ("", "", "aiti") if timed else cell.column.partition("_")
    role = "" if timed else _role(kind, variants)
    where = ", one image at a time" if timed else f" on {REPORTED_NAMES[kind]}"
    value, unit = ledger.value(cell), "s on an RTX A5000" if timed else "mm"
    reported = "none: the paper leaves this cell empty" if np.isnan(value) else f"{value:g} {unit}"
    lines = [
        f"Table {int(cell.table)}, {cell}: {METRIC_NAMES[metric].removesuffix(' (s)')}{where}",
        f"  reported  {reported}",
    ]
    if row is None:
        lines.append("  rerun     none: this row is reported in the paper only, its method is not "
                     "in the suite")  # fmt: skip
    else:
        lines += _this_run(cell, row, role, metric, variants, pipeline, build, results)
    lines += open_run(cell, row, role, metric, variants, results / "open")
    return "\n".join(lines)


def _role(kind: str, variants: Json) -> str:
    return next(role for role, entry in variants["datasets"].items() if entry["kind"] == kind)


def _this_run(
    cell: Cell, row: Json, role: str, metric: str, variants: Json, pipeline: Json, build: Path,
    results: Path,
) -> list[str]:  # fmt: skip
    """The rerun's number and all that made it."""
    plan = build / "plan"
    if not (plan / "tables.json").exists():
        return [f"  rerun     none: {plan} is missing, run `python -m bench plan`"]
    try:
        job = json.loads((plan / "tables.json").read_text())
    except ValueError as error:
        raise UserError(f"{plan} is damaged: run `python -m bench plan`.") from error
    jobs = read_jobs(plan)
    model = model_of(row, variants["tables"][cell.table], job)
    if model in job["skipped"]:
        return [f"  rerun     none: {model}, {job['skipped'][model]}"]
    name = model.partition("/")[2]
    if "tokenizer" in row:
        stage = f"evaluate-tokenizer@{name}"
        tested = f"{role}/{jobs[job_of(stage)]['sets'][role]}"
    else:
        stage = f"evaluate@{name}"
        # AITI is timed on the first image of the first set (bench.evaluate).
        tested = f"{role or next(iter(jobs[job_of(stage)]['sets']))}/test"
    if metric == "aiti":
        path = build / "evaluate" / name / "timing.json"
        lines = [_timed(path, row, jobs[job_of(stage)]["timing"], tested)]
    else:
        lines = [_rerun(cell, row, role, metric, variants, job, model, build)]
    lines.append(f"  world     {job['source']}, profile {job['profile']}")
    if "setting" in row:
        lines.append(f"  setting   {row['setting']}, of {plan / job_of(stage)}")
        lines += in_lines(jobs[job_of(stage)]["settings"][row["setting"]], " " * 12)
    origin = "exported from datasets/open/weights" if jobs[f"{model}.json"].get("weights") else (
        "trained here" + ", too briefly to rank" * (model in job["short"])
    )  # fmt: skip
    lines.append(f"  model     {model}, {origin}")
    # Of every seed all that the model is made of.
    weights = build / "models" / model
    files = sorted(weights.rglob("*.safetensors"))
    lines += [f"            {path}, sha256 {short_sha256(path)}" for path in files]
    if not files:
        lines.append(f"            {weights} holds no weights: it has not run here")
    chain = stages_behind(stage, pipeline, variants, jobs)
    # The plan merges files in no time, and leaves no record.
    stages = [own for own in chain if own != "plan"]
    lines += ["its data", *data_behind(stages, jobs, build, tested)]
    lines += ["its jobs, as resolved from params.yaml and variants.yaml"]
    lines += settings_of(stages, jobs, plan)
    lines.append("made by")
    lines += [
        made_by(own, read_record(own, results / "provenance"), jobs.get(job_of(own)))
        for own in stages
    ]
    return [*lines, "an edit of any of these reruns it", *code_behind(chain)]


def _rerun(
    cell: Cell, row: Json, role: str, metric: str, variants: Json, job: Json, model: str,
    build: Path,
) -> str:  # fmt: skip
    """The line with this run's number; of this model's metrics alone, the others need not be."""
    kind, _, name = model.partition("/")
    folder = build / ("evaluate-tokenizer" if kind == "tokenizer" else "evaluate") / name
    if (folder / SKIPPED).exists():
        return f"  rerun     none: {json.loads((folder / SKIPPED).read_text())['skip']}"
    path = folder / ("per_pose.parquet" if kind == "tokenizer" else "per_image.parquet")
    if not path.exists():
        return f"  rerun     none: {path} is missing, it has not run here"
    frame = load_metrics(path)
    rerun = Rerun(poses={name: frame}) if kind == "tokenizer" else Rerun(images={name: frame})
    measured = rerun_samples(variants, {**job, "short": []}, rerun)(cell)
    if isinstance(measured, str):
        return f"  rerun     none: {measured}"
    seeds = frame["seed"].nunique() if "seed" in frame else 1
    return (
        f"  rerun     {measured.values.to_numpy().mean():.2f} mm on {job['names'][role]}, "
        f"n = {len(measured.values)} in {measured.sequences.nunique()} sequences"
        + (f", {seeds} seeds" if seeds > 1 else "")
        + f" ({path}, sha256 {short_sha256(path)})"
    )


def _timed(path: Path, row: Json, repeats: int, tested: str) -> str:
    """The line with a time of this machine."""
    place = timed_as(row)
    try:
        timing = json.loads(path.read_text())
        value = timing["aiti"].get(place)
    except (OSError, ValueError, KeyError):
        return f"  rerun     none: {path} is missing or damaged, it has not run here"
    if value is None:
        return f"  rerun     none: {place} is not among the times of {path}"
    device = timing.get("device", "device")
    rounds = timing.get("rounds", {}).get(place, ())
    interval = between_rounds(*(median_end(rounds, share) for share in (0.025, 0.975)))
    return (
        f"  rerun     {value:.4f} s{interval} on this machine's {device}: the first image of "
        f"{tested}, median of {repeats}, with all that comes before ({path}, {place})"
    )
