"""What models do on the sets of this run: the base's headline, the tokenizers and their codes."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.report.html import interval, legend, number, plots, row, table, td, text, th
from bench.report.inputs import Run
from bench.report.svg import Panel, Series, dots
from bench.report.tables import in_order, metric_name
from bench.status import METHODS, METRICS, Mean, mean_of

Json = dict[str, Any]

OPEN_RUN = "committed open run"
_BASELINES = {
    "mean-pose": "the mean pose and shape of the training sets, the same for every image",
    "lifted": "what the network regresses from its 2D heatmaps in one pass, before any token is "
    "sampled",
}
_USE = {"used": "chosen at all", "perplexity": "perplexity over number of codes"}


def headline(run: Run) -> str:
    """Mean pose, sampling and refinement of the base on each set, with intervals."""
    sets = run.summary.get("base", {})
    roles = {name: role for role, name in run.job["names"].items()}
    groups = [(name, sets[name], "") for name in in_order(run, sets)]
    beside = (run.reference or {}).get("base", {})
    groups += [(name, beside[name], OPEN_RUN) for name in in_order(run, beside)]
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
    told = {METHODS[name]: words for name, words in _BASELINES.items()}
    said = "; ".join(f"<b>{name}</b>: {words}" for name, words in told.items())
    errors = table([head], rows, "Errors of the base model on each set", ' class="headline"')
    return f"{errors}<p>{said}.</p>\n"


def tokenizers(run: Run) -> str:
    """Reconstruction by every tokenizer, and its codes; empty where none was evaluated."""
    sources = _sources(run)
    measured = any(codebooks for _, codebooks, _ in sources)
    rows = []
    for summary, codebooks, origin in sources:
        for name, sets in summary.get("tokenizers", {}).items():
            label = text(name) + (f"<small>{origin}</small>" if origin else "")
            for place, (dataset, entry) in enumerate(sets.items()):
                first = [th(label, "rowgroup", down=len(sets), kind="stick")] if not place else []
                errors = [td(number(float(entry[metric])), "number") for metric in METRICS]
                count = f"{entry['n']}"
                if (seeds := entry.get("seeds", 1)) > 1:
                    count += f" × {seeds} seeds"
                cells = [*first, td(text(dataset)), *errors, td(text(count), "number")]
                if measured:
                    cells += _use_cells(codebooks.get(name, {}).get(_role(run, dataset), []))
                rows.append(row(*cells))
    head = [th("Tokenizer"), th("Set"),
            *(th(f"{metric_name(m)} (mm)", kind="number") for m in METRICS),
            th("Poses", kind="number")]  # fmt: skip
    if measured:
        head += [th("Codes chosen", kind="number"), th("Perplexity", kind="number")]
    label = "Reconstruction errors of the tokenizers, and use of their codes"
    return table([row(*head)], rows, label) if rows else ""


def _sources(run: Run) -> list[tuple[Json, dict[str, Json], str]]:
    """Summary and use of codes of this run and of the committed one, with what either is called."""
    return [
        (run.summary, run.codebooks, ""),
        (run.reference or {}, run.kept_codebooks, OPEN_RUN),
    ]


def _role(run: Run, dataset: str) -> str:
    """The role of a set by its name, of this run or of the open world."""
    roles = {name: role for role, name in run.job["names"].items()}
    return roles.get(dataset, dataset.removeprefix("open-"))


def _use_cells(entries: list[Json]) -> list[str]:
    """Share of the codes and perplexity, means over seeds."""
    if not entries:
        return [td("–", "number")] * 2
    used, perplexity = (np.mean([entry[name] for entry in entries]) for name in _USE)
    return [
        td(f"{100 * used:.1f} % of {entries[0]['codes']}", "number"),
        td(number(float(perplexity), 0), "number"),
    ]


def codebooks(run: Run) -> str:
    """How much of its codebook each tokenizer uses, set by set; empty where it was not measured."""
    every = [*run.codebooks.values(), *run.kept_codebooks.values()]
    roles = dict.fromkeys(role for used in every for role in used)
    panels = []
    for role in roles:
        for origin, found in (("run", run.codebooks), ("open", run.kept_codebooks)):
            name = run.job["names"].get(role, role) if origin == "run" else f"open-{role}"
            panels += _use_panel(role, name, origin, found)
    if not panels:
        return ""
    note = (
        "In brackets the number of codes. One mark a seed, on the poses that the tokenizers are "
        "scored on. Perplexity, exp of the entropy of how often each code is chosen, is as many "
        "codes as would be in use if all were chosen equally often: between the two marks lie "
        "codes that are rarely chosen. Few poses cannot use many codes."
    )
    note += _without_use(run)
    key = legend((label, look, "") for look, label in enumerate(_USE.values()))
    return plots(panels, key, note, paired=bool(run.kept_codebooks))


def _without_use(run: Run) -> str:
    """Names the tokenizers that were scored before the use of codes was counted, as a sentence."""
    names = [
        text(name) + (f" ({origin})" if origin else "")
        for summary, found, origin in _sources(run)
        if found
        for name in summary.get("tokenizers", {})
        if name not in found
    ]
    return f" Not counted for {', '.join(names)}." if names else ""


def _use_panel(role: str, title: str, origin: str, found: dict[str, Json]) -> list[Panel]:
    names = [name for name, used in found.items() if used.get(role)]
    if not names:
        return []
    marks = [(place, entry) for place, name in enumerate(names) for entry in found[name][role]]
    places = [float(place) for place, _ in marks]
    series = []
    for look, (key, label) in enumerate(_USE.items()):
        whole = [entry["codes"] if key == "perplexity" else 1 for _, entry in marks]
        shares = [100 * entry[key] / by for (_, entry), by in zip(marks, whole)]
        series.append(Series(label, places, shares, look))
    rows = [f"{name} ({found[name][role][0]['codes']})" for name in names]
    return [dots(f"codebook-{role}-{origin}", title, origin, rows, series,
                 "share of the codebook (%)", (0, 103))]  # fmt: skip
