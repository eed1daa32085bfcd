"""Tables as LaTeX: each alone, and all in one document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.layout import BEST, SECOND

METRIC_NAMES = {"mpjpe": "MPJPE", "pa_mpjpe": "PA-MPJPE", "mve": "MVE", "aiti": "AITI (s)"}
# How the paper heads the columns that identify a row; any other is its name in words.
KEY_NAMES = {
    "ugs_iterations": "UGS iterations",
    "annealing_duration_percent": "annealing duration (\\%)",
    "tau_start": "$\\tau_0$",
    "tau_end": "$\\tau_T$",
    "tau_upper": "upper bound of $\\tau$",
    "top_k": "$k$",
    "l_mask": "$L_{\\mathrm{mask}}$",
    "l_theta": "$L_{\\theta}$",
    "l_beta": "$L_{\\beta}$",
    "l_3d": "$L_{\\mathrm{3D}}$",
    "l_2d": "$L_{\\mathrm{2D}}$",
    "scale_1x": "$1\\times$",
    "scale_4x": "$4\\times$",
    "scale_8x": "$8\\times$",
    "scale_16x": "$16\\times$",
}
_SPECIAL = str.maketrans({sign: f"\\{sign}" for sign in "&%#$"} | {"_": " "})
_PACKAGES = "\\usepackage{amssymb,booktabs,graphicx}\n"


@dataclass(frozen=True)
class Printed:
    """A table to print.

    Attributes:
        tidy: one line a number, laid out (``bench.layout``).
        keys: the columns that identify a row.
        title: above the table.
        checks: keys whose 1 and 0 are printed as a check mark and a cross.
    """

    tidy: pd.DataFrame
    keys: list[str]
    title: str
    checks: tuple[str, ...] = ()


def _number(line: Any, side: str) -> str:
    """One cell: best in bold, second best underlined, the difference as an index."""
    value = line[side]
    if pd.isna(value):
        return "--"
    if line["metric"] == "aiti":
        return f"{value:.{3 if side == 'reported' else 4}f}"
    text = f"{value:.1f}"
    if side == "open_run":
        return text
    if line[f"{side}_mark"] == BEST:
        text = f"\\textbf{{{text}}}"
    if line[f"{side}_mark"] == SECOND:
        text = f"\\underline{{{text}}}"
    delta = line[f"{side}_delta"]
    return text if pd.isna(delta) else f"{text}$_{{\\Delta {delta:+.1f}}}$"


def _key(value: Any, name: str, checks: tuple[str, ...]) -> str:
    if name in checks:
        return "$\\checkmark$" if value else "$\\times$"
    return str(value).translate(_SPECIAL)


def _tabular(table: Printed) -> str:
    """The table alone, with booktabs rules: keys, the rerun's columns, the committed open run's
    where there is one, the paper's.
    """
    columns: dict[tuple[str, str], list[str]] = {}
    index = []
    for _, group in table.tidy.groupby("row", sort=False):
        index.append([_key(group[key].iloc[0], key, table.checks) for key in table.keys])
        for _, line in group.iterrows():
            metric = METRIC_NAMES[line["metric"]]
            heads = [(f"{line['dataset']} (rerun)", "rerun")]
            if "open_run" in table.tidy:
                heads.append((f"{line['role'] or 'its machine'} (open run)", "open_run"))
            heads.append((f"{line['stands_for']} (reported)", "reported"))
            for head, side in heads:
                columns.setdefault((head, metric), []).append(_number(line, side))
    order = sorted(columns, key=lambda c: ["(rerun)", "(open run)", "(reported)"].index(
        next(word for word in ("(rerun)", "(open run)", "(reported)") if c[0].endswith(word))
    ))  # fmt: skip
    frame = pd.DataFrame({column: columns[column] for column in order})
    for position, key in enumerate(table.keys):
        head = KEY_NAMES.get(key, key.replace("_", " "))
        frame.insert(position, ("", head), [entry[position] for entry in index])
    frame.columns = pd.MultiIndex.from_tuples(frame.columns)
    return frame.style.hide(axis="index").to_latex(
        hrules=True, multicol_align="c", column_format="l" * len(table.keys) + "r" * len(order)
    )


def _frame(table: Printed, body: str) -> str:
    """Title above a table, status below it."""
    tidy = table.tidy
    note = "; ".join(dict.fromkeys(tidy.loc[tidy["metric"] != "aiti", "status"]))
    return (
        f"\\textbf{{{table.title}}} (mm; rerun beside reported)\\\\[4pt]\n{body}\n"
        f"\\par\\smallskip{{\\footnotesize Status of the rerun: {note}.}}\n"
    )


def latex(table: Printed) -> str:
    """The table as a standalone LaTeX document."""
    return (
        "\\documentclass[varwidth=60cm,border=4pt]{standalone}\n"
        f"{_PACKAGES}\\begin{{document}}\n{_frame(table, _tabular(table))}\\end{{document}}\n"
    )


def latex_all(tables: list[Printed]) -> str:
    """All tables in one document; wide ones shrink to the line."""
    shrink = "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%\n"
    parts = [
        "\\begin{minipage}{\\linewidth}\n"
        + _frame(table, f"{shrink}{_tabular(table)}}}\n")
        + "\\end{minipage}\n"
        for table in tables
    ]
    return (
        "\\documentclass{article}\n\\usepackage[a4paper,landscape,margin=15mm]{geometry}\n"
        f"{_PACKAGES}\\setlength{{\\parindent}}{{0pt}}\n\\begin{{document}}\n"
        + "\\bigskip\n\n".join(parts)
        + "\\end{document}\n"
    )
