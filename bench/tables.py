"""The 16 tables of the paper: what was rerun beside the reported numbers, the rest as not run.

One tidy frame, a line a number (``bench.tidy``), is the source of the CSV, the LaTeX and the
comparison.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from bench.kept import NUMBERS, about_kept, attach, read_kept
from bench.layout import DATASETS, SIDES, Printed, as_printed, lay_out, notes_on
from bench.ledger import AITI, TIME, read_deltas, read_ledger, read_reported
from bench.status import METHODS
from bench.tables_latex import latex, latex_all
from bench.tidy import build_table, read_rerun

Json = dict[str, Any]

# What the name of a column begins with.
_PREFIX = {"reported": "reported_", "open_run": "open_run_", "rerun": ""}


def wide(table: Printed) -> pd.DataFrame:
    """The table as the paper lays it out, reported, open run's and rerun's columns side by side.

    Columns are ``reported_<dataset>_<metric>`` for the paper's number, ``open_run_<dataset>_...``
    for the committed open run's where there is one, ``<dataset>_<metric>`` for the rerun's; in
    tables that print differences each is followed by its ``..._delta``, and the paper's by
    ``..._delta_recomputed`` where its own numbers give another one. Then ``n_<dataset>``
    and the status of each run, and the paper's note on the row where the table has any.
    """
    tidy = table.tidy
    differences = tidy["reported_delta"].notna().any()
    recomputed = "reported_delta_recomputed"
    wrong = tidy[tidy[recomputed].notna()] if recomputed in tidy else tidy[:0]
    wrong = set(zip(wrong["stands_for"], wrong["metric"]))
    rows = []
    for _, group in tidy.groupby("row", sort=False):
        row: Json = {key: group[key].iloc[0] for key in table.keys}
        for line in group.to_dict("records"):
            metric = line["metric"]
            for side in table.sides:
                digits = table.decimals(metric, side)
                name = f"{_PREFIX[side]}{line[DATASETS[side]]}_{metric}"
                if metric == TIME:
                    name = _PREFIX[side] + AITI
                row[name] = round(line[side], digits)
                if differences:
                    row[f"{name}_delta"] = round(line[f"{side}_delta"], digits)
                if side == "reported" and (line["stands_for"], metric) in wrong:
                    row[f"{name}_delta_recomputed"] = round(line[recomputed], digits)
        row |= _runs(group[group["metric"] != TIME], table.sides)
        if any("rows" in note for note in table.notes):
            row["note"] = " ".join(note["text"] for note in notes_on(row, table.notes))
        rows.append(row)
    return pd.DataFrame(rows)


def _runs(scored: pd.DataFrame, sides: list[str]) -> Json:
    """How many images and which status a row has, of each run."""
    told: Json = {}
    for side, count in (("open_run", "open_n"), ("rerun", "n")):
        if side in sides:
            names = _PREFIX[side] + "n_" + scored[DATASETS[side]]
            told |= dict(zip(names, scored[count]))
    for side in sides:
        if status := SIDES[side]:
            told[_PREFIX[side] + "status"] = "; ".join(dict.fromkeys(scored[status]))
    return told


def write_tables(variants: Json, job: Json, build: Path, reported: Path, out: Path) -> None:
    """Writes ``tables/`` (CSV, LaTeX), ``compare/``, ``numbers.csv`` and ``summary.json``.

    All tables of the ledger are written; those that variants.yaml does not rerun say so.
    ``numbers.csv`` holds the tidy frame of all of them. Where a run of profile `open` is kept in
    ``out/open``, its numbers are the third column of every comparison.

    Args:
        variants: content of variants.yaml.
        job: ``build/plan/tables.json``.
        build: folder with ``evaluate/`` and ``evaluate-tokenizer/``.
        reported: folder of the paper's CSVs.
        out: the results folder.
    """
    rerun, kept = read_rerun(build, variants, job), read_kept(out / "open")
    written: dict[str, Printed] = {}  # nothing is written before every table could be made
    world = "the open world" if job["source"] == "open" else "licensed data"
    about = about_kept(out / "open")
    blocks = {
        "reported": "the numbers that the paper prints",
        "open_run": "the committed run of profile open in the open world (results/open"
        f"{', ' * bool(about)}{about})",
        "rerun": f"this run, profile {job['profile']} in {world}",
    }
    for number, entry in read_ledger(reported).items():
        paper = read_reported(reported / f"table{number}.csv")
        spec = variants["tables"].get(number, {"rows": []})
        tidy, keys = build_table(number, entry, spec, variants["datasets"], job, paper, rerun)
        layout = entry.get("layout", {})
        tidy = lay_out(attach(tidy, kept), layout)
        if {"better_than_others", "delta_from"} & set(layout):
            deltas = read_deltas(reported / f"delta{number}.csv", paper)
            tidy = as_printed(tidy, deltas, paper, entry)
        written[number] = Printed(tidy, keys, int(number), entry, blocks)
    for folder in ("tables", "compare"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for number, table in written.items():
        name = f"table{number}"
        wide(table).to_csv(out / "tables" / f"{name}.csv", index=False)
        (out / "tables" / f"{name}.tex").write_text(latex(table))
        _comparison(table).to_csv(out / "compare" / f"{name}.csv", index=False)
    (out / "tables" / "all.tex").write_text(latex_all(list(written.values())))
    numbers = pd.concat([table.tidy.drop(columns=table.keys) for table in written.values()])
    numbers.to_csv(out / NUMBERS, index=False)
    summary = summarise(rerun.images, rerun.poses, job["names"])
    (out / "summary.json").write_text(json.dumps(summary, indent=1, sort_keys=True) + "\n")


def _comparison(table: Printed) -> pd.DataFrame:
    """One line a number: ``row, dataset, metric, reported``, of the rerun ``rerun, low, high, n,
    seeds, tolerance, status``, see :func:`bench.tidy.build_table`,
    and ``open_run, open_low, ... open_status`` after the reported one where a run is kept.
    """
    tidy = table.tidy
    beside = [
        own if own == paper else f"{own} beside {paper}"
        for own, paper in zip(tidy["dataset"], tidy["stands_for"])
    ]
    # One digit more than the paper prints, so that small differences between rows are seen.
    digits = [table.entry["decimals"][metric] + 1 for metric in tidy["metric"]]
    ran = ["rerun", "low", "high", "n", "seeds", "tolerance", "status"]
    opened = ["open_run", "open_low", "open_high", "open_n", "open_seeds", "open_status"]
    told = [*(opened if "open_run" in tidy else ()), *ran]
    rounded = {
        name: [round(value, places) for value, places in zip(tidy[name], digits)]
        for name in told
        if name.endswith(("run", "low", "high", "tolerance"))
    }
    return tidy.assign(dataset=beside, **rounded)[["row", "dataset", "metric", "reported", *told]]


def summarise(
    images: dict[str, pd.DataFrame], poses: dict[str, pd.DataFrame], names: dict[str, str]
) -> Json:
    """The few numbers that `dvc metrics show` prints, in millimetres, by set and method."""
    summary: Json = {}
    metrics = ["mpjpe", "pa_mpjpe", "mve"]
    for model, frame in images.items():
        wanted = frame[frame["setting"].isin(METHODS)]
        for (role, setting), group in wanted.groupby(["role", "setting"]):
            means = group[metrics].mean(skipna=False).round(2).to_dict()
            entry = summary.setdefault(model, {}).setdefault(names[role], {})
            entry[setting] = {**means, "n": group["key"].nunique()}
    for tokenizer, frame in poses.items():
        for role, group in frame.groupby("role"):
            entry = summary.setdefault("tokenizers", {}).setdefault(tokenizer, {})
            means = group[metrics].mean(skipna=False).round(2).to_dict()
            entry[names[role]] = {**means, "n": group["key"].nunique()}
            if "seed" in group:
                entry[names[role]]["seeds"] = group["seed"].nunique()
    return summary
