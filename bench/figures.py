"""Pictures of what ran: a gallery of crops, and Figures 5, 6 and 7 of the paper redrawn.

Nothing is chosen by its error: the gallery shows images spread evenly over each test set. The
data come from the evaluation stage (``gallery.npz``, ``trace.npz``); no trained model is loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import torch

from genhmr.body.camera import FOCAL_LENGTH, IMAGE_SIZE, cam_to_translation
from genhmr.body.model_files import load_bodies
from genhmr.body.smpl import SMPL
from genhmr.transformer.schedules import SCHEDULES
from genhmr.types import UserError
from genhmr.world.render import Light, Mesh, draw

TILE = 192  # pixels of one picture of the gallery; a multiple of the crop
GROUND_TRUTH, PREDICTION = (0.35, 0.62, 0.38), (0.85, 0.55, 0.35)  # linear RGB of the bodies
_SAVE = {"dpi": 110, "metadata": {"Software": None}, "bbox_inches": "tight"}


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is missing or damaged: rerun the evaluation stage.") from error


def render_body(
    vertices: np.ndarray,
    faces: np.ndarray,
    translation: np.ndarray,
    background: np.ndarray,
    colour: tuple[float, float, float],
) -> np.ndarray:
    """A body over a square picture, seen by the fixed-focal crop camera.

    Args:
        vertices: (V, 3) metres, camera axes.
        faces: (F, 3).
        translation: (3,) metres.
        background: (S, S, 3) linear RGB in [0, 1].
        colour: linear RGB of the body.

    Returns:
        (S, S, 3) linear RGB.
    """
    size = len(background)
    focal = FOCAL_LENGTH / IMAGE_SIZE * size
    matrix = np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1.0]])
    direction = np.array([-0.4, -0.6, -0.7], np.float32)
    white = np.ones(3, np.float32)
    light = Light(
        direction=direction / np.linalg.norm(direction),
        up=np.array([0, -1, 0], np.float32),
        sun=0.75 * white,
        sky=0.40 * white,
        ground=0.22 * white,
    )
    mesh = Mesh(
        vertices=(vertices + translation).astype(np.float32),
        faces=faces.astype(np.int32),
        albedo=np.tile(np.array(colour, np.float32), (len(vertices), 1)),
        parts=np.zeros(len(vertices), np.uint8),
    )
    return draw([mesh], matrix, light, background.astype(np.float32)).image


def _to_screen(linear: np.ndarray) -> np.ndarray:
    return np.clip(linear, 0, 1) ** (1 / 2.2)


def _side_view(vertices: np.ndarray) -> np.ndarray:
    """The body turned a quarter about the vertical through its middle."""
    centre = (vertices.min(0) + vertices.max(0)) / 2
    turned = vertices - centre
    return np.stack([turned[:, 2], turned[:, 1], -turned[:, 0]], 1) + centre


def draw_gallery(gallery: dict[str, np.ndarray], body: SMPL, path: Path, title: str) -> None:
    """One row an image: crop, detections, prediction over it, side views of both bodies."""
    count = len(gallery["image"])
    faces = np.asarray(body.faces)
    with torch.no_grad():
        meshes = {
            name: body(
                torch.from_numpy(gallery[f"{name}_pose"]),
                torch.from_numpy(gallery[f"{name}_betas"]),
            ).vertices.numpy()
            for name in ("sampled", "refined", "truth")
        }
    heads = ["image", "2D detections", "sampling", "refined", "refined, side", "truth, side"]
    figure, axes = plt.subplots(
        count, len(heads), figsize=(1.45 * len(heads), 1.5 * count + 0.5), squeeze=False
    )
    for row in range(count):
        small = gallery["image"][row].astype(np.float32) / 255
        image = np.kron(small, np.ones((TILE // len(small), TILE // len(small), 1), np.float32))
        linear, blank = image**2.2, np.ones((TILE, TILE, 3), np.float32)
        far = np.array([0, 0, 2 * FOCAL_LENGTH / (IMAGE_SIZE * 0.85)])
        shift = {
            name: cam_to_translation(torch.from_numpy(gallery[f"{name}_cam"][row])).numpy()
            for name in ("sampled", "refined")
        }
        centred = {n: m[row] - (m[row].min(0) + m[row].max(0)) / 2 for n, m in meshes.items()}
        pictures = [
            image,
            image,
            _to_screen(
                render_body(meshes["sampled"][row], faces, shift["sampled"], linear, PREDICTION)
            ),
            _to_screen(
                render_body(meshes["refined"][row], faces, shift["refined"], linear, PREDICTION)
            ),
            _to_screen(render_body(_side_view(centred["refined"]), faces, far, blank, PREDICTION)),
            _to_screen(render_body(_side_view(centred["truth"]), faces, far, blank, GROUND_TRUTH)),
        ]
        for column, picture in enumerate(pictures):
            axis = axes[row, column]
            axis.imshow(picture, interpolation="nearest")
            axis.set_axis_off()
            if row == 0:
                axis.set_title(heads[column], fontsize=8)
        points = gallery["keypoints_2d"][row]
        seen = points[:, 2] > 0
        place = (points[seen, :2] + 0.5) * TILE
        axes[row, 1].scatter(*place.T, s=6, c=points[seen, 2], cmap="viridis", vmin=0, vmax=1)
        axes[row, 1].set(xlim=(0, TILE), ylim=(TILE, 0))
        errors = gallery["mpjpe"][row]
        for column, error in ((2, errors[0]), (3, errors[1])):
            axes[row, column].text(
                3,
                TILE - 5,
                f"{error:.0f} mm",
                fontsize=7,
                color="white",
                bbox={"facecolor": "black", "alpha": 0.5, "pad": 1, "lw": 0},
            )
    figure.suptitle(title, fontsize=9, y=0.98)
    figure.subplots_adjust(top=1 - 0.6 / (1.5 * count + 0.5))
    figure.savefig(path, **_SAVE)
    plt.close(figure)


def draw_masks(trace: dict[str, np.ndarray], path: Path) -> None:
    """Figure 5: which tokens are [MASK] at the start of every iteration, for one image."""
    masks = trace["masks"]
    figure, axis = plt.subplots(figsize=(9, 0.28 * len(masks) + 1))
    colours = matplotlib.colors.ListedColormap(["#e8833a", "#1b1b1b"])
    axis.imshow(masks, cmap=colours, aspect="auto", interpolation="nearest", vmin=0, vmax=1)
    axis.set(xlabel="index of token", ylabel="iteration", yticks=range(len(masks)))
    axis.set_title("[MASK] (black) and decoded (orange) tokens, as Figure 5", fontsize=9)
    figure.savefig(path, **_SAVE)
    plt.close(figure)


def draw_confidences(trace: dict[str, np.ndarray], path: Path) -> None:
    """Figure 6: the confidence of every token after each iteration, for one image."""
    confidences = trace["confidences"]
    figure, axis = plt.subplots(figsize=(9, 0.28 * len(confidences) + 1))
    picture = axis.imshow(
        confidences, cmap="viridis", aspect="auto", interpolation="nearest", vmin=0, vmax=1
    )
    axis.set(xlabel="index of token", ylabel="iteration", yticks=range(len(confidences)))
    axis.set_title("confidence of the token held, as Figure 6", fontsize=9)
    figure.colorbar(picture, ax=axis)
    figure.savefig(path, **_SAVE)
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
    figure.savefig(path, **_SAVE)
    plt.close(figure)


def draw_figures(job: dict[str, Any], evaluated: Path, out: Path) -> None:
    """Writes all figures.

    Args:
        job: ``build/plan/tables.json``.
        evaluated: folder of one evaluation.
        out: folder of the pictures.
    """
    out.mkdir(parents=True, exist_ok=True)
    folder = "datasets/open/body" if job["source"] == "open" else "datasets/body"
    body = SMPL(load_bodies(Path(folder)).neutral)
    for path in sorted(evaluated.glob("gallery-*.npz")):
        role = path.stem.removeprefix("gallery-")
        name = job["names"][role]
        title = f"{name}, profile {job['profile']}: images spread evenly over the test set"
        draw_gallery(_load(path), body, out / f"gallery-{name}.png", title)
    trace = _load(evaluated / "trace.npz")
    draw_masks(trace, out / "figure05.png")
    draw_confidences(trace, out / "figure06.png")
    draw_schedules(trace, out / "figure07.png")
