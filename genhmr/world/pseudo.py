"""Pseudo ground truth: the truth with the errors of a body that was fitted to 2D keypoints.

Nobody measured the bodies in pictures from the web. HMR2.0's labels for InstaVariety, AVA and AI
Challenger are bodies fitted to detected keypoints: what a picture shows of a limb is nearly right,
how far the limb reaches towards the camera is a guess, and shape is mostly the prior's.

Every bone is wrong by itself, not on top of its parent, because every bone has keypoints of its
own that the fit follows. Over the poses of ``open-web`` the bodies that come out are 57 mm from
the truth (MPJPE, pelvis aligned) and 42 mm after Procrustes alignment, where SPIN, whose fits the
field has trained on, is 41 mm off on Human3.6M and 59 mm on 3DPW. They are twice as far off in
depth as along an axis of the picture, where 2.5 % of the person's extent remain.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from .yoga import JOINT_LIMITS

# How far a fit leaves the end of a bone from its keypoint in the picture, as a share of the
# bone's length; standard deviation. Three pixels of fifty: a detector's error. It says how far a
# bone may turn: sideways by 0.06 radians, 3 degrees, but towards the camera by 18, if the bone
# lies in the picture plane, because its picture then shrinks with the cosine only.
PICTURE_SLIP = 0.06
# Turn about the bone itself, which moves no keypoint of the bone: the prior's guess.
TWIST_DEGREES = 12.0
# Bone lengths in pixels say little of the betas, and the prior pulls them to the mean: half of
# the truth is kept, the rest is noise. Betas whose standard deviation is 1 are then wrong by 0.7.
BETAS_KEPT, BETAS_NOISE = 0.5, 0.5

_AT_REST = (10, 11, 22, 23)  # toes and hands have no keypoints that a fit would turn them for
_BONE_ENDS = {0: 3, 9: 12}  # where a joint has several children: the spine


def fit_error(
    poses: np.ndarray,
    betas: np.ndarray,
    joints: np.ndarray,
    parents: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """What fits to the keypoints of N pictures would have found instead of the truth.

    Args:
        poses: (N, 24, 3) axis-angle, root in the camera frame.
        betas: (N, 10).
        joints: (N, 24, 3) kinematic joints, metres, camera frame.
        parents: (24,), -1 for the root.
        rng: the only source of chance.

    Returns:
        (N, 24, 3) float32 axis-angle and (N, 10) float32. As a fit's prior does, the joints are
        kept inside human limits; one that was outside already gets no further out.
    """
    turns = _bone_turns(joints, parents, rng)
    found = np.empty(poses.shape, np.float32)
    true, fitted = [], []
    for j, parent in enumerate(parents):
        local, turn = Rotation.from_rotvec(poses[:, j]), Rotation.from_rotvec(turns[:, j])
        true.append(true[parent] * local if j else local)
        # From where the fit has put the parent, so that no bone inherits another's error.
        wanted = turn * true[j] if j == 0 else fitted[parent].inv() * turn * true[j]
        known = local.as_rotvec()
        low, high = np.minimum(known, JOINT_LIMITS[j, 0]), np.maximum(known, JOINT_LIMITS[j, 1])
        found[:, j] = known if j in _AT_REST else np.clip(wanted.as_rotvec(), low, high)
        own = Rotation.from_rotvec(found[:, j])
        fitted.append(fitted[parent] * own if j else own)
    shapes = BETAS_KEPT * betas + rng.normal(0, BETAS_NOISE, betas.shape)
    return found, shapes.astype(np.float32)


def _bone_turns(joints, parents, rng):
    """(N, 24, 3) turns in the camera frame: sideways, towards the camera, and about the bone."""
    children = {int(parent): j for j, parent in enumerate(parents)} | _BONE_ENDS
    starts = [j if j in children else parents[j] for j in range(len(parents))]
    ends = [children.get(j, j) for j in range(len(parents))]
    sight = _unit(joints[:, starts])
    bones = _unit(joints[:, ends] - joints[:, starts])
    axis = np.cross(sight, bones)
    # The parts of a bone that lie in the picture and along the line of sight.
    across = np.linalg.norm(axis, axis=-1, keepdims=True).clip(1e-6)
    towards = np.abs((sight * bones).sum(-1, keepdims=True))
    axis /= across
    sideways, slip = rng.normal(0, PICTURE_SLIP, (2, *joints.shape[:2], 1))
    twist = rng.normal(0, np.deg2rad(TWIST_DEGREES), (*joints.shape[:2], 1))
    # The turn d towards the camera that moves the end by s in the picture: to second order
    # s = towards * d + across * d^2 / 2.
    reach = np.sqrt(towards**2 + 2 * across * np.abs(slip)) - towards
    depth = np.sign(slip) * reach / across
    return depth * axis + sideways * np.cross(bones, axis) + twist * bones


def _unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
