"""The ground truth that predictions are scored against: the frames of one split of a data set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from genhmr.body import Bodies
from genhmr.data.readers import read_images
from genhmr.types import PersonFrame, UserError

# Kinds of data sets that are scored, and the role in which each is tested.
SCORED = {"3dpw": "wild", "emdb": "extreme", "h36m": "lab"}


@dataclass(frozen=True)
class Truth:
    """The frames of one split of a data set.

    Attributes:
        keys: T frame keys, ``<sequence>/<frame>/<person>``.
        images: T image paths relative to the data set.
        pose: (T, 24, 3) float32 axis-angle.
        betas: (T, 10) float32.
        genders: T words.
        joints_3d: (T, 24, 4) float32, SPIN's ``S``; None where it was not asked for.
        has_smpl: (T,) bool.
        keypoints_2d: (T, 25, 3) float32 BODY_25, pixels of the image and confidence; None likewise.
        center: (T, 2) float32, centre of the person's box in pixels.
        box_size: (T,) float32, its side.
    """

    keys: list[str]
    images: list[str]
    pose: np.ndarray
    betas: np.ndarray
    genders: list[str]
    joints_3d: np.ndarray | None
    has_smpl: np.ndarray
    keypoints_2d: np.ndarray | None
    center: np.ndarray
    box_size: np.ndarray


def read_truth(
    kind: str,
    root: Path,
    split: str,
    bodies: Bodies,
    markers: bool = True,
    keypoints: bool = True,
) -> Truth:
    """Reads the ground truth; no image is opened.

    Args:
        kind: of ``SCORED``.
        root: folder of the data set.
        split: of its reader.
        bodies: body models.
        markers: whether ``joints_3d`` is wanted; of a whole test set it is 14 MB.
        keypoints: whether ``keypoints_2d`` is, 11 MB.

    Raises:
        UserError: the data set is missing, damaged or empty.
    """
    if not root.is_dir():
        remedy = (
            f"generate it with `python -m bench plan && python -m bench data {SCORED[kind]}`"
            if root.name.startswith("open-")
            else "unpack the release there (see datasets/raw/README.md)"
        )
        raise UserError(f"{root} is missing: {remedy}.")
    columns: dict[str, Any] = {name: [] for name in Truth.__dataclass_fields__}
    arrays = ["pose", "betas", "center", "box_size"]
    arrays += ["joints_3d"] * markers + ["keypoints_2d"] * keypoints
    # Stacked bit by bit: tens of thousands of frames as objects are several times their numbers.
    for some in _chunks(read_images(kind, root, split, bodies), 1024):
        columns["keys"] += [frame.key for frame in some]
        columns["images"] += [frame.image.relative_to(root).as_posix() for frame in some]
        columns["genders"] += [frame.gender for frame in some]
        for name in arrays:
            columns[name].append(np.stack([np.float32(getattr(frame, name)) for frame in some]))
    if not columns["keys"]:
        raise UserError(f"{root} has no frames in the split '{split}'.")
    for name in arrays:  # one after the other: the pieces of each are freed before the next
        columns[name] = np.concatenate(columns[name])
    columns |= {name: None for name in ("joints_3d", "keypoints_2d") if name not in arrays}
    known = np.isfinite(columns["pose"]).all((1, 2)) & np.isfinite(columns["betas"]).all(1)
    for name in ("pose", "betas"):
        np.nan_to_num(columns[name], copy=False)
    return Truth(**{**columns, "has_smpl": known})


def _chunks(frames: Iterator[PersonFrame], size: int) -> Iterator[list[PersonFrame]]:
    while some := list(islice(frames, size)):
        yield some
