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

from bench.intervals import bootstrap
from bench.score import METRICS, Scores, choose_protocols, score
from bench.stage import whole_folder
from genhmr.body.model_files import load_bodies
from genhmr.types import UserError


def summarise(scores: Scores, seed: int = 0) -> pd.DataFrame:
    """One line a protocol and metric: ``mean, low, high, n, total, interval`` (95 %)."""
    return _intervals(scores.frames, scores, seed)


def compare(ours: Scores, theirs: Scores, seed: int = 0) -> pd.DataFrame:
    """Paired differences (first minus second) on the frames that both predict.

    Raises:
        UserError: no common frame or protocol.
    """
    both = ours.frames.merge(theirs.frames, on=["protocol", "key", "sequence"])
    if both.empty:
        raise UserError("the two files have no frame in common under a common protocol.")
    gaps = {metric: both[f"{metric}_x"] - both[f"{metric}_y"] for metric in METRICS}
    return _intervals(both.assign(**gaps), ours, seed)


def _intervals(frames: pd.DataFrame, scores: Scores, seed: int) -> pd.DataFrame:
    """Mean and interval of every metric under every protocol that ``frames`` has."""
    lines = []
    for name, own in frames.groupby("protocol", sort=False):
        for metric in METRICS:
            values = own[metric].to_numpy()
            if metric == "mve" and np.isnan(values).all():
                continue  # joints or markers have no surface
            found = bootstrap(
                values,
                own["sequence"].to_numpy(),
                seed,
                aggregate=scores.protocols[name].aggregate,
            )
            lines.append(
                {
                    "protocol": name,
                    "metric": metric,
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
    """How far the same predictions move between protocols."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    metrics = [metric for metric in METRICS if metric in set(summary["metric"])]
    names = list(dict.fromkeys(summary["protocol"]))
    figure, axes = plt.subplots(
        1, len(metrics), figsize=(4 * len(metrics), 0.4 * len(names) + 1.2), sharey=True
    )
    for axis, metric in zip(np.atleast_1d(axes), metrics):
        own = summary[summary["metric"] == metric].set_index("protocol").reindex(names)
        mean = own["mean"].to_numpy()
        reach = np.abs(np.stack([mean - own["low"], own["high"] - mean]))
        axis.errorbar(mean, range(len(names)), xerr=reach, fmt="o", capsize=3)
        axis.set(xlabel=f"{metric.upper().replace('_', '-')} (mm)", yticks=range(len(names)))
        axis.set_yticklabels(names)
        axis.grid(axis="x", alpha=0.3)
    np.atleast_1d(axes)[0].invert_yaxis()
    figure.suptitle(title)
    figure.savefig(out, dpi=120, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)


def _text(table: pd.DataFrame) -> str:
    shown = table.assign(
        mean=table["mean"].map("{:.2f}".format),
        interval=[
            f"[{low:.2f}, {high:.2f}] over {unit}"
            for low, high, unit in zip(table["low"], table["high"], table["interval"])
        ],
        n=[f"{n} of {total}" for n, total in zip(table["n"], table["total"])],
    )
    return shown[["protocol", "metric", "mean", "interval", "n"]].to_string(index=False)


def _about(path: Path, scores: Scores) -> dict[str, Any]:
    """What ``about.json`` says of one file."""
    return {
        "predictions": path.name,
        "hypotheses": scores.hypotheses,
        "protocols": {n: p.describe() for n, p in scores.protocols.items()},
        "left_out": scores.left_out,
        "missing": scores.missing,
        "unknown": scores.unknown,
    }


def _tell_gaps(path: Path, scores: Scores) -> None:
    """Frames without a prediction, and predictions without a frame."""
    for keys in {tuple(keys) for keys in scores.missing.values() if keys}:
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


def _refuse_foreign(out: Path) -> None:
    """A result replaces an older result and nothing else.

    Raises:
        UserError: ``out`` is a file, or a folder that `score` did not write.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        mine = "protocols" in json.loads((out / "about.json").read_text())
    except (OSError, ValueError):
        mine = False
    if not mine:
        raise UserError(
            f"{out} exists and is no result of score: name another folder with --out, or remove it."
        )


def run(
    path: Path,
    dataset: str,
    names: tuple[str, ...],
    against: Path | None,
    joint_set: str | None,
    out: Path,
    seed: int = 0,
) -> None:
    """The command: scores, prints, and writes ``out`` whole or not at all.

    Raises:
        UserError: see :func:`score`.
    """
    choose_protocols(dataset, names)  # a wrong name is told before anything is read
    _refuse_foreign(out)
    is_open = dataset.startswith("open-")
    bodies = load_bodies(Path("datasets/open/body" if is_open else "datasets/body"))
    root = Path("datasets/raw") / dataset
    scores = score(path, dataset, names, root, bodies, joint_set)
    summary = summarise(scores, seed)
    difference = None
    if against is not None:
        other = score(against, dataset, names, root, bodies, joint_set)
        difference = compare(scores, other, seed)
    title = f"{path.name} on {dataset}"
    if scores.hypotheses > 1:
        title += f", best of {scores.hypotheses}"
    with whole_folder(out) as part:
        scores.frames.to_parquet(part / "per_image.parquet")
        summary.to_csv(part / "summary.csv", index=False)
        about = {"dataset": dataset, **_about(path, scores)}
        if against is not None:
            about["against"] = _about(against, other)
        (part / "about.json").write_text(json.dumps(about, indent=1) + "\n")
        if difference is not None:
            difference.to_csv(part / "difference.csv", index=False)
        if len(scores.protocols) > 1:
            _plot(summary, title, part / "protocols.png")
    click.echo(f"{title}; millimetres, 95 % intervals")
    click.echo(_text(summary))
    for name, protocol in scores.protocols.items():
        click.echo(f"  {name}: {protocol.describe()}")
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
