"""Multi-scale deformable cross-attention (Zhu et al. 2020; the paper's MSDA), sample first.

The usual implementation projects every pixel of every map to values and samples those. Bilinear
sampling and the projection are both linear, so their order can be swapped exactly:

    sum_s a_s (W_h x(p_s) + b_h)  =  W_h (sum_s a_s x(p_s)) + b_h sum_s a_s [in-bounds weight of s]

Sampling first touches only the few pixels that are read; nothing per pixel is computed, so nothing
of it must be recomputed in the next sampling iteration either. The second term is why the summed
in-bounds weight is returned: a sample beyond the border reads zero, bias included.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genhmr.constants import table

if TYPE_CHECKING:  # numba is loaded only where its kernel runs
    from genhmr.transformer.deformable_cpu import GradientSink


_CORNERS = ((0, 0), (1, 0), (0, 1), (1, 1))  # of a pixel's square, as x and y


@dataclass(frozen=True)
class FlatMaps:
    """Feature maps of all levels, pixel-major: what every layer and iteration shares.

    Attributes:
        values: (B, S, C), levels concatenated, S = sum of H_l W_l.
        shapes: ((H, W), ...) of the levels in order.
        sink: where the CPU kernel gathers the gradient of ``values``; None elsewhere.
    """

    values: Tensor
    shapes: tuple[tuple[int, int], ...]
    sink: GradientSink | None = None


def flatten_maps(features: list[Tensor] | tuple[Tensor, ...]) -> FlatMaps:
    """Concatenates maps (B, C, H_l, W_l) of all levels into one pixel-major tensor."""
    shapes = tuple((int(f.shape[2]), int(f.shape[3])) for f in features)
    values = torch.cat([f.permute(0, 2, 3, 1).flatten(1, 2) for f in features], dim=1)
    on_cpu = values.device.type == "cpu"
    if on_cpu or values.requires_grad:  # also under autocast: no backward pass knows bfloat16
        values = values.float()
    if not (on_cpu and values.requires_grad):
        return FlatMaps(values, shapes)
    from genhmr.transformer.deformable_cpu import CollectGradient, GradientSink

    sink = GradientSink()
    return FlatMaps(CollectGradient.apply(values, sink), shapes, sink)


def _map_sizes(
    shapes: tuple[tuple[int, int], ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """(N, 1, 2) width and height of each level."""
    return table(tuple(((w, h),) for h, w in shapes), dtype, device)


def bilinear_corners(
    locations: Tensor, shapes: tuple[tuple[int, int], ...]
) -> tuple[Tensor, Tensor]:
    """Flat pixel indices and bilinear weights of the four corners of every sample.

    Pixel centres are at (i + 0.5) / W, as ``F.grid_sample(align_corners=False)`` has them; corners
    outside the map get weight 0 (``padding_mode="zeros"``).

    Args:
        locations: (B, Q, M, N, P, 2), x and y in [0, 1] of the image, one N per level.
        shapes: (H, W) per level.

    Returns:
        indices (B, Q, M, N, P, 4) int64 into S; weights, same shape, differentiable.
    """
    kind, device = locations.dtype, locations.device
    size = _map_sizes(shapes, kind, device)  # (N, 1, 2) against (..., N, P, 2)
    starts = [0]
    for h, w in shapes[:-1]:
        starts.append(starts[-1] + h * w)
    start = table(tuple(((first,),) for first in starts), torch.long, device)
    step = table(_CORNERS, kind, device)  # (4, 2)
    place = locations * size - 0.5
    low = place.detach().floor()
    # Not prod(), whose gradient looks for zeros on the host.
    across, down = ((1 - step) + (2 * step - 1) * (place - low)[..., None, :]).unbind(-1)
    share = across * down
    corner, size = low[..., None, :] + step, size[..., None, :]
    inside = ((corner >= 0) & (corner < size)).all(-1)
    # minimum/maximum before the cast: far-away samples must not overflow the index.
    x, y = torch.minimum(corner.clamp(min=0), size - 1).unbind(-1)
    return (y * size[..., 0] + x).long() + start, share * inside


def deformable_sample_torch(
    maps: Tensor, locations: Tensor, weights: Tensor, shapes: tuple[tuple[int, int], ...]
) -> tuple[Tensor, Tensor]:
    """``deformable_sample`` in plain torch operations, for any device and dtype."""
    batch, pixels, channels = maps.shape
    indices, corner = bilinear_corners(locations, shapes)
    corner = (corner * weights[..., None]).flatten(3)  # (B, Q, M, N*P*4)
    item = torch.arange(batch, device=maps.device).view(-1, 1, 1, 1) * pixels
    rows = corner.shape[:3]
    pooled = F.embedding_bag(
        (indices.flatten(3) + item).flatten(0, 2),
        maps.reshape(batch * pixels, channels),
        per_sample_weights=corner.flatten(0, 2).to(maps.dtype),
        mode="sum",
    )
    return pooled.view(*rows, channels), corner.sum(-1)


def deformable_sample(
    maps: Tensor,
    locations: Tensor,
    weights: Tensor,
    shapes: tuple[tuple[int, int], ...],
    sink: GradientSink | None = None,
) -> tuple[Tensor, Tensor]:
    """Attention-weighted bilinear samples of raw (unprojected) feature maps.

    float32 tensors on the CPU go through a compiled kernel, all others through torch operations.

    Args:
        maps: (B, S, C) of ``FlatMaps``.
        locations: (B, Q, M, N, P, 2) x, y in [0, 1] of the image; M heads, N levels, P points.
        weights: (B, Q, M, N, P) attention weights.
        shapes: (H, W) per level.
        sink: of the ``FlatMaps``; with one the kernel adds the maps' gradient there.

    Returns:
        pooled (B, Q, M, C) and the summed in-bounds weight (B, Q, M).
    """
    if maps.device.type == "cpu" and maps.dtype == torch.float32:
        from genhmr.transformer.deformable_cpu import DeformableSampleCPU

        return DeformableSampleCPU.apply(maps, locations, weights, shapes, sink)
    return deformable_sample_torch(maps, locations, weights, shapes)


class DeformableCrossAttention(nn.Module):
    """One multi-scale deformable cross-attention block (without residual and norm).

    Offsets and weights are linear in the query, offsets in pixels of the sampled level. The
    initial offsets point in M directions with radius 1..P pixels and the initial weights are
    uniform, as in Deformable DETR.

    Args:
        width: query width.
        feature_dim: C of the maps.
        heads: M, divides ``width``.
        points: P samples per head and level.
        num_levels: N.

    Raises:
        ValueError: ``width`` is not a multiple of ``heads``.
    """

    def __init__(self, width: int, feature_dim: int, heads: int, points: int, num_levels: int):
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of heads {heads}")
        self.heads, self.points, self.num_levels = heads, points, num_levels
        self.offsets = nn.Linear(width, heads * num_levels * points * 2)
        self.attention = nn.Linear(width, heads * num_levels * points)
        self.value = nn.Linear(feature_dim, width)  # W of the paper, cut into heads
        self.out = nn.Linear(width, width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Deformable DETR's initialisation."""
        nn.init.zeros_(self.offsets.weight)
        angle = torch.arange(self.heads) * (2 * math.pi / self.heads)
        ring = torch.stack([angle.cos(), angle.sin()], -1)
        ring = ring / ring.abs().amax(-1, keepdim=True)  # onto the unit square
        radius = torch.arange(1, self.points + 1, dtype=ring.dtype)
        grid = ring[:, None, None] * radius[:, None]  # (M, 1, P, 2)
        with torch.no_grad():
            self.offsets.bias.copy_(grid.expand(-1, self.num_levels, -1, -1).reshape(-1))
        nn.init.zeros_(self.attention.weight)
        nn.init.zeros_(self.attention.bias)
        for linear in (self.value, self.out):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, query: Tensor, reference: Tensor, maps: FlatMaps) -> Tensor:
        """Attends from tokens to the maps.

        Args:
            query: (B, Q, width).
            reference: (Q, 2) or (B, Q, 2), x and y in [0, 1] of the image.
            maps: N levels.

        Returns:
            (B, Q, width).
        """
        batch, queries, width = query.shape
        grid = (batch, queries, self.heads, self.num_levels, self.points)
        size = _map_sizes(maps.shapes, reference.dtype, reference.device)
        # Locations stay in float32: bfloat16 cannot address a pixel of a large map.
        offsets = self.offsets(query).float().view(*grid, 2) / size
        locations = reference.float()[..., None, None, None, :] + offsets
        weights = self.attention(query).float().view(batch, queries, self.heads, -1)
        weights = weights.softmax(-1).view(grid)
        pooled, mass = deformable_sample(
            maps.values, locations, weights, maps.shapes, maps.sink
        )
        # (M, B*Q, C) @ (M, C, d): each head projects only what it sampled.
        matrix = self.value.weight.view(self.heads, -1, self.value.in_features).transpose(1, 2)
        bias = self.value.bias.view(self.heads, 1, -1)
        pooled = pooled.flatten(0, 1).transpose(0, 1)
        mass = mass.flatten(0, 1).T[..., None]
        heads = torch.bmm(pooled.to(query.dtype), matrix.to(query.dtype)) + (mass * bias)
        return self.out(heads.transpose(0, 1).reshape(batch, queries, width).to(query.dtype))
