"""Curves of the report, from the comparison: this run, the committed open run, the paper.

Millimetres of the open world and of the paper differ in meaning, and the two runs in length and
images, so each has plots of its own; what they may share is the change in percent.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bench.report.html import legend, plots, text
from bench.report.svg import Panel, Series, lines
from bench.report.tables import AITI, metric_name, read_keys, split_sets

MPJPE = "MPJPE (mm)"
STROKES = {"run": "-", "open": ":", "paper": "--"}
# Columns of the comparison: the number and the ends of its interval.
_COLUMNS = {"run": ("rerun", "low", "high"), "open": ("open_run", "open_low", "open_high"),
            "paper": ("reported",)}  # fmt: skip


def origins(compared: pd.DataFrame) -> dict[str, str]:
    """Whose numbers a comparison has, and in which column."""
    return {origin: names[0] for origin, names in _COLUMNS.items() if names[0] in compared}


def with_keys(compared: pd.DataFrame, *numbers: str) -> pd.DataFrame:
    """The comparison with the row's keys as columns, ``numbers`` of them as numbers."""
    keys = pd.DataFrame([read_keys(name) for name in compared["row"]], index=compared.index)
    if missing := [name for name in numbers if name not in keys]:
        return compared.iloc[:0].assign(**dict.fromkeys([*keys, *missing], np.nan))
    for name in numbers:
        keys[name] = pd.to_numeric(keys[name], errors="coerce")
    return compared.join(keys, rsuffix="_key")


def note(compared: pd.DataFrame) -> str:
    """The statuses behind a plot: they belong to its numbers wherever those are shown."""
    errors = compared[compared["metric"] != AITI]
    told = "; ".join(dict.fromkeys(errors["status"][errors["n"] > 0]))
    said = [f"This run: {text(told)}." if told else "Not run in this profile."]
    if "open_n" in compared:
        told = "; ".join(dict.fromkeys(errors["open_status"][errors["open_n"] > 0]))
        said.append(f"Committed open run: {text(told or 'no row yet')}.")
    return " ".join(said)


def series(
    label: str, found: pd.DataFrame, x: str, origin: str, look: int
) -> Series | None:
    """A line over the key ``x``; with intervals where the comparison has them."""
    column, *sides = _COLUMNS[origin]
    found = found.dropna(subset=[x, column]).sort_values(x, kind="stable")
    if found.empty:
        return None
    ends: dict[str, list[float]] = {}
    if sides and set(sides) <= set(found):
        ends = {name: found[side].tolist() for name, side in zip(("low", "high"), sides)}
    return Series(label, found[x].tolist(), found[column].tolist(), look,
                  stroke=STROKES[origin], **ends)  # fmt: skip


def _panel(name: str, title: str, origin: str, found: list[Series | None], *axes: str, **more: Any
           ) -> list[Panel]:  # fmt: skip
    """One plot, or none where it has no line."""
    kept = [own for own in found if own is not None]
    return [lines(name, title, origin, kept, *axes, **more)] if kept else []


def sampling(tables: dict[str, pd.DataFrame]) -> str:
    """Tables 2 and 11: the error over the number of sampling iterations, by schedule."""
    whole = with_keys(tables["11"], "ugs_iterations")
    errors = whole[whole["metric"] == "mpjpe"]
    schedules = list(dict.fromkeys(errors.get("schedule", [])))
    ticks = _ticks(errors, "ugs_iterations")
    panels = []
    for place, dataset in enumerate(dict.fromkeys(errors["dataset"])):
        for origin in origins(errors):
            own = errors[errors["dataset"] == dataset]
            found = [
                series(name.replace("_", " "), own[own["schedule"] == name], "ugs_iterations",
                       origin, look)
                for look, name in enumerate(schedules)
            ]  # fmt: skip
            title = split_sets(dataset)[origin == "paper"]
            panels += _panel(f"sampling-{origin}-{place}", title, origin, found,
                             "sampling iterations", MPJPE, ticks=ticks)  # fmt: skip
    panels += _times("sampling-time", with_keys(tables["02"], "ugs_iterations"), "ugs_iterations",
                     "sampling iterations")  # fmt: skip
    key = legend((name.replace("_", " "), look, "-") for look, name in enumerate(schedules))
    return _shown(panels, key, errors)


def _times(name: str, compared: pd.DataFrame, x: str, x_label: str) -> list[Panel]:
    """Average inference time an image; whose machine it is stands in the legend of the title."""
    times = compared[compared["metric"] == AITI]
    if times.empty:
        return []
    machine, paper = split_sets(times["dataset"].iloc[0])
    whose = {"run": machine, "open": "the open run's machine", "paper": f"the paper's {paper}"}
    found = [series(whose[origin], times, x, origin, 4) for origin in origins(times)]
    words = {"-": "solid", ":": "dotted", "--": "dashed"}
    told = ", ".join(f"{own.label} ({words[own.stroke]})" for own in found if own is not None)
    return _panel(name, f"Time an image: {told}", "", found, x_label, "seconds an image",
                  ticks=_ticks(times, x))  # fmt: skip


def _shown(panels: list[Panel], key: str, compared: pd.DataFrame) -> str:
    """Panels with legend and statuses; two in a line where no open run stands between them."""
    paired = "open" not in origins(compared)
    return plots(panels, key, note(compared), paired=paired) if panels else ""


def _ticks(compared: pd.DataFrame, x: str) -> dict[float, str]:
    """The values that the table has, as ticks."""
    return {float(t): f"{t:g}" for t in sorted(compared[x].dropna().unique())}


def refinement(tables: dict[str, pd.DataFrame]) -> str:
    """Table 3: the error over refinement steps, the same as a change in percent, and the time."""
    x, x_label = "refinement_iterations", "refinement iterations"
    whole = with_keys(tables["03"], x)
    errors = whole[whole["metric"] == "mpjpe"]
    sets = list(dict.fromkeys(errors["dataset"]))
    panels = []
    for origin in origins(errors):
        found = [
            series(split_sets(name)[origin == "paper"], errors[errors["dataset"] == name], x,
                   origin, look)
            for look, name in enumerate(sets)
        ]  # fmt: skip
        panels += _panel(f"refinement-{origin}", "Error", origin, found, x_label, MPJPE,
                         ticks=_ticks(errors, x))  # fmt: skip
    changes: list[Series | None] = []
    for look, name in enumerate(sets):
        for origin, column in origins(errors).items():
            own = errors[errors["dataset"] == name]
            start = own.loc[own[x] == 0, column]
            if len(start) != 1 or not start.iloc[0] > 0:
                continue
            own = own.assign(**{column: 100 * (own[column] / start.iloc[0] - 1)})
            own = own.drop(columns=list(_COLUMNS[origin][1:]), errors="ignore")
            label = f"{split_sets(name)[origin == 'paper']}, {column.replace('_', ' ')}"
            changes.append(series(label, own, x, origin, look))
    beside = "open run (dotted), " * ("open" in origins(errors))
    panels += _panel("refinement-change",
                     f"Change of MPJPE: this run (solid), {beside}paper (dashed)", "", changes,
                     x_label, "change against no refinement (%)",
                     ticks=_ticks(errors, x))  # fmt: skip
    panels += _times("refinement-time", whole, x, x_label)
    key = legend((name, look, "-") for look, name in enumerate(sets))
    return _shown(panels, key, errors)


def tokenizers(tables: dict[str, pd.DataFrame]) -> str:
    """Tables 5 and 6: reconstruction over the size of the codebook and the number of tokens."""
    panels, looks = [], {}
    for digits, x_label in (("05", "codes × dimension"), ("06", "tokens")):
        compared = tables[digits]
        names = list(dict.fromkeys(compared["row"]))
        ticks = {float(x): "×".join(read_keys(name).values()) for x, name in enumerate(names)}
        compared = compared.assign(place=[float(names.index(name)) for name in compared["row"]])
        for place, pair in enumerate(dict.fromkeys(zip(compared["dataset"], compared["metric"]))):
            looks.setdefault(pair, place)
        for origin in origins(compared):
            found = [
                series(f"{split_sets(dataset)[origin == 'paper']} {metric_name(metric)}",
                       compared[(compared["dataset"] == dataset) & (compared["metric"] == metric)],
                       "place", origin, look)
                for (dataset, metric), look in looks.items()
            ]  # fmt: skip
            panels += _panel(f"tokens-{digits}-{origin}", f"Table {int(digits)}", origin, found,
                             x_label, "reconstruction error (mm)", ticks=ticks)  # fmt: skip
    key = legend((f"{d}, {metric_name(m)}", look, "-") for (d, m), look in looks.items())
    return _shown(panels, key, pd.concat([tables["05"], tables["06"]]))
