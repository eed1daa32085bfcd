"""Poses for the open world: shipped capture clips, their held-out split, and a pose sampler.

Test and validation roles get recorded frames and nothing else. Training roles also get
mirrored frames, frames recombined from body parts of different recorded frames, frames whose
joints are jittered, and, where the role says so, synthetic yoga-like poses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from genhmr.types import NUM_BETAS, NUM_JOINTS, MotionClip, UserError
from genhmr.world.poses import Y_UP_TO_Z_UP, mirror_poses, turn_world
from genhmr.world.writers.amass import BODY_NUMBERS
from genhmr.world.yoga import jitter_joints, sample_yoga

TORSO = (3, 6, 9, 12, 15)
LEFT_ARM = (13, 16, 18, 20, 22)
RIGHT_ARM = (14, 17, 19, 21, 23)
TEST_ROLES = ("open-lab", "open-wild", "open-extreme")


_RESTORE = "restore it with `git checkout datasets/open/motion`"


@dataclass(frozen=True)
class TrainMix:
    """How a training role makes its poses from the training clips.

    Attributes:
        recombined: share of poses whose upper body comes from another recorded frame.
        synthetic: share of synthetic yoga-like poses.
        jittered: share of poses whose joints are turned a little (``JITTER_DEGREES``).
    """

    recombined: float
    synthetic: float
    jittered: float


# Standard deviation of a jittered joint about each axis. The shipped clips hold about a thousand
# distinct training poses; without the jitter a model can learn them by heart, and does.
JITTER_DEGREES = 10.0
TRAIN_MIXES = {
    "open-lab": TrainMix(recombined=0.3, synthetic=0.0, jittered=0.5),
    "open-wild": TrainMix(recombined=0.5, synthetic=0.0, jittered=0.5),
    "open-extreme": TrainMix(recombined=0.5, synthetic=0.1, jittered=0.5),
    "open-photo": TrainMix(recombined=0.6, synthetic=0.25, jittered=0.5),
    # People whom others film: everyday motion, and mostly whole recorded poses.
    "open-web": TrainMix(recombined=0.35, synthetic=0.0, jittered=0.5),
    # An animator takes what motion capture there is and puts it together anew.
    "open-synth": TrainMix(recombined=0.6, synthetic=0.1, jittered=0.5),
}


def load_clips(folder: Path) -> dict[str, MotionClip]:
    """Load the shipped clips, turned to the y-up world of the generator.

    ``trans`` is turned as a vector. It follows the pelvis up to a constant of the clip, because
    SMPL counts translation from the pelvis of the rest body, which the turn leaves in place.

    Args:
        folder: ``datasets/open/motion``, AMASS layout.

    Returns:
        Clip key (path without ``.npz``) to clip, in alphabetical order.

    Raises:
        UserError: no clips there, or a broken file.
    """
    clips = {}
    for path in sorted(folder.glob("*/*/*_poses.npz")):
        key = path.relative_to(folder).with_suffix("").as_posix()
        try:
            with np.load(path, allow_pickle=False) as arrays:
                body = np.asarray(arrays["poses"], np.float64)[:, :BODY_NUMBERS]
                trans, fps = arrays["trans"], float(arrays["mocap_framerate"])
            if not np.isfinite(body).all():
                raise ValueError("poses are not finite")
            poses = np.zeros((len(body), NUM_JOINTS, 3))
            poses[:, :22] = body.reshape(-1, 22, 3)
        except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds
            raise UserError(
                f"{path} is not a readable motion clip ({error}); {_RESTORE}."
            ) from error
        poses, trans = turn_world(poses, trans, Y_UP_TO_Z_UP.inv())
        clips[key] = MotionClip(
            key=key,
            poses=poses.astype(np.float32),
            trans=trans.astype(np.float32),
            betas=np.zeros(NUM_BETAS, np.float32),
            gender="neutral",
            fps=fps,
            up="y",
        )
    if not clips:
        raise UserError(f"{folder} holds no motion clips; {_RESTORE}.")
    return clips


def load_split(folder: Path) -> dict:
    """Read ``split.yaml``: which clips are for training, validation and each test role.

    Returns:
        ``{"train": [keys], "val": [keys], "test": {role: [keys]}}``.

    Raises:
        UserError: the file or a clip that it lists is missing, or it does not list every clip once.
    """
    path = folder / "split.yaml"
    try:
        split = yaml.safe_load(path.read_text())
        lists = [split["train"], split["val"], *(split["test"][role] for role in TEST_ROLES)]
        listed = sorted(key for keys in lists for key in keys)
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is not a readable split ({error!r}); {_RESTORE}."
        ) from error
    there = {
        p.relative_to(folder).with_suffix("").as_posix() for p in folder.glob("*/*/*_poses.npz")
    }
    if gone := sorted(set(listed) - there):
        raise UserError(f"{folder / gone[0]}.npz is missing and split.yaml lists it; {_RESTORE}.")
    if unknown := sorted(there - set(listed)):
        raise UserError(
            f"{path} does not list {unknown[0]}, whose file is there: add it to train, val or one "
            f"of the test roles, or remove the file; or {_RESTORE}."
        )
    if twice := [key for key, after in zip(listed, listed[1:]) if key == after]:
        raise UserError(f"{path} lists {twice[0]} twice; {_RESTORE}.")
    test = dict(zip(TEST_ROLES, lists[2:]))
    return {"train": list(lists[0]), "val": list(lists[1]), "test": test}


class PoseSource:
    """Random single poses from a set of clips.

    A clip is drawn with probability proportional to the square root of its length, so that a
    long recording does not drown the short ones; the frame in it uniformly.

    For training, a recombined pose keeps root and legs of one frame and takes the upper body
    of another; for half of them each arm comes from a frame of its own. Every joint angle of
    a recombined pose was recorded, so all stay inside human joint limits. Jitter leaves the
    limits only where the recorded pose itself does.
    """

    def __init__(self, clips: Sequence[MotionClip], mix: TrainMix | None = None):
        """Collect the frames.

        Args:
            clips: y-up clips.
            mix: how to augment for training; None yields recorded frames only.

        Raises:
            ValueError: no clips, or one that is not y-up.
        """
        if not clips or any(clip.up != "y" for clip in clips):
            raise ValueError("PoseSource needs at least one clip, all of them y-up")
        self.clips = tuple(clips)
        self.mix = mix
        self._frames = np.concatenate([clip.poses for clip in clips])
        weights = np.concatenate(
            [np.full(len(clip.poses), len(clip.poses) ** -0.5) for clip in clips]
        )
        self._cumulative = np.cumsum(weights / weights.sum())

    @classmethod
    def for_role(cls, folder: Path, role: str, split: str) -> "PoseSource":
        """The poses that one role may use in one split.

        Args:
            folder: ``datasets/open/motion``.
            role: a key of ``TRAIN_MIXES``; those not in ``TEST_ROLES`` are for training only.
            split: "train", "val" or "test".

        Raises:
            ValueError: unknown role or split.
            UserError: the shipped clips are missing or broken.
        """
        if role not in TRAIN_MIXES or split not in ("train", "val", "test"):
            raise ValueError(f"no poses for role {role!r}, split {split!r}")
        keys = load_split(folder)[split]
        if split == "test":
            if role not in keys:
                raise ValueError(f"{role} has no test split")
            keys = keys[role]
        clips = load_clips(folder)
        mix = TRAIN_MIXES[role] if split == "train" else None
        return cls([clips[key] for key in keys], mix)

    def _draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n, 24, 3) recorded frames; mirrored half of the time when training."""
        index = np.searchsorted(self._cumulative, rng.random(n), side="right")
        poses = self._frames[np.minimum(index, len(self._frames) - 1)].copy()
        if self.mix is not None:
            mirrored = rng.random(n) < 0.5
            poses[mirrored] = mirror_poses(poses[mirrored])
        return poses

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw poses; the same generator state gives the same poses.

        Args:
            n: how many.
            rng: source of randomness.

        Returns:
            (n, 24, 3) float32 axis-angle; joint 0 is the root in a y-up world with the
            heading as recorded (synthetic poses: any heading).
        """
        poses = self._draw(n, rng)
        if self.mix is None:
            return poses
        upper, left, right = (self._draw(n, rng) for _ in range(3))
        recombined = rng.random(n) < self.mix.recombined
        own_arms = recombined & (rng.random(n) < 0.5)
        shared_arms = recombined & ~own_arms
        for rows, donor, joints in (
            (recombined, upper, TORSO),
            (shared_arms, upper, LEFT_ARM + RIGHT_ARM),
            (own_arms, left, LEFT_ARM),
            (own_arms, right, RIGHT_ARM),
        ):
            poses[np.ix_(rows, joints)] = donor[np.ix_(rows, joints)]
        jittered = rng.random(n) < self.mix.jittered
        poses[jittered] = jitter_joints(poses[jittered], JITTER_DEGREES, rng)
        synthetic = rng.random(n) < self.mix.synthetic
        poses[synthetic] = sample_yoga(int(synthetic.sum()), rng)
        return poses
