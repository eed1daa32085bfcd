"""What ran, on what and when, and what its numbers must not be taken for."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from bench.report.html import number, row, table, td, text, th
from bench.report.inputs import Run
from bench.report.tables import AITI, split_sets
from bench.status import models_left_out

Json = dict[str, Any]


def facts(run: Run, world: str) -> str:
    """Profile, data, code, machine and time, from the records of the stages."""
    told = list(run.records.values())
    commits = Counter(
        str(r.get("commit") or "unknown")[:12] + (" + changes" * bool(r.get("uncommitted_changes")))
        for r in told
    )
    machines = Counter(
        f"{r.get('processor')}, {r.get('cores')} cores, {r.get('gpu') or 'no GPU'}" for r in told
    )
    versions: dict[str, dict[str, None]] = {}
    for record in told:
        for name, version in {"python": record.get("python"), **record["packages"]}.items():
            versions.setdefault(name, {})[str(version)] = None
    scale = {name: by for name, by in run.job.get("scale", {}).items() if by != 1}
    sizes = "as the paper's"
    if scale:
        sizes = "; ".join(f"{n.replace('_', ' ')} divided by {by}" for n, by in scale.items())
    told_of = {
        "Profile": run.job["profile"],
        "Data": world,
        "Sizes": sizes,
        **_kept(run),
        "Commit": "; ".join(f"{c} ({n} stages)" for c, n in commits.most_common()),
        "Ran": _span(told),
        "Hardware": "; ".join(m for m, _ in machines.most_common()),
        "Versions": ", ".join(f"{name} {' / '.join(found)}" for name, found in versions.items()),
    }
    items = [
        f"<div><dt>{name}</dt><dd>{text(value or 'no record')}</dd></div>"
        for name, value in told_of.items()
    ]
    return f'<dl class="facts">{"".join(items)}</dl>\n'


def _kept(run: Run) -> Json:
    """The committed run that stands beside: another base, and maybe other crops."""
    if run.reference is None:
        return {}
    about = run.kept_about or "no record of its crops and weights"
    return {"Committed open run": f"{about}, other images and trainings than this run's"}


def _seconds(record: Json) -> float:
    """Time of a stage, with that of the seeds that it took from earlier runs."""
    return sum(float(part["seconds"]) for part in (record, *record.get("taken", {}).values()))


def _span(told: list[Json]) -> str:
    """First start, last end, and the time of all stages together."""
    if not told:
        return ""
    total = timedelta(seconds=round(sum(_seconds(record) for record in told)))
    first = when(min(r["started"] for r in told))
    last = max(told, key=lambda r: r["started"])
    end = datetime.fromisoformat(last["started"]) + timedelta(seconds=float(last["seconds"]))
    until = when(end.isoformat())
    until = until.removeprefix(first[:11]) if until != first else until
    return f"{first} to {until} UTC, {total} of work in {len(told)} stages"


def banner(run: Run) -> str:
    """What the numbers must not be taken for."""
    job, notes = run.job, []
    if job["source"] == "open":
        pairs = {split_sets(name) for compared in run.tables.values() for name in
                 compared["dataset"][compared["metric"] != AITI]}  # fmt: skip
        roles = ", ".join(f"{own} for {paper}" for own, paper in sorted(pairs) if own != paper)
        notes.append(
            "<b>These are not 3DPW, EMDB or Human3.6M numbers.</b> The run measured stand-ins of "
            f"the open world: {text(roles)}. Its millimetres say nothing of the paper's; compare "
            "directions, orderings and effect sizes."
        )
    if job.get("short"):
        kinds = [name.partition("/")[0] for name in job["short"]]
        counts = " and ".join(f"{kinds.count(k)} {k}s" for k in dict.fromkeys(kinds))
        notes.append(
            "<b>Short trainings rank nothing.</b> Trained too briefly to be compared with each "
            f"other: {counts}; their rows say so."
        )
    if job["profile"] == "smoke":
        notes.append("<b>A smoke run</b> shows that every stage works, and no more.")
    if missing := models_left_out(job):
        notes.append(f"This run leaves {len(missing)} models out; their rows are not run.")
    body = "".join(f"<p>{note}</p>" for note in notes)
    return (
        f'<aside class="banner" aria-label="What these numbers are">{body}</aside>\n'
        if body
        else ""
    )


def records(run: Run) -> str:
    """Every stage that left a record, in the order in which they started."""
    rows = []
    for record in sorted(run.records.values(), key=lambda record: record["started"]):
        commit = str(record.get("commit") or "unknown")[:12]
        if record.get("uncommitted_changes"):
            commit += " + changes"
        command = f"<code>{text(record['command'])}</code>"
        if "taken" in record:
            command += f", seeds {text(', '.join(record['taken']))} taken from earlier runs"
        if runs := record.get("went_on_from"):
            earlier = "an earlier run" if len(runs) == 1 else f"{len(runs)} earlier runs"
            command += f", went on from {earlier} (the time is of the last)"
        rows.append(
            row(
                th(command, "row"),
                td(text(when(record["started"]))),
                td(number(_seconds(record)), "number"),
                td(text(record.get("peak_memory_mb", "–")), "number"),
                td(f"<code>{text(commit)}</code>"),
            )
        )
    head = row(
        th("Command"), th("Started (UTC)"), th("Time (s)", kind="number"),
        th("Memory (MB)", kind="number"), th("Commit"),
    )  # fmt: skip
    return table([head], rows, "Every stage that ran")


def when(moment: str) -> str:
    """An ISO time as date, hour and minute."""
    return datetime.fromisoformat(moment).strftime("%Y-%m-%d %H:%M")
