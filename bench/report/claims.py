"""The claims of the paper in the report: chart, filter, list, and the order of rows."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from bench.report.html import VERDICTS, plots, row, table, td, text, th, verdict
from bench.report.svg import COLOUR, Panel, draw

_LOOK = {"supported": ("good", "s"), "contradicted": ("bad", "X"), "undecided": ("open", "D"),
         "not run": ("muted", ".")}  # fmt: skip
_SIDES = {"paper": "the paper's own tables", "rerun": "this run"}


def known(word: str) -> str:
    """A verdict of the list, or "other": what a file says is no name of a class."""
    return word if word in VERDICTS else "other"


def counts(claims: pd.DataFrame, side: str) -> dict[str, int]:
    """How many claims have each verdict, in a fixed order; those with none are left out."""
    found = claims[side].map(known).value_counts()
    return {word: int(found[word]) for word in (*VERDICTS, "other") if word in found}


def charts(claims: pd.DataFrame, ranking: pd.DataFrame) -> str:
    """Verdicts crossed, every claim as a mark, and the rank correlation of each table."""
    if claims.empty:
        return ""
    panels = [_crossed(claims), *(_marks(claims, side) for side in _SIDES)]
    if len(ranking):
        panels.append(_taus(ranking))
    return plots(panels, _key())


def _key() -> str:
    """The marks of the charts, each beside its verdict."""
    shapes = {
        "s": '<path d="M2 2H10V10H2Z"/>',
        "X": '<path d="M2 4 4 2 6 4 8 2 10 4 8 6 10 8 8 10 6 8 4 10 2 8 4 6Z"/>',
        "D": '<path d="M6 1 11 6 6 11 1 6Z"/>',
        ".": '<circle cx="6" cy="6" r="2"/>',
    }
    items = [
        f'<li><svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true" '
        f'fill="var(--{colour})">{shapes[marker]}</svg> {word}</li>'
        for word, (colour, marker) in _LOOK.items()
    ]
    return f'<ul class="legend">{"".join(items)}</ul>\n'


def _crossed(claims: pd.DataFrame) -> Panel:
    cells = claims.groupby([claims["paper"].map(known), claims["rerun"].map(known)]).size()
    across = [word for word in (*VERDICTS, "other") if word in cells.index.get_level_values(1)]
    down = [word for word in (*VERDICTS, "other") if word in cells.index.get_level_values(0)]
    most = cells.max()

    def paint(axes: Axes) -> None:
        for y, paper in enumerate(down):
            for x, rerun in enumerate(across):
                count = int(cells.get((paper, rerun), 0))
                shade = 0.06 + 0.4 * count / most
                axes.bar(x, 0.9, 0.9, y - 0.45, color=COLOUR["s1"], alpha=shade, lw=0)
                axes.text(x, y, str(count), ha="center", va="center", fontsize=11)
        axes.set(xlabel="by this run", ylabel="by the paper's own tables")
        axes.set_xticks(range(len(across)), across)
        axes.set_yticks(range(len(down)), down, rotation=90, va="center")
        axes.set_ylim(len(down) - 0.5, -0.5)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)

    told = "; ".join(f"{p} by the paper and {r} by this run: {n}" for (p, r), n in cells.items())
    return Panel("Verdicts crossed (number of claims)", "", draw("verdicts", paint),
                 f"Number of claims. {told}.")  # fmt: skip


def _marks(claims: pd.DataFrame, side: str) -> Panel:
    place = claims.groupby("table").cumcount()
    rows = {name: y for y, name in enumerate(dict.fromkeys(claims["table"]))}

    def paint(axes: Axes) -> None:
        for word, (colour, marker) in _LOOK.items():
            own = claims[side] == word
            heights = [rows[name] for name in claims["table"][own]]
            axes.scatter(place[own] + 1, heights, c=COLOUR[colour], marker=marker, s=26, lw=0)
        axes.set(xlabel="claims, in the order of the list", ylabel="table of the paper")
        axes.set_yticks(range(len(rows)), [name.lstrip("0") for name in rows])
        axes.set_xlim(0, place.max() + 2)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(axis="y")

    told = ", ".join(f"{n} {word}" for word, n in counts(claims, side).items())
    svg = draw(f"marks-{side}", paint, (3.9, 3.6))
    return Panel(f"Every claim by {_SIDES[side]}", "", svg, f"One mark a claim: {told}.")


def _taus(ranking: pd.DataFrame) -> Panel:
    rows = {name: y for y, name in enumerate(dict.fromkeys(ranking["table"]))}

    def paint(axes: Axes) -> None:
        axes.axvline(0, color=COLOUR["muted"], lw=0.8)
        axes.plot(ranking["tau"], [rows[name] for name in ranking["table"]], ls="", marker="o",
                  ms=6, mew=0, color=COLOUR["s1"], alpha=0.55)  # fmt: skip
        axes.set(xlabel="Kendall's tau (1: same order, -1: reverse)", ylabel="table of the paper")
        axes.set_yticks(range(len(rows)), [name.lstrip("0") for name in rows])
        axes.set_xlim(-1.1, 1.1)
        axes.set_xticks([-1, -0.5, 0, 0.5, 1])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(axis="y")

    ends = ranking.groupby("table", sort=False)["tau"].agg(["min", "max"])
    told = "; ".join(
        f"table {t.lstrip('0')}: {e['min']:g} to {e['max']:g}" for t, e in ends.iterrows()
    )
    return Panel("Order of a table's rows, paper beside this run (one dot a column)", "",
                 draw("taus", paint, (3.9, max(1.6, 0.25 * len(rows) + 1))),
                 f"Kendall's tau. {told}.")  # fmt: skip


def listing(claims: pd.DataFrame) -> str:
    """Every claim with both verdicts, and the filter that the script brings to life."""
    rows = []
    for line in claims.to_dict("records"):
        digits = line["table"].zfill(2)
        verdicts = [
            f'<td data-side="By {name}">{verdict(line[side])}'
            f"<small>{text(line[f'{side}_detail'])}</small></td>"
            for side, name in _SIDES.items()
        ]
        rows.append(
            f'<tr id="claim-{text(line["id"])}" data-table="{text(digits)}" '
            f'data-paper="{known(line["paper"])}" data-rerun="{known(line["rerun"])}">'
            + td(f'<a href="#table-{text(digits)}">{text(digits.lstrip("0"))}</a>', "number")
            + th(f"{text(line['statement'])}<small><code>{text(line['id'])}</code></small>", "row")
            + "".join(verdicts)
            + "</tr>"
        )
    head = row(th("Table", kind="number"), th("Claim"), *(th(f"By {s}") for s in _SIDES.values()))
    return _filter(claims) + table([head], rows, "Claims of the paper", ' id="claim-list"')


def _filter(claims: pd.DataFrame) -> str:
    selects = []
    for side, name in _SIDES.items():
        options = [
            f'<option value="{word}">{word} ({count})</option>'
            for word, count in counts(claims, side).items()
        ]
        selects.append(_select(side, f"By {name}", options))
    tables = dict.fromkeys(name.zfill(2) for name in claims["table"])
    options = [f'<option value="{text(t)}">{text(t.lstrip("0"))}</option>' for t in tables]
    selects.append(_select("table", "Table", options))
    return (
        f'<form id="claim-filter" hidden>{"".join(selects)}'
        f'<output aria-live="polite">{len(claims)} claims</output></form>\n'
    )


def _select(name: str, label: str, options: list[str]) -> str:
    return (
        f'<label>{label} <select name="{name}"><option value="">all</option>'
        f"{''.join(options)}</select></label>"
    )
