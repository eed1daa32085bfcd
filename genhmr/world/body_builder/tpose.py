"""From Anny's A-pose to SMPL's T-pose, with Anny's own 104-bone linear blend skinning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

_COLLAR_SHARE = 0.22  # part of the arm's elevation that the shoulder girdle takes
_LEG_SPREAD = np.deg2rad(1.5)  # lateral angle of hip to ankle; Anny stands with about 5 degrees
_FOREARM_TWIST = (0.35, 0.75)  # part of the hand's pronation at the elbow and mid-forearm


def t_pose_rotations(heads: np.ndarray, bones: Sequence[str]) -> np.ndarray:
    """World rotations of every bone that take one A-posed rig to the T-pose.

    Upper arm, forearm and hand are swung onto the x axis one after another, then the palm is
    turned down; the clavicle takes a share of the swing and the forearm a share of the twist.
    The legs are closed to SMPL's nearly upright stance with the feet kept flat.

    Args:
        heads: (E, 3) bone heads in the A-pose, y up and z forwards.
        bones: their names.

    Returns:
        (E, 3, 3) rotations of the bones in the world frame.
    """
    index = {name: i for i, name in enumerate(bones)}
    rotations = np.tile(np.eye(3), (len(bones), 1, 1))
    for side, sign in (("L", 1.0), ("R", -1.0)):
        outward = np.array([sign, 0.0, 0.0])

        def head(name: str, side: str = side) -> np.ndarray:
            return heads[index[f"{name}.{side}"]]

        upper = rotation_between(head("lowerarm01") - head("upperarm01"), outward)
        forearm = rotation_between(upper @ (head("wrist") - head("lowerarm01")), outward) @ upper
        hand = rotation_between(forearm @ (head("finger3-1") - head("wrist")), outward) @ forearm
        across = hand @ (head("finger2-1") - head("finger5-1"))  # little finger to index
        # A turn about x by this angle makes "across" point forwards: the palm faces down.
        angle = np.arctan2(across[1], across[2])
        twist = Rotation.from_rotvec([angle, 0.0, 0.0]).as_matrix()
        collar = fraction_of(upper, _COLLAR_SHARE)
        by_bone = {
            "clavicle": collar, "shoulder01": collar, "upperarm01": upper, "upperarm02": upper,
            "lowerarm01": fraction_of(twist, _FOREARM_TWIST[0]) @ forearm,
            "lowerarm02": fraction_of(twist, _FOREARM_TWIST[1]) @ forearm,
        }  # fmt: skip
        leg = head("foot") - head("upperleg01")
        close = sign * (_LEG_SPREAD - np.arctan2(sign * leg[0], -leg[1]))
        thigh = Rotation.from_rotvec([0.0, 0.0, close]).as_matrix()
        by_bone |= dict.fromkeys(("upperleg01", "upperleg02", "lowerleg01", "lowerleg02"), thigh)
        for name, rotation in by_bone.items():
            rotations[index[f"{name}.{side}"]] = rotation
        for i, bone in enumerate(bones):
            if bone.endswith("." + side) and bone.startswith(("wrist", "finger", "metacarpal")):
                rotations[i] = twist @ hand
    return rotations


def apply_t_pose(
    vertices: np.ndarray,
    heads: np.ndarray,
    weights: np.ndarray,
    bones: Sequence[str],
    parents: Sequence[int],
) -> tuple[np.ndarray, np.ndarray]:
    """Repose a population of rest bodies.

    Args:
        vertices: (N, V, 3) A-posed vertices.
        heads: (N, E, 3) A-posed bone heads.
        weights: (V, E) skinning weights of those vertices.
        bones: names of the bones.
        parents: parent of every bone; parents come first.

    Returns:
        (N, V, 3) vertices and (N, E, 3) bone heads in the T-pose.
    """
    posed, posed_heads = np.empty(vertices.shape), np.empty(heads.shape)
    for n in range(len(vertices)):
        rotations = t_pose_rotations(heads[n], bones)
        moved = heads[n].astype(np.float64).copy()
        for bone, parent in enumerate(parents):
            if parent >= 0:
                offset = heads[n, bone] - heads[n, parent]
                moved[bone] = moved[parent] + rotations[parent] @ offset
        shift = moved - np.einsum("eab,eb->ea", rotations, heads[n])
        affine = np.concatenate([rotations, shift[:, :, None]], axis=2).reshape(len(bones), 12)
        blended = (weights @ affine).reshape(-1, 3, 4)
        posed[n] = np.einsum("vab,vb->va", blended[:, :, :3], vertices[n]) + blended[:, :, 3]
        posed_heads[n] = moved
    return posed, posed_heads


def rotation_between(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The smallest rotation that takes the direction ``source`` to ``target``, (3, 3)."""
    a, b = source / np.linalg.norm(source), target / np.linalg.norm(target)
    v, c = np.cross(a, b), a @ b
    cross = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + cross + cross @ cross / (1 + c)


def fraction_of(rotation: np.ndarray, share: float) -> np.ndarray:
    """The rotation about the same axis by ``share`` of the angle, (3, 3)."""
    return Rotation.from_rotvec(Rotation.from_matrix(rotation).as_rotvec() * share).as_matrix()
