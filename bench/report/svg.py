"""Plots as inline SVG that takes its colours from the page: drawn once, right in light and dark.

matplotlib writes colours as numbers. Every colour here is a number that stands for a CSS variable
(``page.css``) and becomes ``var(--name)`` in the text it wrote.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

NAMES = ("ink", "muted", "rule", "s1", "s2", "s3", "s4", "s5", "good", "bad", "open")
COLOUR = {name: f"#0101{number:02x}" for number, name in enumerate(NAMES, start=1)}
SERIES = ("s1", "s2", "s3", "s4", "s5")
MARKERS = ("o", "s", "^", "D", "v")
SIZE = (3.9, 2.8)  # inches; at phone width the letters still have 11 pixels

_STYLE = {
    "svg.fonttype": "none",  # letters stay letters: small, searchable, in the page's own font
    "svg.hashsalt": "genhmr",  # the same ids for the same plot
    "text.parse_math": False,  # names come from files; a $ in one is a $
    "font.size": 9.5,
    "axes.labelsize": 9.5,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "text.color": COLOUR["ink"],
    "axes.labelcolor": COLOUR["ink"],
    "axes.edgecolor": COLOUR["muted"],
    "xtick.color": COLOUR["muted"],
    "ytick.color": COLOUR["muted"],
    "xtick.labelcolor": COLOUR["ink"],
    "ytick.labelcolor": COLOUR["ink"],
    "grid.color": COLOUR["rule"],
    "grid.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
}


@dataclass(frozen=True)
class Series:
    """One line of a plot.

    Attributes:
        label: for the legend and the alt text.
        x, y: its points; NaN is left out.
        look: a number picks colour and marker; a name of ``NAMES`` is a line without marks, and
            "muted" one that stands behind the others.
        low, high: ends of the 95 % intervals, or None.
        stroke: "-" of this run; beside it ":" of the committed run and "--" of the paper.
    """

    label: str
    x: list[float]
    y: list[float]
    look: int | str
    low: list[float] | None = None
    high: list[float] | None = None
    stroke: str = "-"

    @property
    def colour(self) -> str:
        return self.look if isinstance(self.look, str) else SERIES[self.look % len(SERIES)]

    @property
    def marker(self) -> str:
        return "" if isinstance(self.look, str) else MARKERS[self.look % len(MARKERS)]


@dataclass(frozen=True)
class Panel:
    """One plot: title, whose numbers ("run", "open", "paper" or ""), SVG, and the same in words;
    ``key`` is HTML between title and plot, for a legend of its own.
    """

    title: str
    origin: str
    svg: str
    alt: str
    key: str = ""


def draw(name: str, paint: Callable[[Axes], None], size: tuple[float, float] = SIZE) -> str:
    """The SVG that ``paint`` makes of empty axes.

    Args:
        name: letters and digits; no two plots of a page share it.
        paint: draws with the colours of ``COLOUR`` only.
        size: inches.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        paint(figure.add_subplot())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return _inline(buffer.getvalue(), name)


def _inline(svg: str, name: str) -> str:
    """For use inside HTML: no declarations, ids of its own, colours and font of the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Inside HTML this rule would hold for the whole page; page.css has it for plots alone.
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", svg)
    # Either way of writing it, by the version of matplotlib.
    svg = re.sub(r"font: ([\d.]+)px [^;\"]+", r"font-size: \1px", svg)
    svg = re.sub(r" font-family: [^;\"]+;", "", svg)
    for word, number in COLOUR.items():
        svg = svg.replace(number, f"var(--{word})")
    box = re.search(r'viewBox="[^"]*"', svg)[0]
    svg = re.sub(r"^<svg[^>]*>", f"<svg {box}>", svg)
    return re.sub(r">\s*\n\s*", ">", svg).strip()


def plain_numbers(axis: Any) -> None:
    """Ticks of a logarithmic axis as plain numbers; matplotlib's powers are mathematical text."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(FuncFormatter(lambda value, _: ""))


def lines(
    name: str,
    title: str,
    origin: str,
    series: list[Series],
    x_label: str,
    y_label: str,
    ticks: dict[float, str] | None = None,
    logarithmic: bool = False,
) -> Panel:
    """Lines with marks and intervals over one axis.

    Args:
        name: see :func:`draw`.
        title, origin: see :class:`Panel`.
        series: at least one.
        x_label, y_label: with their units.
        ticks: places and words of the x axis, where it has few values.
        logarithmic: the y axis.
    """

    def paint(axes: Axes) -> None:
        # Intervals at the same place would hide each other: their lines step aside a little.
        places = [x for own in series for x in own.x]
        aside = 0.012 * (max(places) - min(places)) if any(s.low for s in series) else 0
        for number, own in enumerate(series):
            x = [place + aside * (number - (len(series) - 1) / 2) for place in own.x]
            behind = own.colour == "muted"
            look = {
                "color": COLOUR[own.colour], "lw": 0.9 if behind else 1.6, "marker": own.marker,
                "ms": 4.5, "ls": own.stroke, "alpha": 0.5 if behind else 1,
                "mfc": None if own.stroke == "-" else "none", "markevery": max(1, len(own.x) // 8),
            }  # fmt: skip
            axes.plot(x, own.y, **look)
            if own.low is not None and own.high is not None:
                axes.vlines(x, own.low, own.high, color=COLOUR[own.colour], lw=1, alpha=0.6)
        axes.set(xlabel=x_label, ylabel=y_label)
        axes.grid(axis="y")
        if logarithmic:
            axes.set_yscale("log")
            plain_numbers(axes.yaxis)
        else:
            axes.yaxis.set_major_locator(MaxNLocator(6))
        if ticks:
            axes.set_xticks(list(ticks), list(ticks.values()))

    return Panel(title, origin, draw(name, paint), describe(series, x_label, y_label, ticks))


def dots(
    name: str, title: str, origin: str, rows: list[str], series: list[Series], x_label: str,
    ends: tuple[float, float] | None = None,
) -> Panel:  # fmt: skip
    """Marks, with their intervals where they have some, beside ``rows``, which have no order.

    Args:
        name: see :func:`draw`.
        title, origin: see :class:`Panel`.
        rows: words at the left, from the top.
        series: ``x`` counts the rows, ``y`` is drawn along the axis; a row may come several times.
        x_label: with its unit.
        ends: of the axis, where they are known.
    """

    def paint(axes: Axes) -> None:
        for own in series:
            colour = COLOUR[own.colour]
            if own.low is not None and own.high is not None:
                axes.hlines(own.x, own.low, own.high, color=colour, lw=1.2, alpha=0.6)
            axes.plot(own.y, own.x, color=colour, marker=own.marker, ls="", ms=4.5)
        axes.set(xlabel=x_label, ylim=(len(rows) - 0.5, -0.5), xlim=ends)
        axes.set_yticks(range(len(rows)), rows)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="x")

    told = []
    for own in series:
        marks = "; ".join(f"{rows[int(place)]} {value:.4g}" for place, value in zip(own.x, own.y))
        told.append(f"{own.label}: {marks}" if len(series) > 1 else marks)
    size = (SIZE[0], 0.24 * len(rows) + 0.8)
    return Panel(title, origin, draw(name, paint, size), f"{x_label}. {'. '.join(told)}.")


def describe(
    series: list[Series], x_label: str, y_label: str, ticks: dict[float, str] | None = None
) -> str:
    """The first and the last point of every line, in words; of many lines the first eight."""
    told = []
    for own in series[:8]:
        known = [(x, y) for x, y in zip(own.x, own.y) if np.isfinite(y)]
        if known:
            ends = [f"{y:.4g} at {(ticks or {}).get(x, f'{x:g}')}" for x, y in known]
            told.append(f"{own.label}: {ends[0]}" + (f", {ends[-1]}" if len(ends) > 1 else ""))
    more = f"; and {len(series) - 8} more lines" if len(series) > 8 else ""
    return f"{y_label} against {x_label}. {'; '.join(told)}{more}."
