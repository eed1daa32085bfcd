"""Motions performed in the world: who moves how and where, before any camera looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import minimum_filter1d, uniform_filter1d
from scipy.spatial.transform import Rotation

from genhmr.types import MotionClip

from .appearance import Appearance
from .people import People, Wardrobe
from .poses import mirror_poses
from .scene import Actor, make_actor


@dataclass(frozen=True)
class Take:
    """One person over F frames (or F stills); world frame, y up, metres.

    Attributes:
        wardrobe: of the person's gender.
        look: what the person wears.
        betas: (F, 10) float32.
        poses: (F, 24, 3) float32 axis-angle, root in the world.
        transl: (F, 3) float32, SMPL's translation.
        people: the posed bodies.
    """

    wardrobe: Wardrobe
    look: Appearance
    betas: np.ndarray
    poses: np.ndarray
    transl: np.ndarray
    people: People

    def actor(self, frame: int) -> Actor:
        """The dressed person in one frame."""
        return make_actor(self.wardrobe, self.people.vertices[frame], self.people.joints[frame],
                          self.look)

    def frame(self, frame: int) -> Take:
        """A take of this frame only."""
        rows = slice(frame, frame + 1)
        people = People(*(array[rows] for array in (
            self.people.vertices, self.people.joints, self.people.keypoints, self.people.spin)))
        return Take(self.wardrobe, self.look, self.betas[rows], self.poses[rows],
                    self.transl[rows], people)


def moved(take: Take, shift: np.ndarray) -> Take:
    """The same take elsewhere: ``shift`` is (3,) metres."""
    shift = np.asarray(shift, np.float32)
    old = take.people
    people = People(old.vertices + shift, old.joints + shift, old.keypoints + shift,
                    old.spin + shift)
    return Take(take.wardrobe, take.look, take.betas, take.poses, take.transl + shift, people)


def perform(
    wardrobe: Wardrobe,
    look: Appearance,
    betas: np.ndarray,
    poses: np.ndarray,
    pelvis: np.ndarray,
    flight: int,
) -> Take:
    """Put a person into the world.

    Args:
        wardrobe: of the person's gender.
        look: what the person wears.
        betas: (10,), or (F, 10) for stills of different people.
        poses: (F, 24, 3) axis-angle, y-up world.
        pelvis: (F, 3) path of the pelvis; its height is corrected, since this body's limbs are
            not the recorded person's.
        flight: longest time in frames that a body may be off the floor. 1 stands every pose on
            the floor (stills); more keeps jumps, and lets nobody hover for longer.
    """
    rows = np.broadcast_to(np.asarray(betas, np.float32), (len(poses), 10))
    transl = np.asarray(pelvis, np.float64) - wardrobe.rest_pelvis(rows)
    people = wardrobe.pose(poses, rows, transl)
    lowest = people.vertices[:, :, 1].min(1)
    lowest = uniform_filter1d(minimum_filter1d(lowest, flight), flight)
    shift = np.zeros((len(poses), 1, 3), np.float32)
    shift[:, 0, 1] = -lowest
    people = People(people.vertices + shift, people.joints + shift, people.keypoints + shift,
                    people.spin + shift)
    return Take(wardrobe, look, rows, np.asarray(poses, np.float32),
                (transl + shift[:, 0]).astype(np.float32), people)


def turn_about_vertical(
    poses: np.ndarray, pelvis: np.ndarray, angle: float
) -> tuple[np.ndarray, np.ndarray]:
    """Another heading: turn root rotations (F, 24, 3) and the path (F, 3) about y."""
    turn = Rotation.from_rotvec([0.0, angle, 0.0])
    poses = poses.copy()
    poses[:, 0] = (turn * Rotation.from_rotvec(poses[:, 0])).as_rotvec()
    return poses, turn.apply(pelvis)


@dataclass(frozen=True)
class Segment:
    """A stretch of a recorded clip.

    Attributes:
        name: short name of the clip, e.g. "dance_b".
        poses: (F, 24, 3) axis-angle, y-up world.
        pelvis: (F, 3) metres, starting near the origin of the ground plane.
    """

    name: str
    poses: np.ndarray
    pelvis: np.ndarray


def sample_segment(
    clips: Sequence[MotionClip],
    frames: int,
    stride: int,
    rng: np.random.Generator,
    mirror: bool,
) -> Segment:
    """Consecutive recorded frames from a random clip, with a random heading.

    Clips are drawn by the square root of their length, as `PoseSource` does.

    Args:
        clips: y-up clips to choose from.
        frames: F wanted; fewer come back from a clip that is too short.
        stride: every stride-th recorded frame.
        rng: the only source of chance.
        mirror: also mirror, half of the time (training only).
    """
    chances = np.sqrt([len(clip.poses) for clip in clips])
    clip = clips[rng.choice(len(clips), p=chances / chances.sum())]
    available = (len(clip.poses) - 1) // stride + 1
    count = min(frames, available)
    start = int(rng.integers(0, len(clip.poses) - (count - 1) * stride))
    rows = start + stride * np.arange(count)
    poses, pelvis = clip.poses[rows], clip.trans[rows].astype(np.float64)
    if mirror and rng.random() < 0.5:
        poses, pelvis = mirror_poses(poses), pelvis * np.array([-1.0, 1.0, 1.0])
    pelvis = pelvis - np.array([1.0, 0.0, 1.0]) * pelvis.mean(0)
    poses, pelvis = turn_about_vertical(poses, pelvis, rng.uniform(0, 2 * np.pi))
    return Segment(clip_name(clip.key), poses, pelvis)


def clip_name(key: str) -> str:
    """ "DeepMimic/humanoid3d/dance_b_poses" and "CMU/01/01_03_hang_poses" to "dance_b", "hang"."""
    words = key.rsplit("/", 1)[-1].removesuffix("_poses").split("_")
    words = [word for word in words if not word.isdigit()] or ["clip"]
    return "_".join(words)


def clips_of_role(
    clips: Mapping[str, MotionClip], split_table: Mapping, role: str, split: str
) -> list[MotionClip]:
    """The clips that a role may use in a split, from `load_clips` and `load_split`."""
    keys = split_table[split]
    return [clips[key] for key in (keys[role] if split == "test" else keys)]


def smooth_noise(frames: int, fps: float, rng: np.random.Generator, size: int) -> np.ndarray:
    """(frames, size) smooth unit-scale wandering: three slow sines a column, random phases."""
    time = np.arange(frames)[:, None, None] / fps
    period = rng.uniform(0.8, 5.0, (1, size, 3))
    phase = rng.uniform(0, 2 * np.pi, (1, size, 3))
    return np.sin(2 * np.pi * time / period + phase).sum(-1) * np.sqrt(2 / 3)
