"""Losses of the second stage: L_mask, L_SMPL, L_3D and L_2D (paper, "Training Strategy").

The paper's weights of the last three equal those of HMR2.0, whose code sums these losses over
joints, coordinates *and* the batch (48 per GPU). Here each of the three is a sum per item, averaged
over the batch, and one factor ``geometry_scale`` stands for what the batch sum multiplies: 48 is
HMR2.0's choice, 1 a plain mean, whatever the batch size.

L_mask is a mean over tokens, where Eq. 1 prints a sum over those of an item: see ``mask_loss``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from genhmr.image.dense_head import heatmap_cross_entropy

PELVIS = 8  # MidHip of BODY_25


@dataclass(frozen=True)
class LossWeights:
    """Weights of the total loss; the defaults are the paper's.

    The paper writes lambda_SMPL = 1.5e-3 "with" 1e-3 for the pose and 5e-4 for the shape: the
    first is the sum of the other two and is not multiplied onto them again.

    Attributes:
        mask: of the token cross-entropy.
        pose: of the squared error of the 24 rotation matrices.
        betas: of the squared error of the shape.
        joints_3d: of the pelvis-centred L1 error in metres.
        keypoints_2d: of the L1 error of the projection in units of the crop side.
        heatmaps: of the cross-entropy of the guide's heatmaps (``genhmr.transformer.guide``),
            which keeps them what pre-training made them while the backbone moves on. Not the
            paper's, whose tokens have no guide.
        lifted: of pose and 3D joints of the pose that the guide lifts from its keypoints; their
            gradient ends in the lifter. Not the paper's either.
    """

    mask: float = 1.0
    pose: float = 1e-3
    betas: float = 5e-4
    joints_3d: float = 5e-2
    keypoints_2d: float = 1e-2
    heatmaps: float = 0.0
    lifted: float = 0.0


def mask_loss(
    logits: Tensor, tokens: Tensor, weight: Tensor | None = None, target: Tensor | None = None
) -> Tensor:
    """Mean negative log-likelihood of the true tokens (Eq. 1 up to a factor).

    Eq. 1 sums over the tokens of an item. Here the tokens of a batch have one mean, as
    cross-entropies have in MaskGIT and its descendants: a sum would be larger by the number of
    tokens that are masked, 61 of 96 on average, and so would L_mask against the other losses.

    Args:
        logits: (N, K).
        tokens: (N,) int64.
        weight: (N,) 0 where the token is unknown; None counts all.
        target: (N, K) distribution to use instead of the one code, see ``soft_targets``.

    Returns:
        Scalar; 0 if every weight is 0.
    """
    loss = F.cross_entropy(
        logits.float(), tokens if target is None else target, reduction="none"
    )
    if weight is None:
        return loss.mean()
    return (loss * weight).sum() / weight.sum().clamp(min=1.0)


def soft_targets(latents: Tensor, codebook: Tensor, spread: float) -> Tensor:
    """Distribution over codes that are about as close to the latent as the nearest one.

    Not in the paper. Hundreds of codes describe a joint, and those beside the true one are nearly
    as right; a one-hot target calls them as wrong as the opposite pose, which a model must unlearn
    over many passes. The targets are a Gaussian around the encoder's latent, as wide as
    ``spread`` times the typical squared distance between neighbouring codes. Wide targets also
    move the most probable code, which greedy sampling takes, towards the mean of what is possible.

    Args:
        latents: (N, D), before quantisation.
        codebook: (K, D).
        spread: > 0; the limit 0 is the one-hot target.

    Returns:
        (N, K), rows sum to 1.

    Raises:
        ValueError: ``spread`` is not positive.
    """
    if spread <= 0:
        raise ValueError(f"spread must be positive, got {spread}")
    between = torch.cdist(codebook.float(), codebook.float()).square()
    between.fill_diagonal_(torch.inf)
    width = 2 * spread * between.amin(1).median()
    return (-torch.cdist(latents.float(), codebook.float()).square() / width).softmax(-1)


def pose_loss(pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Squared error of rotation matrices, summed per item, mean over the batch.

    Args:
        pred: (B, 24, 3, 3).
        target: (B, 24, 3, 3).
        valid: (B,) bool, items with ground truth; the others count as 0.
    """
    return ((pred - target).square().flatten(1).sum(1) * valid).mean()


def betas_loss(pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Squared error of the shape (B, 10), summed per item, mean over the batch."""
    return ((pred - target).square().sum(1) * valid).mean()


def joints_loss(pred: Tensor, target: Tensor, valid: Tensor, pelvis: int = PELVIS) -> Tensor:
    """L1 error of pelvis-centred joints (B, J, 3) in metres, summed per item, batch mean."""
    pred = pred - pred[:, pelvis : pelvis + 1]
    target = target - target[:, pelvis : pelvis + 1]
    return ((pred - target).abs().flatten(1).sum(1) * valid).mean()


def keypoints_loss(pred: Tensor, target: Tensor) -> Tensor:
    """Confidence-weighted L1 error of projected joints, summed per item, batch mean.

    Args:
        pred: (B, J, 2) in units of the crop side.
        target: (B, J, 3), x, y and confidence; x and y may be anything where the latter is 0.
    """
    confidence = target[..., 2:]
    # An unknown keypoint may be stored as NaN, which a product with 0 would not remove.
    place = torch.where(confidence > 0, target[..., :2], 0.0)
    return ((pred - place).abs() * confidence).flatten(1).sum(1).mean()


def heatmaps_loss(heatmaps: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of keypoint heatmaps, mean over the known keypoints inside the picture.

    Args:
        heatmaps: (B, J, H, W) logits over the cells of the cut, which is as high as the crop.
        target: (B, J, 3), x and y in units of the crop side from its centre, confidence.
    """
    height, width = heatmaps.shape[-2:]
    place = torch.where(target[..., 2:] > 0, target[..., :2], 2.0)  # 2.0 is outside
    x = (place[..., 0] + 0.5) * height - (height - width) / 2
    y = (place[..., 1] + 0.5) * height
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return heatmap_cross_entropy(heatmaps, torch.stack([x, y], -1), target[..., 2] * inside)
