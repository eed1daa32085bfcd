"""What `python -m bench plan` prints: one line on what will run, and the forecast as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.forecast import Line

Json = dict[str, Any]
CPU, GPU = "2 cores of an AMD EPYC", "one H100"


def together(lines: Sequence[Line]) -> Line:
    """The sum of a forecast."""
    fields = ("count", "cpu", "gpu", "size")
    return Line("together", *(sum(getattr(line, field) for line in lines) for field in fields))


def words(seconds: float) -> str:
    """A time as a person says it: "16 min", "29 h", "3,159,747 h"."""
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.0f} h"


def headline(params: Json, variants: Json, jobs: dict[str, Json], lines: Sequence[Line]) -> str:
    """What will run and about how long, in one line.

    Args:
        params: content of params.yaml, with the profile and the source that are meant.
        variants: content of variants.yaml.
        jobs: see :func:`bench.plan.build_jobs`.
        lines: their forecast, whose sum is printed.
    """
    profile = variants["profiles"][params["profile"]]
    running = {name: job for name, job in jobs.items() if "skip" not in job}
    count = {
        kind: sum(name.startswith(f"{kind}/") for name in running)
        for kind in ("data", "tokenizer", "evaluate")
    }
    trained = [
        len(job.get("seeds", (0,)))
        for job in running.values()
        if "weights" in job and not job["weights"] and not job.get("import")
    ]
    models = f"{len(trained)} models to train"
    if sum(trained) > len(trained):
        models += f" in {sum(trained)} trainings (seeds)"
    turned = params["models"] or params["weights"] != "profile" or params["seeds"]
    about = "parts of it, other weights or seeds, by params.yaml" if turned else profile["about"]
    total = together(lines)
    estimate = (
        f"{words(total.cpu)} on {CPU}, {words(total.gpu)} on {GPU}, {total.size / 1e9:,.1f} GB"
    )
    if "minutes" in profile and not turned and params["data"]["source"] == "open":
        time = (
            f"All of it took up to {profile['minutes']} min as `dvc repro` on {CPU}, measured; "
            f"its jobs one by one are estimated at {estimate}."
        )
    else:
        time = f"Never run as a whole; estimated at {estimate}."
    return (
        f"profile {params['profile']} ({about}), {params['data']['source']} data: "
        f"{count['data']} data sets, {models}, {count['tokenizer']} tokenizers and "
        f"{count['evaluate']} transformers to evaluate, then the tables. {time}"
    )


def table(lines: Sequence[Line]) -> str:
    """A forecast as a table, with its sum and what the estimate rests on."""
    rows = [f"{'stage':18s} {'jobs':>5s} {'CPU hours':>14s} {'GPU hours':>12s} {'disk':>12s}"]
    for line in [*lines, together(lines)]:
        rows.append(
            f"{line.kind:18s} {line.count or '-':>5} {line.cpu / 3600:14,.2f} "
            f"{line.gpu / 3600:12,.2f} {line.size / 1e9:9,.2f} GB"
        )
    beside = {
        "second copies": "the finished seeds that build/scratch keeps for a later run",
        "checkpoint": "of the largest training, while it runs",
    }
    rows += [f"({line.kind}: {beside[line.kind]})" for line in lines if line.kind in beside]
    return "\n".join([
        *rows,
        f"(CPU: seconds measured on {CPU} at the open world's sizes, scaled by operations; a "
        "training is one process on one core, `torchrun` with two takes about half)",
        f"(GPU: operation counts at a third of the peak of {GPU}, but no step shorter than on an "
        "H200, where backbone and transformer were measured; one job after another; what has no "
        "use for one as on the CPU)",
        "(disk: shards, models and metrics under build; DVC's cache is a second copy of them where "
        "the file system has no reflinks, and the raw releases are not counted)",
    ])  # fmt: skip
