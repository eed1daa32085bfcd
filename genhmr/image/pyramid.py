"""Multi-scale features from the single grid of a plain ViT.

The paper (Sec. "Image-Conditioned Masked Transformer", Table 15) samples maps at 1x, 4x, 8x and
16x of the encoder's grid, made "inspired by ViTDet" (Li et al. 2022, "Exploring Plain Vision
Transformer Backbones for Object Detection"): transposed convolutions of stride 2 with a norm and
a GELU after each, and a 1x1 projection for each level. ViTDet norms the projected maps once more;
here their input is normed already (the ViT's last norm, or the step's), and a norm over the
finest map costs more than the map itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn

SCALES = (1, 4, 8, 16)
MIN_WIDTH = 24  # a narrower chain would starve the finest level


class FeaturePyramid(nn.Module):
    """Upsampled copies of a feature grid, one for each scale.

    The levels hang on one chain of stride-2 steps, so that the 8x map is one step above the 4x
    map. A step halves the channels (not below ``MIN_WIDTH``), which keeps the cost of the steps
    about equal; steps above the largest scale are not built.

    Args:
        in_dim: channels of the grid.
        out_dim: channels of every level.
        scales: increasing subset of (1, 4, 8, 16).

    Raises:
        ValueError: ``scales`` is empty, not increasing, or holds another scale.
    """

    def __init__(self, in_dim: int, out_dim: int, scales: Sequence[int]) -> None:
        super().__init__()
        scales = tuple(scales)
        if not scales or list(scales) != sorted(set(scales)) or not set(scales) <= set(SCALES):
            raise ValueError(f"scales must be an increasing subset of {SCALES}, got {scales}")
        self.scales, self.in_dim, self.out_dim = scales, in_dim, out_dim
        steps = scales[-1].bit_length() - 1
        widths = [max(in_dim >> k, min(in_dim, MIN_WIDTH)) for k in range(steps + 1)]
        self.steps = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose2d(widths[k], widths[k + 1], kernel_size=2, stride=2),
                LayerNorm2d(widths[k + 1]),
                nn.GELU(),
            )
            for k in range(steps)
        )
        self.levels = nn.ModuleDict(
            {
                str(scale): nn.Conv2d(widths[scale.bit_length() - 1], out_dim, kernel_size=1)
                for scale in scales
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """The configuration as JSON-serialisable values."""
        return {"in_dim": self.in_dim, "out_dim": self.out_dim, "scales": list(self.scales)}

    def forward(self, grid: Tensor) -> list[Tensor]:
        """The levels, coarse to fine.

        Args:
            grid: (B, in_dim, H, W).

        Returns:
            One (B, out_dim, scale * H, scale * W) for each scale, in memory channels last:
            the decoder gathers whole feature vectors at its sampling points.
        """
        x = grid.contiguous(memory_format=torch.channels_last)
        maps, scale = [], 1
        if 1 in self.scales:
            maps.append(self.levels["1"](x))
        for step in self.steps:
            x, scale = step(x), 2 * scale
            if scale in self.scales:
                maps.append(self.levels[str(scale)](x))
        return maps
