"""Curves of the report, from the comparison with the paper: numbers of the two never share an axis.

Millimetres of the open world and of the paper differ in meaning, so each has plots of its own; what
they may share is the change in percent.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bench.report.html import legend, plots, text
from bench.report.inputs import Run
from bench.report.svg import Panel, Series, dots, lines
from bench.report.tables import AITI, in_order, metric_name, read_keys, split_sets
from bench.status import METHODS
from genhmr.transformer.schedules import SCHEDULES

Json = dict[str, Any]

ORIGINS = {"run": "rerun", "paper": "reported"}
MPJPE = "MPJPE (mm)"


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
    ran = compared[(compared["n"] > 0) & (compared["metric"] != AITI)]
    told = "; ".join(dict.fromkeys(ran["status"]))
    return f"This run: {text(told)}." if told else "Not run in this profile."


def series(
    label: str, found: pd.DataFrame, x: str, column: str, look: int, dashed: bool = False
) -> Series | None:
    """A line over the key ``x``; with intervals where the comparison has them."""
    found = found.dropna(subset=[x, column]).sort_values(x, kind="stable")
    if found.empty:
        return None
    ends: dict[str, list[float] | None] = {"low": None, "high": None}
    if column == "rerun" and {"low", "high"} <= set(found):
        ends = {name: found[name].tolist() for name in ends}
    return Series(label, found[x].tolist(), found[column].tolist(), look, dashed=dashed, **ends)


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
        for origin, column in ORIGINS.items():
            own = errors[errors["dataset"] == dataset]
            found = [
                series(name.replace("_", " "), own[own["schedule"] == name], "ugs_iterations",
                       column, look, origin == "paper")
                for look, name in enumerate(schedules)
            ]  # fmt: skip
            title = split_sets(dataset)[origin == "paper"]
            panels += _panel(f"sampling-{origin}-{place}", title, origin, found,
                             "sampling iterations", MPJPE, ticks=ticks)  # fmt: skip
    panels += _times("sampling-time", with_keys(tables["02"], "ugs_iterations"), "ugs_iterations",
                     "sampling iterations")  # fmt: skip
    key = legend((name.replace("_", " "), look, False) for look, name in enumerate(schedules))
    return plots(panels, key, note(errors), paired=True) if panels else ""


def _times(name: str, compared: pd.DataFrame, x: str, x_label: str) -> list[Panel]:
    """Average inference time an image; whose machine it is stands in the legend of the title."""
    times = compared[compared["metric"] == AITI]
    if times.empty:
        return []
    machine, paper = split_sets(times["dataset"].iloc[0])
    found = [
        series(machine, times, x, "rerun", 4),
        series(f"paper, {paper}", times, x, "reported", 4, dashed=True),
    ]
    title = f"Time an image: {machine} (solid), the paper's {paper} (dashed)"
    return _panel(name, title, "", found, x_label, "seconds an image", ticks=_ticks(times, x))


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
    for origin, column in ORIGINS.items():
        found = [
            series(split_sets(name)[origin == "paper"], errors[errors["dataset"] == name], x,
                   column, look, origin == "paper")
            for look, name in enumerate(sets)
        ]  # fmt: skip
        panels += _panel(f"refinement-{origin}", "Error", origin, found, x_label, MPJPE,
                         ticks=_ticks(errors, x))  # fmt: skip
    changes: list[Series | None] = []
    for look, name in enumerate(sets):
        own = errors[errors["dataset"] == name]
        for origin, column in ORIGINS.items():
            start = own.loc[own[x] == 0, column]
            if len(start) != 1 or not start.iloc[0] > 0:
                continue
            change = own.assign(**{column: 100 * (own[column] / start.iloc[0] - 1)})
            change = change.drop(columns=["low", "high"], errors="ignore")
            label = f"{split_sets(name)[origin == 'paper']}, {origin}"
            changes.append(series(label, change, x, column, look, origin == "paper"))
    panels += _panel("refinement-change", "Change of MPJPE: this run (solid), paper (dashed)", "",
                     changes, x_label, "change against no refinement (%)",
                     ticks=_ticks(errors, x))  # fmt: skip
    panels += _times("refinement-time", whole, x, x_label)
    key = legend((name, look, False) for look, name in enumerate(sets))
    return plots(panels, key, note(errors), paired=True) if panels else ""


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
        for origin, column in ORIGINS.items():
            found = [
                series(f"{split_sets(dataset)[origin == 'paper']} {metric_name(metric)}",
                       compared[(compared["dataset"] == dataset) & (compared["metric"] == metric)],
                       "place", column, look, origin == "paper")
                for (dataset, metric), look in looks.items()
            ]  # fmt: skip
            panels += _panel(f"tokens-{digits}-{origin}", f"Table {int(digits)}", origin, found,
                             x_label, "reconstruction error (mm)", ticks=ticks)  # fmt: skip
    key = legend((f"{d}, {metric_name(m)}", look, False) for (d, m), look in looks.items())
    both = pd.concat([tables["05"], tables["06"]])
    return plots(panels, key, note(both), paired=True) if panels else ""


def schedules(masked: np.ndarray | None) -> str:
    """Figure 7: the mask schedules, and what sampling did with the one it used."""
    ratio = np.linspace(0, 1, 51)
    curves = {name: [gamma(float(r)) for r in ratio] for name, gamma in SCHEDULES.items()}
    # The looks of the sampling plots, and the method section's cosine after them.
    order = ("cosine", "cubic", "linear", "square_root", "cosine_half")
    found = [
        Series(name.replace("_", " "), ratio.tolist(), curves[name], look)
        for look, name in enumerate(order)
    ]
    if masked is not None:
        times = (np.arange(len(masked)) / len(masked)).tolist()
        found.append(
            Series("what one image of this run did", times, masked.tolist(), "ink", dashed=True)
        )
    panel = lines("schedules", "Mask schedules, as Figure 7", "", found,
                  "share of iterations done, t / T", "share of masked tokens")  # fmt: skip
    return plots([panel], legend((own.label, own.look, own.dashed) for own in found))


def distribution(run: Run) -> str:
    """How many images are better than an error: means hide the images that fail."""
    if run.images is None:
        return ""
    share = np.linspace(0, 1, 101)
    panels = []
    roles = {name: role for role, name in run.job["names"].items()}
    found_roles = set(run.images["role"])
    for place, name in enumerate(n for n in in_order(run, roles) if roles[n] in found_roles):
        role = roles[name]
        found = []
        for look, (setting, label) in enumerate(METHODS.items()):
            chosen = (run.images["role"] == role) & (run.images["setting"] == setting)
            own = run.images.loc[chosen, "mpjpe"].to_numpy()
            finite = own[np.isfinite(own)]
            if len(finite):  # what diverged counts among the images and is below no error
                x = np.quantile(finite, share).tolist()
                y = (100 * share * len(finite) / len(own)).tolist()
                found.append(Series(label, x, y, look))
        panels += _panel(f"distribution-{place}", name, "run", found, MPJPE,
                         "images below it (%)")  # fmt: skip
    key = legend((label, look, False) for look, label in enumerate(METHODS.values()))
    return plots(panels, key) if panels else ""


def protocols(scores: dict[str, pd.DataFrame]) -> str:
    """How far the same predictions move between evaluation protocols."""
    parts = []
    for place, (title, summary) in enumerate(scores.items()):
        names = list(dict.fromkeys(summary["protocol"]))
        panels = []
        for look, metric in enumerate(dict.fromkeys(summary["metric"][summary["unit"] == "mm"])):
            own = summary[summary["metric"] == metric]
            x = [float(names.index(name)) for name in own["protocol"]]
            ends = {side: own[side].tolist() for side in ("low", "high")}
            found = Series(metric, x, own["mean"].tolist(), look, **ends)
            label = metric_name(metric)
            panels.append(dots(f"protocols-{place}-{look}", label, names, found, f"{label} (mm)"))
        if panels:
            parts.append(f"<h3>{text(title)}</h3>\n{plots(panels)}")
    return "".join(parts)
