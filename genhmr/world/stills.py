"""Stills of many different people, and cameras that look at one from anywhere."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .camera import Camera, intrinsics, look_at
from .people import sample_betas
from .studio import Studio
from .takes import Take, moved, perform


@dataclass(frozen=True)
class Framing:
    """How somebody frames a person.

    Attributes:
        aspects: shorter over longer side of the frame; one of them is drawn.
        upright: share of frames that are higher than wide.
        focal: shortest and longest focal length over the longer side of the frame.
        share: smallest and largest share of the longer side that what is framed takes.
        tilted: share of cameras from far below to far above; the others are near eye level.
        aim: standard deviation of the aiming error over the longer side of the frame.
        roll: standard deviation, radians.
    """

    aspects: tuple[float, ...]
    upright: float
    focal: tuple[float, float]
    share: tuple[float, float]
    tilted: float
    aim: float
    roll: float


PHOTO_FRAMING = Framing((0.75, 1.0), 0.65, (0.7, 1.8), (0.32, 0.6), 0.3, 0.06, 0.06)


def sample_stills(
    studio: Studio, role: str, split: str, count: int, rng: np.random.Generator
) -> list[Take]:
    """Stills of ``count`` different people, a take of one frame each.

    Args:
        studio: bodies, motion and textures.
        role: whose poses, a key of `genhmr.world.motion.TRAIN_MIXES`.
        split: "train", "val" or "test".
        count: number of people.
        rng: the only source of chance.
    """
    poses = studio.poses_of(role, split).sample(count, rng)
    betas = sample_betas(count, rng)
    present = tuple(studio.wardrobes)
    genders = rng.integers(0, len(present), count)
    takes = [None] * count
    for number, gender in enumerate(present):
        wardrobe = studio.wardrobes[gender]
        rows = np.flatnonzero(genders == number)
        if len(rows) == 0:
            continue
        # All bodies of a gender at once: one pass over the blend shapes instead of many.
        look = wardrobe.sample_appearance(rng)
        together = perform(wardrobe, look, betas[rows], poses[rows], np.zeros((len(rows), 3)), 1)
        for k, row in enumerate(rows):
            look = wardrobe.sample_appearance(rng)
            takes[row] = replace(together.frame(k), look=look)
    return takes


def beside(take: Take, rng: np.random.Generator) -> Take:
    """The same take half a metre to two metres away from the origin."""
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 2.0)
    return moved(take, np.array([distance * np.cos(angle), 0.0, distance * np.sin(angle)]))


def frame_points(
    points: np.ndarray, framing: Framing, frame_size: int, rng: np.random.Generator
) -> Camera:
    """Any camera that shows a person, or a part of one, as large as the framing says.

    Args:
        points: (N, 3) what is framed, world metres.
        framing: from where and how large.
        frame_size: longer side of the frame, pixels.
        rng: the only source of chance.
    """
    aspect = rng.choice(framing.aspects)
    width, height = (frame_size, int(frame_size * aspect))
    if rng.random() < framing.upright:
        width, height = height, width
    focal = frame_size * np.exp(rng.uniform(*np.log(framing.focal)))
    middle = (points.min(0) + points.max(0)) / 2
    extent = max(np.ptp(points, axis=0).max(), 0.8)
    distance = focal * extent / (frame_size * rng.uniform(*framing.share))
    tilted = rng.random() < framing.tilted
    elevation = rng.uniform(-0.35, 1.0) if tilted else rng.normal(0.08, 0.13)
    azimuth = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(elevation), np.sin(elevation)
    position = middle + distance * np.array([c * np.cos(azimuth), s, c * np.sin(azimuth)])
    position[1] = max(position[1], 0.2)
    target = middle + rng.normal(0, framing.aim * distance * frame_size / focal, 3)
    rotation, translation = look_at(position, target, rng.normal(0, framing.roll))
    return Camera(rotation, translation, intrinsics(focal, width, height), width, height)
