"""Pictures of bodies: image, 2D detections and predictions, a row an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes

from genhmr.body.camera import FOCAL_LENGTH, IMAGE_SIZE, cam_to_translation
from genhmr.body.smpl import SMPL
from genhmr.world.render import Light, Mesh, draw

TILE = 192  # pixels of one picture of the gallery
GROUND_TRUTH, PREDICTION = (0.35, 0.62, 0.38), (0.85, 0.55, 0.35)  # linear RGB of the bodies
PICTURES = ("image", "2D detections", "side", "truth, side")
SAVE = {"dpi": 110, "metadata": {"Software": None}, "bbox_inches": "tight"}


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


def _picture(entry: dict[str, np.ndarray], column: str | int, body: SMPL) -> np.ndarray:
    """One tile: the image, a prediction over it (a step of refinement), or a side view."""
    small = entry["image"].astype(np.float32) / 255
    enlarge = cv2.INTER_NEAREST if len(small) < TILE else cv2.INTER_AREA
    image = cv2.resize(small, (TILE, TILE), interpolation=enlarge)
    if column in ("image", "2D detections"):
        return image
    truth = column == "truth, side"
    step = len(entry["step"]) - 1 if isinstance(column, str) else _place(entry, column)
    pose, betas = entry["pose"][step], entry["betas"]
    other = _other(entry, column)
    if truth:
        pose, betas = entry["truth_pose"], entry["truth_betas"]
    if other is not None:  # seen by the camera of sampling: they have none of their own
        pose, step = entry["other_pose"][other], _place(entry, 0)
    with torch.no_grad():
        vertices = body(torch.from_numpy(pose)[None], torch.from_numpy(betas)[None]).vertices
    vertices, faces = vertices[0].numpy(), np.asarray(body.faces)
    if isinstance(column, int) or other is not None:
        shift = cam_to_translation(torch.from_numpy(entry["cam"][step])).numpy()
        return _to_screen(render_body(vertices, faces, shift, image**2.2, PREDICTION))
    centred = vertices - (vertices.min(0) + vertices.max(0)) / 2
    far = np.array([0, 0, 2 * FOCAL_LENGTH / (IMAGE_SIZE * 0.85)])
    blank, colour = np.ones((TILE, TILE, 3), np.float32), GROUND_TRUTH if truth else PREDICTION
    return _to_screen(render_body(_side_view(centred), faces, far, blank, colour))


def _other(entry: dict[str, np.ndarray], column: str | int) -> int | None:
    """Where another method lies among those that were kept, None if it is none of them."""
    names = list(entry["other_name"])
    return names.index(column) if column in names else None


def _place(entry: dict[str, np.ndarray], step: int) -> int:
    """Where a refinement step lies in what was kept of the path; -1 is the last."""
    return len(entry["step"]) - 1 if step < 0 else int(np.flatnonzero(entry["step"] == step)[0])


def _detections(axis: Axes, points: np.ndarray) -> None:
    seen = points[:, 2] > 0
    place = (points[seen, :2] + 0.5) * TILE
    axis.scatter(*place.T, s=6, c=points[seen, 2], cmap="viridis", vmin=0, vmax=1)
    axis.set(xlim=(0, TILE), ylim=(TILE, 0))


def _is_there(column: str | int, entries: Sequence[dict[str, np.ndarray]]) -> bool:
    if isinstance(column, int):
        return column < 0 or all((entry["step"] == column).any() for entry in entries)
    return column in PICTURES or all(_other(entry, column) is not None for entry in entries)


def draw_people(
    entries: Sequence[dict[str, np.ndarray]],
    columns: Sequence[str | int],
    body: SMPL,
    path: Path,
    title: str,
) -> None:
    """One row an image.

    Args:
        entries: what the evaluation kept of the images (``bench.evaluate_extras``).
        columns: "image", "2D detections", "side", "truth, side", the name of another method, or
            the step of refinement whose body is drawn over the image: 0 is sampling, -1 the last.
            A step or a method that no row has is left out.
        body: neutral.
        path: the PNG.
        title: above.
    """
    kept = [c for c in columns if _is_there(c, entries)]
    heads = {0: "sampling", -1: "refined", "side": "refined, side"}
    height = 1.2 * len(entries) + 0.5
    figure, axes = plt.subplots(
        len(entries), len(kept), figsize=(1.45 * len(kept), height), squeeze=False
    )
    for row, entry in enumerate(entries):
        for axis, column in zip(axes[row], kept):
            axis.imshow(_picture(entry, column, body), interpolation="nearest")
            axis.set_axis_off()
            if row == 0:
                axis.set_title(heads.get(column, f"step {column}" if isinstance(column, int)
                                         else column), fontsize=8)  # fmt: skip
            if column == "2D detections":
                _detections(axis, entry["keypoints_2d"])
            other = _other(entry, column)
            if isinstance(column, int) or other is not None:
                error = (entry["mpjpe"][_place(entry, column)] if other is None
                         else entry["other_mpjpe"][other])  # fmt: skip
                axis.text(
                    3,
                    TILE - 5,
                    f"{error:.0f} mm",
                    fontsize=7,
                    color="white",
                    bbox={"facecolor": "black", "alpha": 0.5, "pad": 1, "lw": 0},
                )
    figure.suptitle(title, fontsize=9, y=0.98)
    figure.subplots_adjust(top=1 - 0.6 / height)
    figure.savefig(path, **SAVE)
    plt.close(figure)
