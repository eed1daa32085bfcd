"""Motion capture for the masked transformer: poses with the 2D keypoints a backbone would see.

A crop costs its backbone twenty times what its tokens cost the transformer, and a data set of
pictures holds few poses. What the tokens of a pose are, given where its keypoints lie in the
picture, needs no picture: poses are drawn from the tokenizer's training set, turned before a
camera, projected, and their keypoints disturbed as the keypoint head errs. Not in the paper, whose
transformer sees pictures only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from genhmr.body.joints import BODY25_FLIP
from genhmr.tokenizer.augment import augment_poses
from genhmr.train.tokenizer import PosePool

JointsFn = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class KeypointNoise:
    """How the keypoints of a backbone differ from the true ones; lengths in crop sides.

    Attributes:
        spread: smallest and largest standard deviation of a seen keypoint, log-uniform a person.
        lost: largest share of keypoints that are guesses, uniform from 0 a person.
        lost_spread: standard deviation of a guess.
        swapped: chance that a person's left and right are taken for each other.
    """

    spread: tuple[float, float] = (0.008, 0.06)
    lost: float = 0.5
    lost_spread: float = 0.12
    swapped: float = 0.08


class LiftingSource:
    """Batches of poses and disturbed keypoints.

    Args:
        pool: poses with the root in an upright camera frame.
        joints_fn: (pose (B, 24, 3, 3), betas (B, 10)) -> BODY_25 joints (B, 25, 3) in metres.
        batch_size: B.
        aspect: width over height of what the backbone sees of the square crop.
        joint_noise: radians, see ``augment_poses``.
        noise: of the keypoints.
    """

    def __init__(
        self,
        pool: PosePool,
        joints_fn: JointsFn,
        batch_size: int,
        aspect: float = 0.75,
        joint_noise: float = 0.15,
        noise: KeypointNoise | None = None,
    ) -> None:
        self._pool, self._joints_fn, self._batch_size = pool, joints_fn, batch_size
        self._aspect, self._joint_noise = aspect, joint_noise
        self._noise = noise or KeypointNoise()

    @torch.no_grad()
    def draw(self, generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
        """One batch; same state of the CPU generator, same batch.

        Returns:
            pose (B, 24, 3, 3), and keypoints (B, 25, 3): x and y in [0, 1] of what the backbone
            sees, and a confidence, as ``TokenGuide.keypoints``.
        """
        count = self._batch_size
        pose = augment_poses(
            self._pool.draw(count, generator), generator, self._joint_noise
        ).to(device)
        betas = torch.randn(count, 10, generator=generator).to(device)
        joints = self._joints_fn(pose, betas).cpu()
        crop = project_into_crop(joints, generator)
        keypoints = self._disturb(crop, generator)
        return pose, keypoints.to(device)

    def _disturb(self, crop: Tensor, generator: torch.Generator) -> Tensor:
        """(B, 25, 2) true places in crop sides -> (B, 25, 3) places in the cut, confidence."""
        noise, (count, number, _) = self._noise, crop.shape

        def uniform(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator)

        swapped = (uniform(count, 1, 1) < noise.swapped) & torch.ones_like(crop, dtype=torch.bool)
        crop = torch.where(swapped, crop[:, list(BODY25_FLIP)], crop)
        outside = (crop[..., 0].abs() > self._aspect / 2) | (crop[..., 1].abs() > 0.5)
        lost = (uniform(count, number) < noise.lost * uniform(count, 1)) | outside
        low, high = (math.log(value) for value in noise.spread)
        spread = (low + (high - low) * uniform(count, 1)).exp()
        spread = torch.where(lost, noise.lost_spread, spread.expand(count, number))
        crop = crop + spread[..., None] * torch.randn(crop.shape, generator=generator)
        place = torch.stack([crop[..., 0] / self._aspect, crop[..., 1]], -1) + 0.5
        chance = uniform(count, number)
        confidence = torch.where(lost, 0.15 + 0.45 * chance, 0.55 + 0.42 * chance)
        return torch.cat([place.clamp(0.0, 1.0), confidence[..., None]], -1)


def project_into_crop(joints: Tensor, generator: torch.Generator) -> Tensor:
    """Keypoints of people before random cameras, in their crops.

    The camera stands 2 to 9 m away and looks past the person by some degrees; the crop is the
    keypoints' extent times 1.2, jittered as the crops of training are.

    Args:
        joints: (B, J, 3) metres, camera axes.
        generator: CPU generator.

    Returns:
        (B, J, 2) in units of the crop side, origin at its centre.
    """
    count = len(joints)
    depth = (
        math.log(2.0) + (math.log(9.0) - math.log(2.0)) * torch.rand(count, 1, generator=generator)
    ).exp()
    aside = 0.12 * depth * torch.randn(count, 2, generator=generator)
    moved = joints - joints.mean(1, keepdim=True) + torch.cat([aside, depth], -1)[:, None]
    seen = moved[..., :2] / moved[..., 2:].clamp(min=0.3)
    low, high = seen.amin(1), seen.amax(1)
    jitter = torch.randn(count, 3, generator=generator)
    side = 1.2 * (high - low).amax(-1) * (1.0 + 0.25 * jitter[:, 0].clamp(-1.0, 1.0))
    centre = (low + high) / 2 + side[:, None] * 0.03 * jitter[:, 1:].clamp(-2.0, 2.0)
    return (seen - centre[:, None]) / side[:, None, None]
