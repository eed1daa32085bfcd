"""Joint sets of the field: names, index tables, left-right flips, and how to get them from SMPL.

A joint set is data: a linear map from the 24 kinematic joints and from the vertices. The layer
that evaluates it (:class:`genhmr.body.smpl.SMPLJoints`) never builds the vertices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NUM_VERTICES = 6890

SMPL24_NAMES = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2",
    "left_ankle", "right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar",
    "right_collar", "head", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow",
    "left_wrist", "right_wrist", "left_hand", "right_hand",
)  # fmt: skip

# OpenPose's BODY_25, the layout of every 2D keypoint in the suite.
BODY25_NAMES = (
    "Nose", "Neck", "RShoulder", "RElbow", "RWrist", "LShoulder", "LElbow", "LWrist", "MidHip",
    "RHip", "RKnee", "RAnkle", "LHip", "LKnee", "LAnkle", "REye", "LEye", "REar", "LEar",
    "LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel",
)  # fmt: skip

# Rows of SPIN's J_regressor_h36m: the LEFT leg comes first. The same matrix with the legs in
# Human3.6M's own order (right first) circulates as "J_regressor_h36m_correct";
# genhmr.body.model_files brings either into this order.
H36M17_NAMES = (
    "Pelvis", "LHip", "LKnee", "LAnkle", "RHip", "RKnee", "RAnkle", "Spine", "Neck", "Nose",
    "HeadTop", "LShoulder", "LElbow", "LWrist", "RShoulder", "RElbow", "RWrist",
)  # fmt: skip

LSP14_NAMES = (
    "RAnkle", "RKnee", "RHip", "LHip", "LKnee", "LAnkle", "RWrist", "RElbow", "RShoulder",
    "LShoulder", "LElbow", "LWrist", "Neck", "Head",
)  # fmt: skip

# SPIN's 24 ground-truth joints, the ``S`` and ``part`` arrays of its npz files.
SPIN24_NAMES = LSP14_NAMES[:13] + (
    "HeadTop", "PelvisMPII", "ThoraxMPII", "SpineH36M", "JawH36M", "HeadH36M", "Nose", "LEye",
    "REye", "LEar", "REar",
)  # fmt: skip

# The 19 joints that 4D-Humans' SMPL_to_J19 regresses from posed vertices, after its BODY_25.
EXTRA19_NAMES = LSP14_NAMES[:12] + (
    "NeckLSP", "HeadTop", "PelvisMPII", "ThoraxMPII", "SpineH36M", "JawH36M", "HeadH36M",
)  # fmt: skip
EXTRA19_TO_14 = (*range(13), 18)  # joints 25..37 and 43 of the 44 of HMR2.0's evaluator

H36M_TO_14 = (6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10)  # SPIN's H36M_TO_J14
J24_TO_J14 = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 18)  # SPIN's J24_TO_J14

# Vertices that stand for a landmark on any mesh with SMPL's topology (smplx's vertex_ids).
SMPLX_VERTEX_IDS = {
    "nose": 332, "reye": 6260, "leye": 2800, "rear": 4071, "lear": 583,
    "LBigToe": 3216, "LSmallToe": 3226, "LHeel": 3387,
    "RBigToe": 6617, "RSmallToe": 6624, "RHeel": 6787,
    "lthumb": 2746, "lindex": 2319, "lmiddle": 2445, "lring": 2556, "lpinky": 2673,
    "rthumb": 6191, "rindex": 5782, "rmiddle": 5905, "rring": 6016, "rpinky": 6133,
}  # fmt: skip

# BODY_25 in order: a kinematic joint (int) or a landmark vertex (str); SPIN's JOINT_MAP.
_BODY25_SOURCES = (
    "nose", 12, 17, 19, 21, 16, 18, 20, 0, 2, 5, 8, 1, 4, 7, "reye", "leye", "rear", "lear",
    "LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel",
)  # fmt: skip

# Where each joint lands when the picture is mirrored: mirrored = joints[FLIP].
SMPL24_FLIP = (
    0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20, 23, 22,
)  # fmt: skip
BODY25_FLIP = (
    0, 1, 5, 6, 7, 2, 3, 4, 8, 12, 13, 14, 9, 10, 11, 16, 15, 18, 17, 22, 23, 24, 19, 20, 21,
)  # fmt: skip
SPIN24_FLIP = (
    5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 12, 13, 14, 15, 16, 17, 18, 19, 21, 20, 23, 22,
)  # fmt: skip
H36M17_FLIP = (0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13)


@dataclass(frozen=True)
class JointSet:
    """Joints that are linear in SMPL: ``from_joints @ J24 + from_vertices @ vertices``.

    Attributes:
        name: of the set.
        names: of its J joints.
        from_joints: (J, 24) weights on the kinematic joints.
        from_vertices: (J, V) weights on the posed vertices.
    """

    name: str
    names: tuple[str, ...]
    from_joints: np.ndarray
    from_vertices: np.ndarray


def smpl24(num_vertices: int = NUM_VERTICES) -> JointSet:
    """The 24 kinematic joints (EMDB's protocol)."""
    return JointSet("smpl24", SMPL24_NAMES, np.eye(24), np.zeros((24, num_vertices)))


def body25(num_vertices: int = NUM_VERTICES) -> JointSet:
    """BODY_25 from 14 kinematic joints and 11 landmark vertices (SPIN's JOINT_MAP)."""
    from_joints = np.zeros((len(BODY25_NAMES), 24))
    from_vertices = np.zeros((len(BODY25_NAMES), num_vertices))
    for row, source in enumerate(_BODY25_SOURCES):
        if isinstance(source, str):
            from_vertices[row, SMPLX_VERTEX_IDS[source]] = 1.0
        else:
            from_joints[row, source] = 1.0
    return JointSet("body25", BODY25_NAMES, from_joints, from_vertices)


def h36m17(regressor: np.ndarray) -> JointSet:
    """The 17 Human3.6M joints regressed from posed vertices.

    Args:
        regressor: (17, V), rows in the order of :data:`H36M17_NAMES`.
    """
    return JointSet("h36m17", H36M17_NAMES, np.zeros((17, 24)), np.asarray(regressor, float))


def h36m14(regressor: np.ndarray) -> JointSet:
    """The 14 joints common to LSP and Human3.6M, in LSP's order (SPIN's H36M_TO_J14).

    Args:
        regressor: (17, V), rows in the order of :data:`H36M17_NAMES`.
    """
    rows = np.asarray(regressor, float)[list(H36M_TO_14)]
    return JointSet("h36m14", LSP14_NAMES, np.zeros((14, 24)), rows)


def spin24(regressor: np.ndarray, num_vertices: int = NUM_VERTICES) -> JointSet:
    """SPIN's 24 ground-truth joints where SMPL has them, zero rows where it does not.

    Limbs, neck, pelvis, spine, jaw and head come from the Human3.6M regressor, as SPIN fills
    them from Human3.6M's markers; nose, eyes and ears are landmark vertices. HeadTop (13) and
    Thorax (15) have no counterpart: their rows are zero and a writer gives them confidence 0.

    Args:
        regressor: (17, V), rows in the order of :data:`H36M17_NAMES`.
        num_vertices: V.
    """
    from_vertices = np.zeros((24, num_vertices))
    h36m_rows = (6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, None, 0, None, 7, 9, 10)
    for row, source in enumerate(h36m_rows):
        if source is not None:
            from_vertices[row] = np.asarray(regressor, float)[source]
    for row, landmark in zip(range(19, 24), ("nose", "leye", "reye", "lear", "rear")):
        from_vertices[row, SMPLX_VERTEX_IDS[landmark]] = 1.0
    return JointSet("spin24", SPIN24_NAMES, np.zeros((24, 24)), from_vertices)
