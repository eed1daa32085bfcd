"""Tables as LaTeX: each alone, and all in one document."""

from __future__ import annotations

import pandas as pd

METRIC_NAMES = {"mpjpe": "MPJPE", "pa_mpjpe": "PA-MPJPE", "mve": "MVE", "aiti": "AITI (s)"}


def _tabular(tidy: pd.DataFrame, keys: list[str]) -> str:
    """The table alone, with booktabs rules."""
    columns: dict[tuple[str, str], list[float]] = {}
    index = []
    for _, group in tidy.groupby("row", sort=False):
        index.append(tuple(str(group[key].iloc[0]).replace("_", " ") for key in keys))
        for _, line in group.iterrows():
            metric = METRIC_NAMES[line["metric"]]
            digits = 4 if line["metric"] == "aiti" else 1
            for head, value, places in (
                (f"{line['dataset']} (rerun)", line["rerun"], digits),
                (f"{line['stands_for']} (reported)", line["reported"], 3 if digits == 4 else 1),
            ):
                text = "--" if pd.isna(value) else f"{value:.{places}f}"
                columns.setdefault((head, metric), []).append(text)
    order = sorted(columns, key=lambda c: "(reported)" in c[0])
    frame = pd.DataFrame({column: columns[column] for column in order})
    for position, key in enumerate(keys):
        frame.insert(position, ("", key.replace("_", " ")), [entry[position] for entry in index])
    frame.columns = pd.MultiIndex.from_tuples(frame.columns)
    return frame.style.hide(axis="index").to_latex(
        hrules=True, multicol_align="c", column_format="l" * len(keys) + "r" * len(order)
    )


def _frame(tidy: pd.DataFrame, title: str, body: str) -> str:
    """Title above a table, status below it."""
    note = "; ".join(dict.fromkeys(tidy.loc[tidy["metric"] != "aiti", "status"]))
    return (
        f"\\textbf{{{title}}} (mm; rerun beside reported)\\\\[4pt]\n{body}\n"
        f"{{\\footnotesize Status of the rerun: {note}.}}\n"
    )


def latex(tidy: pd.DataFrame, keys: list[str], title: str) -> str:
    """The table as a standalone LaTeX document."""
    return (
        "\\documentclass[varwidth=60cm,border=4pt]{standalone}\n"
        "\\usepackage{booktabs}\n\\begin{document}\n"
        f"{_frame(tidy, title, _tabular(tidy, keys))}\\end{{document}}\n"
    )


def latex_all(tables: list[tuple[pd.DataFrame, list[str], str]]) -> str:
    """All tables (tidy frame, keys, title) in one document; wide ones shrink to the line."""
    shrink = "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%\n"
    parts = [
        "\\begin{minipage}{\\linewidth}\n"
        + _frame(tidy, title, f"{shrink}{_tabular(tidy, keys)}}}\n")
        + "\\end{minipage}\n"
        for tidy, keys, title in tables
    ]
    return (
        "\\documentclass{article}\n\\usepackage[a4paper,landscape,margin=15mm]{geometry}\n"
        "\\usepackage{booktabs,graphicx}\n\\setlength{\\parindent}{0pt}\n\\begin{document}\n"
        + "\\bigskip\n\n".join(parts)
        + "\\end{document}\n"
    )
