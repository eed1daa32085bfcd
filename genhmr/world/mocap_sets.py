"""The two motion data sets of the open world: open-mocap and open-yoga.

``open-mocap`` has the role of AMASS: recorded clips, and for training also mirrored and
recombined ones. ``open-yoga`` has the role of MOYO and is synthetic through and through.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from genhmr.types import NUM_BETAS, MotionClip
from genhmr.world.motion import LEFT_ARM, RIGHT_ARM, TORSO, load_clips, load_split
from genhmr.world.poses import Y_UP_TO_Z_UP, mirror_poses, turn_world
from genhmr.world.writers.amass import write_amass_clip
from genhmr.world.writers.moyo import write_moyo_sequence
from genhmr.world.yoga import TRAIN_POSTURES, VAL_POSTURES, yoga_clip

# Sub-datasets of open-mocap; the AMASS reader's split table knows these names.
SUBSETS = {"train": "OpenMotionTrain", "val": "OpenMotionVal", "test": "OpenMotionTest"}
RECOMBINED_CLIPS = 320
RECOMBINED_FRAMES = 32
YOGA_POSTURES_PER_CLIP = 4
YOGA_FRAMES_PER_CLIP = 72


def write_open_mocap(
    root: Path,
    motion_folder: Path,
    seed: int,
    recombined_clips: int = RECOMBINED_CLIPS,
    progress: bool = False,
) -> int:
    """Write ``open-mocap`` in the layout of AMASS.

    ``OpenMotionTrain`` has the subjects ``captured``, ``mirrored`` and ``recombined``;
    ``OpenMotionVal`` and ``OpenMotionTest`` hold recorded clips only, the latter with one
    subject folder per test role. Every clip gets a body shape of its own.

    Args:
        root: folder to write to.
        motion_folder: ``datasets/open/motion``.
        seed: of recombination and body shapes.
        recombined_clips: how many recombined training clips.
        progress: show a progress bar.

    Returns:
        Number of clips written.

    Raises:
        UserError: the shipped clips or their split are missing or broken.
    """
    rng = np.random.default_rng([seed, 0])
    count = 0
    clips = _mocap_clips(motion_folder, recombined_clips, rng)
    for clip in tqdm(clips, desc="open-mocap", unit="clip", disable=not progress):
        write_amass_clip(_z_up(replace(clip, betas=_betas(rng))), root)
        count += 1
    return count


def write_open_yoga(root: Path, seed: int, counts: dict[str, int], progress: bool = False) -> int:
    """Write ``open-yoga``, synthetic sequences in the layout of MOYO.

    The validation sequences flow through postures that training never sees.

    Args:
        root: folder to write to.
        seed: of all randomness.
        counts: number of sequences for "train" and "val".
        progress: show a progress bar.

    Returns:
        Number of sequences written.

    Raises:
        ValueError: a split that MOYO does not have.
    """
    if counts.keys() - {"train", "val"}:
        raise ValueError(f"open-yoga has the splits train and val, not {sorted(counts)}")
    jobs = [(split, i) for split in ("train", "val") for i in range(counts.get(split, 0))]
    for split, i in tqdm(jobs, desc="open-yoga", unit="clip", disable=not progress):
        # One stream per sequence: asking for more sequences leaves the first ones as they were.
        rng = np.random.default_rng([seed, 1, int(split == "val"), i])
        names = TRAIN_POSTURES if split == "train" else VAL_POSTURES
        poses = yoga_clip(YOGA_POSTURES_PER_CLIP, YOGA_FRAMES_PER_CLIP, rng, names)
        clip = MotionClip(
            key=f"synthetic_yoga_{i:05d}",
            poses=poses,
            trans=np.zeros((len(poses), 3), np.float32),
            betas=_betas(rng),
            gender="neutral",
            fps=60.0,
            up="y",
        )
        write_moyo_sequence(_z_up(clip), root, split)
    return len(jobs)


def _mocap_clips(
    folder: Path, recombined_clips: int, rng: np.random.Generator
) -> Iterator[MotionClip]:
    """All clips of open-mocap, y-up, with their final keys."""
    clips, split = load_clips(folder), load_split(folder)

    def name(key: str) -> str:
        return key.rsplit("/", 1)[1]

    train = [clips[key] for key in split["train"]]
    for clip in train:
        yield replace(clip, key=f"{SUBSETS['train']}/captured/{name(clip.key)}")
        yield replace(
            clip,
            key=f"{SUBSETS['train']}/mirrored/{name(clip.key)}",
            poses=mirror_poses(clip.poses),
            trans=clip.trans * np.array([-1.0, 1.0, 1.0], np.float32),
        )
    for i in range(recombined_clips):
        key = f"{SUBSETS['train']}/recombined/recombined_{i:05d}_poses"
        yield _recombine(key, train, rng)
    for key in split["val"]:
        yield replace(clips[key], key=f"{SUBSETS['val']}/captured/{name(key)}")
    for role, keys in split["test"].items():
        for key in keys:
            yield replace(clips[key], key=f"{SUBSETS['test']}/{role}/{name(key)}")


def _window(clips: list[MotionClip], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Poses (F, 24, 3) and trans (F, 3) of a random stretch, bouncing at a clip's ends."""
    chances = np.sqrt([len(clip.poses) for clip in clips])
    clip = clips[rng.choice(len(clips), p=chances / chances.sum())]
    last = len(clip.poses) - 1
    walk = rng.integers(last + 1) + np.arange(RECOMBINED_FRAMES)
    index = last - np.abs(last - walk % (2 * last))
    poses, trans = clip.poses[index], clip.trans[index]
    if rng.random() < 0.5:
        return mirror_poses(poses), trans * np.array([-1.0, 1.0, 1.0], np.float32)
    return poses, trans


def _recombine(key: str, clips: list[MotionClip], rng: np.random.Generator) -> MotionClip:
    """Legs and root of one stretch of recorded motion under the upper body of another.

    Every second clip takes each arm from a stretch of its own.
    """
    poses, trans = _window(clips, rng)
    poses = poses.copy()
    upper = _window(clips, rng)[0]
    own_arms = rng.random() < 0.5
    left, right = (_window(clips, rng)[0] for _ in range(2)) if own_arms else (upper, upper)
    for joints, donor in ((TORSO, upper), (LEFT_ARM, left), (RIGHT_ARM, right)):
        poses[:, joints] = donor[:, joints]
    return replace(clips[0], key=key, poses=poses, trans=trans)


def _z_up(clip: MotionClip) -> MotionClip:
    poses, trans = turn_world(clip.poses, clip.trans, Y_UP_TO_Z_UP)
    return replace(clip, poses=poses.astype(np.float32), trans=trans.astype(np.float32), up="z")


def _betas(rng: np.random.Generator) -> np.ndarray:
    return np.clip(rng.normal(size=NUM_BETAS), -2.5, 2.5).astype(np.float32)
