"""Plots of the report that show this run alone: schedules, distributions of errors, protocols."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.report.html import legend, plots, text
from bench.report.inputs import Run
from bench.report.plots import MPJPE
from bench.report.svg import Series, dots, lines
from bench.report.tables import in_order, metric_name
from bench.status import METHODS
from genhmr.transformer.schedules import SCHEDULES


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
            Series("what one image of this run did", times, masked.tolist(), "ink", stroke="--")
        )
    panel = lines("schedules", "Mask schedules, as Figure 7", "", found,
                  "share of iterations done, t / T", "share of masked tokens")  # fmt: skip
    return plots([panel], legend((own.label, own.look, own.stroke) for own in found))


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
        if found:
            panels.append(lines(f"distribution-{place}", name, "run", found, MPJPE,
                                "images below it (%)"))  # fmt: skip
    key = legend((label, look, "-") for look, label in enumerate(METHODS.values()))
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
            panels.append(dots(f"protocols-{place}-{look}", label, "", names, [found],
                               f"{label} (mm)"))  # fmt: skip
        if panels:
            parts.append(f"<h3>{text(title)}</h3>\n{plots(panels)}")
    return "".join(parts)
