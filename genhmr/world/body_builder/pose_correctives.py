"""Pose-dependent corrections: linear blend skinning taught to look like dual quaternions.

SMPL adds ``posedirs @ vec(R - I)`` to the rest vertices before skinning (Loper et al. 2015,
Eq. 9).  There are no scans of posed people here; the target of the regression is the
volume-preserving dual-quaternion skinning of the same body, which removes the collapsing
elbows, knees and twisted wrists of linear blending.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from genhmr.world.body_builder.rig import (
    apply_blend,
    blend_transforms,
    dual_quaternion_skinning,
    forward_kinematics,
)
from genhmr.world.body_builder.skeleton import JOINT_NAMES, MIRROR_JOINT

# Standard deviation of the random joint angles, radians, by joint name without its side.
_SPREAD = {
    "pelvis": 0.0, "hip": 0.45, "spine1": 0.2, "knee": 0.5, "spine2": 0.15, "ankle": 0.3,
    "spine3": 0.15, "foot": 0.2, "neck": 0.25, "collar": 0.15, "head": 0.25, "shoulder": 0.6,
    "elbow": 0.55, "wrist": 0.35, "hand": 0.2,
}  # fmt: skip
_LARGEST = 0.05  # metres; a longer correction is a failure of the target, not a shape
_RIDGE = 0.5


def random_poses(count: int, rng: np.random.Generator, spread: float = 1.0) -> np.ndarray:
    """Random joint angles within rough human limits (knees and elbows bend one way).

    Args:
        count: number of poses N.
        rng: source of the draws.
        spread: factor on all angles.

    Returns:
        (N, 24, 3, 3) rotations; the root is the identity.
    """
    scale = np.array([_SPREAD[name.split("_")[-1]] for name in JOINT_NAMES])
    angles = rng.normal(size=(count, len(JOINT_NAMES), 3)) * scale[:, None]
    index = {name: i for i, name in enumerate(JOINT_NAMES)}
    for side, sign in (("left", -1.0), ("right", 1.0)):
        knee, elbow, hip = (index[f"{side}_{part}"] for part in ("knee", "elbow", "hip"))
        angles[:, knee, 0] = np.abs(rng.normal(0.0, 0.8, count))
        angles[:, knee, 1:] *= 0.15
        angles[:, elbow, 1] = sign * np.abs(rng.normal(0.0, 0.9, count))
        angles[:, hip, 0] -= 0.25
    rotations = Rotation.from_rotvec((spread * angles).reshape(-1, 3)).as_matrix()
    return rotations.reshape(count, len(JOINT_NAMES), 3, 3)


def mirror_poses(rotations: np.ndarray) -> np.ndarray:
    """(N, 24, 3, 3) poses seen in a mirror: sides swapped, rotations reflected in x."""
    reflect = np.diag([-1.0, 1.0, 1.0])
    return reflect @ rotations[:, MIRROR_JOINT] @ reflect


def skinning_residual(
    vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray, rotations: np.ndarray
) -> np.ndarray:
    """What must be added to the rest vertices for linear blending to equal dual quaternions.

    Args:
        vertices: (V, 3) rest vertices.
        joints: (24, 3) rest joints.
        weights: (V, 24).
        rotations: (24, 3, 3) one pose.

    Returns:
        (V, 3) metres in the rest frame, no longer than 0.05 m per axis.
    """
    _, transforms = forward_kinematics(joints, rotations)
    blended = blend_transforms(weights, transforms)
    error = dual_quaternion_skinning(vertices, weights, transforms) - apply_blend(vertices, blended)
    rest = np.linalg.solve(blended[:, :, :3], error[:, :, None])[:, :, 0]
    return np.clip(rest, -_LARGEST, _LARGEST)


def fit_pose_correctives(
    vertices: np.ndarray,
    joints: np.ndarray,
    weights: np.ndarray,
    mirror: np.ndarray,
    rng: np.random.Generator,
    count: int = 450,
) -> tuple[np.ndarray, float]:
    """Ridge regression of the skinning residual on ``vec(R - I)``, local to the skinned joints.

    A vertex depends only on the joints that move it, so the matrix is sparse and no far joint
    leaks in.  Every pose is used together with its mirror image, so the result is symmetric.

    Args:
        vertices: (V, 3) symmetric template.
        joints: (24, 3) symmetric rest joints.
        weights: (V, 24).
        mirror: (V,) mirrored vertex.
        rng: source of the training poses.
        count: poses, before mirroring.

    Returns:
        posedirs (V, 3, 207) in metres per unit, and the share of the residual's energy that
        they explain on poses kept out of the fit.
    """
    held_out = max(count // 9, 1)
    rotations = random_poses(count + held_out, rng)
    residual = np.stack(
        [skinning_residual(vertices, joints, weights, pose) for pose in rotations]
    ).astype(np.float32)
    feature = pose_feature(rotations)
    flip = np.array([-1.0, 1.0, 1.0], dtype=np.float32)
    x_all = np.concatenate([feature[:count], pose_feature(mirror_poses(rotations[:count]))])

    groups: dict[tuple[int, ...], list[int]] = {}
    for vertex, row in enumerate(weights):
        moved_by = tuple(int(j) for j in np.flatnonzero(row > 0.01) if j > 0)
        if moved_by:
            groups.setdefault(moved_by, []).append(vertex)
    posedirs = np.zeros((len(vertices), 3, feature.shape[1]))
    for moved_by, members in groups.items():
        columns = np.concatenate([np.arange(9 * (j - 1), 9 * j) for j in moved_by])
        target = np.concatenate(
            [residual[:count, members], residual[:count, mirror[members]] * flip]
        ).reshape(2 * count, -1)
        x = x_all[:, columns]
        solution = np.linalg.solve(x.T @ x + _RIDGE * np.eye(len(columns)), x.T @ target)
        block = solution.reshape(len(columns), len(members), 3).transpose(1, 2, 0)
        posedirs[np.ix_(members, range(3), columns)] = block
    predicted = np.einsum("vcp,np->nvc", posedirs, feature[count:], optimize=True)
    error = ((predicted - residual[count:]) ** 2).sum()
    return posedirs, float(1.0 - error / (residual[count:] ** 2).sum())


def pose_feature(rotations: np.ndarray) -> np.ndarray:
    """(N, 207) SMPL's pose feature, ``vec(R - I)`` of joints 1 to 23."""
    return (rotations[:, 1:] - np.eye(3)).reshape(len(rotations), -1)


def pose_body(
    vertices: np.ndarray,
    joints: np.ndarray,
    weights: np.ndarray,
    posedirs: np.ndarray,
    rotations: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The finished model's forward pass for one body and one pose.

    Args:
        vertices: (V, 3) shaped rest vertices.
        joints: (24, 3) their rest joints.
        weights: (V, 24).
        posedirs: (V, 3, 207).
        rotations: (24, 3, 3).

    Returns:
        (V, 3) posed vertices and the (24, 4, 4) skinning transforms.
    """
    _, transforms = forward_kinematics(joints, rotations)
    corrected = vertices + posedirs @ pose_feature(rotations[None])[0]
    return apply_blend(corrected, blend_transforms(weights, transforms)), transforms
