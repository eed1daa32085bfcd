"""Predictions of any method, as docs/predictions.md describes them: reading, checking, joining.

A file from outside is not trusted: no pickles, and every claim it makes is checked before the
first number is computed.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from genhmr.body import axis_angle_to_matrix
from genhmr.body.joints import EXTRA19_NAMES, H36M17_NAMES, LSP14_NAMES, SMPL24_NAMES
from genhmr.types import NUM_BETAS, NUM_JOINTS, NUM_KEYPOINTS, UserError

# What the column `joints` may hold, in this order.
JOINT_NAMES = {
    "h36m14": LSP14_NAMES, "h36m17": H36M17_NAMES, "extra19": EXTRA19_NAMES,
    "smpl24": SMPL24_NAMES, "smpl24_regressed": SMPL24_NAMES,
}  # fmt: skip
KNOWN = (
    "key", "imgname", "person", "center", "sample", "global_orient", "body_pose", "pose", "betas",
    "vertices", "joints", "keypoints_2d",
)  # fmt: skip
LARGEST_BODY = 4.0  # metres; what is typically larger was not written in metres
LARGEST_ERROR = 100.0  # metres; a single body may be wrong, but not by so much
GUIDE = "see docs/predictions.md"


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
        return _matrices(self.pose[rows])


def _columns(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an npz, or all columns of a parquet with lists stacked."""
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files if name in KNOWN}
        if path.suffix in (".parquet", ".pq"):
            frame = pd.read_parquet(path)
            return {name: _stacked(frame[name]) for name in frame.columns if name in KNOWN}
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist.") from error
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{path} cannot be read ({reason}): save plain arrays by name, text as str and not as "
            f"object ({GUIDE})."
        ) from error
    raise UserError(f"{path} is neither .npz nor .parquet ({GUIDE}).")


def _stacked(column: pd.Series) -> np.ndarray:
    if column.dtype != object or not len(column) or isinstance(column.iloc[0], str):
        return column.to_numpy()
    return np.array([_nested(value) for value in column])


def _nested(value: Any) -> Any:
    """Parquet returns lists of lists as arrays of arrays."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        return [_nested(item) for item in value]
    return value


def _numbers(path: Path, columns: dict[str, np.ndarray], name: str, count: int) -> np.ndarray:
    """One column as float32, finite and with N rows."""
    try:
        array = np.asarray(columns[name])
        if array.dtype.kind not in "fiuO":
            raise ValueError(f"dtype {array.dtype}")
        with np.errstate(over="ignore"):  # what float32 cannot hold is refused below
            array = array.astype(np.float32, copy=False)
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{path}: '{name}' does not hold numbers in one shape ({GUIDE})."
        ) from error
    if array.ndim == 0 or len(array) != count:
        raise UserError(f"{path}: '{name}' has shape {array.shape}, {count} rows are expected.")
    finite = np.isfinite(array.reshape(count, -1)).all(1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise UserError(
            f"{path}: '{name}' holds NaN or infinity in {int((~finite).sum())} rows, first in row "
            f"{row}: leave those frames out, they are then reported as missing."
        )
    return array


def _matrices(rotations: np.ndarray) -> Tensor:
    """(N, J, 3) axis-angle or (N, J, 3, 3) -> (N, J, 3, 3)."""
    given = torch.from_numpy(np.ascontiguousarray(rotations))
    return given if given.ndim == 4 else axis_angle_to_matrix(given)


def _rotations(path: Path, array: np.ndarray, name: str, joints: tuple[int, ...]) -> np.ndarray:
    """Checks rotations; (N, 3J), (N, J, 3) -> (N, J, 3), and matrices -> (N, J, 3, 3)."""
    count = len(array)
    flat = array.reshape(count, -1)
    for number in joints:
        if array.shape[-2:] == (3, 3) and array.ndim >= 3 and flat.shape[1] == 9 * number:
            matrices = flat.reshape(count, number, 3, 3)
            for start in range(0, count, 1024):
                some = matrices[start : start + 1024]
                gram = np.einsum("njik,njil->njkl", some, some)
                off = np.abs(gram - np.eye(3, dtype=np.float32)).max()
                if off > 0.02:
                    raise UserError(
                        f"{path}: '{name}' holds matrices that are no rotations (off by {off:.2g})."
                    )
                if (np.linalg.det(some) < 0).any():
                    raise UserError(f"{path}: '{name}' holds reflections: their determinant is -1.")
            return matrices
        if flat.shape[1] == 3 * number and array.ndim <= 3:
            return flat.reshape(count, number, 3)
    wanted = " or ".join(str(number) for number in joints)
    raise UserError(
        f"{path}: '{name}' has shape {array.shape}; axis-angle or rotation matrices of {wanted} "
        f"joints are expected ({GUIDE})."
    )


def _pose(path: Path, columns: dict[str, np.ndarray], count: int) -> np.ndarray:
    """``Predictions.pose`` from ``pose``, or from ``global_orient`` and ``body_pose``."""
    if "pose" in columns:
        return _rotations(path, _numbers(path, columns, "pose", count), "pose", (NUM_JOINTS,))
    root = _rotations(
        path, _numbers(path, columns, "global_orient", count), "global_orient", (1,)
    )
    body = _numbers(path, columns, "body_pose", count)
    body = _rotations(path, body, "body_pose", (NUM_JOINTS - 1, NUM_JOINTS - 3))
    if root.ndim != body.ndim:
        root, body = _matrices(root).numpy(), _matrices(body).numpy()
    # SMPL-H and SMPL-X bodies end at the wrists: the hands rest.
    hands = (count, NUM_JOINTS - 1 - body.shape[1])
    rest = np.zeros((*hands, 3), np.float32)
    if body.ndim == 4:
        rest = np.broadcast_to(np.eye(3, dtype=np.float32), (*hands, 3, 3))
    return np.concatenate([root, body, rest], 1)


def _points(
    path: Path, columns: dict[str, np.ndarray], name: str, count: int, wanted: int
) -> np.ndarray:
    """(N, wanted, 3) in metres."""
    array = _numbers(path, columns, name, count)
    if array.shape[1:] != (wanted, 3):
        raise UserError(f"{path}: '{name}' has shape {array.shape}, (N, {wanted}, 3) is expected.")
    extent = np.ptp(array, axis=1).max(-1)
    typical = float(np.median(extent))
    strange = np.flatnonzero(extent > LARGEST_ERROR)
    if typical <= LARGEST_BODY and len(strange):
        raise UserError(
            f"{path}: '{name}' spans {extent[strange[0]]:.4g} in row {strange[0]}, and so do "
            f"{len(strange)} of {count} rows: write metres, or leave those frames out."
        )
    if typical > LARGEST_BODY:
        unit = "millimetres" if typical > 100 else "another unit than metres"
        raise UserError(
            f"{path}: '{name}' spans {typical:.4g} per body, so it seems to be in {unit}: "
            "write metres."
        )
    if typical < 0.02:
        raise UserError(
            f"{path}: '{name}' spans {typical:.4g} per body: write metres, not normalised or "
            "kilometre coordinates."
        )
    return array


def _integers(path: Path, columns: dict[str, np.ndarray], name: str, count: int):
    if name not in columns:
        return None
    array = _numbers(path, columns, name, count)
    if array.ndim != 1 or (array != np.round(array)).any() or (array < 0).any():
        raise UserError(f"{path}: '{name}' must hold {count} whole numbers from 0.")
    return array.astype(np.int64)


def _centers(path: Path, columns: dict[str, np.ndarray], count: int) -> np.ndarray | None:
    if "center" not in columns:
        return None
    array = _numbers(path, columns, "center", count)
    if array.shape[1:] != (2,):
        raise UserError(f"{path}: 'center' has shape {array.shape}, ({count}, 2) is expected.")
    return array


def _keypoints(path: Path, columns: dict[str, np.ndarray], count: int) -> np.ndarray | None:
    """(N, 25, 2) pixels; a third column, a confidence, is left out."""
    if "keypoints_2d" not in columns:
        return None
    array = _numbers(path, columns, "keypoints_2d", count)
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
    columns = _columns(path)
    by = next((name for name in ("key", "imgname") if name in columns), None)
    if by is None:
        raise UserError(f"{path} has neither 'key' nor 'imgname' to tell the frames ({GUIDE}).")
    names = np.asarray(columns[by])
    if names.ndim != 1 or names.dtype.kind not in "UOT" or not len(names):
        raise UserError(f"{path}: '{by}' must be a list of names, one a prediction.")
    names, count = names.astype(str, copy=False), len(names)
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
        if "betas" not in columns:
            raise UserError(f"{path} has a pose and no 'betas' (N, {NUM_BETAS}).")
        betas = _numbers(path, columns, "betas", count)
        if betas.ndim != 2 or betas.shape[1] < NUM_BETAS:
            raise UserError(f"{path}: 'betas' has shape {betas.shape}, (N, 10) is expected.")
        shape = torch.from_numpy(np.ascontiguousarray(betas[:, :NUM_BETAS]))
        return Predictions(**common, pose=_pose(path, columns, count), betas=shape)
    if "vertices" in columns:
        return Predictions(
            **common, vertices=_points(path, columns, "vertices", count, num_vertices)
        )
    if joint_set not in JOINT_NAMES:
        raise UserError(
            f"{path} holds joints: say which with --joints, one of {', '.join(JOINT_NAMES)}."
        )
    points = _points(path, columns, "joints", count, len(JOINT_NAMES[joint_set]))
    return Predictions(**common, joints=points, joint_set=joint_set)
