"""Pieces of the report's HTML: escaped text, tables that scroll, plots and pictures in place."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable
from html import escape
from pathlib import Path

from PIL import Image

from bench.report.svg import MARKERS, SERIES, Panel
from genhmr.types import UserError

VERDICTS = {"supported": "✓", "contradicted": "✗", "undecided": "?", "not run": "–"}
WIDEST = 1200  # pixels of an embedded picture
SMALL_PNG = 60_000  # bytes; below that a PNG stays what it is
_HERE = Path(__file__).parent
_SHAPES = {
    "o": '<circle cx="14" cy="6" r="3.2"/>',
    "s": '<rect x="11" y="3" width="6" height="6"/>',
    "^": '<path d="M14 2.4 17.8 9.2H10.2Z"/>',
    "D": '<path d="M14 2 18 6 14 10 10 6Z"/>',
    "v": '<path d="M14 9.6 17.8 2.8H10.2Z"/>',
}
_DASHES = {"--": "4 2", ":": "1.5 2"}
_ORIGINS = {"run": "this run", "open": "open run", "paper": "paper"}


def text(value: object) -> str:
    """Any value as text inside an element or a quoted attribute."""
    return escape(str(value), quote=True)


def number(value: float, digits: int = 1) -> str:
    """A number as it is printed; a dash where there is none."""
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def interval(low: float, high: float, digits: int = 1) -> str:
    """The ends of a 95 % interval, smaller than the number that stands before it."""
    if math.isnan(low) or math.isnan(high):
        return ""
    return f' <small class="interval">[{low:.{digits}f}, {high:.{digits}f}]</small>'


def table(head: Iterable[str], rows: Iterable[str], label: str, attributes: str = "") -> str:
    """A table in a container that scrolls by itself: on a phone the page never does sideways.

    Args:
        head, rows: ``<tr>`` elements.
        label: what it holds, as plain text.
        attributes: of the ``<table>``, for example an id.
    """
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{text(label)}">'
        f"<table{attributes}>\n<thead>{''.join(head)}</thead>\n<tbody>\n"
        + "\n".join(rows)
        + "\n</tbody></table></div>\n"
    )


def row(*cells: str) -> str:
    return f"<tr>{''.join(cells)}</tr>"


def th(content: str, scope: str = "col", span: int = 1, down: int = 1, kind: str = "") -> str:
    """A heading cell; ``content`` is HTML."""
    spans = (f' colspan="{span}"' if span > 1 else "") + (f' rowspan="{down}"' if down > 1 else "")
    return f'<th scope="{scope}"{spans}{_kind(kind)}>{content}</th>'


def td(content: str, kind: str = "") -> str:
    """A cell; ``content`` is HTML."""
    return f"<td{_kind(kind)}>{content}</td>"


def _kind(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def verdict(word: str) -> str:
    """A verdict with a sign of its own: colour alone does not tell."""
    kind = word.replace(" ", "-") if word in VERDICTS else "other"
    sign = f'<b aria-hidden="true">{VERDICTS.get(word, "")}</b>'
    return f'<span class="verdict {kind}">{sign} {text(word)}</span>'


def details(name: str, summary: str, body: str, unfolded: bool = False) -> str:
    """A part of the page that folds; ``summary`` and ``body`` are HTML."""
    state = " open" if unfolded else ""
    return f'<details id="{text(name)}"{state}><summary>{summary}</summary>\n{body}</details>\n'


def legend(entries: Iterable[tuple[str, int | str, str]]) -> str:
    """Label, look and stroke (``bench.report.svg.Series``) of each line; no stroke: marks alone."""
    items = []
    for label, look, stroke in entries:
        word = look if isinstance(look, str) else SERIES[look % len(SERIES)]
        shape = "" if isinstance(look, str) else _SHAPES[MARKERS[look % len(MARKERS)]]
        inside = f'<g fill="var(--{word if stroke in ("-", "") else "ground"})">{shape}</g>'
        dash = f' stroke-dasharray="{_DASHES[stroke]}"' if stroke in _DASHES else ""
        line = f'<path d="M1 6H27"{dash}/>' if stroke else ""
        items.append(
            '<li><svg viewBox="0 0 28 12" width="28" height="12" aria-hidden="true" '
            f'stroke="var(--{word})" stroke-width="1.4">{line}{inside}</svg> '
            f"{text(label)}</li>"
        )
    return f'<ul class="legend">{"".join(items)}</ul>\n'


def plots(panels: Iterable[Panel], key: str = "", note: str = "", paired: bool = False) -> str:
    """Plots side by side where there is room.

    Args:
        panels: the plots.
        key: their :func:`legend`.
        note: HTML below them.
        paired: two in a line at most, so that this run stands beside the paper; three fit
            anyway, where the committed run stands between them.
    """
    figures = []
    for panel in panels:
        chip = (
            f' <span class="chip {panel.origin}">{_ORIGINS[panel.origin]}</span>'
            if panel.origin
            else ""
        )
        svg = panel.svg.replace(
            "<svg ", f'<svg class="plot" role="img" aria-label="{text(panel.alt)}" ', 1
        )
        figures.append(
            f"<figure><figcaption>{text(panel.title)}{chip}</figcaption>\n{panel.key}{svg}"
            "</figure>\n"
        )
    note = f'<p class="note">{note}</p>\n' if note else ""
    kind = "panels paired" if paired else "panels"
    return f'{key}<div class="{kind}">\n{"".join(figures)}</div>\n{note}'


def picture(path: Path, alt: str, caption: str) -> str:
    """A PNG of the results inside the page, as a JPEG where that is smaller.

    Raises:
        UserError: the file is no picture.
    """
    try:
        raw = path.read_bytes()
        with Image.open(io.BytesIO(raw)) as opened:
            image = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:  # Pillow raises all three on damage
        raise UserError(f"{path} is damaged: rerun `python -m bench figures`.") from error
    kind, width, height = "png", *image.size
    if len(raw) > SMALL_PNG or width > WIDEST:
        if width > WIDEST:
            image = image.resize((WIDEST, round(height * WIDEST / width)), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=86, optimize=True)
        if buffer.tell() < len(raw):
            raw, kind, (width, height) = buffer.getvalue(), "jpeg", image.size
    data = base64.b64encode(raw).decode()
    return (
        f'<figure class="picture"><img src="data:image/{kind};base64,{data}" width="{width}" '
        f'height="{height}" loading="lazy" alt="{text(alt)}"><figcaption>{text(caption)}'
        "</figcaption></figure>\n"
    )


def page(title: str, body: str) -> str:
    """The whole document. Its policy lets a browser load nothing that is not in it."""
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        "script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{text(title)}</title>\n<style>\n{_asset('page.css')}</style>\n</head>\n"
        f"<body>\n{body}<script>\n{_asset('page.js')}</script>\n</body>\n</html>\n"
    )


def _asset(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
