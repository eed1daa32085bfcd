"""The stages behind a number: what made each, with which settings, from which data and files."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from bench.inputs import needs_of
from bench.pipeline import feeds, stages_of
from bench.provenance import edits, job_digest, record_name
from genhmr.data.digest import sha256_of

Json = dict[str, Any]
# Of a job: what is said elsewhere, or by the path of the job.
NOT_SETTINGS = ("settings", "sets", "optional", "role")
# What a job states of a training that shipped weights did not have.
UNUSED = ("train", "losses", "gumbel", "mask_tau", "train_on", "seeds", "seed", "short")
PLANNING = (
    "variants.yaml", "bench/params.py", "bench/plan.py", "bench/plan_checks.py",
    "bench/plan_models.py", "bench/plan_options.py", "bench/plan_rules.py",
)  # fmt: skip


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
    stages = stages_of(pipeline, variants)
    found: dict[str, list[str]] = {}
    waiting = [wanted]
    while waiting:
        name = waiting.pop(0)
        if name in found:
            continue
        deps = [path for dep in stages[name].deps for path in _behind(dep, jobs, root)]
        found[name] = deps
        waiting += [o for o, stage in stages.items() if o not in found and feeds(stage.outs, deps)]
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


def job_of(stage: str) -> str:
    """Path of a stage's job under build/plan: "data@wild" -> "data/wild.json"."""
    kind, _, key = stage.partition("@")
    return f"{kind}/{key or 'base'}.json"


def short_sha256(path: Path) -> str:
    """The first 16 digits; words where there is no such file."""
    return sha256_of(path)[:16] if path.exists() else "not there"


def read_record(stage: str, folder: Path) -> Json | None:
    """The provenance of a stage, None where it never ran."""
    name, _, key = stage.partition("@")
    path = folder / f"{record_name(name, key)}.json"
    return json.loads(path.read_text()) if path.exists() else None


def took(record: Json) -> str:
    """Which seeds and checkpoints a training took from earlier runs, as the end of a sentence."""
    seeds = [
        f"; seed {seed} from {made['ended'][:10]}, {_commit(made)}, {made['seconds']:g} s"
        for seed, made in record.get("taken", {}).items()
    ]
    runs = [f"{run['started'][:10]}, {_commit(run)}" for run in record.get("went_on_from", ())]
    return "".join(seeds + [f"; went on from {run}" for run in dict.fromkeys(runs)])


def _commit(record: Json) -> str:
    commit = record["commit"]
    return (f"commit {commit[:10]}" if commit else "no commit") + edits(record)


def made_by(stage: str, record: Json | None, job: Json | None = None) -> str:
    """One line: command, code, day, time and machine of a stage.

    Args:
        stage: its name.
        record: see :func:`read_record`.
        job: as planned now; a record of another one says so.
    """
    if record is None:
        return f"  {stage:24s} has no record: it has not run here"
    machine = record["gpu"] or f"{record['cores']} x {record['processor']}"
    other = job is not None and record["job_sha256"] != job_digest(job)
    return (
        f"  {stage:24s} {record['command']}  ({_commit(record)}, {record['started'][:10]}, "
        f"{record['seconds']:g} s, {machine}{took(record)})"
        + ("; PLANNED OTHERWISE since, with the settings above" if other else "")
    )


def _flat(tree: Json, prefix: str = "") -> Iterable[str]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}={json.dumps(value)}".replace('"', "")


def in_lines(tree: Json, indent: str = "    ") -> list[str]:
    """A job's values as ``a.b=value``, as many on a line as it holds."""
    words = ", ".join(item.replace(" ", "\xa0") for item in _flat(tree))
    lines = textwrap.wrap(words, 100, initial_indent=indent, subsequent_indent=indent,
                          break_long_words=False, break_on_hyphens=False)  # fmt: skip
    return [line.replace("\xa0", " ") for line in lines]


def settings_of(stages: Iterable[str], jobs: dict[str, Json], plan: Path) -> list[str]:
    """The resolved settings of every stage, under the path of its job.

    Of shipped weights those that the file itself states: the job's own were not used.

    Args:
        stages: of the chain.
        jobs: job by path.
        plan: folder of the jobs.
    """
    lines = []
    for path in map(job_of, stages):
        if path not in jobs:
            continue
        job = jobs[path]
        shown = {key: value for key, value in job.items() if key not in NOT_SETTINGS}
        if shown.get("generate") == shown.get("counts"):
            shown.pop("generate", None)
        if all(name == split for split, name in shown.get("splits", {}).items()):
            shown.pop("splits", None)
        if isinstance(shown.get("model"), str):
            shown.pop("model")
        weights = job.get("weights")
        if weights:
            shown = {key: value for key, value in shown.items() if key not in UNUSED}
        lines += [f"  {plan / path}", *in_lines(shown)]
        if weights:
            lines.append(f"    nothing is trained; of its training {weights} says")
            lines += in_lines(stated_by(Path(weights)), "      ")
    return lines


def stated_by(weights: Path) -> Json:
    """What a safetensors file of this suite says of its training, read without torch.

    Returns:
        The entries ``about`` or ``recipe`` of its header; words where there is no such file.
    """
    try:
        with safe_open(weights, framework="numpy") as file:
            config = json.loads(file.metadata()["config"])
    except (OSError, SafetensorError, KeyError, TypeError):
        return {"training": "not readable"}
    return config.get("about") or config.get("recipe") or {"training": "not stated"}


def data_behind(
    stages: Iterable[str], jobs: dict[str, Json], build: Path, tested: str, root: Path = Path()
) -> list[str]:
    """The manifest of every shard in the chain, and which stages it went into.

    Args:
        stages: of the chain.
        jobs: job by path.
        build: folder of the shards.
        tested: the split that the number is about, as "wild/test"; of other test sets of the same
            evaluation nothing is in it.
        root: of the repository.
    """
    used: dict[str, list[str]] = {tested: []}
    for stage in stages:
        kind, _, key = stage.partition("@")
        if kind == "data" or job_of(stage) not in jobs:
            continue
        for split in needs_of(kind, key or "base", jobs, root).data:
            if split == tested or kind not in ("evaluate", "evaluate-tokenizer"):
                used.setdefault(split, []).append(stage)
            elif kind == "evaluate" and split.endswith("/train"):
                used.setdefault(split, []).append(f"{stage} (mean pose)")
    lines = []
    for split, names in used.items():
        manifest = build / "data" / split / "manifest.json"
        lines.append(
            f"  {manifest.parent}, manifest sha256 {short_sha256(manifest)}: {', '.join(names)}"
        )
    return lines


def code_behind(chain: dict[str, list[str]]) -> list[str]:
    """The files whose edit reruns the number, a line a folder."""
    files = {dep for deps in chain.values() for dep in deps if not dep.startswith("build/")}
    folders: dict[str, list[str]] = {}
    for dep in sorted(files - set(PLANNING)):
        if not dep.endswith("__init__.py"):
            folders.setdefault(str(Path(dep).parent), []).append(Path(dep).name)
    lines = [f"  {folder}: {', '.join(names)}" for folder, names in folders.items()]
    return [*lines, "  params.yaml, variants.yaml: where it changes one of the jobs above"]
