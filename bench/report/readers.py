"""Readers of the report, one a kind of file. A file that is missing or damaged is one sentence."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.status import METRICS
from genhmr.types import UserError

Json = dict[str, Any]

PLACE = ["row", "dataset", "metric"]
COMPARED = (*PLACE, "reported", "rerun", "n", "status")
JUDGED = ("id", "table", "statement", "origin", "where", "quote", "judged", "paper",
          "paper_detail", "rerun", "rerun_detail")  # fmt: skip
RANKED = ("table", "column", "rerun_on", "rows", "tau")
SCORED = ("protocol", "metric", "unit", "mean", "low", "high", "n", "total")
TIDY = ("table", "row", "role", "dataset", "stands_for", "metric", "reported", "rerun", "low",
        "high", "n", "seeds", "status", "reported_mark", "reported_delta", "rerun_mark",
        "rerun_delta")  # fmt: skip
NUMBERS = ("reported", "rerun", "n", "low", "high", "open_run", "open_n", "seeds", "rows", "tau",
           "open_tau", "mean", "total", "reported_delta", "rerun_delta")  # fmt: skip


def read(path: Path, reader: Callable[[Path], Any], stage: str | None) -> Any:
    """What ``reader`` makes of a file; one sentence where it cannot. No stage: it is in git."""
    remedy = f"run `python -m bench {stage}`" if stage else "restore it from git"
    try:
        return reader(path)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: {remedy}.") from error
    except Exception as error:  # a damaged file fails in as many ways as it has readers
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        again = f"{remedy} again" if stage else remedy
        raise UserError(f"{path} is damaged ({reason[:120]}): {again}.") from error


def read_object(path: Path) -> Json:
    """Any JSON object."""
    content = json.loads(path.read_text())
    if not isinstance(content, dict):
        raise TypeError("no JSON object")
    return content


def read_summary(path: Path) -> Json:
    """``summary.json``: by model and set, of the tokenizers one level deeper, means and n."""
    summary = read_object(path)
    models = [*summary.get("tokenizers", {}).values()]
    entries = [entry for sets in models for entry in sets.values()]
    for name, sets in summary.items():
        if name != "tokenizers":
            entries += [entry for settings in sets.values() for entry in settings.values()]
    for entry in entries:
        for name in (*METRICS, "n"):
            float(entry[name])
    return summary


def read_csv(columns: tuple[str, ...], numbers: tuple[str, ...]) -> Callable[[Path], pd.DataFrame]:
    """A reader of a CSV that has ``columns`` and perhaps more; all but ``numbers`` stay text."""

    def reader(path: Path) -> pd.DataFrame:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        if missing := [name for name in columns if name not in frame]:
            raise ValueError(f"no column {', '.join(missing)}")
        for name in frame.columns.intersection(numbers):
            frame[name] = [float(word or "nan") for word in frame[name]]
        return frame

    return reader


def read_comparison(path: Path) -> pd.DataFrame:
    """``compare/tableNN.csv``."""
    frame = read_csv(COMPARED, NUMBERS)(path)
    if frame.empty or frame.duplicated(PLACE).any():
        raise ValueError("no line, or one twice")
    return frame


def read_numbers(path: Path) -> pd.DataFrame:
    """``numbers.csv``, the tidy frame of all tables (``bench.tidy``, ``bench.layout``)."""
    frame = read_csv(TIDY, NUMBERS)(path)
    if frame.duplicated(["table", "row", "role", "metric"]).any():
        raise ValueError("a number twice")
    return frame


def read_codebook(path: Path) -> Json:
    """``codebook.json``: by role, of every seed, how much of its codebook a tokenizer uses."""
    used = read_object(path)
    for entry in (entry for entries in used.values() for entry in entries):
        for name in ("codes", "tokens", "used", "perplexity"):
            float(entry[name])
    return used


def read_images(path: Path) -> pd.DataFrame:
    """``per_image.parquet`` with the columns that the report needs."""
    frame = pd.read_parquet(path)
    frame = frame if "seed" in frame else frame.assign(seed=0)
    return frame[["setting", "role", "seed", "key", *METRICS]]


def read_timing(path: Path) -> Json:
    """``timing.json``."""
    timing = read_object(path)
    for loop in ("sampling", "refinement"):
        float(timing[loop]["intercept_s"]), float(timing[loop]["per_iteration_s"])
    float(timing["backbone_s"])
    return timing


def read_masked(path: Path) -> np.ndarray:
    """``trace.npz`` as the share (T,) of [MASK] tokens at the start of every iteration."""
    with np.load(path, allow_pickle=False) as trace:
        return trace["masks"].astype(float).mean(1)


def read_record(path: Path) -> Json:
    """One file of ``provenance/``."""
    record = read_object(path)
    datetime.fromisoformat(record["started"])
    if not math.isfinite(float(record["seconds"])) or not isinstance(record["packages"], dict):
        raise ValueError("no duration or no packages")
    return record | {"command": str(record["command"])}


def read_history(path: Path) -> pd.DataFrame:
    """``history.json``: a line a logged step, NaN where a number was not logged."""
    frame = pd.DataFrame(json.loads(path.read_text())).astype(float)
    if len(frame) and "step" not in frame:
        raise ValueError("no step")
    return frame
