"""The mean pose: what a method that never looks at the image can reach."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MeanPose:
    """Mean body of a training set.

    Attributes:
        pose: (24, 3, 3) float32, the chordal mean rotation of every joint.
        betas: (10,) float32, the arithmetic mean.
    """

    pose: np.ndarray
    betas: np.ndarray

    def predict(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The same body ``count`` times: pose (count, 24, 3, 3), betas (count, 10)."""
        return (
            np.broadcast_to(self.pose, (count, *self.pose.shape)).copy(),
            np.broadcast_to(self.betas, (count, *self.betas.shape)).copy(),
        )


def chordal_mean(rotations: np.ndarray) -> np.ndarray:
    """Rotation closest to all given ones in the sum of squared Frobenius distances.

    The projection of the arithmetic mean onto the rotations (Hartley et al. 2013, section 5).

    Args:
        rotations: (N, ..., 3, 3).

    Returns:
        (..., 3, 3) float64 with determinant 1.

    Raises:
        ValueError: no rotation given.
    """
    if len(rotations) == 0:
        raise ValueError("the mean of no rotation is undefined")
    mean = np.asarray(rotations, np.float64).mean(axis=0)
    u, _, vt = np.linalg.svd(mean)
    # A reflection would be closer where det(mean) < 0: turn the least certain axis round.
    sign = np.sign(np.linalg.det(u @ vt))
    u[..., :, 2] *= sign[..., None]
    return u @ vt


def fit_mean_pose(pose: np.ndarray, betas: np.ndarray) -> MeanPose:
    """Mean body of a training set.

    Args:
        pose: (N, 24, 3, 3) rotation matrices, root in the camera frame.
        betas: (N, 10).

    Raises:
        ValueError: no record, or shapes that do not belong together.
    """
    if pose.ndim != 4 or pose.shape[-2:] != (3, 3) or len(pose) != len(betas):
        raise ValueError(f"need (N, J, 3, 3) and (N, 10), got {pose.shape} and {betas.shape}")
    mean = chordal_mean(pose)
    return MeanPose(
        mean.astype(np.float32), np.mean(betas, axis=0, dtype=np.float64).astype(np.float32)
    )
