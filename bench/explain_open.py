"""What the committed run of profile `open` says of a cell: its number, errors, pieces, records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.claims import Cell
from bench.explain_chain import made_by, read_record, short_sha256
from bench.kept import NUMBERS
from bench.tidy import Rerun, load_metrics, model_of, samples, timed_as
from genhmr.types import UserError

Json = dict[str, Any]
PIECES = "pieces.json"  # as bench.keep writes it; that module loads far more


def open_run(
    cell: Cell, row: Json | None, role: str, metric: str, variants: Json, kept: Path
) -> list[str]:
    """The lines on the committed run.

    Args:
        cell: of the paper.
        row: of variants.yaml; None where the cell is reported only.
        role: of the data set, "" of a time.
        metric: "mpjpe", ..., or "aiti".
        variants: content of variants.yaml.
        kept: ``results/open``.

    Raises:
        UserError: a file of it is damaged.
    """
    lines = [f"the committed run of profile open ({kept})"]
    if not (kept / NUMBERS).exists():
        return [*lines, "  number    none: no run is committed"]
    try:
        table = pd.read_csv(kept / NUMBERS, dtype={"table": str, "role": str})
        same = (table["table"] == cell.table) & (table["row"] == str(cell))
        same &= (table["role"].fillna("") == role) & (table["metric"] == metric)
        found = table[same]
        pieces = json.loads((kept / PIECES).read_text())
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{kept / NUMBERS} or {PIECES} is damaged: restore {kept}.") from error
    if found.empty or not found["n"].iloc[0] or row is None:
        return [*lines, "  number    none: not run in it"]
    entry = found.iloc[0]
    model = model_of(row, variants["tables"][cell.table], {"same": {}})
    lines += _number(entry, metric, row, model, role, kept)
    if model not in pieces:
        return [*lines, f"  piece     {model} is not in {PIECES}"]
    piece = pieces[model]
    lines.append(f"  piece     {model} in {kept / PIECES}, sha256 of its jobs "
                 f"{piece['signature'][:16]}")  # fmt: skip
    lines += [f"  data      {split}, manifest sha256 {digest[:16]}"
              for split, digest in piece["shards"].items()]  # fmt: skip
    records = {
        name: read_record(name, kept / "provenance")
        for name in _stages(model, piece["shards"], variants)
    }
    return [*lines, *(made_by(name, record) for name, record in records.items() if record)]


def _number(
    entry: pd.Series, metric: str, row: Json, model: str, role: str, kept: Path
) -> list[str]:
    """The printed number, and the stored errors that it is the mean of."""
    kind, _, name = model.partition("/")
    if metric == "aiti":
        path = kept / "measured" / "evaluate" / name / "timing.json"
        place = timed_as(row)
        stored = json.loads(path.read_text())["aiti"].get(place) if path.exists() else None
        interval = between_rounds(entry["low"], entry["high"])
        lines = [f"  number    {entry['rerun']:.4f} s{interval}; {entry['status']}"]
        return [*lines, _stored(path, f"in which {place}", stored, entry["rerun"], 4, "s")]
    scored = "evaluate-tokenizer" if kind == "tokenizer" else "evaluate"
    file = "per_pose.parquet" if kind == "tokenizer" else "per_image.parquet"
    path = kept / "measured" / scored / name / file
    stored = None
    if path.exists():
        frame = load_metrics(path)
        rerun = Rerun(poses={name: frame}) if kind == "tokenizer" else Rerun(images={name: frame})
        stored = float(samples(row, model, role, rerun)[metric].mean())
    seeds = f", {entry['seeds']:.0f} seeds" if entry["seeds"] > 1 else ""
    return [
        f"  number    {entry['rerun']:.2f} mm (95 %: {entry['low']:.2f} to {entry['high']:.2f}) on "
        f"{entry['dataset']}, n = {entry['n']:.0f}{seeds}; {entry['status']}",
        _stored(path, "whose mean", stored, entry["rerun"], 2, "mm"),
    ]


def between_rounds(low: float, high: float) -> str:
    """The interval of a time, in seconds, as the end of a phrase; "" for NaN."""
    if np.isnan([low, high]).any():
        return ""
    return f" (95 %: {low:.4f} to {high:.4f} s between rounds)"


def _stored(
    path: Path, what: str, stored: float | None, printed: float, digits: int, unit: str
) -> str:
    line = f"  errors    {path}, sha256 {short_sha256(path)}"
    if stored is None:
        return line
    agrees = abs(stored - printed) < 10.0**-digits
    return f"{line}, {what} is {stored:.{digits}f} {unit}" + ("" if agrees else ": NOT THIS NUMBER")


def _stages(model: str, shards: Json, variants: Json) -> list[str]:
    """The stages that a piece followed from, that of its evaluation first."""
    kind, _, name = model.partition("/")
    data = [f"data@{role}" for role in dict.fromkeys(split.partition("/")[0] for split in shards)]
    if kind == "tokenizer":
        return [f"evaluate-tokenizer@{name}", f"tokenizer@{name}", *data]
    entry = variants["transformers"]["base"] | variants["transformers"][name]
    below = f"tokenizer@{entry['tokenizer']}"
    return [f"evaluate@{name}", f"transformer@{name}", "backbone", "lifter", below, *data]
