"""`python -m bench explain 2:5:3dpw:mpjpe`: a printed number, walked back to what made it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.claims import Cell, Ledger
from bench.claims_report import rerun_samples
from bench.inputs import needs_of, read_jobs
from bench.provenance import edits, record_name
from bench.status import METRICS
from bench.tables_latex import METRIC_NAMES
from bench.tidy import REPORTED_NAMES, key_columns, model_of, read_rerun
from genhmr.data.digest import sha256_of
from genhmr.types import UserError

Json = dict[str, Any]


def find_cell(place: str, variants: Json, ledger: Ledger) -> tuple[Cell, Json]:
    """Reads ``<table>:<row>:<data set>:<metric>``.

    Args:
        place: the row by its keys in the paper's order, separated by commas
            (``11:cosine,5:emdb:mve``); the data set by the paper's name, its kind, or its role.
        variants: content of variants.yaml.
        ledger: the paper's tables.

    Returns:
        The cell of the paper, and the row of variants.yaml that reruns it.

    Raises:
        UserError: no such table, row, data set or metric; the sentence names those there are.
    """
    parts = place.split(":")
    if len(parts) != 4:
        raise UserError(f"'{place}' is not <table>:<row>:<data set>:<metric>, as 2:5:3dpw:mpjpe.")
    number, row_name, dataset, metric = parts
    number = number.zfill(2)
    if number not in variants["tables"]:
        known = ", ".join(str(int(n)) for n in variants["tables"])
        raise UserError(f"table {int(number) if number.isdigit() else number} is not rerun; "
                        f"choose one of {known}.")  # fmt: skip
    reported, spec = ledger.table(number), variants["tables"][number]
    keys = [key for key in key_columns(reported) if key in spec["rows"][0]]
    rows = {",".join(str(row[key]) for key in keys): row for row in spec["rows"]}
    if row_name not in rows:
        raise UserError(f"table {int(number)} has no row '{row_name}'; choose {', '.join(rows)}.")
    kinds = {}
    for role, entry in variants["datasets"].items():
        for name in (role, entry["kind"], entry["open"], REPORTED_NAMES[entry["kind"]].lower()):
            kinds[name] = entry["kind"]
    column = f"{kinds.get(dataset.lower())}_{metric.lower().replace('-', '_')}"
    if column not in reported:
        told = [c.replace("_", ":", 1) for c in reported if c.endswith(METRICS)]
        raise UserError(
            f"table {int(number)} has no {dataset} {metric}; its columns are {', '.join(told)}."
        )
    return Cell(number, tuple((key, rows[row_name][key]) for key in keys), column), rows[row_name]


def stages_behind(
    wanted: str, pipeline: Json, variants: Json, jobs: dict[str, Json], root: Path = Path()
) -> dict[str, list[str]]:
    """The stages that a stage needs, itself first, with the files each depends on.

    A stage that has its dependencies in one file of ``build/inputs`` is shown with what that file
    stands for.

    Args:
        wanted: for example "evaluate@base".
        pipeline: content of dvc.yaml.
        variants: content of variants.yaml, over which the stages are repeated.
        jobs: job by path, see :func:`bench.plan.build_jobs`.
        root: of the repository.
    """
    whole: dict[str, tuple[list[str], list[str]]] = {}
    for name, stage in pipeline["stages"].items():
        if "foreach" not in stage:
            whole[name] = (stage["deps"], _paths(stage["outs"]))
            continue
        items = variants[stage["foreach"].strip("${}")]
        for key, item in items.items():
            def fill(text: str, key: str = key, item: Any = item) -> str:
                text = text.replace("${key}", key)
                if isinstance(item, dict):
                    for field, value in item.items():
                        text = text.replace(f"${{item.{field}}}", str(value))
                return text

            deps = [fill(path) for path in stage["do"]["deps"]]
            whole[f"{name}@{key}"] = (deps, [fill(p) for p in _paths(stage["do"]["outs"])])
    found: dict[str, list[str]] = {}
    waiting = [wanted]
    while waiting:
        name = waiting.pop(0)
        if name in found:
            continue
        deps = [path for dep in whole[name][0] for path in _behind(dep, jobs, root)]
        found[name] = deps
        for other, (_, outs) in whole.items():
            needs = any(d == o or d.startswith(f"{o}/") for d in deps for o in outs)
            if other not in found and needs:
                waiting.append(other)
    return found


def _behind(dep: str, jobs: dict[str, Json], root: Path) -> list[str]:
    """What a file of build/inputs stands for; any other dependency as it is."""
    parts = Path(dep).parts
    if parts[:2] != ("build", "inputs"):
        return [dep]
    kind, name = parts[2], Path(parts[3]).stem
    needs = needs_of(kind, name, jobs, root)
    data = [f"build/data/{split}" for split in needs.data]
    models = [f"build/models/{model}" for model in needs.models]
    return [f"build/plan/{kind}/{name}.json", *needs.code, *needs.files, *data, *models]


def _paths(outs: list) -> list[str]:
    return [next(iter(out)) if isinstance(out, dict) else out for out in outs]


def _record(stage: str, folder: Path) -> Json | None:
    """The provenance of a stage, None where it never ran."""
    name, _, key = stage.partition("@")
    path = folder / f"{record_name(name, key)}.json"
    return json.loads(path.read_text()) if path.exists() else None


def took(record: Json) -> str:
    """Which seeds a training took from earlier runs, as the end of a sentence."""
    return "".join(
        f"; seed {seed} from {made['ended'][:10]}, commit {str(made['commit'])[:10]}"
        f"{edits(made)}, {made['seconds']:g} s"
        for seed, made in record.get("taken", {}).items()
    )


def _sha256(path: Path) -> str:
    return sha256_of(path)[:16] if path.exists() else "not there"


def explain(place: str, variants: Json, pipeline: Json, build: Path, results: Path) -> str:
    """The whole text of the command.

    Args:
        place: see :func:`find_cell`.
        variants: content of variants.yaml.
        pipeline: content of dvc.yaml.
        build: folder of the jobs, models and metrics.
        results: folder of the provenance.

    Raises:
        UserError: no such cell, or the pipeline has not been planned.
    """
    ledger = Ledger(Path("bench/reported"))
    cell, row = find_cell(place, variants, ledger)
    try:
        job = json.loads((build / "plan" / "tables.json").read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{build}/plan is missing: run `python -m bench plan`.") from error
    kind, _, metric = cell.column.partition("_")
    role = next(r for r, entry in variants["datasets"].items() if entry["kind"] == kind)
    spec = variants["tables"][cell.table]
    title = f"Table {int(cell.table)}, {cell}: {METRIC_NAMES[metric]} on {REPORTED_NAMES[kind]}"
    lines = [title, f"  reported  {ledger.value(cell):g} mm"]
    rerun = read_rerun(build, variants, job)
    measured = rerun_samples(variants, {**job, "short": []}, rerun)(cell)
    if isinstance(measured, str):
        lines.append(f"  rerun     none: {measured}")
    else:
        lines.append(
            f"  rerun     {measured.values.mean():.2f} mm on {job['names'][role]}, "
            f"n = {len(measured.values)} in {measured.sequences.nunique()} sequences"
        )
    jobs = read_jobs(build / "plan")
    model = model_of(row, spec, job)
    name = model.partition("/")[2]
    if model in job["skipped"]:
        return "\n".join([*lines, f"  model     {model}, {job['skipped'][model]}"])
    if "tokenizer" in row:
        stage = f"evaluate-tokenizer@{name}"
        checkpoint = build / "models" / model / "tokenizer.safetensors"
        setting: Json = {}
    else:
        stage = f"evaluate@{name}"
        checkpoint = build / "models" / model / "genhmr.safetensors"
        setting = jobs[f"evaluate/{name}.json"]["settings"][row["setting"]]
    trained = jobs[f"{model}.json"]
    origin = "exported from datasets/open/weights" if trained.get("weights") else "trained here"
    if model in job["short"]:
        origin += ", too briefly to rank"
    lines += [
        f"  world     {job['source']}, profile {job['profile']}",
        f"  setting   {row.get('setting', '-')} {json.dumps(setting, sort_keys=True)}",
        f"  model     {model}, {origin}; sha256 {_sha256(checkpoint)} ({checkpoint})",
    ]
    for split in sorted((build / "data" / role).glob("*/manifest.json")):
        lines.append(f"  data      {split.parent}, manifest sha256 {_sha256(split)}")
    chain = stages_behind(stage, pipeline, variants, jobs)
    lines.append("made by")
    for name in chain:
        if name == "plan":
            continue  # merges files in no time, and leaves no record
        record = _record(name, results / "provenance")
        if record is None:
            lines.append(f"  {name:24s} has no record: it has not run here")
            continue
        machine = record["gpu"] or f"{record['cores']} x {record['processor']}"
        made = f"commit {str(record['commit'])[:10]}{edits(record)}"
        lines.append(
            f"  {name:24s} {record['command']}  ({made}, {record['started'][:10]}, "
            f"{record['seconds']:g} s, {machine}{took(record)})"
        )
    code = {dep for deps in chain.values() for dep in deps if not dep.startswith("build/")}
    lines += ["an edit of any of these reruns it"]
    planning = {"variants.yaml", "bench/params.py", "bench/plan.py", "bench/plan_models.py"}
    folders: dict[str, list[str]] = {}
    for dep in sorted(code - planning):
        if not dep.endswith("__init__.py"):
            folders.setdefault(str(Path(dep).parent), []).append(Path(dep).name)
    lines += [f"  {folder}: {', '.join(names)}" for folder, names in folders.items()]
    lines.append("  params.yaml, variants.yaml: where it changes a job under build/plan above")
    return "\n".join(lines)
