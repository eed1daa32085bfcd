"""Rotation augmentation of poses for the tokenizer (paper, appendix "Data Augmentation").

The paper rotates the poses "at varying degrees". Here the rotations are those that the masked
transformer will meet later: a person faces any way, a camera looks up or down and is not level,
and the crop augmentation turns the picture in its plane.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genhmr.body.joints import SMPL24_FLIP
from genhmr.body.rotations import axis_angle_to_matrix
from genhmr.constants import indices, table


def mirror_pose(pose: Tensor) -> Tensor:
    """The pose seen in a mirror: left and right swapped, rotations conjugated by diag(-1, 1, 1).

    Args:
        pose: (B, 24, 3, 3), root in a camera frame.
    """
    sign = table((-1.0, 1.0, 1.0), pose.dtype, pose.device)
    return pose[:, indices(SMPL24_FLIP, pose.device)] * (sign[:, None] * sign)


def random_camera_rotations(
    count: int,
    generator: torch.Generator,
    pitch_std: float = math.radians(18.0),
    roll_std: float = math.radians(10.0),
    inplane: float = math.radians(30.0),
) -> Tensor:
    """Rotations that a root in an upright camera frame is multiplied by from the left.

    The heading (about the camera's y, full circle) comes first, then the pitch of the camera
    (about x, normal), then its roll plus the rotation of the crop (about z).

    Args:
        count: B.
        generator: CPU generator.
        pitch_std: radians.
        roll_std: radians.
        inplane: radians; the crop is turned by a uniform angle up to this, either way.

    Returns:
        (B, 3, 3) float32.
    """
    uniform = torch.rand(count, 2, generator=generator) * 2.0 - 1.0
    normal = torch.randn(count, 2, generator=generator)

    def about(axis: int, angle: Tensor) -> Tensor:
        vector = torch.zeros(count, 3)
        vector[:, axis] = angle
        return axis_angle_to_matrix(vector)

    heading = about(1, math.pi * uniform[:, 0])
    pitch = about(0, pitch_std * normal[:, 0])
    roll = about(2, roll_std * normal[:, 1] + inplane * uniform[:, 1])
    return roll @ pitch @ heading


def augment_poses(
    pose: Tensor,
    generator: torch.Generator,
    joint_noise: float = 0.0,
    mirror: bool = True,
    pitch_std: float = math.radians(18.0),
    roll_std: float = math.radians(10.0),
    inplane: float = math.radians(30.0),
) -> Tensor:
    """Mirrors half of the poses, disturbs their joints and turns them before the camera.

    Args:
        pose: (B, 24, 3, 3), root in an upright camera frame.
        generator: CPU generator; same state, same result.
        joint_noise: radians, standard deviation per axis of a random rotation of each body joint.
            Its size is scaled per pose by a uniform factor, so that clean poses stay in. 0 is
            the paper; small captures generalise better with a few degrees.
        mirror: mirror each pose with probability 1/2.
        pitch_std, roll_std, inplane: see :func:`random_camera_rotations`.

    Returns:
        (B, 24, 3, 3), a new tensor.
    """
    batch, device = len(pose), pose.device
    if mirror:
        chosen = torch.rand(batch, 1, 1, 1, generator=generator) < 0.5
        pose = torch.where(chosen.to(device), mirror_pose(pose), pose)
    turn = random_camera_rotations(batch, generator, pitch_std, roll_std, inplane).to(pose)
    if joint_noise > 0.0:
        size = joint_noise * torch.rand(batch, 1, 1, generator=generator)
        noise = size * torch.randn(batch, pose.shape[1] - 1, 3, generator=generator)
        body = pose[:, 1:] @ axis_angle_to_matrix(noise).to(pose)
    else:
        body = pose[:, 1:]
    return torch.cat([(turn @ pose[:, 0])[:, None], body], dim=1)
