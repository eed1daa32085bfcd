"""Pictures of what ran: the headline, galleries, and Figures 4 to 7 and 9 to 12 redrawn.

The galleries show images spread evenly over each test set; only Figure 12, failures, chooses by
error. The data come from the evaluation stage (``bench.evaluate_extras``); no trained model is
loaded. Figure 9 shows the methods that the suite has, not the paper's HMR2.0 and TokenHMR.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from tqdm import tqdm

from bench.figures_headline import draw_headline
from bench.figures_people import SAVE, draw_people
from genhmr.body.model_files import load_bodies
from genhmr.body.smpl import SMPL
from genhmr.transformer.schedules import SCHEDULES
from genhmr.types import UserError

ORDER = ("lab", "wild", "extreme")  # from easy to hard
GALLERY = ("image", "2D detections", 0, -1, "side", "truth, side")


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is missing or damaged: rerun the evaluation stage.") from error


def _entries(path: Path) -> list[dict[str, np.ndarray]]:
    """The images of an archive, one mapping each."""
    arrays = _load(path)
    return [{name: array[i] for name, array in arrays.items()} for i in range(len(arrays["image"]))]


def draw_masks(trace: dict[str, np.ndarray], path: Path) -> None:
    """Figure 5: which tokens are [MASK] at the start of every iteration, for one image."""
    masks = trace["masks"]
    figure, axis = plt.subplots(figsize=(9, 0.28 * len(masks) + 1))
    colours = matplotlib.colors.ListedColormap(["#e8833a", "#1b1b1b"])
    axis.imshow(masks, cmap=colours, aspect="auto", interpolation="nearest", vmin=0, vmax=1)
    axis.set(xlabel="index of token", ylabel="iteration", yticks=range(len(masks)))
    axis.set_title("[MASK] (black) and decoded (orange) tokens, as Figure 5", fontsize=9)
    figure.savefig(path, **SAVE)
    plt.close(figure)


def draw_confidences(trace: dict[str, np.ndarray], path: Path) -> None:
    """Figure 6: the confidence of every token after each iteration, for one image.

    Colours span the range of the data, whose ends stand beside the bar: confidences over thousands
    of codes are small, and on a scale from 0 to 1 all of them would have one colour.
    """
    confidences = trace["confidences"]
    low, high = float(confidences.min()), float(confidences.max())
    figure, axis = plt.subplots(figsize=(9, 0.28 * len(confidences) + 1))
    picture = axis.imshow(
        confidences, cmap="viridis", aspect="auto", interpolation="nearest", vmin=low, vmax=high
    )
    axis.set(xlabel="index of token", ylabel="iteration", yticks=range(len(confidences)))
    axis.set_title("confidence of the token held, as Figure 6", fontsize=9)
    bar = figure.colorbar(picture, ax=axis, label=f"from {low:.3g} to {high:.3g}")
    if high > low:
        ends = np.linspace(low, high, 5)
        bar.set_ticks(ends, labels=[f"{value:.3g}" for value in ends])
    figure.savefig(path, **SAVE)
    plt.close(figure)


def draw_schedules(trace: dict[str, np.ndarray], path: Path) -> None:
    """Figure 7: the mask schedules, and what sampling did (steps) with the one it used."""
    figure, axis = plt.subplots(figsize=(5, 3.2))
    ratio = np.linspace(0, 1, 101)
    for name, gamma in SCHEDULES.items():
        axis.plot(ratio, [gamma(float(t)) for t in ratio], label=name.replace("_", " "))
    left = trace["masks"].mean(1)
    axis.step(np.arange(len(left)) / len(left), left, where="post", c="k", lw=0.8, label="ran")
    axis.set(xlabel="t / T", ylabel="share of masked tokens")
    axis.legend(fontsize=7)
    axis.set_title("mask schedules, as Figure 7", fontsize=9)
    figure.savefig(path, **SAVE)
    plt.close(figure)


def draw_figures(job: dict[str, Any], evaluated: Path, results: Path) -> None:
    """Writes all figures.

    Args:
        job: ``build/plan/tables.json``.
        evaluated: folder of one evaluation.
        results: folder of the numbers and the claims; the pictures go to ``figures/`` in it.

    Raises:
        UserError: nothing was evaluated, or a file of the evaluation is damaged.
    """
    found = {path.stem.removeprefix("gallery-") for path in evaluated.glob("gallery-*.npz")}
    if not found:
        raise UserError(
            f"{evaluated} has no gallery-*.npz: run `python -m bench evaluate {evaluated.name}` "
            "first, as `dvc repro figures` does."
        )
    out = results / "figures"
    out.mkdir(parents=True, exist_ok=True)
    folder = "datasets/open/body" if job["source"] == "open" else "datasets/body"
    body = SMPL(load_bodies(Path(folder)).neutral)
    roles = sorted(found, key=lambda role: (ORDER + (role,)).index(role))
    kept = {kind: {role: _entries(evaluated / f"{kind}-{role}.npz") for role in roles}
            for kind in ("gallery", "failures")}  # fmt: skip
    profile = f"profile {job['profile']}"
    some = [entry for role in roles for entry in kept["gallery"][role][1:5:2]]
    worst = [entry for role in roles for entry in kept["failures"][role][:3]]
    sets, hardest = ", ".join(job["names"][role] for role in roles), roles[-1]
    pictures: list[tuple[str, list, tuple, str]] = [
        (f"gallery-{job['names'][role]}", entries, GALLERY,
         f"{job['names'][role]}, {profile}: images spread evenly over the test set")
        for role, entries in kept["gallery"].items()
    ]  # fmt: skip
    pictures += [
        ("figure04", some, ("image", "2D detections", 0, 1, 3, 5, 10, 20),
         f"2D pose-guided refinement step by step, as Figure 4 ({sets}; {profile})"),
        ("figure09", some, ("image", "mean pose", "lifted keypoints", 0, -1, "truth, side"),
         f"beside the other methods of the suite, as Figure 9 ({sets}; {profile})"),
        ("figure10", kept["gallery"][hardest], ("image", 0, "truth, side"),
         f"sampling alone, as Figure 10 ({job['names'][hardest]})"),
        ("figure11", some, ("image", 0, "2D detections", -1, "truth, side"),
         f"before and after refinement, as Figure 11 ({sets})"),
        ("figure12", worst, ("image", "2D detections", 0, -1, "side", "truth, side"),
         f"largest errors of each set, as Figure 12 ({sets})"),
    ]  # fmt: skip
    for name, entries, columns, title in tqdm(pictures, "figures", mininterval=2, delay=2):
        draw_people(entries, columns, body, out / f"{name}.png", title)
    trace = _load(evaluated / "trace.npz")
    draw_masks(trace, out / "figure05.png")
    draw_confidences(trace, out / "figure06.png")
    draw_schedules(trace, out / "figure07.png")
    draw_headline(job, results, out / "headline.png")
