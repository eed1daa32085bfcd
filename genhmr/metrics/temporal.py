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


def track_acceleration(gap: np.ndarray, tracks: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """``acceleration_error`` of frames that come in any order and with holes.

    Args:
        gap: (N, J, 3) metres, prediction minus truth, both relative to their roots.
        tracks: (N,) which person of which video a frame shows.
        frames: (N,) int, its number in the video, no two alike in a track.

    Returns:
        (N,) float64 mm a frame squared; NaN where the frame before or after is missing.
    """
    order = np.lexsort((frames, tracks))
    tracks, frames = np.asarray(tracks)[order], np.asarray(frames)[order]
    errors = np.full(len(order), np.nan)
    if len(order) < 3:
        return errors
    middle = acceleration_error(gap[order], np.zeros_like(gap))
    inner = (tracks[2:] == tracks[:-2]) & (frames[2:] - frames[:-2] == 2)
    errors[order[1:-1]] = np.where(inner, middle, np.nan)
    return errors
