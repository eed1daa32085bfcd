"""Cameras of the roles: four on the walls of a laboratory, or one in somebody's hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .camera import Camera, intrinsics, look_at
from .takes import smooth_noise

# Human3.6M's cameras; 60457274 is the one of protocol 2.
LAB_CAMERAS = ("54138969", "55011271", "58860488", "60457274")


@dataclass(frozen=True)
class HandheldStyle:
    """How somebody films a person who moves.

    Attributes:
        distance: nearest and farthest from a standing adult, metres.
        elevation: lowest and highest angle of the camera above the person's middle, radians.
        roll: standard deviation, radians.
        orbit: standard deviation of the angular velocity around the person, radians a second.
        aim: standard deviation of the aiming error as a share of the distance.
        focal: focal length over the longer side of the frame.
        aspect: shorter over longer side of the (upright) frame.
    """

    distance: tuple[float, float]
    elevation: tuple[float, float]
    roll: float
    orbit: float
    aim: float
    focal: float
    aspect: float


WILD_STYLE = HandheldStyle((2.7, 4.6), (-0.08, 0.18), 0.03, 0.15, 0.05, 1.02, 9 / 16)
EXTREME_STYLE = HandheldStyle((2.9, 4.8), (-0.3, 0.95), 0.14, 0.55, 0.06, 1.0, 3 / 4)


def lab_cameras(frame_size: int) -> list[Camera]:
    """Four fixed cameras in the corners of the laboratory, in the order of `LAB_CAMERAS`."""
    cameras = []
    for corner in range(4):
        angle = np.pi / 4 + corner * np.pi / 2 + 0.08 * (-1) ** corner
        position = np.array([4.0 * np.cos(angle), 1.55 + 0.06 * corner, 4.0 * np.sin(angle)])
        rotation, translation = look_at(position, np.array([0.0, 0.95, 0.0]))
        matrix = intrinsics(1.15 * frame_size, frame_size, frame_size)
        cameras.append(Camera(rotation, translation, matrix, frame_size, frame_size))
    return cameras


def handheld_path(
    middles: np.ndarray,
    extent: float,
    fps: float,
    half_size: np.ndarray,
    style: HandheldStyle,
    frame_size: int,
    rng: np.random.Generator,
) -> list[Camera]:
    """A camera per frame that follows a person, late, unsteadily and turning around them.

    Args:
        middles: (F, 3) middle of the person, world metres.
        extent: size of the person, metres: one steps nearer to somebody who sits or lies.
        fps: frames per second.
        half_size: (2,) of the place; the camera stays inside its walls.
        style: of the filming.
        frame_size: longer side of the frame, pixels.
        rng: the only source of chance.

    Returns:
        F cameras with the same intrinsics.
    """
    frames = len(middles)
    width, height = max(int(round(frame_size * style.aspect)), 16), frame_size
    matrix = intrinsics(style.focal * frame_size, width, height)
    wander = smooth_noise(frames, fps, rng, 7)
    followed = _follow(middles, fps)
    time = np.arange(frames) / fps
    azimuth = rng.uniform(0, 2 * np.pi) + rng.normal(0, style.orbit) * time + 0.1 * wander[:, 0]
    low, high = style.elevation
    elevation = np.clip(rng.uniform(low, high) + 0.15 * (high - low) * wander[:, 1], low, high)
    near, far = np.log(style.distance)
    distance = np.exp(rng.uniform(near, far) + 0.05 * wander[:, 2])
    distance = distance * np.clip(extent / 1.6, 0.55, 1.1)
    roll = rng.normal(0, style.roll) + 0.3 * style.roll * wander[:, 3]
    cameras = []
    for i in range(frames):
        c, s = np.cos(elevation[i]), np.sin(elevation[i])
        direction = np.array([c * np.cos(azimuth[i]), s, c * np.sin(azimuth[i])])
        position = followed[i] + distance[i] * direction
        position[[0, 2]] = np.clip(position[[0, 2]], 0.2 - half_size, half_size - 0.2)
        position[1] = max(position[1], 0.25)
        aim = followed[i] + style.aim * distance[i] * wander[i, 4:7] * np.array([0.7, 0.7, 0.7])
        rotation, translation = look_at(position, aim, roll[i])
        cameras.append(Camera(rotation, translation, matrix, width, height))
    return cameras


def _follow(points, fps):
    """A person's path as a cameraman follows it: an exponential average, without overshoot."""
    rate = 1 - np.exp(-4.0 / fps)
    followed = points.astype(np.float64).copy()
    for i in range(1, len(points)):
        followed[i] = followed[i - 1] + rate * (points[i] - followed[i - 1])
    return followed
