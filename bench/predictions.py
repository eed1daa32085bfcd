"""Predictions of any method, as docs/predictions.md describes them: reading, checking, joining.

A file from outside is not trusted: no pickles, and every claim it makes is checked before the
first number is computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from bench.prediction_bodies import betas_in, matrices, points_in, pose_in
from bench.prediction_columns import GUIDE, Columns, names_in, numbers, read_columns
from genhmr.body.joints import EXTRA19_NAMES, H36M17_NAMES, LSP14_NAMES, SMPL24_NAMES
from genhmr.types import NUM_KEYPOINTS, UserError

# What the column `joints` may hold, in this order.
JOINT_NAMES = {
    "h36m14": LSP14_NAMES, "h36m17": H36M17_NAMES, "extra19": EXTRA19_NAMES,
    "smpl24": SMPL24_NAMES, "smpl24_regressed": SMPL24_NAMES,
}  # fmt: skip
KNOWN = (
    "key", "imgname", "person", "center", "sample", "global_orient", "body_pose", "pose", "betas",
    "vertices", "joints", "keypoints_2d",
)  # fmt: skip


@dataclass(frozen=True)
class Predictions:
    """N predictions; exactly one of ``pose``, ``vertices`` and ``joints`` is there.

    Attributes:
        path: where they were read.
        names: (N,) str, a frame key or an image name each.
        by: "key" or "imgname".
        person: (N,) int index of the person in an image, or None.
        center: (N, 2) float32, centre of the person's box in pixels of the image, or None.
        sample: (N,) int index among the hypotheses for a frame, or None for one each.
        pose: (N, 24, 3) axis-angle or (N, 24, 3, 3) float32, with ``betas`` (N, 10) float32.
        vertices: (N, V, 3) float32 metres.
        joints: (N, J, 3) float32 metres, of ``joint_set``.
        keypoints_2d: (N, 25, 2) float32 BODY_25 in pixels of the original image, or None.
    """

    path: Path
    names: np.ndarray
    by: str
    person: np.ndarray | None
    sample: np.ndarray | None
    center: np.ndarray | None = None
    pose: np.ndarray | None = None
    betas: Tensor | None = None
    vertices: np.ndarray | None = None
    joints: np.ndarray | None = None
    joint_set: str | None = None
    keypoints_2d: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.names)

    def rotations(self, rows: np.ndarray) -> Tensor:
        """(B, 24, 3, 3) of some rows; made when asked for, since all at once fill the memory."""
        return matrices(self.pose[rows])


def _integers(path: Path, columns: Columns, name: str, count: int) -> np.ndarray | None:
    if name not in columns:
        return None
    array = numbers(path, columns, name, count)
    if array.ndim != 1 or (array != np.round(array)).any() or (array < 0).any():
        raise UserError(f"{path}: '{name}' must hold {count} whole numbers from 0.")
    return array.astype(np.int64)


def _centers(path: Path, columns: Columns, count: int) -> np.ndarray | None:
    if "center" not in columns:
        return None
    array = numbers(path, columns, "center", count)
    if array.shape[1:] != (2,):
        raise UserError(f"{path}: 'center' has shape {array.shape}, ({count}, 2) is expected.")
    return array


def _keypoints(path: Path, columns: Columns, count: int) -> np.ndarray | None:
    """(N, 25, 2) pixels; a third column, a confidence, is left out."""
    if "keypoints_2d" not in columns:
        return None
    array = numbers(path, columns, "keypoints_2d", count)
    if array.shape[1:] not in ((NUM_KEYPOINTS, 2), (NUM_KEYPOINTS, 3)):
        raise UserError(
            f"{path}: 'keypoints_2d' has shape {array.shape}, (N, 25, 2) in the order of BODY_25 "
            f"is expected ({GUIDE})."
        )
    if np.abs(array[..., :2]).max() <= 2.0:
        raise UserError(
            f"{path}: 'keypoints_2d' never leaves [-2, 2], so it seems to be in units of the crop: "
            "write pixels of the original image."
        )
    return array[..., :2]


def read_predictions(path: Path, joint_set: str | None, num_vertices: int) -> Predictions:
    """Reads and checks a file of predictions.

    Args:
        path: ``.npz`` or ``.parquet``.
        joint_set: what the column ``joints`` holds, a key of ``JOINT_NAMES``; None where there is
            no such column.
        num_vertices: V of the body.

    Raises:
        UserError: anything that would make a number mean something else than it says.
    """
    path = Path(path)
    columns = read_columns(path, KNOWN)
    by = next((name for name in ("key", "imgname") if name in columns), None)
    if by is None:
        raise UserError(f"{path} has neither 'key' nor 'imgname' to tell the frames ({GUIDE}).")
    names = names_in(path, columns, by)
    count = len(names)
    common = {
        "path": path,
        "names": names,
        "by": by,
        "person": _integers(path, columns, "person", count),
        "sample": _integers(path, columns, "sample", count),
        "center": _centers(path, columns, count),
        "keypoints_2d": _keypoints(path, columns, count),
    }
    has_pose = "pose" in columns or {"global_orient", "body_pose"} <= set(columns)
    kinds = [has_pose, "vertices" in columns, "joints" in columns]
    if sum(kinds) != 1:
        raise UserError(
            f"{path} must hold one of: 'global_orient' with 'body_pose' and 'betas', 'pose' with "
            f"'betas', 'vertices', or 'joints'; it holds {', '.join(sorted(columns))} ({GUIDE})."
        )
    if has_pose:
        betas = betas_in(path, columns, count)
        return Predictions(**common, pose=pose_in(path, columns, count), betas=betas)
    if "vertices" in columns:
        vertices = points_in(path, columns, "vertices", count, num_vertices)
        return Predictions(**common, vertices=vertices)
    if joint_set not in JOINT_NAMES:
        raise UserError(
            f"{path} holds joints: say which with --joints, one of {', '.join(JOINT_NAMES)}."
        )
    points = points_in(path, columns, "joints", count, len(JOINT_NAMES[joint_set]))
    return Predictions(**common, joints=points, joint_set=joint_set)
