"""Small models and batches shared by the tests of transformer, inference and train."""

import torch
from torch import nn

from genhmr.body.rotations import axis_angle_to_matrix
from genhmr.tokenizer.model import PoseTokenizer
from genhmr.transformer.genhmr import GenHMR
from genhmr.transformer.model import ImageHeads, MaskedTransformer
from genhmr.types import CropBatch

NUM_CODES = 11


def small_transformer(num_codes=NUM_CODES):
    torch.manual_seed(0)
    return MaskedTransformer(
        num_tokens=24, num_codes=num_codes, width=16, layers=2, heads=2, points=2, feature_dim=6,
        num_levels=2, mlp_ratio=2,
    )  # fmt: skip


class TinyPyramid(nn.Module):
    """Two maps: the grid and its double."""

    def __init__(self):
        super().__init__()
        self.project = nn.Conv2d(12, 6, 1)

    def forward(self, grid):
        x = self.project(grid)
        return [x, nn.functional.interpolate(x, scale_factor=2)]


def composed(width=16):
    """A whole model on 32-pixel crops."""
    torch.manual_seed(0)
    tokenizer = PoseTokenizer(24, NUM_CODES, 8, width)
    tokenizer.quantizer.codebook.normal_()
    backbone = nn.Conv2d(3, 12, 8, 8)
    return GenHMR(backbone, TinyPyramid(), small_transformer(), ImageHeads(12), tokenizer)


def tiny_batch(batch=4, seed=0):
    """Crops of noise with random targets; the last item has no SMPL ground truth."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape):
        return torch.randn(*shape, generator=generator)

    has_smpl = torch.ones(batch, dtype=torch.bool)
    has_smpl[-1] = False
    pose = axis_angle_to_matrix(0.4 * noise(batch, 24, 3))
    pose[-1] = torch.eye(3)
    betas = noise(batch, 10)
    betas[-1] = torch.nan  # unknown (shards hold 0): whatever stands there counts nothing
    keypoints = torch.cat([0.3 * noise(batch, 25, 2), torch.ones(batch, 25, 1)], -1)
    keypoints[:, 3] = torch.tensor([torch.nan, torch.nan, 0.0])
    keypoints[:, 4, 2] = 0.5
    return CropBatch(
        noise(batch, 3, 32, 32), keypoints, pose, betas, has_smpl,
        torch.zeros(batch, 24, 4), torch.arange(batch),
    )  # fmt: skip


def stick_joints(pose, betas):
    """Stand-in for the body: 25 points that depend on every rotation and on the shape."""
    basis = torch.linspace(-1, 1, 25 * 24 * 3).view(25, 24, 3).to(pose)
    joints = torch.einsum("btij,ktj->bki", pose, basis) / 24
    return joints + 0.01 * betas.mean(1)[:, None, None]
