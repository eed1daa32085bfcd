"""Loss curves of the report: small multiples, one plot a question that variants are trained for."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd

from bench.report.html import details, legend, number, plots, row, table, td, text, th
from bench.report.svg import SERIES, Panel, Series, lines

# What is drawn of a history: the sum that was minimised, else its main term.
_SUMS = ("loss", "total", "pose")
_POINTS = 150  # of a curve; longer ones are drawn as means of blocks
_FEWEST = 5  # points that make a curve; a training that logged fewer is told in words
_STROKES = ("-", "--", ":")  # of the first five curves of a plot, the next five, ...
_WHOSE = {"run": "this run", "open": "the committed open run"}
# Plots, in their order, by the letters that the names of their models begin with.
_FAMILIES = {
    "backbone": "Backbone",
    "lifter": "Lifter",
    "tokenizer/base": "Tokenizer of the base",
    "tokenizer/c": "Tokenizers by codebook (Table 5)",
    "tokenizer/t": "Tokenizers by number of tokens (Table 6)",
    "tokenizer/mixed-c": "Tokenizers of Table 13",
    "tokenizer/mixed-t": "Tokenizers of Table 14",
    "transformer/base": "Base",
    "transformer/ablation": "Base of the ablations",
    "transformer/mask": "Masking ratio (Table 4)",
    "transformer/sd": "Training data (Table 7)",
    "transformer/tau": "Temperature (Table 8)",
    "transformer/anneal": "Annealing (Table 9)",
    "transformer/loss": "Losses (Table 10)",
    "transformer/codes": "Codebook (Table 13)",
    "transformer/tokens": "Tokens (Table 14)",
    "transformer/scales": "Feature resolutions (Table 15)",
    "transformer/layers": "Layers (Table 16)",
}
# The base of the ablations is in every plot of its variants: they differ from it in one thing.
_REFERENCE = "transformer/ablation"
# Sums of different terms have different heights: beside them a term that all of them log.
_COMMON_TERM = {"transformer/loss": "mask"}
_KINDS = ("backbone", "lifter", "tokenizer", "transformer")

Curve = tuple[str, pd.DataFrame]


def curve(history: pd.DataFrame, terms: tuple[str, ...] = _SUMS) -> Curve | None:
    """Name and points (``step``, ``value``) of what was minimised; None where it was not logged.

    Args:
        history: what a training logged.
        terms: the first of them that was logged is taken.
    """
    for name in terms:
        if name in history:
            found = history[["step", name]].set_axis(["step", "value"], axis=1)
            found = found[np.isfinite(found["value"])].reset_index(drop=True)
            if len(found):
                block = -(-len(found) // _POINTS)
                return name, found.groupby(found.index // block).mean()
    return None


def family(model: str) -> str:
    """The plot that a model belongs to, as ``"transformer/tau"``: the letters before its numbers.

    Args:
        model: "transformer/tau-0.5-0.1", of a further seed "transformer/base/seed-1".
    """
    kind, _, name = model.partition("/")
    letters = re.match(r"(?:mixed-)?[a-z]*", name.partition("/")[0])
    return f"{kind}/{letters[0]}" if letters and letters[0] else kind


def losses(
    histories: dict[str, pd.DataFrame], kept: dict[str, pd.DataFrame], shipped: list[str]
) -> str:
    """Plots, and the last loss of every model; weights that came shipped have no history here.

    Args:
        histories: of this run, by model.
        kept: of the committed open run, by model.
        shipped: models that were not trained, as ``"transformer/base"``.
    """
    sources = {"run": histories, "open": kept}
    if not any(sources.values()):
        return ""
    groups: dict[str, None] = dict.fromkeys(_FAMILIES)
    groups |= dict.fromkeys(family(name) for own in sources.values() for name in own)
    panels = []
    for group in groups:
        for origin, own in sources.items():
            panels += _panels(group, origin, own)
    note = [
        "One plot a question, of this run and of the committed open run; the base of the ablations "
        "(a line without marks) is in each that compares variants with it. Losses of Table 10 are "
        "sums of different terms: beside them is L_mask, which all of them log. Means of blocks of "
        "steps where a training logged many; of the open run the first seed."
    ]
    short = " ".join(said for origin, own in sources.items() if (said := _too_short(origin, own)))
    # In front: who misses the curves of this run reads why first.
    short = f'<p class="note">{short}</p>\n' if short else ""
    known = {name if "/" in name else f"{name}/base" for name in histories}
    if bare := [name for name in shipped if name not in known]:
        note.append(f"Shipped, hence without a history here: {text(', '.join(bare))}.")
    return short + (plots(panels, note=" ".join(note)) if panels else "") + _last(sources)


def _drawn(histories: dict[str, pd.DataFrame], terms: tuple[str, ...] = _SUMS) -> dict[str, Curve]:
    """The trainings that logged enough for a curve."""
    found = {name: curve(history, terms) for name, history in histories.items()}
    return {name: own for name, own in found.items() if own and len(own[1]) >= _FEWEST}


def _panels(group: str, origin: str, histories: dict[str, pd.DataFrame]) -> list[Panel]:
    """The plots of one group of models; none where no training of it has a curve."""
    title = _FAMILIES.get(group) or f"Others: {group.replace('/', ' ')}"
    name = re.sub(r"\W", "-", f"loss-{group}-{origin}")
    panels = []
    for terms in (_SUMS, *((term,) for term in [_COMMON_TERM.get(group)] if term)):
        curves = _drawn(histories, terms)
        own = {model: found for model, found in curves.items() if family(model) == group}
        if own:
            reference = {m: c for m, c in curves.items() if m == _REFERENCE and _compared(group)}
            shown = title if terms == _SUMS else f"{title}: L_{terms[0]}, minimised or not"
            panels.append(_panel(f"{name}-{terms[0]}", shown, origin, own, reference))
    return panels


def _compared(group: str) -> bool:
    return group.startswith("transformer/") and group not in ("transformer/base", _REFERENCE)


def _panel(
    name: str, title: str, origin: str, own: dict[str, Curve], reference: dict[str, Curve]
) -> Panel:
    labels = list(dict.fromkeys(_label(model) for model in own))
    looks: dict[str, tuple[int | str, str]] = {
        label: (place, _STROKES[place // len(SERIES) % len(_STROKES)])
        for place, label in enumerate(labels)
    }
    looks |= {_label(model): ("ink", "-") for model in reference}
    found = []
    for model, (_, points) in (own | reference).items():
        look, stroke = looks[_label(model)]  # all seeds of a model look alike
        found.append(Series(model.partition("/")[2] or model, points["step"].tolist(),
                            points["value"].tolist(), look, stroke=stroke))  # fmt: skip
    values = np.concatenate([line.y for line in found])
    wide = values.min() > 0 and values.max() > 5 * values.min()
    term = next(iter(own.values()))[0]
    label = "training loss" if term in ("loss", "total") else f"training loss, {term}"
    key = legend((label, *look) for label, look in looks.items()) if len(looks) > 1 else ""
    panel = lines(name, title, origin, found, "step", label, logarithmic=wide)
    return replace(panel, key=key)


def _label(model: str) -> str:
    """The name of a variant, for all its seeds."""
    return (model.split("/") + ["base"])[1]


def _too_short(origin: str, histories: dict[str, pd.DataFrame]) -> str:
    """How many trainings of how many steps have no curve, in words."""
    curves = _drawn(histories)
    counts = Counter(
        (name.partition("/")[0], int(history["step"].max()) + 1)
        for name, history in histories.items() if name not in curves
    )  # fmt: skip
    if not counts:
        return ""
    order = sorted(counts.items(), key=lambda item: (_KINDS.index(item[0][0]), item[0][1]))
    told = ", ".join(
        f"{count} {kind}{'s' * (count > 1)} of {steps:,} step{'s' * (steps > 1)}"
        for (kind, steps), count in order
    )
    return (
        f"Of {_WHOSE[origin]} too short for a curve (fewer than {_FEWEST} logged points): {told}. "
        "Their last loss stands in the table below the plots."
    )


def _last(sources: dict[str, dict[str, pd.DataFrame]]) -> str:
    rows = []
    for origin, histories in sources.items():
        for name, history in histories.items():
            if (found := curve(history)) is None:
                continue
            term = found[0]
            known = history.dropna(subset=[term])
            rows.append(
                row(
                    th(text(name), "row", kind="stick"),
                    td(_WHOSE[origin].removeprefix("the ")),
                    td(number(float(known["step"].iloc[-1]) + 1, 0), "number"),
                    td(text(term)),
                    td(number(float(known[term].iloc[-1]), 4), "number"),
                )
            )
    head = row(
        th("Model"), th("Run"), th("Steps", kind="number"), th("Term"), th("Last", kind="number")
    )
    body = table([head], rows, "Last logged loss of every training")
    return details("last-losses", f"Last logged loss of {len(rows)} trainings", body)
