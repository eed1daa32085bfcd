"""The paper's 16 tables in the report: reported, rerun and the committed open run side by side."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import pandas as pd

from bench.layout import BEST, SECOND
from bench.report.html import details, interval, number, row, table, td, text, th
from bench.report.inputs import Run
from bench.status import NOT_RUN
from bench.tables_latex import METRIC_NAMES

Json = dict[str, Any]

AITI = "aiti"
SHORT = 8  # rows; longer tables come folded
# Whose number: heading, column of the comparison, class of the cells.
SIDES = (
    ("paper", "reported", "paper"),
    ("rerun", "rerun", "own"),
    ("open run", "open_run", "open"),
)
MARKS = (
    "<strong>Bold</strong>: the best of a column, <u>underlined</u>: the second best, where the "
    "paper underlines; Δ: the difference that the paper prints there (to the best of the others, "
    "or to the row with everything on). Each among the numbers of one side, the paper's, this "
    "rerun's or the committed open run's; trainings that are too short to rank have neither."
)


def metric_name(metric: str) -> str:
    return METRIC_NAMES.get(metric, metric)


def read_keys(name: str) -> dict[str, str]:
    """``"codes=1024, code_dim=256"`` as a dict; values may hold commas."""
    parts = re.split(r", (?=\w+=)", name)
    return dict(part.split("=", 1) if "=" in part else ("row", part) for part in parts)


def split_sets(dataset: str) -> tuple[str, str]:
    """``"open-wild beside 3DPW"`` as own and paper's name; licensed sets have one for both."""
    own, _, paper = dataset.partition(" beside ")
    return own, paper or own


def rerun_rows(compared: pd.DataFrame) -> tuple[int, int]:
    """How many rows of a table were rerun at least in part, and how many it has."""
    errors = compared[compared["metric"] != AITI]
    return errors[errors["n"] > 0]["row"].nunique(), compared["row"].nunique()


def in_order(run: Run, names: Iterable[str]) -> list[str]:
    """Names of sets in the order of the paper's first table, others behind."""
    first = [split_sets(dataset)[0] for dataset in dict.fromkeys(run.tables["01"]["dataset"])]
    return sorted(names, key=lambda name: (first.index(name) if name in first else 99, name))


def paper_table(digits: str, entry: Json, compared: pd.DataFrame) -> str:
    """One table of the paper, reported beside rerun, folded where it is long or not run."""
    done, count = rerun_rows(compared)
    state = f"{done} of {count} rows rerun" if done else NOT_RUN
    kind = "some" if done else "none"
    summary = (
        f'<span class="name">Table {int(digits)}</span> {text(entry["title"])} '
        f'<span class="state {kind}">{state}</span>'
    )
    body = f"<p>Measured at: {text(entry['stage'])}. {_said(compared, done)}</p>\n"
    body += _beside(digits, compared, entry.get("layout", {}).get("checks", []))
    return details(f"table-{digits}", summary, body, unfolded=0 < done and count <= SHORT)


def _statuses(lines: pd.DataFrame) -> str:
    return "; ".join(dict.fromkeys(lines["status"]))


def _said(compared: pd.DataFrame, done: int) -> str:
    """What may be concluded, where all rows say the same; times have a status of their own."""
    errors, times = (compared[(compared["metric"] == AITI) == wanted] for wanted in (False, True))
    told = []
    if not done:
        told.append("Not run in this profile: the paper's numbers alone.")
    elif _uniform(errors):
        told.append(f"Status of the rerun: <b>{text(_statuses(errors))}</b>.")
    else:
        told.append("The status of each row stands in its last column.")
    if len(times) and done:
        told.append(f"Times: <b>{text(_statuses(times))}</b>.")
    if "open_n" in compared:
        rows = errors[errors["open_n"] > 0]["row"].nunique()
        some = f"has {rows} of the {errors['row'].nunique()} rows" if rows else "has no row yet"
        told.append(f"The committed open run {some}.")
    return " ".join(told)


def _uniform(errors: pd.DataFrame) -> bool:
    return errors["status"].nunique() == 1


def _beside(digits: str, compared: pd.DataFrame, checks: list[str]) -> str:
    """The table itself, a pair of columns (paper, rerun) for each set and metric.

    ``checks`` are keys whose 1 and 0 are printed as a check mark and a cross.
    """
    errors = compared[compared["metric"] != AITI]
    named = {name: read_keys(name) for name in dict.fromkeys(compared["row"])}
    keys = list(dict.fromkeys(key for own in named.values() for key in own))
    # The key that tells most rows apart stays in sight where the table scrolls.
    telling = max(keys, key=lambda key: len({own.get(key) for own in named.values()}))
    kinds = {key: "stick" if key == telling else "" for key in keys}
    sets = list(dict.fromkeys(compared["dataset"]))
    columns = list(dict.fromkeys(zip(compared["dataset"], compared["metric"])))
    columns = sorted(columns, key=lambda column: sets.index(column[0]))
    sides = [side for side in SIDES if side[1] in compared]
    with_status = rerun_rows(compared)[0] > 0 and not _uniform(errors)
    # Three lines of headings: set, metric, whose number.
    top = [th(text(key.replace("_", " ")), down=3, kind=kinds[key]) for key in keys]
    for dataset in sets:
        span = len(sides) * sum(own == dataset for own, _ in columns)
        top.append(th(_set_name(dataset, compared), "colgroup", span))
    middle = [
        th(text(metric_name(m)) + ("" if m == AITI else " (mm)"), "colgroup", len(sides))
        for _, m in columns
    ]
    bottom = [th(side, kind=f"number {kind}") for _ in columns for side, _, kind in sides]
    rows = []
    for name, lines in compared.groupby("row", sort=False):
        cells = [
            th(_key(named[name].get(key, ""), key in checks), "row", kind=kinds[key])
            for key in keys
        ]
        own = {(line["dataset"], line["metric"]): line for line in lines.to_dict("records")}
        for column in columns:
            cells += [_cell(own.get(column), name, kind) for _, name, kind in sides]
        if with_status:
            cells.append(td(text(_statuses(lines[lines["metric"] != AITI])), "status"))
        rows.append(row(*cells))
    if with_status:
        top.append(th("Status", down=3))
    heads = [row(*top), row(*middle), row(*bottom)]
    return table(heads, rows, f"Table {int(digits)}, paper beside rerun")


def _key(value: str, check: bool) -> str:
    return {"1": "✓", "0": "✗"}.get(value, text(value)) if check else text(value)


def _set_name(dataset: str, compared: pd.DataFrame) -> str:
    own, paper = split_sets(dataset)
    lines = compared[compared["dataset"] == dataset]
    told = ""
    if not (lines["metric"] == AITI).any():
        counts = [_counts("rerun", lines, "n", "seeds"),
                  _counts("open run", lines, "open_n", "open_seeds")]  # fmt: skip
        told = "".join(f" <small>{count}</small>" for count in counts if count)
    beside = "" if own == paper else f" <span>beside {text(paper)}</span>"
    return f"{text(own)}{told}{beside}"


def _counts(whose: str, lines: pd.DataFrame, n: str, seeds: str) -> str:
    """How many images or poses, and of how many trainings; empty where nothing was measured."""
    if n not in lines or (lines := lines[lines[n] > 0]).empty:
        return ""
    told = f"{whose} n = {_range(lines[n])}"
    if seeds in lines and lines[seeds].max() > 1:
        told += f", {_range(lines[seeds])} seeds"
    return told


def _range(counts: pd.Series) -> str:
    low, high = int(counts.min()), int(counts.max())
    return f"{low}" if low == high else f"{low} to {high}"


def _cell(line: Json | None, side: str, kind: str) -> str:
    """One number, with its mark, its difference and, of the rerun, its interval."""
    if line is None:
        return td("", kind)
    digits = 3 if line["metric"] == AITI else 1
    value = number(line[side], digits)
    if side != "reported" and math.isnan(line[side]):
        count = line["n" if side == "rerun" else "open_n"]
        value = "diverged" if count > 0 else value
    mark = line.get(f"{side}_mark", "")
    value = {BEST: f"<strong>{value}</strong>", SECOND: f"<u>{value}</u>"}.get(mark, value)
    if not math.isnan(delta := line.get(f"{side}_delta", math.nan)):
        value += f' <small class="delta">Δ {delta:+.1f}</small>'
    if side == "rerun":
        value += interval(line.get("low", math.nan), line.get("high", math.nan), digits)
    return td(value, f"number {kind}")
