"""The headline plot: the trends of Tables 2 and 3 beside ours, and the verdicts on the claims."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.lines import Line2D

from bench.figures_people import SAVE
from bench.status import claims_of_paper
from genhmr.types import UserError

# Validated for colour-blind readers as one ordered set; colours are data sets, lines whose run.
COLOURS = {"lab": "#0072b2", "wild": "#d55e00", "extreme": "#009e73"}
VERDICTS = {"supported": "#009e73", "contradicted": "#d55e00", "undecided": "#b8b8b8",
            "not judged": "#ececec"}  # fmt: skip
LINES = {
    "reported": {"ls": "--", "lw": 1},
    "open_run": {"ls": "-", "lw": 1.8, "marker": "o", "ms": 3.5},
    "rerun": {"ls": ":", "lw": 1.5},
}


def _read(path: Path, **options: Any) -> pd.DataFrame:
    try:
        return pd.read_csv(path, **options)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is missing or damaged: rerun tables and claims.") from error


def relative_changes(numbers: pd.DataFrame, table: str) -> pd.DataFrame:
    """MPJPE of a table's rows over its first row, in per cent.

    Args:
        numbers: the tidy frame of ``results/numbers.csv``.
        table: two digits; its rows are identified by one number.

    Returns:
        ``x, role, dataset, stands_for, reported, open_run, rerun``, the images a set of the last
        two as ``open_n, n``; NaN where nothing ran.
    """
    own = numbers[(numbers["table"] == table) & (numbers["metric"] == "mpjpe")]
    if "open_run" not in own:  # without results/open
        own = own.assign(open_run=float("nan"), open_n=0)
    own = own.assign(x=own["row"].str.partition("=")[2].astype(float))
    for side in LINES:
        first = own.groupby("role")[side].transform(lambda values: values.iloc[0])
        own[side] = 100 * (own[side] / first - 1)
    return own[["x", "role", "dataset", "stands_for", *LINES, "open_n", "n"]]


def verdict_counts(claims: pd.DataFrame, side: str) -> dict[str, int]:
    """How many claims have which verdict; what could not be judged is counted together.

    Args:
        claims: ``claims.csv``.
        side: ``"paper"``, ``"open_run"`` or ``"rerun"``.
    """
    judged = claims[side].where(claims[side].isin(VERDICTS), "not judged")
    return {verdict: int((judged == verdict).sum()) for verdict in VERDICTS}


def _draw_changes(axis: plt.Axes, changes: pd.DataFrame, title: str, label: str) -> None:
    for role, colour in COLOURS.items():
        own = changes[changes["role"] == role]
        for side, line in LINES.items():
            axis.plot(own["x"], own[side], c=colour, **line)
    axis.axhline(0, c="k", lw=0.6)
    axis.set(xlabel=label, ylabel="change of MPJPE (%)")
    axis.set_title(title, fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)


def whose_lines(changes: pd.DataFrame, profile: str) -> dict[str, str]:
    """What a legend calls the runs that are in ``changes``, with their images a set.

    Args:
        changes: of :func:`relative_changes`.
        profile: of the rerun.
    """
    named = {"reported": "reported, the paper's sets"}
    for side, name, count in (
        ("open_run", "committed open run", "open_n"),
        ("rerun", f"this rerun ({profile})", "n"),
    ):
        images = changes.loc[changes[side].notna(), count].astype(int)
        if len(images):
            least, most = images.min(), images.max()
            span = str(least) if least == most else f"{least} to {most}"
            named[side] = f"{name}, {span} images a set"
    return named


def _explain_lines(figure: plt.Figure, changes: pd.DataFrame, profile: str) -> None:
    """One legend for both plots of changes, below them."""
    sets = changes.drop_duplicates("role").set_index("role")
    names = sets["dataset"] + " (" + sets["stands_for"] + ")"
    handles = [
        Line2D([], [], c=colour, lw=3, label=names[role])
        for role, colour in COLOURS.items()
        if role in names
    ]
    handles += [
        Line2D([], [], c="k", label=name, **LINES[side])
        for side, name in whose_lines(changes, profile).items()
    ]
    figure.legend(handles=handles, fontsize=7, frameon=False, ncols=2, loc="outside lower left")


def draw_headline(job: dict[str, Any], results: Path, path: Path) -> None:
    """Tables 2 and 3 relative to their first rows, and the verdicts on the paper's claims.

    Args:
        job: ``build/plan/tables.json``.
        results: folder of ``numbers.csv`` and ``claims/``.
        path: of the picture.
    """
    numbers = _read(results / "numbers.csv", dtype={"table": str}, keep_default_na=False,
                    na_values=[""])  # fmt: skip
    claims = claims_of_paper(_read(results / "claims" / "claims.csv"))
    figure, (steps, iterations, verdicts) = plt.subplots(
        1, 3, figsize=(12, 3.8), width_ratios=[1, 1, 1.25], layout="constrained"
    )
    refined = relative_changes(numbers, "03")
    _draw_changes(steps, refined, "2D pose-guided refinement (Table 3)", "refinement steps")
    _draw_changes(iterations, relative_changes(numbers, "02"),
                  "uncertainty-guided sampling (Table 2)", "sampling iterations")  # fmt: skip
    _explain_lines(figure, refined, job["profile"])
    bars = {"the paper's own tables": verdict_counts(claims, "paper")}
    if "open_run" in claims:
        bars["committed open run"] = verdict_counts(claims, "open_run")
    bars[f"this rerun ({job['profile']})"] = verdict_counts(claims, "rerun")
    for place, (name, counts) in enumerate(bars.items()):
        left = 0
        for verdict, colour in VERDICTS.items():
            count = counts[verdict]
            verdicts.barh(place, count, left=left, color=colour, height=0.6,
                          label=verdict if place == 0 else None)  # fmt: skip
            if count > 1:
                verdicts.text(left + count / 2, place, str(count), ha="center", va="center",
                              fontsize=8)  # fmt: skip
            left += count
    verdicts.set_yticks(range(len(bars)), list(bars), fontsize=8)
    verdicts.invert_yaxis()
    verdicts.set_xlabel("claims")
    verdicts.set_title(f"{len(claims)} claims of the paper", fontsize=9)
    verdicts.spines[["top", "right"]].set_visible(False)
    verdicts.legend(
        fontsize=7, frameon=False, ncols=4, loc="upper center", bbox_to_anchor=(0.45, -0.18)
    )
    figure.savefig(path, **SAVE)
    plt.close(figure)
