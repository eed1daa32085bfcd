"""Augmentation of person crops: sample parameters, then apply them to pixels and targets alike.

The distributions are those of HMR2.0 (4D-Humans), which GenHMR's appendix names without numbers:
box scale, in-plane rotation, shift, colour, mirror, extreme crop (EFT); occluding rectangles are
ours. Everything is a pure function of explicit parameters; only :func:`sample_augmentation` draws
random numbers, from the generator it is given.

One geometry for all targets. A stored pixel p goes to the crop by
``x = (S / side) R(angle) F (p - center) + S/2`` with F the mirror (x -> -x) where ``flip``. A point
X of the camera frame goes to ``R_z(angle) F X``. With square pixels the two agree exactly: the
augmented body, seen by the camera of :func:`crop_intrinsics`, lands on the augmented keypoints.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genhmr.body.joints import BODY25_FLIP, SMPL24_FLIP, SPIN24_FLIP
from genhmr.body.rotations import axis_angle_to_matrix

# Extreme crops: the BODY_25 joints that leave the box; the box closes around the rest.
_BELOW_HIPS = (10, 11, 13, 14, 19, 20, 21, 22, 23, 24)
_BELOW_SHOULDERS = (3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 19, 20, 21, 22, 23, 24)
_BELOW_HEAD = tuple(range(2, 15)) + tuple(range(19, 25))
# (joints left out, padding of the new box, probability), as in 4D-Humans.
_EXTREME_CROPS = (
    (_BELOW_HIPS, 1.1, 0.7),
    (_BELOW_SHOULDERS, 1.2, 0.2),
    (_BELOW_HEAD, 1.3, 0.1),
)
_FULL_BODY = (2, 3, 4, 5, 6, 7, 10, 11, 13, 14)
_TIGHT_TO_BOX = 1.2


@dataclass(frozen=True)
class AugmentConfig:
    """Strength of the augmentation; the defaults are HMR2.0's, occlusion apart.

    Attributes:
        scale: the box grows by ``1 + scale * n``, n a normal number clipped to [-1, 1].
        rotation_degrees: in-plane rotation, times a normal number clipped to [-2, 2].
        rotation_probability: share of crops that are rotated at all.
        translation: shift of the box in units of its side, times a number as for ``scale``.
        colour: each channel is multiplied by a uniform number in ``1 -+ colour``.
        flip_probability: share of mirrored crops.
        extreme_crop_probability: share of full bodies cropped to the hips, shoulders or head.
        occlusion_probability: share of crops with an occluding rectangle.
        occlusion_size: smallest and largest side of the rectangle in units of the crop.
    """

    scale: float = 0.3
    rotation_degrees: float = 30.0
    rotation_probability: float = 0.6
    translation: float = 0.02
    colour: float = 0.2
    flip_probability: float = 0.5
    extreme_crop_probability: float = 0.1
    occlusion_probability: float = 0.2
    occlusion_size: tuple[float, float] = (0.1, 0.4)


@dataclass(frozen=True)
class Augmentation:
    """What is done to each of B crops.

    Attributes:
        center: (B, 2) pixels of the stored image.
        side: (B,) pixels of the stored image that the crop spans.
        angle: (B,) radians, from x (right) towards y (down): clockwise on the screen.
        flip: (B,) bool, mirror left and right.
        colour: (B, 3) factor of each RGB channel.
        occluder: (B, 4) left, top, right, bottom in units of the crop, 0 to 1; empty for none.
        occluder_colour: (B, 3) uint8 RGB.
    """

    center: np.ndarray
    side: np.ndarray
    angle: np.ndarray
    flip: np.ndarray
    colour: np.ndarray
    occluder: np.ndarray
    occluder_colour: np.ndarray


def no_augmentation(center: np.ndarray, side: np.ndarray) -> Augmentation:
    """The plain crop of each box; (B, 2) and (B,) in stored pixels."""
    count = len(center)
    return Augmentation(
        center=np.asarray(center, np.float64),
        side=np.asarray(side, np.float64),
        angle=np.zeros(count),
        flip=np.zeros(count, bool),
        colour=np.ones((count, 3)),
        occluder=np.zeros((count, 4)),
        occluder_colour=np.zeros((count, 3), np.uint8),
    )


def extreme_crop(keypoints: np.ndarray, kind: int) -> tuple[np.ndarray, float] | None:
    """The box around the upper part of a body that is seen whole (EFT, as in 4D-Humans).

    Args:
        keypoints: (25, 3) BODY_25 in pixels.
        kind: 0 down to the hips, 1 to the shoulders, 2 the head.

    Returns:
        Centre (2,) and side of the new box, or None where the body is not seen whole.
    """
    if not (keypoints[list(_FULL_BODY), 2] > 0).all():
        return None
    left_out, padding, _ = _EXTREME_CROPS[kind]
    seen = keypoints[:, 2] > 0
    seen[list(left_out)] = False
    if seen.sum() < 2:
        return None
    low, high = keypoints[seen, :2].min(axis=0), keypoints[seen, :2].max(axis=0)
    side = padding * _TIGHT_TO_BOX * float((high - low).max())
    return ((low + high) / 2, side) if side > 0 else None


def sample_augmentation(
    rng: np.random.Generator,
    keypoints: np.ndarray,
    center: np.ndarray,
    side: np.ndarray,
    config: AugmentConfig,
) -> Augmentation:
    """Draws one augmentation for each of B crops.

    Args:
        rng: explicit generator; the same state gives the same augmentation.
        keypoints: (B, 25, 3) BODY_25 in stored pixels (extreme crops close around them).
        center: (B, 2) box centres in stored pixels.
        side: (B,) box sides in stored pixels.
        config: strengths.
    """
    count = len(center)
    center = np.array(center, np.float64)
    side = np.array(side, np.float64)
    probabilities = [probability for _, _, probability in _EXTREME_CROPS]
    kinds = rng.choice(len(_EXTREME_CROPS), size=count, p=probabilities)
    extreme = rng.random(count) < config.extreme_crop_probability
    for row in np.flatnonzero(extreme):
        box = extreme_crop(keypoints[row], kinds[row])
        if box is not None:
            center[row], side[row] = box
    shift = config.translation * rng.standard_normal((count, 2)).clip(-1, 1)
    center += shift * side[:, None]
    side *= 1.0 + config.scale * rng.standard_normal(count).clip(-1, 1)
    angle = np.deg2rad(config.rotation_degrees) * rng.standard_normal(count).clip(-2, 2)
    angle[rng.random(count) >= config.rotation_probability] = 0.0
    extent = rng.uniform(*config.occlusion_size, size=(count, 2))
    corner = rng.random((count, 2)) * (1.0 - extent)
    extent[rng.random(count) >= config.occlusion_probability] = 0.0
    return Augmentation(
        center=center,
        side=side,
        angle=angle,
        flip=rng.random(count) < config.flip_probability,
        colour=rng.uniform(1.0 - config.colour, 1.0 + config.colour, size=(count, 3)),
        occluder=np.concatenate([corner, corner + extent], axis=1),
        occluder_colour=rng.integers(0, 256, size=(count, 3), dtype=np.uint8),
    )


def crop_matrices(augmentation: Augmentation, size: int) -> np.ndarray:
    """Maps from stored pixels to crop pixels, (B, 2, 3), continuous coordinates."""
    cosine, sine = np.cos(augmentation.angle), np.sin(augmentation.angle)
    mirror = np.where(augmentation.flip, -1.0, 1.0)
    scale = size / augmentation.side
    linear = np.empty((len(scale), 2, 2))
    linear[:, 0, 0], linear[:, 0, 1] = scale * cosine * mirror, -scale * sine
    linear[:, 1, 0], linear[:, 1, 1] = scale * sine * mirror, scale * cosine
    offset = size / 2 - np.einsum("bij,bj->bi", linear, augmentation.center)
    return np.concatenate([linear, offset[..., None]], axis=2)


def turn_matrices(augmentation: Augmentation) -> np.ndarray:
    """What happens to points of the camera frame, (B, 3, 3): R_z(angle) times the mirror."""
    cosine, sine = np.cos(augmentation.angle), np.sin(augmentation.angle)
    mirror = np.where(augmentation.flip, -1.0, 1.0)
    turn = np.zeros((len(cosine), 3, 3))
    turn[:, 0, 0], turn[:, 0, 1] = cosine * mirror, -sine
    turn[:, 1, 0], turn[:, 1, 1] = sine * mirror, cosine
    turn[:, 2, 2] = 1.0
    return turn


def crop_intrinsics(augmentation: Augmentation, intrinsics: np.ndarray, size: int) -> np.ndarray:
    """Cameras of the augmented crops, (B, 3, 3), crop pixels, for points already turned.

    Args:
        augmentation: of B crops.
        intrinsics: (B, 3, 3) cameras of the stored images, square pixels.
        size: side of the crop.
    """
    matrices = crop_matrices(augmentation, size)
    homogeneous = np.concatenate([matrices, np.zeros((len(matrices), 1, 3))], axis=1)
    homogeneous[:, 2, 2] = 1.0
    # turn_matrices are orthogonal: the inverse is the transpose.
    return homogeneous @ intrinsics @ turn_matrices(augmentation).transpose(0, 2, 1)


def augment_keypoints(augmentation: Augmentation, keypoints: np.ndarray) -> np.ndarray:
    """BODY_25 keypoints in units of the crop's side, origin at its centre.

    Args:
        augmentation: of B crops.
        keypoints: (B, 25, 3) stored pixels and confidence.

    Returns:
        (B, 25, 3) float32; left and right exchanged where mirrored; zeros where the confidence
        is 0. Points beyond the crop keep their confidence, as in HMR2.0.
    """
    matrices = crop_matrices(augmentation, 1)  # the unit crop, [0, 1]
    points = np.einsum("bij,bkj->bki", matrices[:, :, :2], keypoints[..., :2].astype(np.float64))
    points += matrices[:, None, :, 2] - 0.5
    moved = np.concatenate([points, keypoints[..., 2:]], axis=2)
    moved[keypoints[..., 2] <= 0] = 0.0
    moved[augmentation.flip] = moved[augmentation.flip][:, list(BODY25_FLIP)]
    return moved.astype(np.float32)


def augment_joints_3d(augmentation: Augmentation, joints: np.ndarray) -> np.ndarray:
    """SPIN's 24 joints (B, 24, 4), camera frame, turned and mirrored like the crop; float32."""
    points = np.einsum("bij,bkj->bki", turn_matrices(augmentation), joints[..., :3])
    turned = np.concatenate([points, joints[..., 3:]], axis=2)
    turned[augmentation.flip] = turned[augmentation.flip][:, list(SPIN24_FLIP)]
    return turned.astype(np.float32)


def augment_pose(augmentation: Augmentation, pose: np.ndarray) -> Tensor:
    """Rotation matrices of the augmented body, (B, 24, 3, 3) float32.

    Mirroring a rotation vector keeps x and negates y and z, and left limbs become right ones;
    the in-plane rotation turns the root only.

    Args:
        augmentation: of B crops.
        pose: (B, 24, 3) axis-angle, root in the camera frame.
    """
    pose = np.array(pose, np.float32)
    mirrored = pose[augmentation.flip][:, list(SMPL24_FLIP)]
    pose[augmentation.flip] = mirrored * np.array([1, -1, -1], np.float32)
    matrices = axis_angle_to_matrix(torch.from_numpy(pose))
    angle = torch.from_numpy(augmentation.angle)
    about_z = torch.stack([torch.zeros_like(angle), torch.zeros_like(angle), angle], dim=-1)
    matrices[:, 0] = axis_angle_to_matrix(about_z).float() @ matrices[:, 0]
    return matrices
