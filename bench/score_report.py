"""What `python -m bench score` prints and writes: summary, comparison, picture, and gaps.

Nothing is written unless all of it could be.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pandas.api.types import union_categoricals

from bench.intervals import bootstrap
from bench.score import METRICS, NAMES, Scores, choose_protocols, score
from bench.score_folder import require_place, result_folder
from genhmr.body.model_files import load_bodies
from genhmr.metrics import frames_of
from genhmr.types import UserError

_NOTHING = {
    "mve": "joints have no surface",
    "pa_mve": "joints have no surface",
    "accel": "no three consecutive frames of one person have predictions",
    "pck05": "no frame has 2D keypoints",
    "pck10": "no frame has 2D keypoints",
}
UNITS = {"accel": "mm/frame^2", "pck05": "share", "pck10": "share"}


def summarise(scores: Scores, seed: int = 0) -> pd.DataFrame:
    """One line a protocol and metric: ``unit, mean, low, high, n, total, interval`` (95 %).

    With several protocols also ``shift, shift_low, shift_high``: how far the same predictions move
    from the first of them, paired over the frames that both count.
    """
    summary = _intervals(scores.frames, scores, seed)
    if len(scores.protocols) < 2:
        return summary
    first, *others = scores.protocols
    parts = {n: own for n, own in scores.frames.groupby("protocol", sort=False, observed=True)}
    start = parts[first].drop(columns=["protocol", "sequence"])
    moved = [summary[summary["protocol"] == first].assign(shift=0.0)]
    for name in others:
        both = parts[name].merge(start, on="key", suffixes=("", "_first"))
        own = summary[summary["protocol"] == name]
        if not both.empty:
            gaps = {metric: both[metric] - both[f"{metric}_first"] for metric in scores.metrics}
            found = _intervals(both.assign(**gaps), scores, seed)
            names = {"mean": "shift", "low": "shift_low", "high": "shift_high"}
            found = found.rename(columns=names)[["metric", *names.values()]]
            own = own.merge(found, on="metric", how="left")
        moved.append(own)
    return pd.concat(moved, ignore_index=True)


def compare(ours: Scores, theirs: Scores, seed: int = 0) -> pd.DataFrame:
    """Paired differences (first minus second) on the frames that both predict.

    Raises:
        UserError: no common frame or protocol.
    """
    sides = [ours.frames.copy(deep=False), theirs.frames.copy(deep=False)]
    for name in NAMES:  # the same categories, or pandas compares, and stores, words
        categories = union_categoricals([side[name] for side in sides]).categories
        for side in sides:
            side[name] = side[name].cat.set_categories(categories)
    both = sides[0].merge(sides[1], on=list(NAMES))
    if both.empty:
        raise UserError("the two files have no frame in common under a common protocol.")
    gaps = {metric: both[f"{metric}_x"] - both[f"{metric}_y"] for metric in ours.metrics}
    return _intervals(both.assign(**gaps), ours, seed)


def _intervals(frames: pd.DataFrame, scores: Scores, seed: int) -> pd.DataFrame:
    """Mean and interval of every metric under every protocol that ``frames`` has."""
    lines = []
    for name, own in frames.groupby("protocol", sort=False, observed=True):
        for metric in scores.metrics:
            values = own[metric].to_numpy()
            known = ~np.isnan(values)
            if not known.any():
                continue  # joints or markers have no surface, single frames no motion
            if metric in METRICS:
                known[:] = True  # what diverged shall be seen in the mean
            found = bootstrap(
                values[known],
                own["sequence"].to_numpy()[known],
                seed,
                aggregate=scores.protocols[name].aggregate,
            )
            lines.append(
                {
                    "protocol": name,
                    "metric": metric,
                    "unit": UNITS.get(metric, "mm"),
                    "mean": found.mean,
                    "low": found.low,
                    "high": found.high,
                    "n": found.n,
                    "total": scores.total[name],
                    "interval": found.unit,
                }
            )
    return pd.DataFrame(lines)


def _plot(summary: pd.DataFrame, title: str, out: Path) -> None:
    """How far the same predictions move between protocols, from the first of them."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    units = dict(zip(summary["metric"], summary["unit"]))
    metrics = list(units)
    names = list(dict.fromkeys(summary["protocol"]))
    figure, axes = plt.subplots(
        1, len(metrics), figsize=(4.4 * len(metrics), 0.4 * len(names) + 1.2), sharey=True
    )
    for axis, metric in zip(np.atleast_1d(axes), metrics):
        own = summary[summary["metric"] == metric].set_index("protocol").reindex(names)
        shift = own["shift"].to_numpy()
        reach = np.abs(np.stack([shift - own["shift_low"], own["shift_high"] - shift]))
        axis.errorbar(shift, range(len(names)), xerr=np.nan_to_num(reach), fmt="o", capsize=3)
        axis.axvline(0, color="0.6", lw=0.8, zorder=0)
        for row, mean in enumerate(own["mean"]):
            axis.annotate(
                _number(mean, units[metric]), (1.02, row), xycoords=("axes fraction", "data"),
                va="center", fontsize=8, annotation_clip=False,
            )  # fmt: skip
        label = f"{metric.upper().replace('_', '-')}, shift from {names[0]} ({units[metric]})"
        axis.set(xlabel=label, yticks=range(len(names)))
        axis.set_yticklabels(names)
        axis.grid(axis="x", alpha=0.3)
    np.atleast_1d(axes)[0].invert_yaxis()
    figure.subplots_adjust(wspace=0.3)
    figure.suptitle(f"{title}; at the right the mean under each protocol")
    figure.savefig(out, dpi=120, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)


def _text(table: pd.DataFrame) -> str:
    shown = table.assign(
        mean=[_number(value, unit) for value, unit in zip(table["mean"], table["unit"])],
        interval=[
            f"[{_number(low, unit)}, {_number(high, unit)}] over {drawn}"
            for low, high, unit, drawn in zip(
                table["low"], table["high"], table["unit"], table["interval"]
            )
        ],
        n=[f"{n} of {total}" for n, total in zip(table["n"], table["total"])],
    )
    columns = ["protocol", "metric", "unit", "mean", "interval", "n"]
    if "shift" in table:
        columns.append("shift")
        shown["shift"] = [
            "-" if np.isnan(shift) else f"{shift:+.4f}" if unit == "share" else f"{shift:+.2f}"
            for shift, unit in zip(table["shift"], table["unit"])
        ]
    return shown[columns].to_string(index=False)


def _number(value: float, unit: str) -> str:
    return f"{value:.4f}" if unit == "share" else f"{value:.2f}"


def _told(scores: Scores, name: str) -> str:
    """Every choice of a protocol in one line."""
    protocol = scores.protocols[name]
    return protocol.describe(frames_of(scores.dataset, protocol))


def _about(path: Path, scores: Scores) -> dict[str, Any]:
    """What ``about.json`` says of one file."""
    return {
        "predictions": path.name,
        "hypotheses": scores.hypotheses,
        "protocols": {n: _told(scores, n) for n in scores.protocols},
        "left_out": scores.left_out,
        "missing": scores.missing,
        "unknown": scores.unknown,
        **({"warning": scores.warning} if scores.warning else {}),
    }


def _tell_gaps(path: Path, scores: Scores) -> None:
    """What is strange, frames without a prediction, and predictions without a frame."""
    if scores.warning:
        click.echo(f"{path.name}: {scores.warning}")
    for keys in dict.fromkeys(tuple(keys) for keys in scores.missing.values() if keys):
        click.echo(
            f"MISSING: {len(keys)} frames have no prediction in {path.name} ({_some(list(keys))})"
        )
    if scores.unknown:
        click.echo(
            f"UNKNOWN: {len(scores.unknown)} predictions of {path.name} fit no frame "
            f"({_some(scores.unknown)})"
        )


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _write_frames(frames: pd.DataFrame, path: Path) -> None:
    """Names as strings; one row group a protocol, so that no other's strings are in memory."""
    words = dict.fromkeys(NAMES, str)
    schema = pa.Schema.from_pandas(frames[:1].astype(words), preserve_index=False)
    with pq.ParquetWriter(path, schema) as file:
        for _, own in frames.groupby("protocol", sort=False, observed=True):
            file.write_table(pa.Table.from_pandas(own.astype(words), schema, preserve_index=False))


def run(
    path: Path,
    dataset: str,
    names: tuple[str, ...],
    against: Path | None,
    joint_set: str | None,
    extras: tuple[str, ...],
    out: Path,
    seed: int = 0,
) -> None:
    """The command: scores, prints, and writes ``out`` whole or not at all.

    Raises:
        UserError: see :func:`score`; or ``out`` cannot be written.
    """
    choose_protocols(dataset, names)  # a wrong name is told before anything is read
    require_place(out)
    is_open = dataset.startswith("open-")
    bodies = load_bodies(Path("datasets/open/body" if is_open else "datasets/body"))
    root = Path("datasets/raw") / dataset
    scores = score(path, dataset, names, root, bodies, joint_set, extras)
    summary = summarise(scores, seed)
    difference = None
    if against is not None:
        other = score(against, dataset, names, root, bodies, joint_set, extras)
        difference = compare(scores, other, seed)
    del bodies  # 70 MB that the writing below can use
    title = f"{path.name} on {dataset}"
    if scores.hypotheses > 1:
        title += f", best of {scores.hypotheses}"
    with result_folder(out) as part:
        _write_frames(scores.frames, part / "per_image.parquet")
        summary.to_csv(part / "summary.csv", index=False)
        about = {"dataset": dataset, **_about(path, scores)}
        if against is not None:
            about["against"] = _about(against, other)
        (part / "about.json").write_text(json.dumps(about, indent=1) + "\n")
        if difference is not None:
            difference.to_csv(part / "difference.csv", index=False)
        if len(scores.protocols) > 1:
            _plot(summary, title, part / "protocols.png")
    click.echo(f"{title}; 95 % intervals")
    click.echo(_text(summary))
    for metric in scores.metrics:
        if scores.frames[metric].isna().all():
            click.echo(f"  {metric}: nothing to measure, {_NOTHING[metric]}")
    for name in scores.protocols:
        click.echo(f"  {name}: {_told(scores, name)}")
    for name, reason in scores.left_out.items():
        click.echo(f"  {name}: not scored, {reason}")
    _tell_gaps(path, scores)
    if difference is not None:
        _tell_gaps(against, other)
        if scores.hypotheses != other.hypotheses:
            click.echo(
                f"NOT ALIKE: best of {scores.hypotheses} beside best of {other.hypotheses}; "
                "the difference below favours the larger number"
            )
        click.echo(f"{path.name} minus {against.name}, paired")
        click.echo(_text(difference))
    click.echo(f"written to {out}")
