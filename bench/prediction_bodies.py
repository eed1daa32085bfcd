"""What a file of predictions says of bodies: rotations, shapes and points, checked.

A wrong unit or a wrong representation has the right shape often enough, and then scores as a bad
method. So what no body can be is refused, with the first row and joint and what to do about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.prediction_columns import GUIDE, Columns, numbers
from genhmr.body import axis_angle_to_matrix
from genhmr.types import NUM_BETAS, NUM_JOINTS, UserError

# Metres that a body spans along its longest axis. Of the open world's bodies, yoga too, the
# smallest spans 0.70 and the median of a set 1.3 to 1.6; a newborn lies on 0.5.
SMALLEST_BODY, LARGEST_BODY = 0.2, 4.0
# What a file typically spans in other units, where that is one unit's alone: 80 would be a tall
# person in inches, too.
CENTIMETRES, MILLIMETRES = (80.0, 400.0), (400.0, 4000.0)
LARGEST_ERROR = 100.0  # metres; a single body may be wrong, but not by so much
FULL_TURN = 2 * np.pi
LARGEST_BETA = 100.0  # of a typical body; SMPL's betas are standard deviations
TOLERANCE = 0.02  # of R^T R
# Numbers a joint in representations that are not read.
_OTHERS = {6: "6D rotations, turn them into matrices", 4: "quaternions, turn them into matrices",
           9: "flat matrices, reshape each to (3, 3)"}  # fmt: skip
# Numbers of a whole pose with fingers.
_LARGER = {156: "SMPL-H", 165: "SMPL-X"}


def pose_in(path: Path, columns: Columns, count: int) -> np.ndarray:
    """(N, 24, 3) or (N, 24, 3, 3) from ``pose``, or from ``global_orient`` and ``body_pose``.

    Raises:
        UserError: another shape or unit, or matrices that are no rotations.
    """
    if "pose" in columns:
        return _rotations(path, columns, "pose", count, (NUM_JOINTS,))
    root = _rotations(path, columns, "global_orient", count, (1,))
    body = _rotations(path, columns, "body_pose", count, (NUM_JOINTS - 1, NUM_JOINTS - 3))
    if root.ndim != body.ndim:
        root, body = matrices(root).numpy(), matrices(body).numpy()
    # SMPL-H and SMPL-X bodies end at the wrists: the hands rest.
    hands = (count, NUM_JOINTS - 1 - body.shape[1])
    rest = np.zeros((*hands, 3), np.float32)
    if body.ndim == 4:
        rest = np.broadcast_to(np.eye(3, dtype=np.float32), (*hands, 3, 3))
    return np.concatenate([root, body, rest], 1)


def matrices(rotations: np.ndarray) -> Tensor:
    """(N, J, 3) axis-angle or (N, J, 3, 3) -> (N, J, 3, 3)."""
    given = torch.from_numpy(np.ascontiguousarray(rotations))
    return given if given.ndim == 4 else axis_angle_to_matrix(given)


def _rotations(
    path: Path, columns: Columns, name: str, count: int, joints: Sequence[int]
) -> np.ndarray:
    """Checks rotations; (N, 3J), (N, J, 3) -> (N, J, 3), and matrices -> (N, J, 3, 3)."""
    array = numbers(path, columns, name, count)
    flat = array.reshape(count, -1)
    width = flat.shape[1]
    for number in joints:
        if array.shape[-2:] == (3, 3) and array.ndim >= 3 and width == 9 * number:
            given = flat.reshape(count, number, 3, 3)
            for start in range(0, count, 1024):
                _require_rotations(path, name, given[start : start + 1024], start)
            return given
        if width == 3 * number and array.ndim <= 3:
            given = flat.reshape(count, number, 3)
            largest = float(np.median(np.linalg.norm(given, axis=-1).max(1)))
            if largest > FULL_TURN:
                raise UserError(
                    f"{path}: '{name}' typically turns a joint by {largest:.4g}, more than the "
                    f"{FULL_TURN:.3g} of a whole turn, so it seems to be in degrees: write radians."
                )
            return given
    wanted = ", or ".join(f"(N, {3 * n}), (N, {n}, 3) or (N, {n}, 3, 3)" for n in joints)
    raise UserError(
        f"{path}: '{name}' has shape {array.shape}; axis-angle or rotation matrices {wanted} are "
        f"expected{_likely(width, joints)} ({GUIDE})."
    )


def _likely(width: int, joints: Sequence[int]) -> str:
    """What a row of other numbers seems to be, and what to do with it."""
    for number in joints:
        if width % number == 0 and (what := _OTHERS.get(width // number)):
            return f", and these seem to be {what}"
    if what := _LARGER.get(width):
        return (
            f", and these seem to be {what}'s: write the first 3 as 'global_orient' and the 63 "
            "behind them as 'body_pose'"
        )
    return ""


def _require_rotations(path: Path, name: str, some: np.ndarray, start: int) -> None:
    """Of (B, J, 3, 3), whose first is row ``start`` of the file."""
    with np.errstate(over="ignore", invalid="ignore"):
        gram = np.einsum("njik,njil->njkl", some, some)
        off = np.abs(gram - np.eye(3, dtype=np.float32)).max((-2, -1))
    if (bad := ~(off <= TOLERANCE)).any():
        row, joint = np.argwhere(bad)[0]
        raise UserError(
            f"{path}: '{name}' holds matrices that are no rotations, first in row {start + row}, "
            f"joint {joint} (R^T R is off by {off[row, joint]:.2g}): make them orthonormal, by "
            "Gram-Schmidt or an SVD, before they are written."
        )
    if (bad := np.linalg.det(some) < 0).any():
        row, joint = np.argwhere(bad)[0]
        raise UserError(
            f"{path}: '{name}' holds reflections (their determinant is -1), first in row "
            f"{start + row}, joint {joint}: after an SVD turn the sign of the last singular "
            "vector, and mirror an axis M on both sides, as M R M."
        )


def betas_in(path: Path, columns: Columns, count: int) -> Tensor:
    """(N, 10), the first ten of each row.

    Raises:
        UserError: there are none or too few, or they are no standard deviations.
    """
    if "betas" not in columns:
        raise UserError(
            f"{path} has a pose and no 'betas': write (N, {NUM_BETAS}), zeros for the mean shape."
        )
    betas = numbers(path, columns, "betas", count)
    if betas.ndim != 2 or betas.shape[1] < NUM_BETAS:
        raise UserError(
            f"{path}: 'betas' has shape {betas.shape}, (N, {NUM_BETAS}) is expected: fill up with "
            "zeros where a method predicts fewer."
        )
    betas = betas[:, :NUM_BETAS]
    typical = float(np.median(np.abs(betas).max(1)))
    if typical > LARGEST_BETA:
        raise UserError(
            f"{path}: 'betas' typically reach {typical:.4g}, and SMPL's are a few units: write the "
            "coefficients of SMPL's shape space as they are posed."
        )
    return torch.from_numpy(np.ascontiguousarray(betas))


def points_in(path: Path, columns: Columns, name: str, count: int, wanted: int) -> np.ndarray:
    """(N, wanted, 3) in metres.

    Raises:
        UserError: another shape or unit.
    """
    array = numbers(path, columns, name, count)
    if array.shape[1:] != (wanted, 3):
        raise UserError(
            f"{path}: '{name}' has shape {array.shape}, (N, {wanted}, 3) is expected ({GUIDE})."
        )
    extent = np.ptp(array, axis=1).max(-1)  # of the longest axis
    typical = float(np.median(extent))
    strange = np.flatnonzero(extent > LARGEST_ERROR)
    if typical <= LARGEST_BODY and len(strange):
        raise UserError(
            f"{path}: '{name}' spans {extent[strange[0]]:.4g} in row {strange[0]}, and so do "
            f"{len(strange)} of {count} rows: write metres, or leave those frames out."
        )
    if typical > LARGEST_BODY:
        raise UserError(
            f"{path}: '{name}' spans {typical:.4g} per body, so it seems to be in "
            f"{_unit(typical)}: write metres."
        )
    if typical < SMALLEST_BODY:
        raise UserError(
            f"{path}: '{name}' spans {typical:.4g} per body, less than a newborn: write metres, "
            "not normalised or kilometre coordinates."
        )
    return array


def _unit(typical: float) -> str:
    if CENTIMETRES[0] <= typical <= CENTIMETRES[1]:
        return "centimetres"
    if MILLIMETRES[0] < typical <= MILLIMETRES[1]:
        return "millimetres"
    return "another unit than metres"
