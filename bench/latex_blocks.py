"""A table of the paper as LaTeX tabulars: its heads, sub-headings and marks, a block a side."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pandas as pd

from bench.layout import BEST, DATASETS, SECOND, SIDES, Printed, notes_on
from bench.ledger import TIME

Json = dict[str, Any]

METRIC_NAMES = {"mpjpe": "MPJPE", "pa_mpjpe": "PA-MPJPE", "mve": "MVE", "aiti": "AITI (s)"}
SIDE_NAMES = {"reported": "Reported", "open_run": "Open run", "rerun": "Rerun"}
MACHINES = {"reported": "RTX A5000", "open_run": "its machine", "rerun": "this machine"}
DIFFERS = "$^{\\ddagger}$"  # of a printed difference; the paper has a note of its own at the dagger
_SPECIAL = str.maketrans(
    {sign: f"\\{sign}" for sign in "&%#$_"} | {"†": "$\\dagger$", "*": "$\\ast$"}
)


def text(words: Any) -> str:
    """Plain text as LaTeX."""
    return str(words).translate(_SPECIAL)


def status_letters(table: Printed) -> dict[str, str]:
    """A letter for each status that errors or times of a run have, in the order they come."""
    found: dict[str, None] = {}
    for side in table.sides:
        if SIDES[side]:
            found |= dict.fromkeys(_status(line, side) for line in table.tidy.to_dict("records"))
    return {status: chr(ord("a") + place) for place, status in enumerate(found)}


def _status(line: Json, side: str) -> str:
    status = line[SIDES[side]]
    return f"AITI {status}" if line["metric"] == TIME else status


@dataclass(frozen=True)
class _Row:
    """A row as it is printed: its labels, its sub-heading, and its lines by column."""

    labels: list[str]
    section: str
    lines: list[Json]


def tabulars(table: Printed, width: int = 15) -> list[str]:
    """The table alone, with booktabs rules: the blocks side by side, or one below the other.

    Args:
        table: to print.
        width: how many columns of errors a page holds side by side; one that has differences takes
            the place of two.

    Returns:
        One tabular with all blocks where they fit, else one each; in the order of ``SIDES``.
    """
    first = table.tidy[table.tidy["row"] == table.tidy["row"].iloc[0]]
    differ = table.tidy[[f"{side}_delta" for side in table.sides]].notna().any(axis=None)
    if len(first) * len(table.sides) * (2 if differ else 1) <= width:
        return [_tabular(table, table.sides)]
    return [_tabular(table, [side]) for side in table.sides]


def _tabular(table: Printed, sides: list[str]) -> str:
    rows, heads = _rows(table), _key_heads(table)
    letters = status_letters(table)
    blocks = [(side, _columns(table, side)) for side in sides]
    across = len(heads) + sum(len(columns) + bool(SIDES[side]) for side, columns in blocks)
    lines, section = [*_heads(table, heads, blocks), "\\midrule"], None
    for place, row in enumerate(rows):
        if row.section != section:
            lines += ["\\midrule"] * (section is not None)
            section = row.section
            if "sections" in table.layout:
                lines.append(f"\\multicolumn{{{across}}}{{c}}{{\\textit{{{section}}}}} \\\\")
        cells = list(row.labels)
        if "once" in table.layout and place and rows[place - 1].section == row.section:
            cells[0] = ""
        for side, columns in blocks:
            cells += [_cell(table, line, side) for line, _ in zip(row.lines, columns, strict=True)]
            if SIDES[side]:
                own = dict.fromkeys(letters[_status(line, side)] for line in row.lines)
                cells.append(",".join(own))
        lines.append(" & ".join(cells) + " \\\\")
    form = "l" * len(heads)
    form += "".join("r" * len(columns) + "c" * bool(SIDES[side]) for side, columns in blocks)
    body = "\n".join(lines)
    return f"\\begin{{tabular}}{{{form}}}\n\\toprule\n{body}\n\\bottomrule\n\\end{{tabular}}\n"


def _columns(table: Printed, side: str) -> list[tuple[str, str]]:
    """Of one block: the set, as the block calls it, and the metric of each, as lines of a row."""
    tidy = table.tidy
    found = dict.fromkeys(zip(tidy[DATASETS[side]], tidy["metric"]))
    return [(MACHINES[side] if m == TIME else own, METRIC_NAMES[m]) for own, m in found]


def _heads(
    table: Printed, keys: list[str], blocks: list[tuple[str, list[tuple[str, str]]]]
) -> list[str]:
    """Whose numbers; sets; metrics; the paper has the last two the other way round once."""
    top: list[tuple[str, int]] = [("", len(keys))]
    middle = [(table.layout.get("over", ""), len(keys))]
    bottom = list(keys)
    for side, columns in blocks:
        status = bool(SIDES[side])
        top.append((SIDE_NAMES[side], len(columns) + status))
        pairs = columns
        if table.layout.get("metric_above"):
            pairs = [(metric, dataset) for dataset, metric in columns]
        middle += [(name, len(list(own))) for name, own in groupby(pairs, lambda pair: pair[0])]
        middle += [("", 1)] * status
        bottom += [name for _, name in pairs] + ["status"] * status
    return [*_spanned(top), *_spanned(middle), " & ".join(bottom) + " \\\\"]


def _spanned(heads: list[tuple[str, int]]) -> list[str]:
    """A line of heads over several columns each, with a rule below those that say something."""
    cells, rules, start = [], [], 1
    for name, count in heads:
        cells.append(f"\\multicolumn{{{count}}}{{c}}{{{name}}}")
        if name:
            rules.append(f"\\cmidrule(lr){{{start}-{start + count - 1}}}")
        start += count
    return [" & ".join(cells) + " \\\\", "".join(rules)]


def _shown_keys(table: Printed) -> list[str]:
    """The columns that stand at the left: all but the sub-headings, merged ones as one."""
    hidden = {table.layout.get("sections", {}).get("column")}
    hidden |= set(table.layout.get("merge", {}).get("columns", [])[1:])
    return [key for key in table.keys if key not in hidden]


def _key_heads(table: Printed) -> list[str]:
    """How the paper heads them; any other is its name in words."""
    heads = dict(table.layout.get("heads", {}))
    if merge := table.layout.get("merge"):
        heads[merge["columns"][0]] = merge["head"]
    return [heads.get(key, text(key.replace("_", " "))) for key in _shown_keys(table)]


def _rows(table: Printed) -> list[_Row]:
    layout, rows = table.layout, []
    sections = layout.get("sections", {})
    for _, group in table.tidy.groupby("row", sort=False):
        key = {name: group[name].iloc[0] for name in table.keys}
        labels = {name: _label(name, key[name], layout) for name in table.keys}
        if merge := layout.get("merge"):
            labels[merge["columns"][0]] = " $\\times$ ".join(labels[n] for n in merge["columns"])
        for note in notes_on(key, table.notes):
            labels[next(iter(note["rows"]))] += f"$^{{{text(note['mark']).strip('$')}}}$"
        section = key[layout["once"]] if "once" in layout else ""
        if sections:
            section = sections["names"][key[sections["column"]]]
        shown = [labels[name] for name in _shown_keys(table)]
        rows.append(_Row(shown, section, group.to_dict("records")))
    return rows


def _label(name: str, value: Any, layout: Json) -> str:
    if name in layout.get("checks", ()):
        return "$\\checkmark$" if value else "$\\times$"
    return layout.get("labels", {}).get(name, {}).get(value, text(value))


def _cell(table: Printed, line: Json, side: str) -> str:
    """Best in bold, second best underlined, the difference as the paper prints it."""
    if pd.isna(line[side]):
        return "--"
    digits = table.decimals(line["metric"], side)
    shown = f"{line[side]:.{digits}f}"
    if line[f"{side}_mark"] == BEST:
        shown = f"\\textbf{{{shown}}}"
    if line[f"{side}_mark"] == SECOND:
        shown = f"\\underline{{{shown}}}"
    delta = line[f"{side}_delta"]
    if pd.isna(delta):
        return shown
    if "better_than_others" in table.layout:  # a gain: an arrow downwards
        shown += f" ({abs(delta):.{digits}f}$\\{'down' if delta >= 0 else 'up'}arrow$)"
    else:
        shown += f"$_{{\\Delta {delta:.{digits}f}}}$"
    recomputed = line.get("reported_delta_recomputed") if side == "reported" else None
    return shown if pd.isna(recomputed) else shown + DIFFERS
