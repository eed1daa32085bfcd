"""Rotation sharing that both converters need: neck and head, collar and shoulder."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

# Share of the arm's swing from the T-pose that goes to the collar. Neither source records
# collars, and an arm that hangs or lifts without one gives SMPL a collapsed shoulder.
COLLAR_SHARE = 0.15


def swing(directions: np.ndarray, rest: np.ndarray) -> Rotation:
    """The smallest rotation that turns one rest direction to each direction.

    Args:
        directions: (F, 3) unit vectors.
        rest: (3,) unit vector.

    Returns:
        F rotations. A direction opposite to ``rest`` gets the identity (any axis would do).
    """
    axis = np.cross(rest, directions)
    sine = np.linalg.norm(axis, axis=1, keepdims=True)
    angle = np.arctan2(sine, directions @ rest[:, None])
    unit = np.where(sine > 1e-6, axis / np.maximum(sine, 1e-6), 0.0)
    return Rotation.from_rotvec(unit * angle)


def share_arm(arm: np.ndarray, outward: float) -> tuple[np.ndarray, np.ndarray]:
    """Split an arm's rotation into collar and shoulder.

    Args:
        arm: (F, 3, 3) rotation of the upper arm against the chest, from SMPL's T-pose.
        outward: x of the arm's rest direction, 1 for the left arm and -1 for the right.

    Returns:
        Collar and shoulder, each (F, 3, 3); their product is ``arm``.
    """
    rest = np.array([outward, 0.0, 0.0])
    share = swing(arm @ rest, rest).as_rotvec() * COLLAR_SHARE
    collar = Rotation.from_rotvec(share).as_matrix()
    return collar, collar.transpose(0, 2, 1) @ arm


def share_equally(rotations: np.ndarray, parts: int) -> np.ndarray:
    """The ``parts``-th root of each rotation, (F, 3, 3) to (F, 3, 3)."""
    return Rotation.from_rotvec(Rotation.from_matrix(rotations).as_rotvec() / parts).as_matrix()
