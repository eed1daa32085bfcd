"""From a world with a moving camera to the camera's own frame, and onto the picture.

3DPW and EMDB annotate SMPL in a world frame and give the camera's extrinsics ``x_c = R x_w + t``
per frame. SMPL turns the body about its pelvis and adds ``trans`` afterwards:
``x_w = R_root (x - J0) + J0 + trans`` with ``J0`` the pelvis at rest. The same body in the camera
frame therefore has the root ``R R_root`` and the translation ``R (J0 + trans) + t - J0``;
leaving out ``J0`` misplaces the body by some 30 cm.
"""

from __future__ import annotations

import numpy as np
import torch

from genhmr.body.joints import body25
from genhmr.body.model_files import BodyModelData
from genhmr.body.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from genhmr.body.smpl import SMPLJoints

_CHUNK = 1024  # frames posed at once


def rest_pelvis(body: BodyModelData, betas: np.ndarray) -> np.ndarray:
    """Where the pelvis of the unposed body is, (3,) metres.

    Args:
        body: the body model of the person's gender.
        betas: (10,) shape.
    """
    shaped = body.v_template + body.shapedirs[:, :, : len(betas)] @ betas
    return body.J_regressor[0] @ shaped


def to_camera_frame(
    root: np.ndarray, trans: np.ndarray, extrinsics: np.ndarray, pelvis: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Root rotation and translation of SMPL in the camera frame.

    Args:
        root: (F, 3) axis-angle root rotation, world.
        trans: (F, 3) metres, world.
        extrinsics: (F, 4, 4) world to camera.
        pelvis: (3,) metres, ``rest_pelvis`` of the person.

    Returns:
        (F, 3) axis-angle and (F, 3) metres, both in the camera frame.
    """
    rotation = extrinsics[:, :3, :3]
    turned = rotation @ axis_angle_to_matrix(torch.from_numpy(root)).numpy()
    root_camera = matrix_to_axis_angle(torch.from_numpy(turned)).numpy()
    moved = np.einsum("fij,fj->fi", rotation, pelvis + trans) + extrinsics[:, :3, 3]
    return root_camera, moved - pelvis


def project_body25(
    body: BodyModelData,
    pose: np.ndarray,
    betas: np.ndarray,
    transl: np.ndarray,
    intrinsics: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """BODY_25 keypoints of the ground-truth body on the picture.

    Args:
        body: the body model of the person's gender.
        pose: (F, 24, 3) axis-angle, camera frame.
        betas: (10,).
        transl: (F, 3) metres, camera frame.
        intrinsics: (3, 3) pixels.

    Returns:
        (F, 25, 2) pixels and (F, 25) bool, True for points in front of the camera.
    """
    layer = SMPLJoints(body, body25(len(body.v_template)), dtype=torch.float64)
    points = np.empty((len(pose), 25, 3))
    with torch.no_grad():
        for start in range(0, len(pose), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            rotations = axis_angle_to_matrix(torch.from_numpy(pose[chunk].astype(np.float64)))
            shape = torch.from_numpy(betas.astype(np.float64)).expand(len(rotations), -1)
            offset = torch.from_numpy(transl[chunk].astype(np.float64))
            points[chunk] = layer(rotations, shape, offset).numpy()
    homogeneous = points @ intrinsics.astype(np.float64).T
    in_front = points[..., 2] > 0.05
    depth = np.where(in_front, homogeneous[..., 2], 1.0)
    return homogeneous[..., :2] / depth[..., None], in_front


def inside_image(points: np.ndarray, width: float, height: float) -> np.ndarray:
    """True for pixels within the picture, (...,) from (..., 2)."""
    x, y = points[..., 0], points[..., 1]
    return (x >= 0) & (x < width) & (y >= 0) & (y < height)
