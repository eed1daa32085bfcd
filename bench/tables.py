"""The 16 tables of the paper: what was rerun beside the reported numbers, the rest as not run.

Everything here is computed from per-image metrics (parquet) and timings (JSON); no model is
loaded. One tidy frame, a line a number, is the source of the CSV, the LaTeX and the comparison.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from bench.tables_latex import METRIC_NAMES, latex, latex_all
from genhmr.types import UserError

REPORTED_NAMES = {
    "h36m": "Human3.6M",
    "coco": "COCO",
    "3dpw": "3DPW",
    "emdb": "EMDB",
    "amass": "AMASS",
    "moyo": "MOYO",
}
ROW_ONLY = ("setting", "tokenizer", "step")


def load_metrics(path: Path) -> pd.DataFrame:
    """Reads per-image metrics.

    Raises:
        UserError: the file is missing or is not parquet.
    """
    try:
        return pd.read_parquet(path)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: run the evaluation stage that writes it.") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not a readable parquet file: rerun its stage.") from error


def _read_timing(path: Path) -> dict[str, float]:
    """AITI in seconds by ``"setting/step"``; UserError where the file is missing or damaged."""
    try:
        return json.loads(path.read_text())["aiti"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} is missing or damaged: run the evaluation stage.") from error


def read_reported(path: Path) -> pd.DataFrame:
    """The paper's numbers of one table; UserError where the file is missing or damaged."""
    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is missing or damaged: restore bench/reported.") from error


def _reported(reported: pd.DataFrame, keys: dict[str, Any], column: str, table: str) -> float:
    row = reported
    for key, value in keys.items():
        row = row[row[key] == value]
    if len(row) != 1 or column not in row:
        raise UserError(
            f"bench/reported/table{table}.csv has {len(row)} rows with {keys} and "
            f"{'a' if column in reported else 'no'} column '{column}': one of each is needed."
        )
    return float(row[column].iloc[0])


def _mean(frame: pd.DataFrame, metric: str, **where: Any) -> tuple[float, int]:
    """Mean over the images of one setting, and how many they are; NaN and 0 where none ran."""
    for key, value in where.items():
        frame = frame[frame[key] == value]
    # A diverged image is NaN and must be seen: pandas would leave it out and still count it.
    mean = float(frame[metric].mean(skipna=False)) if len(frame) else float("nan")
    return mean, len(frame)


def build_table(
    number: str,
    spec: dict[str, Any],
    datasets: dict[str, dict[str, Any]],
    job: dict[str, Any],
    reported: pd.DataFrame,
    images: pd.DataFrame | None,
    timings: dict[str, float] | None,
    poses: dict[str, pd.DataFrame],
) -> pd.DataFrame:
    """The tidy frame of one table.

    Args:
        number: two digits, as in the file names.
        spec: the table's entry in variants.yaml.
        datasets: the ``datasets`` entry of variants.yaml.
        job: ``build/plan/tables.json``.
        reported: the paper's numbers.
        images: per-image metrics of the evaluated transformer (columns ``setting, step, role,
            key, mpjpe, pa_mpjpe, mve``), or None for a tokenizer table.
        timings: AITI in seconds by ``"setting/step"``.
        poses: per-pose metrics by tokenizer (columns ``role, key, mpjpe, pa_mpjpe, mve``).

    Returns:
        One line a number: ``table, row, role, dataset, stands_for, metric, reported, rerun, n,
        status`` and the key columns of the table.
    """
    lines = []
    for row in spec["rows"]:
        keys = {k: v for k, v in row.items() if k not in ROW_ONLY}
        for column in spec["columns"]:
            role, _, metric = column.rpartition(".")
            line = {**keys, "table": number, "row": ", ".join(f"{k}={v}" for k, v in keys.items())}
            if metric == "aiti":
                value = (timings or {}).get(f"{row['setting']}/{row.get('step', 0)}")
                n = 1 if value is not None else 0
                lines.append(
                    {
                        **line,
                        "role": "",
                        "dataset": "this machine",
                        "stands_for": "RTX A5000",
                        "metric": metric,
                        "reported": _reported(reported, keys, "aiti_s", number),
                        "rerun": float("nan") if value is None else value,
                        "n": n,
                        "status": "not comparable: other hardware" if n else "not run",
                    }
                )
                continue
            kind = datasets[role]["kind"]
            if "tokenizer" in row:
                value, n = _mean(poses[row["tokenizer"]], metric, role=role)
                model = f"tokenizer/{row['tokenizer']}"
            else:
                value, n = _mean(
                    images, metric, role=role, setting=row["setting"], step=row.get("step", 0)
                )
                model = f"transformer/{spec['evaluation']}"
            lines.append(
                {
                    **line,
                    "role": role,
                    "dataset": job["names"][role],
                    "stands_for": REPORTED_NAMES[kind],
                    "metric": metric,
                    "reported": _reported(reported, keys, f"{kind}_{metric}", number),
                    "rerun": value,
                    "n": n,
                    "status": _status(job, n, model),
                }
            )
    return pd.DataFrame(lines)


def not_run(
    number: str, datasets: dict[str, dict[str, Any]], job: dict[str, Any], reported: pd.DataFrame
) -> tuple[pd.DataFrame, list[str]]:
    """The tidy frame of a table that variants.yaml does not rerun, and its key columns.

    Args:
        number, datasets, job, reported: as :func:`build_table`.
    """
    roles = {entry["kind"]: role for role, entry in datasets.items()}
    told = [name for name in reported.columns if name.endswith(tuple(METRIC_NAMES))]
    keys = [name for name in reported.columns if name not in told]
    lines = []
    for row in reported.to_dict("records"):
        named = {key: row[key] for key in keys}
        for column in told:
            kind, _, metric = column.partition("_")
            lines.append(
                {
                    **named,
                    "table": number,
                    "row": ", ".join(f"{k}={v}" for k, v in named.items()),
                    "role": roles[kind],
                    "dataset": job["names"][roles[kind]],
                    "stands_for": REPORTED_NAMES[kind],
                    "metric": metric,
                    "reported": float(row[column]),
                    "rerun": float("nan"),
                    "n": 0,
                    "status": "not run",
                }
            )
    return pd.DataFrame(lines), keys


def _status(job: dict[str, Any], n: int, model: str) -> str:
    """What may be concluded from the number: nothing here is ever called reproduced.

    Args:
        job: ``build/plan/tables.json``.
        n: number of images or poses.
        model: "tokenizer/<name>" or "transformer/<name>".
    """
    if n == 0:
        return "not run"
    reasons = []
    if job["source"] == "open":
        reasons.append("open world")
    elif model in job["shipped"]:
        reasons.append("weights of the open world")
    if set(job["scale"].values()) != {1}:
        reasons.append("sizes scaled down")
    if model in job["short"]:
        reasons.append("training too short to rank")
    if job["profile"] == "smoke":
        reasons.append("smoke run")
    return f"not comparable: {', '.join(reasons)}" if reasons else "rerun"


def wide(tidy: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The table as the paper lays it out, rerun and reported columns side by side.

    Columns are ``<dataset>_<metric>`` for the rerun, ``reported_<dataset>_<metric>`` for the
    paper's number, then one ``n_<dataset>`` a set and the status of the row.
    """
    rows = []
    for _, group in tidy.groupby("row", sort=False):
        row: dict[str, Any] = {key: group[key].iloc[0] for key in keys}
        for _, line in group.iterrows():
            if line["metric"] == "aiti":
                row["aiti_s"] = round(line["rerun"], 4)
                row["reported_aiti_s"] = line["reported"]
                continue
            row[f"{line['dataset']}_{line['metric']}"] = round(line["rerun"], 1)
            row[f"reported_{line['stands_for']}_{line['metric']}"] = line["reported"]
        scored = group[group["metric"] != "aiti"]
        row |= {f"n_{name}": n for name, n in zip(scored["dataset"], scored["n"])}
        row["status"] = "; ".join(dict.fromkeys(scored["status"]))
        rows.append(row)
    return pd.DataFrame(rows)


def write_tables(
    variants: dict[str, Any], job: dict[str, Any], build: Path, reported: Path, out: Path
) -> None:
    """Writes ``tables/`` (CSV, LaTeX), ``compare/`` and ``summary.json`` under ``out``.

    All tables of the ledger are written; those that variants.yaml does not rerun say so.

    Args:
        variants: content of variants.yaml.
        job: ``build/plan/tables.json``.
        build: folder with ``evaluate/`` and ``evaluate-tokenizer/``.
        reported: folder of the paper's CSVs.
        out: the results folder.
    """
    evaluations = {name: build / "evaluate" / name for name in variants["evaluations"]}
    images = {n: load_metrics(folder / "per_image.parquet") for n, folder in evaluations.items()}
    timings = {
        name: _read_timing(folder / "timing.json")
        for name, folder in evaluations.items()
    }
    poses = {
        name: load_metrics(build / "evaluate-tokenizer" / name / "per_pose.parquet")
        for name in variants["tokenizers"]
    }
    (out / "tables").mkdir(parents=True, exist_ok=True)
    (out / "compare").mkdir(parents=True, exist_ok=True)
    written: list[tuple[pd.DataFrame, list[str], str]] = []
    for number, entry in read_ledger(reported).items():
        paper = read_reported(reported / f"table{number}.csv")
        spec = variants["tables"].get(number)
        if spec is None:
            tidy, keys = not_run(number, variants["datasets"], job, paper)
        else:
            name = spec.get("evaluation")
            tidy = build_table(
                number,
                spec,
                variants["datasets"],
                job,
                paper,
                images.get(name),
                timings.get(name),
                poses,
            )
            keys = [key for key in spec["rows"][0] if key not in ROW_ONLY]
        title = f"Table {int(number)}. {entry['title']}: {entry['stage']}"
        wide(tidy, keys).to_csv(out / "tables" / f"table{number}.csv", index=False)
        (out / "tables" / f"table{number}.tex").write_text(latex(tidy, keys, title))
        written.append((tidy, keys, title))
        _comparison(tidy).to_csv(out / "compare" / f"table{number}.csv", index=False)
    (out / "tables" / "all.tex").write_text(latex_all(written))
    summary = summarise(images, poses, job["names"])
    (out / "summary.json").write_text(json.dumps(summary, indent=1, sort_keys=True) + "\n")


def _comparison(tidy: pd.DataFrame) -> pd.DataFrame:
    """One line a number: ``row, dataset, metric, reported, rerun, n, status``."""
    beside = [
        own if own == paper else f"{own} beside {paper}"
        for own, paper in zip(tidy["dataset"], tidy["stands_for"])
    ]
    digits = [4 if metric == "aiti" else 2 for metric in tidy["metric"]]
    rerun = [round(value, places) for value, places in zip(tidy["rerun"], digits)]
    columns = ["row", "dataset", "metric", "reported", "rerun", "n", "status"]
    return tidy.assign(dataset=beside, rerun=rerun)[columns]


def read_ledger(folder: Path) -> dict[str, dict[str, str]]:
    """Title and stage of every table of the paper, by its two digits.

    Raises:
        UserError: ``ledger.yaml`` is missing or no YAML.
    """
    try:
        return yaml.safe_load((folder / "ledger.yaml").read_text())
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{folder}/ledger.yaml is damaged: restore bench/reported.") from error


def summarise(
    images: dict[str, pd.DataFrame], poses: dict[str, pd.DataFrame], names: dict[str, str]
) -> dict[str, Any]:
    """The few numbers that `dvc metrics show` prints, in millimetres, by set and method."""
    summary: dict[str, Any] = {}
    metrics = ["mpjpe", "pa_mpjpe", "mve"]
    for model, frame in images.items():
        wanted = frame[frame["setting"].isin(["mean-pose", "default", "headline"])]
        for (role, setting), group in wanted.groupby(["role", "setting"]):
            means = group[metrics].mean(skipna=False).round(2).to_dict()
            entry = summary.setdefault(model, {}).setdefault(names[role], {})
            entry[setting] = {**means, "n": len(group)}
    for tokenizer, frame in poses.items():
        for role, group in frame.groupby("role"):
            entry = summary.setdefault("tokenizers", {}).setdefault(tokenizer, {})
            means = group[metrics].mean(skipna=False).round(2).to_dict()
            entry[names[role]] = {**means, "n": len(group)}
    return summary
