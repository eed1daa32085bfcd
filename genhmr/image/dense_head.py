"""What the backbone is pre-trained on: keypoints, body parts and surface normals of a crop.

The paper starts its encoder from ViTPose, i.e. from heatmaps of 2D keypoints. On rendered people
every pixel can be labelled, which teaches a small ViT far faster than sparse targets do: parts
tell limbs apart, and normals bring in the third dimension that the masked transformer needs.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genhmr.image.pyramid import FeaturePyramid
from genhmr.image.vit import ViTBackbone
from genhmr.types import NUM_JOINTS, NUM_KEYPOINTS, moved

NUM_PARTS = NUM_JOINTS + 1  # 0 is the background
HEAD_SCALE = 4  # the targets live on the 4x map: 32 x 24 cells for an 8 x 6 grid


@dataclass(frozen=True)
class DenseTargets:
    """Labels on the cells of the 4x map.

    Attributes:
        parts: (B, H, W) int64, 0 background, 1..24 the joint that owns the surface.
        normals: (B, 3, H, W) unit vectors, 0 on the background.
        keypoints: (B, 25, 2) x and y in cells, continuous (cell i covers [i, i + 1)).
        weight: (B, 25) of a keypoint in the heatmap loss, 0 where it is outside the map.
        visible: (B, 25) float, 1 where the keypoint is inside and not occluded.
    """

    parts: Tensor
    normals: Tensor
    keypoints: Tensor
    weight: Tensor
    visible: Tensor

    def to(self, device: torch.device | str) -> DenseTargets:
        """The same labels on another device."""
        return DenseTargets(**{f.name: moved(getattr(self, f.name), device) for f in fields(self)})

    def pin_memory(self) -> DenseTargets:
        """The same labels in page-locked memory, from which they move to a GPU without waiting."""
        return DenseTargets(**{f.name: getattr(self, f.name).pin_memory() for f in fields(self)})


@dataclass(frozen=True)
class DensePrediction:
    """Output of ``DenseModel``.

    Attributes:
        heatmaps: (B, 25, H, W) logits of a distribution over cells, one for each keypoint.
        visibility: (B, 25) logits.
        parts: (B, 25, H, W) logits of background and 24 parts.
        normals: (B, 3, H, W), not normalised.
    """

    heatmaps: Tensor
    visibility: Tensor
    parts: Tensor
    normals: Tensor


def merge_levels(coarse: Tensor, fine: Tensor) -> Tensor:
    """What the head reads: 1x level (B, C, h, w) and 4x level (B, C, 4h, 4w) -> like the latter."""
    return F.gelu(fine + F.interpolate(coarse, scale_factor=HEAD_SCALE, mode="nearest"))


class DenseHead(nn.Module):
    """One 1x1 convolution on the sum of the 1x and 4x maps, and visibility by pooling.

    It is kept this thin on purpose: what has to be known must be known by the backbone.

    Args:
        in_dim: channels of the pyramid's levels.
    """

    def __init__(self, in_dim: int) -> None:
        super().__init__()
        self.in_dim = in_dim
        self.cells = nn.Conv2d(in_dim, NUM_KEYPOINTS + NUM_PARTS + 3, kernel_size=1)
        self.visibility_weight = nn.Parameter(torch.zeros(NUM_KEYPOINTS, in_dim))
        self.visibility_bias = nn.Parameter(torch.zeros(NUM_KEYPOINTS))

    def forward(self, coarse: Tensor, fine: Tensor) -> DensePrediction:
        """Predicts all targets.

        Args:
            coarse: (B, C, h, w), the 1x level.
            fine: (B, C, 4h, 4w), the 4x level.
        """
        x = merge_levels(coarse, fine)
        heatmaps, parts, normals = self.cells(x).split([NUM_KEYPOINTS, NUM_PARTS, 3], dim=1)
        # Whether a keypoint is seen is read off where its own heatmap looks.
        attention = heatmaps.flatten(2).softmax(2)  # (B, 25, HW)
        pooled = attention.to(x.dtype) @ x.flatten(2).transpose(1, 2)  # (B, 25, C)
        visibility = (pooled * self.visibility_weight).sum(2) + self.visibility_bias
        return DensePrediction(heatmaps, visibility, parts, normals)


class DenseModel(nn.Module):
    """Backbone, pyramid and head together, the module that pre-training optimises.

    Args:
        backbone: crops to grid.
        pyramid: with scales 1 and 4 among its own.
        head: the dense head.

    Raises:
        ValueError: the pyramid lacks scale 1 or 4.
    """

    def __init__(self, backbone: ViTBackbone, pyramid: FeaturePyramid, head: DenseHead) -> None:
        super().__init__()
        if not {1, HEAD_SCALE} <= set(pyramid.scales):
            raise ValueError(f"the head needs scales 1 and 4, the pyramid has {pyramid.scales}")
        self.backbone, self.pyramid, self.head = backbone, pyramid, head

    def forward(self, images: Tensor) -> DensePrediction:
        """(B, 3, S, S) normalised crops -> predictions on the 4x map of the cut."""
        maps = dict(zip(self.pyramid.scales, self.pyramid(self.backbone(images)), strict=True))
        return self.head(maps[1], maps[HEAD_SCALE])


def dense_targets(
    parts: Tensor, normals: Tensor, keypoints: Tensor, image_size: tuple[int, int], cell: int
) -> DenseTargets:
    """Labels of square crops -> labels on the cells of the cut image.

    Args:
        parts: (B, S, S) integer part labels.
        normals: (B, S, S, 3) int8, unit normals times 127.
        keypoints: (B, 25, 3) x, y in pixels of the crop and visibility (1, 0.5 occluded,
            0 outside), as in ``genhmr.types.DenseBatch``.
        image_size: (H, W) of the cut.
        cell: side of a cell in pixels (patch size / 4).
    """
    height, width = image_size
    left = (height - width) // 2
    pick = slice(cell // 2, None, cell)  # the pixel at a cell's centre stands for the cell
    parts = parts[:, :, left : left + width][:, pick, pick].long()
    normals = normals[:, :, left : left + width][:, pick, pick].float().permute(0, 3, 1, 2)
    normals = F.normalize(normals, dim=1)
    x = (keypoints[..., 0] - left) / cell
    y = keypoints[..., 1] / cell
    inside = (x >= 0) & (x < width / cell) & (y >= 0) & (y < height / cell)
    weight = keypoints[..., 2] * inside  # an occluded keypoint counts half: it must be guessed
    visible = (weight > 0.75).float()
    return DenseTargets(parts, normals, torch.stack([x, y], -1), weight, visible)


def heatmap_cross_entropy(
    heatmaps: Tensor, keypoints: Tensor, weight: Tensor, sigma: float = 1.0
) -> Tensor:
    """Cross-entropy between a spatial softmax and a Gaussian around each keypoint.

    The Gaussian is a product of one in x and one in y, each normalised over the cells, so it
    is never built: ``sum_yx g_y g_x h_yx`` is two small contractions.

    Args:
        heatmaps: (B, K, H, W) logits.
        keypoints: (B, K, 2) x, y in cells.
        weight: (B, K); the mean is weighted by it.
        sigma: in cells (ViTPose: 2 on a map twice as fine).

    Returns:
        Scalar.
    """
    height, width = heatmaps.shape[-2:]

    def profile(centre: Tensor, length: int) -> Tensor:
        cells = torch.arange(length, device=centre.device, dtype=centre.dtype) + 0.5
        return torch.softmax(-((cells - centre[..., None]) ** 2) / (2 * sigma**2), dim=-1)

    g_x, g_y = profile(keypoints[..., 0], width), profile(keypoints[..., 1], height)
    expected = ((heatmaps @ g_x[..., None])[..., 0] * g_y).sum(-1)  # (B, K)
    loss = torch.logsumexp(heatmaps.flatten(2), dim=2) - expected
    return (loss * weight).sum() / weight.sum().clamp(min=1.0)


def dense_loss(
    prediction: DensePrediction,
    targets: DenseTargets,
    keypoint_weight: float = 1.0,
    visibility_weight: float = 0.2,
    part_weight: float = 1.0,
    normal_weight: float = 2.0,
) -> dict[str, Tensor]:
    """The pre-training objective and its pieces, in float32 whatever the prediction is.

    Args:
        prediction: of a batch.
        targets: of the same batch.
        keypoint_weight: of the heatmaps' cross-entropy.
        visibility_weight: of the binary cross-entropy of visibility.
        part_weight: of the cross-entropy of parts, mean over cells.
        normal_weight: of one minus the cosine of normals, mean over the person's cells; above
            the others, since it is the only target that says anything about depth.

    Returns:
        ``total`` and the unweighted pieces ``keypoints``, ``visibility``, ``parts``, ``normals``.
    """
    person = (targets.parts > 0).float()
    cosine = (F.normalize(prediction.normals.float(), dim=1) * targets.normals).sum(1)
    pieces = {
        "keypoints": heatmap_cross_entropy(
            prediction.heatmaps.float(), targets.keypoints, targets.weight
        ),
        "visibility": F.binary_cross_entropy_with_logits(
            prediction.visibility.float(), targets.visible
        ),
        "parts": F.cross_entropy(prediction.parts.float(), targets.parts),
        "normals": ((1.0 - cosine) * person).sum() / person.sum().clamp(min=1.0),
    }
    total = (
        keypoint_weight * pieces["keypoints"]
        + visibility_weight * pieces["visibility"]
        + part_weight * pieces["parts"]
        + normal_weight * pieces["normals"]
    )
    return {"total": total, **pieces}


def decode_keypoints(heatmaps: Tensor, radius: int = 2) -> tuple[Tensor, Tensor]:
    """Keypoints from heatmaps: the mean of the distribution in a window around its peak.

    Args:
        heatmaps: (B, K, H, W) logits.
        radius: of the window, in cells.

    Returns:
        (B, K, 2) x, y in cells (cell i covers [i, i + 1)), and (B, K) the probability in the
        window, a confidence.
    """
    height, width = heatmaps.shape[-2:]
    probability = heatmaps.float().flatten(2).softmax(2)
    peak = probability.argmax(2)
    rows = torch.arange(height, device=heatmaps.device)
    columns = torch.arange(width, device=heatmaps.device)
    near_y = (rows - (peak // width)[..., None]).abs() <= radius  # (B, K, H)
    near_x = (columns - (peak % width)[..., None]).abs() <= radius  # (B, K, W)
    window = probability.unflatten(2, (height, width))
    window = window * (near_y[..., :, None] & near_x[..., None, :])
    confidence = window.sum((2, 3))
    x = (window.sum(2) * (columns + 0.5)).sum(2) / confidence
    y = (window.sum(3) * (rows + 0.5)).sum(2) / confidence
    return torch.stack([x, y], -1), confidence
