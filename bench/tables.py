"""The 16 tables of the paper: what was rerun beside the reported numbers, the rest as not run.

One tidy frame, a line a number (``bench.tidy``), is the source of the CSV, the LaTeX and the
comparison.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from bench.kept import NUMBERS, attach, read_kept
from bench.layout import lay_out
from bench.status import METHODS
from bench.tables_latex import Printed, latex, latex_all
from bench.tidy import build_table, read_ledger, read_reported, read_rerun


def wide(tidy: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The table as the paper lays it out, rerun and reported columns side by side.

    Columns are ``<dataset>_<metric>`` for the rerun, ``reported_<dataset>_<metric>`` for the
    paper's number, in tables that print differences each followed by its ``..._delta``, then one
    ``n_<dataset>`` a set and the status of the row.
    """
    deltas = tidy["reported_delta"].notna().any()
    rows = []
    for _, group in tidy.groupby("row", sort=False):
        row: dict[str, Any] = {key: group[key].iloc[0] for key in keys}
        for _, line in group.iterrows():
            if line["metric"] == "aiti":
                row["aiti_s"] = round(line["rerun"], 4)
                row["reported_aiti_s"] = line["reported"]
                continue
            for name, side in (
                (f"{line['dataset']}_{line['metric']}", "rerun"),
                (f"reported_{line['stands_for']}_{line['metric']}", "reported"),
            ):
                row[name] = round(line[side], 1)
                if side == "reported" and "open_run" in tidy:
                    row[f"open_run_{line['metric']}_{line['role']}"] = round(line["open_run"], 1)
                if deltas:
                    row[f"{name}_delta"] = round(line[f"{side}_delta"], 1)
        scored = group[group["metric"] != "aiti"]
        row |= {f"n_{name}": n for name, n in zip(scored["dataset"], scored["n"])}
        row["status"] = "; ".join(dict.fromkeys(scored["status"]))
        rows.append(row)
    return pd.DataFrame(rows)


def write_tables(
    variants: dict[str, Any], job: dict[str, Any], build: Path, reported: Path, out: Path
) -> None:
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
    for number, entry in read_ledger(reported).items():
        paper = read_reported(reported / f"table{number}.csv")
        spec = variants["tables"].get(number, {"rows": []})
        tidy, keys = build_table(number, spec, variants["datasets"], job, paper, rerun)
        layout = entry.get("layout", {})
        tidy = attach(lay_out(tidy, layout), kept)
        title = f"Table {int(number)}. {entry['title']}: {entry['stage']}"
        checks = tuple(layout.get("checks", ()))
        written[number] = Printed(tidy, keys, title, checks)
    for folder in ("tables", "compare"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for number, table in written.items():
        name = f"table{number}"
        wide(table.tidy, table.keys).to_csv(out / "tables" / f"{name}.csv", index=False)
        (out / "tables" / f"{name}.tex").write_text(latex(table))
        _comparison(table.tidy).to_csv(out / "compare" / f"{name}.csv", index=False)
    (out / "tables" / "all.tex").write_text(latex_all(list(written.values())))
    numbers = pd.concat([table.tidy.drop(columns=table.keys) for table in written.values()])
    numbers.to_csv(out / NUMBERS, index=False)
    summary = summarise(rerun.images, rerun.poses, job["names"])
    (out / "summary.json").write_text(json.dumps(summary, indent=1, sort_keys=True) + "\n")


def _comparison(tidy: pd.DataFrame) -> pd.DataFrame:
    """One line a number: ``row, dataset, metric, reported, rerun, low, high, n, seeds, status``,
    and ``open_run, open_n`` after the reported one where a run is kept.
    """
    beside = [
        own if own == paper else f"{own} beside {paper}"
        for own, paper in zip(tidy["dataset"], tidy["stands_for"])
    ]
    digits = [4 if metric == "aiti" else 2 for metric in tidy["metric"]]
    rounded = {
        name: [round(value, places) for value, places in zip(tidy[name], digits)]
        for name in ("open_run", "rerun", "low", "high")
        if name in tidy
    }
    told = [name for name in (*rounded, "open_n", "n", "seeds") if name in tidy]
    columns = ["row", "dataset", "metric", "reported", *told, "status"]
    return tidy.assign(dataset=beside, **rounded)[columns]


def summarise(
    images: dict[str, pd.DataFrame], poses: dict[str, pd.DataFrame], names: dict[str, str]
) -> dict[str, Any]:
    """The few numbers that `dvc metrics show` prints, in millimetres, by set and method."""
    summary: dict[str, Any] = {}
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
