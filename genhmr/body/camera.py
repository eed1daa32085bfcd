"""The camera of the crop: fixed focal length, and the perspective projection.

The paper's text speaks of a weak-perspective camera and its appendix of a perspective one with a
fixed focal length; as in SPIN and HMR2.0 both are the same three numbers ``[s, tx, ty]``, read
as a translation in front of a camera with focal length 5000 pixels on a 256-pixel crop.
"""

from __future__ import annotations

import torch
from torch import Tensor

FOCAL_LENGTH = 5000.0  # pixels, at IMAGE_SIZE
IMAGE_SIZE = 256.0  # side of the crop in pixels that FOCAL_LENGTH refers to


def cam_to_translation(cam: Tensor) -> Tensor:
    """Weak-perspective parameters to a translation in metres (HMR2.0's ``pred_cam_t``).

    Args:
        cam: (..., 3) scale s and shift tx, ty.

    Returns:
        (..., 3) metres: ``[tx, ty, 2 f / (256 s + 1e-9)]``.
    """
    scale, tx, ty = cam.unbind(-1)
    return torch.stack((tx, ty, 2 * FOCAL_LENGTH / (IMAGE_SIZE * scale + 1e-9)), dim=-1)


def project(
    points: Tensor, translation: Tensor, focal: float = FOCAL_LENGTH / IMAGE_SIZE
) -> Tensor:
    """Perspective projection into the crop.

    Args:
        points: (B, J, 3) metres, camera axes, before the translation.
        translation: (B, 3) metres.
        focal: focal length in units of the crop side.

    Returns:
        (B, J, 2) in units of the crop side with the origin at its centre; times S gives pixels.
    """
    moved = points + translation[:, None]
    return focal * moved[..., :2] / moved[..., 2:]


def perspective(points: Tensor, intrinsics: Tensor) -> Tensor:
    """Pinhole projection with a calibration matrix.

    Args:
        points: (..., 3) metres in the camera frame; give ``intrinsics`` a broadcast dimension
            where one camera sees several points: ``perspective(joints, K[:, None])``.
        intrinsics: (..., 3, 3).

    Returns:
        (..., 2) pixels.
    """
    homogeneous = (intrinsics @ points[..., None])[..., 0]
    return homogeneous[..., :2] / homogeneous[..., 2:]
