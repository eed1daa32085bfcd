"""The SMPL body: layer, joint sets, rotations, camera, and safe reading of body files."""

from genhmr.body.camera import (
    FOCAL_LENGTH,
    IMAGE_SIZE,
    cam_to_translation,
    perspective,
    project,
)
from genhmr.body.joints import JointSet, body25, h36m14, h36m17, smpl24, spin24
from genhmr.body.model_files import (
    Bodies,
    BodyModelData,
    export_smpl_pickle,
    load_bodies,
    load_body_model,
)
from genhmr.body.rotations import (
    axis_angle_to_matrix,
    geodesic_distance,
    matrix_to_axis_angle,
    matrix_to_rotation_6d,
    rotation_6d_to_matrix,
)
from genhmr.body.safe_pickle import load_pickle
from genhmr.body.smpl import SMPL, SMPLJoints

__all__ = [
    "FOCAL_LENGTH",
    "IMAGE_SIZE",
    "SMPL",
    "Bodies",
    "BodyModelData",
    "JointSet",
    "SMPLJoints",
    "axis_angle_to_matrix",
    "body25",
    "cam_to_translation",
    "export_smpl_pickle",
    "geodesic_distance",
    "h36m14",
    "h36m17",
    "load_bodies",
    "load_body_model",
    "load_pickle",
    "matrix_to_axis_angle",
    "matrix_to_rotation_6d",
    "perspective",
    "project",
    "rotation_6d_to_matrix",
    "smpl24",
    "spin24",
]
