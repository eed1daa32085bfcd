"""Where each pose token looks first, and what it knows of the person: 2D keypoints of the image.

The paper gives every token a learnable reference point; in a picture that point is the same for
every person, and the offsets must find the limb. Here a token may start instead at its joint as
the backbone itself sees it: a keypoint head (the one that pre-training trained, the role of
ViTPose's) reads 25 heatmaps off the grid, and their peaks become the reference points and, as in
DAB-DETR (Liu et al. 2022), the positional part of the queries. Nothing from outside enters: the
keypoints are a reading of the image features. A ``PoseLifter`` makes them a first guess of the
pose, which the tokenizer's encoder puts into the language of the tokens: each token is told the
latent that the guess would have there. ``reference: learned`` in variants.yaml is the paper's
form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genhmr.body.joints import BODY25_NAMES
from genhmr.constants import table
from genhmr.image.dense_head import HEAD_SCALE, decode_keypoints, merge_levels
from genhmr.image.pyramid import FeaturePyramid
from genhmr.transformer.lifter import PoseLifter
from genhmr.types import NUM_JOINTS, NUM_KEYPOINTS

# Each SMPL joint as a mean of BODY_25 keypoints: what they have in common, or what it lies between.
_PLACES = (
    "MidHip", "LHip", "RHip", "MidHip MidHip Neck", "LKnee", "RKnee", "MidHip Neck", "LAnkle",
    "RAnkle", "MidHip Neck Neck", "LBigToe LSmallToe", "RBigToe RSmallToe", "Neck",
    "Neck LShoulder", "Neck RShoulder", "Nose LEar REar", "LShoulder", "RShoulder", "LElbow",
    "RElbow", "LWrist", "RWrist", "LWrist", "RWrist",
)  # fmt: skip


def joint_places() -> Tensor:
    """(24, 25) weights, rows sum to 1: about where SMPL's joints are, given the keypoints."""
    weights = torch.zeros(NUM_JOINTS, NUM_KEYPOINTS)
    for joint, names in enumerate(_PLACES):
        for name in names.split():
            weights[joint, BODY25_NAMES.index(name)] += 1.0
    return weights / weights.sum(1, keepdim=True)


@dataclass(frozen=True)
class TokenGuide:
    """Computed once per image, shared by all layers and sampling iterations.

    Attributes:
        keypoints: (B, 25, 3), x and y in [0, 1] of the image that the backbone sees, confidence.
        reference: (B, L, 2), reference points in [0, 1].
        context: (B, L, width), added to the queries.
        heatmaps: (B, 25, H, W) logits of a distribution over the cells of the 4x map.
        pose: (B, 24, 3, 3), lifted from the keypoints.
    """

    keypoints: Tensor
    reference: Tensor
    context: Tensor
    heatmaps: Tensor
    pose: Tensor


class KeypointGuide(nn.Module):
    """Keypoint heatmaps of the grid -> reference points and positional part of the token queries.

    It has its own small pyramid, so that the feature scales of Table 15 do not change it.

    Args:
        in_dim: channels of the backbone's grid.
        feature_dim: channels of the pre-trained keypoint head's pyramid.
        num_tokens: L, a multiple of 24; token i belongs to joint i // (L / 24).
        width: of the transformer.
        code_dim: D of the tokenizer's latents.
        lifter: keypoints -> pose.

    Raises:
        ValueError: L is not a multiple of 24.
    """

    def __init__(
        self,
        in_dim: int,
        feature_dim: int,
        num_tokens: int,
        width: int,
        code_dim: int,
        lifter: PoseLifter,
    ):
        super().__init__()
        if num_tokens % NUM_JOINTS:
            raise ValueError(f"num_tokens must be a multiple of {NUM_JOINTS}, got {num_tokens}")
        self.pyramid = FeaturePyramid(in_dim, feature_dim, (1, HEAD_SCALE))
        self.heatmaps = nn.Conv2d(feature_dim, NUM_KEYPOINTS, kernel_size=1)
        self.lifter = lifter
        self.person = nn.Linear(lifter.width, width)
        self.own = nn.Linear(3, width)
        self.guess = nn.Linear(code_dim, width)
        places = joint_places().repeat_interleave(num_tokens // NUM_JOINTS, 0)
        self.register_buffer("places", places, persistent=False)

    def warm_start(self, tensors: dict[str, Tensor]) -> bool:
        """Takes over pyramid and heatmaps of a pre-trained ``DenseModel``.

        Args:
            tensors: by the names of ``genhmr.train.pretrain``'s export.

        Returns:
            False, and nothing is taken, where the pyramid has other widths.
        """
        own = self.pyramid.state_dict()
        shapes = {name: tensors[f"pyramid.{name}"].shape for name in own
                  if f"pyramid.{name}" in tensors}
        if shapes != {name: tensor.shape for name, tensor in own.items()}:
            return False
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(tensors[f"pyramid.{name}"])
            self.heatmaps.weight.copy_(tensors["head.cells.weight"][:NUM_KEYPOINTS])
            self.heatmaps.bias.copy_(tensors["head.cells.bias"][:NUM_KEYPOINTS])
        return True

    def forward(self, grid: Tensor, encode: Callable[[Tensor], Tensor]) -> TokenGuide:
        """Reads the keypoints and lifts them.

        Args:
            grid: (B, in_dim, H, W).
            encode: pose (B, 24, 3, 3) -> latents (B, L, D), the tokenizer's encoder.
        """
        heatmaps = self.heatmaps(merge_levels(*self.pyramid(grid))).float()
        points, confidence = decode_keypoints(heatmaps)
        height, width = heatmaps.shape[-2:]
        points = points / table((width, height), points.dtype, points.device)
        keypoints = torch.cat([points, confidence[..., None]], -1)
        # The crop is square and as high as what the backbone sees of it.
        to_crop = table((width / height, 1.0), points.dtype, points.device)
        seen = torch.cat([(points - 0.5) * to_crop, confidence[..., None]], -1)
        # The lifter answers for its pose alone: bent to what helps the tokens it lifts worse.
        pose, person = self.lifter(seen.detach())
        own = self.places @ torch.cat([2 * points - 1, confidence[..., None]], -1)  # (B, L, 3)
        guess = self.guess(encode(pose.detach()))
        context = self.own(own) + self.person(person.detach())[:, None] + guess
        return TokenGuide(keypoints, (own[..., :2] + 1) / 2, context, heatmaps, pose)
