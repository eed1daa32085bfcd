"""What a training logged, made small enough to be committed with the run that it belongs to."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from bench.stage import spread

HISTORY = "history.json"
ROWS = 200  # a curve of more points looks the same
SIZE = 30_000  # bytes
DIGITS = 5  # of a loss that is drawn


def keep_history(source: Path, target: Path) -> None:
    """Copies a training's history, if it has one, thinned to ``ROWS`` rows and ``SIZE`` bytes.

    Shipped weights have none. Keys stay as they are, numbers keep five significant digits; the
    rows that stay are spread evenly and end with the last.

    Args:
        source: folder of the model; further seeds have folders of their own and are not read.
        target: folder of the copy.
    """
    if not (source / HISTORY).exists():
        return
    rows = json.loads((source / HISTORY).read_text())
    for count in range(min(len(rows), ROWS), 0, -1):
        text = _write(thin(rows, count))
        if len(text.encode()) < SIZE:
            break
    else:
        return  # nothing was logged
    (target / HISTORY).write_text(text)


def thin(rows: list[Any], count: int) -> list[Any]:
    """``count`` rows spread evenly; the last is always among them, as it is what came out."""
    return list(spread(rows[::-1], count))[::-1] if count else []


def _write(rows: list[dict[str, float]]) -> str:
    """A row a line; in git a changed row is a changed line."""
    lines = [json.dumps({k: _short(v) for k, v in row.items()}, separators=(",", ":"))
             for row in rows]  # fmt: skip
    return "[\n" + ",\n".join(lines) + "\n]\n"


def _short(value: float) -> float:
    if isinstance(value, int) or not math.isfinite(value):
        return value
    return float(f"{value:.{DIGITS}g}")
