"""Tables as LaTeX: each alone, and all in one document."""

from __future__ import annotations

import pandas as pd

from bench.latex_blocks import (
    DIFFERS,
    METRIC_NAMES,
    SIDE_NAMES,
    status_letters,
    tabulars,
    text,
)
from bench.layout import DATASETS, Printed
from bench.ledger import TIME
from bench.tidy import REPORTED_NAMES

# A4 landscape with margins of 15 mm: what a table has to fit into at full size.
_PAGE = "\\usepackage[a4paper,landscape,margin=15mm]{geometry}\n"
_PACKAGES = "\\usepackage{amssymb,booktabs}\n"
_SETUP = "\\setlength{\\parindent}{0pt}\\setlength{\\tabcolsep}{4pt}\n"


def latex(table: Printed) -> str:
    """The table as a standalone LaTeX document, as wide as a page of :func:`latex_all`."""
    return (
        "\\documentclass[varwidth=267mm,border=4pt]{standalone}\n"
        f"{_PACKAGES}{_SETUP}\\begin{{document}}\n"
        + "\\par\\bigskip\n".join(_parts(table))
        + "\\end{document}\n"
    )


def latex_all(tables: list[Printed]) -> str:
    """All tables in one document, at full size; a wide one has its blocks below each other."""
    parts = [
        f"\\begin{{minipage}}{{\\linewidth}}\n{part}\\end{{minipage}}\n"
        for table in tables
        for part in _parts(table)
    ]
    return (
        f"\\documentclass{{article}}\n{_PAGE}{_PACKAGES}{_SETUP}\\begin{{document}}\n"
        + "\\bigskip\n\n".join(parts)
        + "\\end{document}\n"
    )


def _parts(table: Printed) -> list[str]:
    """What stays on one page: title, blocks and notes; or these apart where they are stacked."""
    first, *others = tabulars(table)
    more = f"\\textbf{{Table {table.number}, continued}}\\\\[4pt]\n"
    parts = [_title(table) + first, *(more + other for other in others)]
    return [*parts[:-1], parts[-1] + _notes(table)]


def _title(table: Printed) -> str:
    """What the table is, then what its blocks are."""
    unit, metrics = table.entry["unit"], dict.fromkeys(table.tidy["metric"])
    errors = ", ".join(dict.fromkeys(unit[metric] for metric in metrics if metric != TIME))
    units = f"errors in {errors}" + (f", AITI in {unit[TIME]}" if TIME in metrics else "")
    blocks = "; ".join(f"{SIDE_NAMES[side]}: {_block(table, side)}" for side in table.sides)
    return (
        f"\\textbf{{Table {table.number}. {text(table.entry['title'])}}} "
        f"({text(table.entry['stage'])}; {units}; lower is better)\\\\\n"
        f"{{\\small {blocks}.}}\\\\[4pt]\n"
    )


def _block(table: Printed, side: str) -> str:
    """What a block is, with the images or poses of each set and the trainings of a run."""
    told = text(table.blocks.get(side, ""))
    counts = {"open_run": ("open_n", "open_seeds"), "rerun": ("n", "seeds")}.get(side)
    if counts is None:
        return told
    ran = table.tidy[(table.tidy["metric"] != TIME) & (table.tidy[counts[0]] > 0)]
    if ran.empty:
        return f"{told}, no row of this table"
    sets = [
        f"{_range(own[counts[0]])} of {text(name)}"
        for name, own in ran.groupby(DATASETS[side], sort=False)
    ]
    done, count = ran["row"].nunique(), table.tidy["row"].nunique()
    if done < count:
        told += f", {done} of {count} rows"
    told += f", $n$ = {', '.join(sets)}"
    if ran[counts[1]].max() > 1:
        told += f", {_range(ran[counts[1]])} seeds a row"
    return told


def _range(counts: pd.Series) -> str:
    low, high = int(counts.min()), int(counts.max())
    return f"{low}" if low == high else f"{low} to {high}"


def _notes(table: Printed) -> str:
    """The paper's notes, what its differences should be, the statuses, the protocol."""
    notes = [
        (f"{text(note['mark'])} " if "mark" in note else "") + text(note["text"])
        for note in table.notes
    ]
    tidy = table.tidy
    if "reported_delta_recomputed" in tidy:
        digits = table.entry["decimals"]
        wrong = [
            f"{line['reported_delta_recomputed']:.{digits[line['metric']]}f} "
            f"({line['stands_for']} {METRIC_NAMES[line['metric']]})"
            for line in tidy[tidy["reported_delta_recomputed"].notna()].to_dict("records")
        ]
        if wrong:
            notes.append(
                f"{DIFFERS} As the paper prints it; its own numbers in this table give "
                f"{', '.join(wrong)}."
            )
    shown = {tidy[f"{side}_mark"].str.len().max() > 0 for side in table.sides}
    if True in shown:
        second = ", second lowest underlined" if table.layout.get("underline") else ""
        notes.append(
            f"Lowest in bold{second}, in each block among the rows that ran, whatever chance does "
            "(intervals stand in compare/); no marks and no differences where a training is too "
            "short to rank."
        )
    letters = status_letters(table)
    notes.append("Status: " + "; ".join(f"{own}: {text(told)}" for told, own in letters.items()))
    protocol = [
        f"{name}, {text(table.entry['protocol'][kind])}"
        for kind, name in REPORTED_NAMES.items()
        if name in set(tidy["stands_for"])
    ]
    notes.append("Protocol: " + "; ".join(protocol))
    lines = "\\\\\n".join(note if note.endswith(".") else f"{note}." for note in notes)
    return f"\\par\\smallskip{{\\footnotesize {lines}\\par}}\n"
