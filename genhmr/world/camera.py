"""Pinhole cameras in the world, OpenCV convention: x right, y down, z forward."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Camera:
    """A camera: ``x_camera = rotation @ x_world + translation``.

    Attributes:
        rotation: (3, 3) world to camera.
        translation: (3,) metres.
        intrinsics: (3, 3) camera frame to pixels.
        width: of the frame, pixels.
        height: of the frame, pixels.
    """

    rotation: np.ndarray
    translation: np.ndarray
    intrinsics: np.ndarray
    width: int
    height: int

    @property
    def extrinsics(self) -> np.ndarray:
        """(4, 4) world to camera."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.rotation
        matrix[:3, 3] = self.translation
        return matrix

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """World points (..., 3) in the camera frame."""
        return points @ self.rotation.T + self.translation

    def project(self, points: np.ndarray) -> np.ndarray:
        """World points (..., 3) as pixels (..., 2)."""
        return project_points(self.to_camera(points), self.intrinsics)


def project_points(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Camera-frame points (..., 3) as pixels (..., 2) by a (3, 3) matrix with last row 0 0 1."""
    homogeneous = points / np.maximum(points[..., 2:], 1e-6)
    return homogeneous @ matrix[:2].T


def intrinsics(focal: float, width: int, height: int) -> np.ndarray:
    """(3, 3) with the principal point at the centre of the frame; focal length in pixels."""
    return np.array([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])


def look_at(
    position: np.ndarray, target: np.ndarray, roll: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Turn a camera to a target, the world's y up.

    Args:
        position: (3,) of the camera, world, metres.
        target: (3,) point on the optical axis; not straight above or below the camera.
        roll: radians, clockwise turn of the camera about its axis.

    Returns:
        rotation (3, 3) and translation (3,), world to camera.
    """
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    rotation = np.stack([right, down, forward])
    c, s = np.cos(roll), np.sin(roll)
    rotation = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]]) @ rotation
    return rotation, -rotation @ position
