"""Operations on axis-angle poses that the generator shares; numpy and scipy only."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from genhmr.body.joints import SMPL24_FLIP
from genhmr.types import NUM_JOINTS

# AMASS has z up; the generator, like SMPL's rest pose, has y up.
Y_UP_TO_Z_UP = Rotation.from_rotvec([np.pi / 2, 0.0, 0.0])


def mirror_poses(poses: np.ndarray) -> np.ndarray:
    """Reflect poses in the body's sagittal plane (x to -x).

    Args:
        poses: (..., 24, 3) axis-angle in a world whose x axis is horizontal.

    Returns:
        (..., 24, 3): left and right joints swapped, y and z of every rotation vector negated.
    """
    return poses[..., list(SMPL24_FLIP), :] * np.array([1.0, -1.0, -1.0], dtype=poses.dtype)


def turn_world(
    poses: np.ndarray, points: np.ndarray, turn: Rotation
) -> tuple[np.ndarray, np.ndarray]:
    """Express a motion in a turned world frame.

    Args:
        poses: (F, 24, 3) axis-angle, joint 0 the root.
        points: (F, 3) metres, one tracked point.
        turn: rotation from the old world to the new, one or F of them.

    Returns:
        Turned float64 copies of both.
    """
    poses = np.array(poses, dtype=np.float64)
    poses[:, 0] = (turn * Rotation.from_rotvec(poses[:, 0])).as_rotvec()
    return poses, turn.apply(np.asarray(points, dtype=np.float64))


def blend_poses(start: np.ndarray, end: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Joint-wise geodesic interpolation.

    Args:
        start, end: (N, 24, 3) axis-angle.
        weight: (N,), 0 gives ``start`` and 1 gives ``end``.

    Returns:
        (N, 24, 3).
    """
    first = Rotation.from_rotvec(start.reshape(-1, 3))
    step = (first.inv() * Rotation.from_rotvec(end.reshape(-1, 3))).as_rotvec()
    step *= np.repeat(weight, NUM_JOINTS)[:, None]
    return (first * Rotation.from_rotvec(step)).as_rotvec().reshape(start.shape)
