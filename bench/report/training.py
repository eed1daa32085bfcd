"""Loss curves of the report: a plot for each kind of model, the variants behind the base."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.report.html import details, legend, number, plots, row, table, td, text, th
from bench.report.svg import Series, lines

# What is drawn of a history: the sum that was minimised, else its main term.
_SUMS = ("loss", "total", "pose")
_POINTS = 150  # of a curve; longer ones are drawn as means of blocks
_FEW = 4  # curves that colours still tell apart
_KINDS = {"backbone": "Backbone", "lifter": "Lifter", "tokenizer": "Tokenizers",
          "transformer": "Transformers"}  # fmt: skip


def curve(history: pd.DataFrame) -> tuple[str, pd.DataFrame] | None:
    """Name and points (``step``, ``value``) of what was minimised; None where it was not logged."""
    for name in _SUMS:
        if name in history:
            found = history[["step", name]].set_axis(["step", "value"], axis=1)
            found = found[np.isfinite(found["value"])].reset_index(drop=True)
            if len(found):
                block = -(-len(found) // _POINTS)
                return name, found.groupby(found.index // block).mean()
    return None


def losses(histories: dict[str, pd.DataFrame], shipped: list[str]) -> str:
    """Plots, and the last loss of every model; weights that came shipped have no history here."""
    curves = {name: found for name, h in histories.items() if (found := curve(h)) is not None}
    panels, told = [], {}
    for kind, title in _KINDS.items():
        own = {n: c for n, c in curves.items() if n.split("/")[0] == kind}
        if not own:
            continue
        looks = _looks(list(own))
        # The variants first: the base is drawn over them.
        order = sorted(own, key=lambda name: looks[name] == "muted", reverse=True)
        found = [
            Series(name, own[name][1]["step"].tolist(), own[name][1]["value"].tolist(), looks[name])
            for name in order
        ]
        values = np.concatenate([own[name][1]["value"].to_numpy() for name in own])
        wide = values.min() > 0 and values.max() > 5 * values.min()
        term = next(iter(own.values()))[0]
        label = "training loss" if term in ("loss", "total") else f"training loss, {term}"
        panels.append(lines(f"loss-{kind}", title, "run", found, "step", label, logarithmic=wide))
        for name in own:
            told.setdefault((_label(name, looks), looks[name]), None)
    if not panels:
        return ""
    key = legend((label, look, False) for label, look in told)
    note = "Means of blocks of steps where a training logged many."
    known = {name if "/" in name else f"{name}/base" for name in histories}
    if bare := [name for name in shipped if name not in known]:
        note += f" Shipped, hence without a history here: {text(', '.join(bare))}."
    return plots(panels, key, note) + _last(histories, curves)


def _looks(names: list[str]) -> dict[str, int | str]:
    """Few curves have a colour each; of many the base (and the ablations' base) stand out."""
    if len(names) <= _FEW:
        return {name: place for place, name in enumerate(names)}
    looks: dict[str, int | str] = {name: "muted" for name in names}
    for look, word in enumerate(("base", "ablation")):
        # All seeds of the base look alike.
        looks |= {name: look for name in names if (name.split("/") + [""])[1] == word}
    return looks


def _label(name: str, looks: dict[str, int | str]) -> str:
    parts = name.split("/")[1:]
    if len(looks) > _FEW:
        return "other variants" if looks[name] == "muted" else parts[0]
    return " ".join(parts) or "base"


def _last(histories: dict[str, pd.DataFrame], curves: dict[str, tuple[str, pd.DataFrame]]) -> str:
    rows = []
    for name, history in histories.items():
        if name not in curves:
            continue
        term = curves[name][0]
        known = history.dropna(subset=[term])
        rows.append(
            row(
                th(text(name), "row", kind="stick"),
                td(number(float(known["step"].iloc[-1]) + 1, 0), "number"),
                td(text(term)),
                td(number(float(known[term].iloc[-1]), 4), "number"),
            )
        )
    head = row(th("Model"), th("Steps", kind="number"), th("Term"), th("Last", kind="number"))
    body = table([head], rows, "Last logged loss of every training")
    return details("last-losses", f"Last logged loss of {len(rows)} trainings", body)
