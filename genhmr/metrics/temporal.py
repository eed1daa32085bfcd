"""Errors of motion: what a per-frame error cannot see."""

from __future__ import annotations

import numpy as np


def acceleration_error(pred: np.ndarray, gt: np.ndarray, fps: float | None = None) -> np.ndarray:
    """Difference of joint accelerations (Kanazawa et al. 2019, HMMR; VIBE's ``error_accel``).

    Args:
        pred, gt: (F, J, 3) metres, consecutive frames of one person.
        fps: frames per second; None leaves the unit of VIBE's evaluator, mm a frame squared.

    Returns:
        (F - 2,) float64, mean over joints, for the frames 1 to F - 2; mm / s^2 with ``fps``.
        NaN where one of the three frames is not finite.

    Raises:
        ValueError: shapes that differ, or fewer than three frames.
    """
    pred, gt = np.asarray(pred, np.float64), np.asarray(gt, np.float64)
    if pred.shape != gt.shape or pred.ndim != 3 or pred.shape[-1] != 3 or len(pred) < 3:
        raise ValueError(
            f"expected two (F >= 3, J, 3) arrays of one shape, got {pred.shape} and {gt.shape}"
        )
    gap = pred - gt  # the second difference is linear
    change = gap[2:] - 2 * gap[1:-1] + gap[:-2]
    return 1000 * np.linalg.norm(change, axis=-1).mean(-1) * (1.0 if fps is None else fps**2)
