"""What a finished run left, read and checked: all that the report shows, and no model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.kept import about_kept
from bench.ledger import read_ledger
from bench.report.beside import complete
from bench.report.readers import (
    JUDGED,
    NUMBERS,
    RANKED,
    SCORED,
    read,
    read_codebook,
    read_comparison,
    read_csv,
    read_history,
    read_images,
    read_masked,
    read_numbers,
    read_record,
    read_summary,
    read_timing,
)
from genhmr.types import UserError

Json = dict[str, Any]

REPORTED = Path(__file__).parents[1] / "reported"
BASE = "transformer/base"
# The report's own record is of the report before this one: reading it would change the page.
_OWN_RECORD = "report.json"


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        job: ``build/plan/tables.json``.
        ledger: title and stage of every table of the paper, by its two digits.
        summary: ``summary.json``.
        tables: ``compare/tableNN.csv`` by number, with marks, differences and the committed run
            (:func:`bench.report.beside.complete`).
        claims: ``claims/claims.csv``.
        ranking: ``claims/ranking.csv``.
        records: of ``provenance/``, by the name of the file.
        images: per-image metrics of the base, None where it was left out.
        timing: of the base, None where it was left out.
        masked: (T,) share of [MASK] tokens at the start of every iteration, or None.
        histories: what the trainings logged, by ``"transformer/base"``, further seeds by
            ``"transformer/base/seed-1"``; none of shipped weights.
        codebooks: how much of its codebook each tokenizer uses, by role, a list of seeds.
        scores: ``scores/<name>/summary.csv`` by name.
        pictures: of ``figures/``, by the name of the file without its ending.
        reference: ``summary.json`` of the committed run of profile open, or None.
        kept_about: what the committed run was made with, in words; "" where it does not say so.
        kept_histories, kept_codebooks: of the committed run, of the pieces that have them.
    """

    job: Json
    ledger: dict[str, Json]
    summary: Json
    tables: dict[str, pd.DataFrame]
    claims: pd.DataFrame
    ranking: pd.DataFrame
    records: dict[str, Json]
    images: pd.DataFrame | None
    timing: Json | None
    masked: np.ndarray | None
    histories: dict[str, pd.DataFrame]
    codebooks: dict[str, Json]
    scores: dict[str, pd.DataFrame]
    pictures: dict[str, Path]
    reference: Json | None
    kept_about: str
    kept_histories: dict[str, pd.DataFrame]
    kept_codebooks: dict[str, Json]


def read_run(job: Json, results: Path, build: Path, reference: Path | None = None) -> Run:
    """Reads everything that the report shows.

    Args:
        job: ``build/plan/tables.json``.
        results: folder of the results.
        build: folder of the evaluations and models.
        reference: results folder of the committed run of profile open, laid out as ``results``.

    Raises:
        UserError: a file is missing or damaged; the sentence names it and its stage.
    """
    ledger = read_ledger(REPORTED)
    summary = read(results / "summary.json", read_summary, "tables")
    path = results / "numbers.csv"
    numbers = read(path, read_numbers, "tables")
    beside = kept = None
    measured = Path()
    if reference is not None:
        beside = read(reference / "summary.json", read_summary, None)
        kept = read(reference / "numbers.csv", read_numbers, None)
        measured = reference / "measured"
    tables = {}
    for number in ledger:
        source = results / "compare" / f"table{number}.csv"
        compared = read(source, read_comparison, "tables")
        tables[number] = complete(compared, number, numbers, kept, path)
    images = timing = masked = None
    if BASE not in job.get("skipped", {}):
        base = build / "evaluate" / "base"
        images = read(base / "per_image.parquet", read_images, "evaluate base")
        _check_same_run(results / "summary.json", summary, images, job)
        timing = read(base / "timing.json", read_timing, "evaluate base")
        masked = read(base / "trace.npz", read_masked, "evaluate base")
    judged = results / "claims"
    return Run(
        job=job,
        ledger=ledger,
        summary=summary,
        tables=tables,
        claims=read(judged / "claims.csv", read_csv(JUDGED, ()), "claims"),
        ranking=read(judged / "ranking.csv", read_csv(RANKED, NUMBERS), "claims"),
        records={
            path.stem: read(path, read_record, _command(path.stem))
            for path in sorted((results / "provenance").glob("*.json"))
            if path.name != _OWN_RECORD
        },
        images=images,
        timing=timing,
        masked=masked,
        histories=_histories(build / "models"),
        codebooks=_codebooks(build / "evaluate-tokenizer", summary, "evaluate-tokenizer"),
        scores={
            path.parent.name: read(path, read_csv(SCORED, NUMBERS), "score")
            for path in sorted((results / "scores").glob("*/summary.csv"))
        },
        pictures={path.stem: path for path in sorted((results / "figures").glob("*.png"))},
        reference=beside,
        kept_about=about_kept(reference) if reference else "",
        kept_histories=_kept_histories(measured) if reference else {},
        kept_codebooks=_codebooks(measured / "evaluate-tokenizer", beside or {}, None),
    )


def _check_same_run(path: Path, summary: Json, images: pd.DataFrame, job: Json) -> None:
    """Means in one file and images in another are shown side by side: they must belong together.

    Raises:
        UserError: they do not.
    """
    means = images.groupby(["role", "setting"])["mpjpe"].mean(skipna=False)
    for role, name in job["names"].items():
        for setting, entry in summary.get("base", {}).get(name, {}).items():
            own = float(means.get((role, setting), math.nan))
            told = float(entry["mpjpe"])
            if abs(own - told) > 0.02 or math.isnan(own) != math.isnan(told):
                raise UserError(
                    f"{path} is of another run than build/evaluate/base: run "
                    "`python -m bench tables` again."
                )


def _command(record: str) -> str:
    """The command that wrote ``<stage>[-<name>].json``: stages have dashes in their names too."""
    stages = ("evaluate-tokenizer", "train-tokenizer", "train-transformer", "evaluate", "data")
    stage = next((stage for stage in stages if record.startswith(f"{stage}-")), record)
    return f"{stage} {record[len(stage) + 1 :]}".strip()


def _histories(models: Path) -> dict[str, pd.DataFrame]:
    """By model; those that logged nothing are left out."""
    commands = {"backbone": "pretrain"}
    found = {}
    for path in sorted(models.rglob("history.json")):
        kind, *name = path.parent.relative_to(models).parts
        stage = " ".join([commands.get(kind, f"train-{kind}"), *name[:1]])
        found["/".join([kind, *name])] = read(path, read_history, stage)
    return {name: frame for name, frame in found.items() if len(frame)}


def _kept_histories(measured: Path) -> dict[str, pd.DataFrame]:
    """Of the committed run, one a model; pieces from before histories were kept have none."""
    found = {}
    for folder, kind in (("evaluate-tokenizer", "tokenizer"), ("evaluate", "transformer")):
        for path in sorted((measured / folder).glob("*/history.json")):
            found[f"{kind}/{path.parent.name}"] = read(path, read_history, None)
    return {name: frame for name, frame in found.items() if len(frame)}


def _codebooks(folder: Path, summary: Json, stage: str | None) -> dict[str, Json]:
    """By tokenizer, in the order of the summary: what an older run left in ``folder`` is not read.

    Those that were scored before this was measured have none.
    """
    found = {}
    for name in summary.get("tokenizers", {}):
        path = folder / name / "codebook.json"
        if path.exists():
            found[name] = read(path, read_codebook, stage and f"{stage} {name}")
    return found
