"""Synthetic yoga-like poses: hand-written postures, blended and jittered inside joint limits.

Nothing here was captured. No package registry holds yoga motion capture under a free licence,
so the role of MOYO is played by these poses, and every file made of them says "synthetic".
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.spatial.transform import Rotation

from genhmr.types import NUM_JOINTS
from genhmr.world.poses import blend_poses, mirror_poses, turn_world

JOINT_NAMES = (
    "root", "l_hip", "r_hip", "spine1", "l_knee", "r_knee", "spine2", "l_ankle", "r_ankle",
    "spine3", "l_foot", "r_foot", "neck", "l_collar", "r_collar", "head", "l_shoulder",
    "r_shoulder", "l_elbow", "r_elbow", "l_wrist", "r_wrist", "l_hand", "r_hand",
)  # fmt: skip

# Postures, in degrees, as rotations applied one in the frame of the one before. SMPL at rest
# stands in a T-pose, x left, y up, z forward, so: hip x- flexes, hip z+ (left) or z- (right)
# abducts, hip y+ (left) turns the toes out, knee x+ flexes, ankle x+ points the toes, spine
# x+ bows, spine z- leans left, spine y+ turns left, shoulder z- (left) or z+ (right) lowers
# the arm, shoulder y- (left) or y+ (right) brings it forward, elbow y- (left) or y+ (right)
# flexes. "spine" is shared by the three spine joints. Root x90 lies prone, x-90 supine.
POSTURES = {
    "mountain": "l_shoulder z-75, r_shoulder z75",
    "arms_up": "l_collar z15, r_collar z-15, l_shoulder z70, r_shoulder z-70",
    "tree": "l_hip y55 z35 x-50, l_knee x125, l_collar z15, r_collar z-15, l_shoulder z65,"
    " r_shoulder z-65, l_elbow y-15, r_elbow y15",
    "warrior_1": "l_hip x-80, l_knee x80, r_hip x35 z-5, r_knee x5, r_ankle x-25, spine x-20,"
    " l_collar z15, r_collar z-15, l_shoulder z70, r_shoulder z-70",
    "warrior_2": "root y-20, l_hip z55 y50 x-45, l_knee x75, r_hip z-45 y15, head y60",
    "triangle": "root z-25, l_hip z55 y30, r_hip z-5 y10, spine z-40, head y40",
    "chair": "root x25, l_hip x-95, r_hip x-95, l_knee x85, r_knee x85, l_ankle x-20,"
    " r_ankle x-20, l_collar z15, r_collar z-15, l_shoulder z60, r_shoulder z-60",
    "forward_fold": "root x70, l_hip x-75, r_hip x-75, spine x60, neck x15, l_shoulder y-90 z20,"
    " r_shoulder y90 z-20",
    "downward_dog": "root x130, l_hip x-90, r_hip x-90, l_ankle x-20, r_ankle x-20,"
    " l_collar z15, r_collar z-15, l_shoulder z65, r_shoulder z-65",
    "plank": "root x75, l_shoulder y-85, r_shoulder y85, l_ankle x-30, r_ankle x-30, neck x-10",
    "cobra": "root x80, spine x-60, neck x-20, l_shoulder z-60 y-20, r_shoulder z60 y20,"
    " l_ankle x45, r_ankle x45, l_elbow y-20, r_elbow y20",
    "low_lunge": "root x10, l_hip x-95, l_knee x95, r_hip x25, r_knee x60, r_ankle x40,"
    " spine x-15, l_shoulder z-65, r_shoulder z65",
    "staff": "l_hip x-90, r_hip x-90, l_shoulder z-75, r_shoulder z75, l_ankle x-10, r_ankle x-10",
    "seated_fold": "root x45, l_hip x-130, r_hip x-130, spine x45, l_shoulder y-85 z-25,"
    " r_shoulder y85 z25",
    "boat": "root x-40, l_hip x-90, r_hip x-90, l_knee x10, r_knee x10, l_shoulder y-85,"
    " r_shoulder y85, l_ankle x25, r_ankle x25",
    "lotus": "l_hip x-75 y60 z30, r_hip x-75 y-60 z-30, l_knee x130, r_knee x130,"
    " l_shoulder z-65 y-20, r_shoulder z65 y20, l_elbow y-25, r_elbow y25",
    "bridge": "root x-120, l_hip x25, r_hip x25, l_knee x105, r_knee x105, spine x-25,"
    " neck x25, head x20, l_shoulder z-65, r_shoulder z65",
    "child": "root x65, l_hip x-120, r_hip x-120, l_knee x145, r_knee x145, spine x45,"
    " l_ankle x40, r_ankle x40, l_shoulder z60 y-30, r_shoulder z-60 y30",
    "dancer": "root x30, l_hip x40, l_knee x95, spine x-35, l_shoulder y50 z-30,"
    " r_shoulder y70 z-15, r_hip x-30",
    "warrior_3": "root x80, l_hip x5, r_hip x-78, l_collar z15, r_collar z-15, l_shoulder z65,"
    " r_shoulder z-65, l_ankle x25",
    "shoulder_stand": "root x-165, spine x25, neck x35, head x25, l_shoulder z-55 y-20,"
    " r_shoulder z55 y20, l_elbow y-95, r_elbow y95, l_ankle x25, r_ankle x25",
    "twist": "l_hip x-90, r_hip x-110 z-5, r_knee x95, spine y-60, neck y-25, l_shoulder z-50 y-40,"
    " r_shoulder z55 y-25",
    "splits": "l_hip x-85, r_hip x40, spine x-20, l_shoulder z-70, r_shoulder z70, l_ankle x20,"
    " r_ankle x30",
    "camel": "root x-15, l_hip x30, r_hip x30, l_knee x85, r_knee x85, spine x-50, neck x-25,"
    " l_shoulder z-60 y45, r_shoulder z60 y-45, l_ankle x35, r_ankle x35",
    "half_moon": "root z-75, l_hip z70 y15, r_hip z-10, spine z-10, head y35",
    "side_plank": "root z-65, l_shoulder y-5, r_shoulder y5, spine z5, head y20, l_ankle x-10,"
    " r_ankle x-10",
    "garland": "root x15, l_hip x-115 z30 y30, r_hip x-115 z-30 y-30, l_knee x140, r_knee x140,"
    " spine x25, l_ankle x-25, r_ankle x-25, l_shoulder y-75 z-35, r_shoulder y75 z35,"
    " l_elbow y-85, r_elbow y85",
}
VAL_POSTURES = ("camel", "half_moon", "side_plank", "garland")
TRAIN_POSTURES = tuple(name for name in POSTURES if name not in VAL_POSTURES)

# A box per joint in axis-angle coordinates, degrees: (x low, x high), (y ..), (z ..) of the
# left side; the right side is its mirror image. Ranges after textbook ranges of motion.
_LIMITS = {
    "hip": ((-135, 45), (-50, 75), (-35, 75)),
    "knee": ((0, 150), (-12, 12), (-12, 12)),
    "ankle": ((-35, 55), (-20, 20), (-20, 20)),
    "foot": ((-30, 30), (0, 0), (0, 0)),
    "spine1": ((-25, 35), (-20, 20), (-18, 18)),
    "spine2": ((-25, 35), (-22, 22), (-18, 18)),
    "spine3": ((-25, 30), (-22, 22), (-18, 18)),
    "neck": ((-35, 40), (-40, 40), (-25, 25)),
    "head": ((-30, 30), (-65, 65), (-20, 20)),
    "collar": ((-12, 12), (-20, 20), (-15, 25)),
    "shoulder": ((-90, 90), (-135, 60), (-95, 90)),
    "elbow": ((-40, 40), (-150, 5), (-15, 15)),
    "wrist": ((-30, 30), (-25, 25), (-60, 60)),
    "hand": ((0, 0), (0, 0), (0, 0)),
}
JITTER_DEGREES = 6.0


def _limits() -> np.ndarray:
    table = np.zeros((NUM_JOINTS, 2, 3))
    table[0] = [[-np.inf] * 3, [np.inf] * 3]
    for j, name in enumerate(JOINT_NAMES[1:], start=1):
        table[j] = np.deg2rad(np.array(_LIMITS[name.removeprefix("l_").removeprefix("r_")]).T)
        if name.startswith("r_"):  # mirroring negates y and z, which swaps their ends
            table[j, :, 1:] = -table[j, ::-1, 1:]
    return table


# (24, 2, 3) radians: lowest and highest axis-angle coordinates; the root is free.
JOINT_LIMITS = _limits()


@lru_cache
def posture(name: str) -> np.ndarray:
    """One hand-written posture, (24, 3) axis-angle, y-up, facing +z, inside the limits."""
    rotations = {j: Rotation.identity() for j in range(NUM_JOINTS)}
    for entry in POSTURES[name].split(","):
        joint, *turns = entry.split()
        for turn in turns:
            axis, degrees = turn[0], float(turn[1:])
            names = ("spine1", "spine2", "spine3") if joint == "spine" else (joint,)
            for part in names:
                j = JOINT_NAMES.index(part)
                step = Rotation.from_euler(axis, degrees / len(names), degrees=True)
                rotations[j] = rotations[j] * step
    pose = np.stack([rotations[j].as_rotvec() for j in range(NUM_JOINTS)])
    pose = np.clip(pose, JOINT_LIMITS[:, 0], JOINT_LIMITS[:, 1])
    pose.setflags(write=False)
    return pose


def jitter_joints(
    poses: np.ndarray, degrees: float, rng: np.random.Generator
) -> np.ndarray:
    """Turn every joint a little and keep it inside the limits.

    Args:
        poses: (N, 24, 3) axis-angle.
        degrees: standard deviation about each axis; the root is turned too.
        rng: source of randomness.

    Returns:
        (N, 24, 3). A joint that was outside its limits already gets no further out.
    """
    jitter = rng.normal(scale=np.deg2rad(degrees), size=poses.shape)
    jitter[:, [10, 11, 22, 23]] = 0.0  # toes and hands stay at rest, as in the capture
    low, high = np.minimum(poses, JOINT_LIMITS[:, 0]), np.maximum(poses, JOINT_LIMITS[:, 1])
    return np.clip(poses + jitter, low, high).astype(poses.dtype)


def sample_yoga(
    n: int, rng: np.random.Generator, names: tuple[str, ...] = TRAIN_POSTURES
) -> np.ndarray:
    """Draw synthetic poses.

    A pose lies between two postures, most often near one of them, with jitter, one half of
    them mirrored, and any heading.

    Args:
        n: how many.
        rng: source of randomness.
        names: the postures to draw from.

    Returns:
        (n, 24, 3) float32 axis-angle, root in a y-up world.
    """
    if n == 0:  # older versions of scipy have no rotations of length 0
        return np.zeros((0, NUM_JOINTS, 3), np.float32)
    table = np.stack([posture(name) for name in names])
    start, end = (table[rng.integers(len(names), size=n)] for _ in range(2))
    poses = blend_poses(start, end, rng.beta(0.5, 1.5, size=n))
    poses = np.clip(poses, JOINT_LIMITS[:, 0], JOINT_LIMITS[:, 1])
    poses = jitter_joints(poses, JITTER_DEGREES, rng)
    mirrored = rng.random(n) < 0.5
    poses[mirrored] = mirror_poses(poses[mirrored])
    heading = Rotation.from_rotvec(rng.uniform(-np.pi, np.pi, size=(n, 1)) * [0.0, 1.0, 0.0])
    return turn_world(poses, np.zeros((n, 3)), heading)[0].astype(np.float32)


def yoga_clip(
    postures: int,
    frames: int,
    rng: np.random.Generator,
    names: tuple[str, ...] = TRAIN_POSTURES,
) -> np.ndarray:
    """One synthetic sequence that flows through several varied postures.

    Args:
        postures: how many postures, at least 2.
        frames: length of the sequence, at least 2.
        rng: source of randomness.
        names: the postures to draw from; drawn without repetition while they last.

    Returns:
        (frames, 24, 3) float32 axis-angle, y-up world; eased between postures.
    """
    order = [rng.permutation(len(names)) for _ in range(-(-postures // len(names)))]
    chosen = np.concatenate(order)[:postures]
    keys = jitter_joints(np.stack([posture(names[i]) for i in chosen]), JITTER_DEGREES, rng)
    if rng.random() < 0.5:
        keys = mirror_poses(keys)
    phase = np.linspace(0.0, postures - 1, frames)
    start = np.minimum(phase.astype(int), postures - 2)
    eased = 0.5 - 0.5 * np.cos(np.pi * (phase - start))
    heading = Rotation.from_rotvec([0.0, rng.uniform(-np.pi, np.pi), 0.0])
    poses = blend_poses(keys[start], keys[start + 1], eased)
    poses[:, 1:] = np.clip(poses, JOINT_LIMITS[:, 0], JOINT_LIMITS[:, 1])[:, 1:]
    return turn_world(poses, np.zeros((frames, 3)), heading)[0].astype(np.float32)
