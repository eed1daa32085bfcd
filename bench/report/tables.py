"""The tables of the report: the headline, and the paper's 16 beside the rerun."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import pandas as pd

from bench.report.html import details, interval, number, row, table, td, text, th
from bench.report.inputs import Run
from bench.status import METHODS, METRICS, NOT_RUN, Mean, mean_of
from bench.tables_latex import METRIC_NAMES

Json = dict[str, Any]

AITI = "aiti"
SHORT = 8  # rows; longer tables come folded


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


def headline(run: Run) -> str:
    """Mean pose, sampling and refinement of the base on each set, with intervals."""
    sets = run.summary.get("base", {})
    roles = {name: role for role, name in run.job["names"].items()}
    groups = [(name, sets[name], "") for name in in_order(run, sets)]
    beside = (run.reference or {}).get("base", {})
    groups += [(name, beside[name], "committed open run") for name in in_order(run, beside)]
    rows = []
    for name, entry, origin in groups:
        own = None
        if run.images is not None and not origin:
            own = run.images[run.images["role"] == roles.get(name)]
        methods = [method for method in METHODS if method in entry]
        for place, method in enumerate(methods):
            cells = []
            if place == 0:
                label = text(name) + (f"<small>{origin}</small>" if origin else "")
                cells.append(th(label, "rowgroup", down=len(methods), kind="stick"))
            cells.append(th(METHODS[method], "row"))
            count = text(entry[method]["n"])
            for metric in METRICS:
                found = Mean()
                if own is not None:
                    found = mean_of(own[own["setting"] == method], metric)
                ends = interval(found.low, found.high)
                if found.n:
                    count = f"{found.n}" + f" × {found.seeds} seeds" * (found.seeds > 1)
                cells.append(td(number(float(entry[method][metric])) + ends, "number"))
            cells.append(td(count, "number"))
            kind = ' class="first"' if place == 0 else ""
            rows.append(f"<tr{kind}>{''.join(cells)}</tr>")
    head = row(
        th("Set"), th("Method"), *(th(f"{metric_name(m)} (mm)", kind="number") for m in METRICS),
        th("Images", kind="number"),
    )  # fmt: skip
    return table([head], rows, "Errors of the base model on each set", ' class="headline"')


def tokenizers(run: Run) -> str:
    """Reconstruction by every tokenizer; empty where none was evaluated."""
    rows = []
    for name, sets in run.summary.get("tokenizers", {}).items():
        for place, (dataset, entry) in enumerate(sets.items()):
            first = [th(text(name), "rowgroup", down=len(sets), kind="stick")] if not place else []
            errors = [td(number(float(entry[metric])), "number") for metric in METRICS]
            count = f"{entry['n']}"
            if (seeds := entry.get("seeds", 1)) > 1:
                count += f" × {seeds} seeds"
            rows.append(row(*first, td(text(dataset)), *errors, td(text(count), "number")))
    head = row(
        th("Tokenizer"), th("Set"), *(th(f"{metric_name(m)} (mm)", kind="number") for m in METRICS),
        th("Poses", kind="number"),
    )  # fmt: skip
    return table([head], rows, "Reconstruction errors of the tokenizers") if rows else ""


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
    has_reference = "open_run" in compared and compared["open_run"].notna().any()
    sides = ["paper", "rerun", *(["open run"] if has_reference else [])]
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
    bottom = [th(side, kind=f"number {_side(side)}") for _ in columns for side in sides]
    rows = []
    for name, lines in compared.groupby("row", sort=False):
        cells = [
            th(_key(named[name].get(key, ""), key in checks), "row", kind=kinds[key])
            for key in keys
        ]
        own = {(line["dataset"], line["metric"]): line for line in lines.to_dict("records")}
        for column in columns:
            cells += _pair(own.get(column), sides)
        if with_status:
            cells.append(td(text(_statuses(lines[lines["metric"] != AITI])), "status"))
        rows.append(row(*cells))
    if with_status:
        top.append(th("Status", down=3))
    heads = [row(*top), row(*middle), row(*bottom)]
    return table(heads, rows, f"Table {int(digits)}, paper beside rerun")


def _key(value: str, check: bool) -> str:
    return {"1": "✓", "0": "✗"}.get(value, text(value)) if check else text(value)


def _side(side: str) -> str:
    return {"paper": "paper", "rerun": "own"}.get(side, "open")


def _set_name(dataset: str, compared: pd.DataFrame) -> str:
    own, paper = split_sets(dataset)
    lines = compared[(compared["dataset"] == dataset) & (compared["n"] > 0)]
    counts = "" if (lines["metric"] == AITI).any() or lines.empty else _counts(lines)
    beside = "" if own == paper else f" <span>beside {text(paper)}</span>"
    return f"{text(own)}{counts}{beside}"


def _counts(lines: pd.DataFrame) -> str:
    told = f"n = {_range(lines['n'])}"
    if "seeds" in lines and lines["seeds"].max() > 1:
        told += f", {_range(lines['seeds'])} seeds"
    return f" <small>{told}</small>"


def _range(counts: pd.Series) -> str:
    low, high = int(counts.min()), int(counts.max())
    return f"{low}" if low == high else f"{low} to {high}"


def _pair(line: Json | None, sides: list[str]) -> list[str]:
    if line is None:
        return [td("", _side(side)) for side in sides]
    digits = 3 if line["metric"] == AITI else 1
    rerun = number(line["rerun"], digits)
    if line["n"] > 0 and math.isnan(line["rerun"]):
        rerun = "diverged"
    rerun += interval(line.get("low", math.nan), line.get("high", math.nan), digits)
    cells = [td(number(line["reported"], digits), "number paper"), td(rerun, "number own")]
    if len(sides) > 2:
        cells.append(td(number(line["open_run"], digits), "number open"))
    return cells
