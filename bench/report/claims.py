"""The claims of the paper in the report: chart, filter, list, and the order of rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from bench.report.html import VERDICTS, plots, row, table, td, text, th, verdict
from bench.report.svg import COLOUR, Panel, draw
from bench.status import DERIVED, JUDGES, in_direction

_LOOK = {"supported": ("good", "s"), "contradicted": ("bad", "X"), "undecided": ("open", "D"),
         "not run": ("muted", ".")}  # fmt: skip

BASIS = (
    "<p>By the paper: whether its own tables, as printed, agree with its text. By a run: at 95 %, "
    "paired over the same images, whole sequences drawn anew (times: the median of paired rounds, "
    "sign test); a difference between two trainings counts only beyond what seeds and images "
    "together change (Student's t over the trainings of one configuration); between settings of "
    "one model the verdict is of the trainings that ran, and says how many. One part that fails "
    "contradicts a claim, at a level divided by the number of its parts; all must hold to support "
    "it. Where the paper states a size, a run is asked for its direction alone, because "
    "millimetres and seconds do not carry over; what it measured stands beside.</p>\n"
)


def sides(claims: pd.DataFrame) -> dict[str, str]:
    """Who judged, in words, by the column of the verdicts."""
    return {side: whose for side, whose in JUDGES.items() if side in claims}


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
    judges = sides(claims)
    panels = [_crossed(claims, side) for side in judges if side != "paper"]
    panels += [_marks(claims, side) for side in judges]
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


def _crossed(claims: pd.DataFrame, side: str) -> Panel:
    cells = claims.groupby([claims["paper"].map(known), claims[side].map(known)]).size()
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
        axes.set(xlabel=f"by {JUDGES[side]}", ylabel="by the paper's own tables")
        axes.set_xticks(range(len(across)), across)
        axes.set_yticks(range(len(down)), down, rotation=90, va="center")
        axes.set_ylim(len(down) - 0.5, -0.5)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)

    told = "; ".join(
        f"{p} by the paper and {r} by {JUDGES[side]}: {n}" for (p, r), n in cells.items()
    )
    return Panel("Verdicts crossed (number of claims)", "", draw(f"verdicts-{side}", paint),
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
    return Panel(f"Every claim by {JUDGES[side]}", "", svg, f"One mark a claim: {told}.")


def _taus(ranking: pd.DataFrame) -> Panel:
    rows = {name: y for y, name in enumerate(dict.fromkeys(ranking["table"]))}
    beside = "open_tau" in ranking

    def paint(axes: Axes) -> None:
        axes.axvline(0, color=COLOUR["muted"], lw=0.8)
        heights = np.array([rows[name] for name in ranking["table"]])
        if beside:
            axes.plot(ranking["open_tau"], heights - 0.18, ls="", marker="^", ms=6, mew=1.2,
                      mfc="none", mec=COLOUR["s2"])  # fmt: skip
        axes.plot(ranking["tau"], heights + 0.18 * beside, ls="", marker="o", ms=6, mew=0,
                  color=COLOUR["s1"], alpha=0.55)  # fmt: skip
        axes.set(xlabel="Kendall's tau (1: same order, -1: reverse)", ylabel="table of the paper")
        axes.set_yticks(range(len(rows)), [name.lstrip("0") for name in rows])
        axes.set_xlim(-1.1, 1.1)
        axes.set_xticks([-1, -0.5, 0, 0.5, 1])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(axis="y")

    title = "Order of a table's rows, paper beside this rerun (one dot a column)"
    told = "Kendall's tau."
    if own := _ends(ranking, "tau"):
        told += f" {own}."
    if beside:
        title = "Order of rows beside the paper's: this rerun (dots), open run (triangles)"
        if other := _ends(ranking, "open_tau"):
            told += f" Of the committed open run: {other}."
    height = max(1.6, 0.25 * len(rows) + 1)
    return Panel(title, "", draw("taus", paint, (3.9, height)), told)


def _ends(ranking: pd.DataFrame, side: str) -> str:
    ends = ranking.dropna(subset=side).groupby("table", sort=False)[side].agg(["min", "max"])
    return "; ".join(
        f"table {t.lstrip('0')}: {e['min']:g} to {e['max']:g}" for t, e in ends.iterrows()
    )


def listing(claims: pd.DataFrame) -> str:
    """Every claim with all verdicts, and the filter that the script brings to life."""
    judges = sides(claims)
    rows = []
    for line in claims.to_dict("records"):
        digits = line["table"].zfill(2)
        verdicts = [
            f'<td data-side="By {name}">{verdict(line[side])}{_alone(line, side)}'
            f"<small>{text(line[f'{side}_detail'])}</small></td>"
            for side, name in judges.items()
        ]
        told = f"<q>{text(line['quote'])}</q> " if line["quote"] else ""
        told += f"{text(line['where'])} · <code>{text(line['id'])}</code>"
        if line["origin"] == DERIVED:
            told += " · our own reading or check"
        marks = " ".join(f'data-{side.replace("_", "-")}="{known(line[side])}"' for side in judges)
        rows.append(
            f'<tr id="claim-{text(line["id"])}" data-table="{text(digits)}" {marks}>'
            + td(f'<a href="#table-{text(digits)}">{text(digits.lstrip("0"))}</a>', "number")
            + th(f"{text(line['statement'])}<small>{told}</small>", "row")
            + "".join(verdicts)
            + "</tr>"
        )
    head = row(th("Table", kind="number"), th("Claim"), *(th(f"By {s}") for s in judges.values()))
    return BASIS + _filter(claims) + table([head], rows, "Claims of the paper", ' id="claim-list"')


def _alone(line: dict, side: str) -> str:
    return " in direction alone" if side != "paper" and in_direction(line, line[side]) else ""


def _filter(claims: pd.DataFrame) -> str:
    selects = []
    for side, name in sides(claims).items():
        options = [
            f'<option value="{word}">{word} ({count})</option>'
            for word, count in counts(claims, side).items()
        ]
        # The script compares it with the row's data-open-run, which it knows as openRun.
        selects.append(_select(side.replace("open_run", "openRun"), f"By {name}", options))
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
