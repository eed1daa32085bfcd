"""Where the Human3.6M-17 and COCO-23 points belong on the open body.

No marker data is used: each point is placed by anatomy on the rest body and follows one bone
rigidly.  Regressors are then fitted to these points over random shapes and poses.
"""

from __future__ import annotations

import numpy as np

from genhmr.world.body_builder.skeleton import JOINT_NAMES
from genhmr.world.body_builder.vertex_order import LANDMARK_IDS

H36M_NAMES = (
    "Pelvis", "RHip", "RKnee", "RAnkle", "LHip", "LKnee", "LAnkle", "Spine", "Neck", "Nose",
    "HeadTop", "LShoulder", "LElbow", "LWrist", "RShoulder", "RElbow", "RWrist",
)  # fmt: skip
H36M_MIRROR = np.array([0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13])
COCO_MIRROR = np.array(
    [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15, 20, 21, 22, 17, 18, 19]
)
H36M_BONES = (
    "pelvis", "pelvis", "right_knee", "right_ankle", "pelvis", "left_knee", "left_ankle",
    "spine2", "spine3", "head", "head", "left_shoulder", "left_elbow", "left_wrist",
    "right_shoulder", "right_elbow", "right_wrist",
)  # fmt: skip
COCO_BONES = (
    "head", "head", "head", "head", "head", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "pelvis", "pelvis", "left_knee", "right_knee",
    "left_ankle", "right_ankle", "left_foot", "left_foot", "left_ankle", "right_foot",
    "right_foot", "right_ankle",
)  # fmt: skip

# Human3.6M's hips lie further out than SMPL's hip joints (0.13 m against 0.07 m from the middle
# in its skeletons); 1.6 is as far as the flesh of the open body lets a point be an average.
_HIP_SPREAD = 1.6


def h36m_targets(joints: np.ndarray, vertices: np.ndarray, head_top: int) -> np.ndarray:
    """The Human3.6M-17 points of one rest body.

    Args:
        joints: (24, 3) rest joints.
        vertices: (V, 3) rest vertices in SMPL order.
        head_top: the vertex at the crown.

    Returns:
        (17, 3) in the order of ``H36M_NAMES``.
    """
    joint = {name: joints[i] for i, name in enumerate(JOINT_NAMES)}
    middle = 0.5 * (joint["left_hip"] + joint["right_hip"])
    shoulders = 0.5 * (joint["left_shoulder"] + joint["right_shoulder"])
    nose = vertices[LANDMARK_IDS["nose"]]
    points = {
        "Pelvis": middle,
        "Spine": 0.35 * joint["spine1"] + 0.65 * joint["spine2"],
        "Neck": 0.6 * joint["neck"] + 0.4 * shoulders,
        # Slightly under the skin, where an average of vertices can lie.
        "Nose": nose + np.array([0.0, -0.01, -0.015]),
        "HeadTop": vertices[head_top] * np.array([0.0, 1.0, 1.0]),
    }
    for letter, side in (("L", "left"), ("R", "right")):
        points[letter + "Hip"] = middle + _HIP_SPREAD * (joint[f"{side}_hip"] - middle)
        for part in ("Knee", "Ankle", "Shoulder", "Elbow", "Wrist"):
            points[letter + part] = joint[f"{side}_{part.lower()}"]
    return np.stack([points[name] for name in H36M_NAMES])


def carry(points: np.ndarray, bones: tuple[str, ...], transforms: np.ndarray) -> np.ndarray:
    """Move rest points rigidly with their bones.

    Args:
        points: (P, 3) on the rest body.
        bones: joint name each point follows.
        transforms: (24, 4, 4) skinning transforms of the pose.

    Returns:
        (P, 3).
    """
    own = transforms[[JOINT_NAMES.index(bone) for bone in bones]]
    return np.einsum("pab,pb->pa", own[:, :3, :3], points) + own[:, :3, 3]
