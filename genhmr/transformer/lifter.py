"""From 2D keypoints to a first guess of the pose, which the masked transformer then judges.

Lifting keypoints needs no pictures: every pose of a motion capture, seen by any camera, is an
example, so this small network learns from motion alone, in minutes, what the transformer would
have to find out crop by crop (``genhmr.train.lifter``). The residual multilayer perceptron is
Martinez et al.'s (2017). Not in the paper, whose tokens know nothing of keypoints before
refinement.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genhmr.body.rotations import matrix_to_rotation_6d, rotation_6d_to_matrix
from genhmr.types import NUM_JOINTS, NUM_KEYPOINTS


class _Block(nn.Module):
    """Pre-norm residual block; it starts as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.outer(F.gelu(self.inner(self.norm(x))))


class PoseLifter(nn.Module):
    """Keypoints of one person -> SMPL pose.

    Args:
        width: of the hidden layers.
        blocks: residual blocks.
    """

    def __init__(self, width: int = 384, blocks: int = 3) -> None:
        super().__init__()
        self.width = width
        self.enter = nn.Linear(3 * NUM_KEYPOINTS, width)
        self.blocks = nn.Sequential(*(_Block(width) for _ in range(blocks)))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, 6 * NUM_JOINTS)
        # Starts at the T-pose, upright before the camera, whose y axis points down.
        rest = torch.eye(3).repeat(NUM_JOINTS, 1, 1)
        rest[0] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
        nn.init.normal_(self.leave.weight, std=0.1 / width**0.5)
        with torch.no_grad():
            self.leave.bias.copy_(matrix_to_rotation_6d(rest).flatten())

    def forward(self, keypoints: Tensor) -> tuple[Tensor, Tensor]:
        """Lifts.

        Args:
            keypoints: (B, 25, 3) BODY_25, x and y in crop units (origin at the centre, one unit
                the side of the crop) and a confidence in [0, 1].

        Returns:
            (B, 24, 3, 3) pose, root in the camera frame of the crop, and (B, width) what the
            network knows of the person.
        """
        place, confidence = keypoints.split((2, 1), dim=-1)
        x = self.enter(torch.cat([2.0 * place, confidence], -1).flatten(1))
        hidden = self.norm(self.blocks(x))
        six = self.leave(hidden).float().unflatten(1, (NUM_JOINTS, 6))
        return rotation_6d_to_matrix(six), hidden
