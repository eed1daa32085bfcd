"""Scores of a dense model."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from genhmr.image.dense_head import (
    HEAD_SCALE,
    NUM_PARTS,
    DenseModel,
    DensePrediction,
    DenseTargets,
    decode_keypoints,
    dense_targets,
)
from genhmr.image.vit import ViTConfig
from genhmr.precision import fast_precision
from genhmr.train.dense_data import DenseSet, normalise_images
from genhmr.types import DenseBatch


@torch.no_grad()
def evaluate_dense(
    model: DenseModel,
    data: DenseSet,
    rows: np.ndarray,
    batch_size: int = 64,
    device: str = "cpu",
    bf16: bool = True,
) -> dict[str, float]:
    """Scores on some rows of a dense set, without augmentation.

    Returns:
        ``pck05`` and ``pck10``: share of visible keypoints within 5 and 10 % of the crop's side;
        ``pck10_occluded``: the latter for occluded ones; ``keypoint_error``: mean distance of
        visible ones in percent of the side; ``visibility_accuracy``; ``part_accuracy``: share
        of the person's cells with the right part; ``part_iou``: mean intersection over union of
        the 24 parts and the background; ``normal_degrees``: mean angle on the person's cells.
    """
    was_training = model.training
    model.eval()
    config = model.backbone.config
    totals: dict[str, Tensor] = {}
    for start in range(0, len(rows), batch_size):
        batch = data.batch(rows[start : start + batch_size])
        with fast_precision(device, bf16):
            prediction = model(normalise_images(torch.from_numpy(batch.images).to(device)))
        counts = _count(prediction, batch_targets(batch, config).to(device), config)
        totals = {name: totals.get(name, 0) + value for name, value in counts.items()}
    model.train(was_training)

    def ratio(a: str, b: str) -> float:
        return float(totals[a].sum() / totals[b].sum().clamp(min=1))

    union = totals["part_union"]
    return {
        "pck05": ratio("near05", "visible"),
        "pck10": ratio("near10", "visible"),
        "pck10_occluded": ratio("near10_occluded", "occluded"),
        "keypoint_error": 100 * ratio("distance", "visible"),
        "visibility_accuracy": ratio("visibility_right", "keypoints"),
        "part_accuracy": ratio("part_right", "person"),
        "part_iou": float((totals["part_both"] / union.clamp(min=1))[union > 0].mean()),
        "normal_degrees": ratio("angle", "person"),
    }


def _count(
    prediction: DensePrediction, targets: DenseTargets, config: ViTConfig
) -> dict[str, Tensor]:
    """Sums over a batch that the scores of ``evaluate_dense`` are ratios of, in float64."""
    points, _ = decode_keypoints(prediction.heatmaps)
    side = config.image_size[0] * HEAD_SCALE / config.patch_size  # of the crop, in cells
    distance = torch.linalg.vector_norm(points - targets.keypoints, dim=-1) / side
    visible = targets.visible > 0
    occluded = (targets.weight > 0) & ~visible
    person = targets.parts > 0
    parts = prediction.parts.argmax(1)
    cosine = (F.normalize(prediction.normals.float(), dim=1) * targets.normals).sum(1)
    angle = torch.rad2deg(torch.arccos(cosine.clamp(-1, 1)))
    hit = torch.bincount(targets.parts[parts == targets.parts], minlength=NUM_PARTS)
    either = torch.bincount(parts.flatten(), minlength=NUM_PARTS)
    either = either + torch.bincount(targets.parts.flatten(), minlength=NUM_PARTS) - hit
    counts = {
        "visible": visible, "near05": visible & (distance < 0.05),
        "near10": visible & (distance < 0.1), "distance": distance * visible,
        "occluded": occluded, "near10_occluded": occluded & (distance < 0.1),
        "keypoints": torch.ones_like(visible),
        "visibility_right": (prediction.visibility > 0) == visible,
        "person": person, "part_right": person & (parts == targets.parts),
        "angle": angle * person,
    }  # fmt: skip
    sums = {name: value.double().sum() for name, value in counts.items()}
    return {**sums, "part_both": hit.double(), "part_union": either.double()}


def batch_targets(batch: DenseBatch, config: ViTConfig) -> DenseTargets:
    """The labels of a batch on the cells of the 4x map: a fraction of its bytes."""
    return dense_targets(
        *(torch.from_numpy(a) for a in (batch.parts, batch.normals, batch.keypoints)),
        config.image_size,
        config.patch_size // HEAD_SCALE,
    )
