"""The training objective of the masked transformer: from features and a mask to the total loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genhmr.body.camera import cam_to_translation, project
from genhmr.transformer.genhmr import GenHMR, ImageFeatures
from genhmr.transformer.gumbel import gumbel_noise, straight_through_codes
from genhmr.transformer.losses import (
    LossWeights,
    betas_loss,
    heatmaps_loss,
    joints_loss,
    keypoints_loss,
    mask_loss,
    pose_loss,
    soft_targets,
)
from genhmr.types import CropBatch

JointsFn = Callable[[Tensor, Tensor], Tensor]


def training_losses(
    model: GenHMR,
    features: ImageFeatures,
    batch: CropBatch,
    joints_fn: JointsFn,
    mask: Tensor,
    generator: torch.Generator,
    temperature: float,
    weights: LossWeights,
    geometry_scale: float = 1.0,
    all_tokens: bool = False,
    target_spread: float = 0.0,
    expected_scale: float = 0.0,
    places: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """L_total = L_mask + L_SMPL + L_3D + L_2D of one batch.

    The body of the last three is decoded from the sampled codes where the token is masked
    (straight-through Gumbel-Softmax) and from the true codes elsewhere: what the model is told
    cannot be wrong, and its mistakes then have to fit the rest of the body.

    An item without SMPL ground truth has no tokens: it is masked throughout and adds to L_2D only.

    Args:
        model: the network; its tokenizer is frozen.
        features: of the images of the batch.
        batch: crops and targets.
        joints_fn: (pose (B, 24, 3, 3), betas (B, 10)) -> BODY_25 joints (B, 25, 3) in metres.
        mask: (B, L) bool, True where the token is [MASK].
        generator: Gumbel noise, on the device of the model.
        temperature: of the backward softmax (Eq. 5).
        weights: of the parts.
        geometry_scale: factor on L_SMPL + L_3D + L_2D, see ``losses``. 0 skips the decoding.
        all_tokens: L_mask over all tokens, as Eq. 1 writes, instead of the masked ones (MaskGIT
            and every descendant; the visible ones can be copied from the input).
        target_spread: 0 for the one-hot targets of Eq. 1, else see ``losses.soft_targets``.
        expected_scale: factor on the same three losses of the *expected* body: every masked token
            is the mean of the codes under its predicted distribution, without noise, as TokenHMR
            decodes. Not the paper's (0); where training is short its gradient, which has neither
            the variance of a drawn code nor the bias of the straight-through step, is what
            teaches the features where limbs are.
        places: (N,) int64, where the mask of items with ground truth and the whole of the others
            is True, counted through B L. Without it they are looked up, which makes the host wait
            for the device.

    Weights on heatmaps and on the lifted pose need a model with a guide.

    Returns:
        The total, and its unweighted parts plus the accuracy of masked tokens, detached.
    """
    # Labels are the tokenizer's own, as it gives them where nothing is trained: bfloat16 would put
    # some latents nearer to another code.
    exact = torch.autocast(batch.pose.device.type, enabled=False)
    with exact:
        tokens = model.tokenizer.tokenize(batch.pose)
    mask = mask | ~batch.has_smpl[:, None]
    hidden = model.transformer.decode(tokens, mask, features.maps, features.guide)
    # The code head is the widest product of the model: only what is masked needs it.
    if places is None:
        places = mask.flatten().nonzero()[:, 0]
    scored = torch.arange(mask.numel(), device=mask.device) if all_tokens else places
    logits = model.transformer.code_head(hidden.flatten(0, 1).index_select(0, scored)).float()
    targets = tokens.flatten()[scored]
    known = batch.has_smpl[:, None].expand_as(mask).flatten()[scored].float()
    soft = None
    if target_spread > 0:
        with torch.no_grad(), exact:
            latents = model.tokenizer.encode(batch.pose).flatten(0, 1)[scored]
            soft = soft_targets(latents, model.tokenizer.codebook, target_spread)
    parts = {"mask": mask_loss(logits, targets, known, soft)}
    total = weights.mask * parts["mask"]
    with torch.no_grad():
        counted = known * mask.flatten()[scored]
        hits = (logits.argmax(-1) == targets) * counted
        parts["accuracy"] = hits.sum() / counted.sum().clamp(min=1)
    if geometry_scale > 0:
        codebook = model.tokenizer.codebook
        masked_logits = logits[places] if all_tokens else logits
        noise = gumbel_noise(tuple(masked_logits.shape), generator)
        codes, _ = straight_through_codes(masked_logits, codebook, temperature, noise)
        pose = model.tokenizer.decode(_replaced(codebook[tokens], places, codes))
        geometry = _geometry_losses(pose, features, batch, joints_fn)
        total = total + geometry_scale * _weighted(geometry, weights)
        parts |= geometry
    if expected_scale > 0:
        codebook = model.tokenizer.codebook
        masked_logits = logits[places] if all_tokens else logits
        codes = masked_logits.softmax(-1) @ codebook
        pose = model.tokenizer.decode(_replaced(codebook[tokens], places, codes))
        geometry = _geometry_losses(pose, features, batch, joints_fn)
        total = total + expected_scale * _weighted(geometry, weights)
        parts |= {f"expected_{name}": value for name, value in geometry.items()}
    if weights.heatmaps > 0:
        parts["heatmaps"] = heatmaps_loss(features.guide.heatmaps, batch.keypoints_2d)
        total = total + weights.heatmaps * parts["heatmaps"]
    if weights.lifted > 0:
        parts["lifted"] = _lifted_loss(features.guide.pose, batch, joints_fn)
        total = total + weights.lifted * parts["lifted"]
    return total, {name: value.detach() for name, value in parts.items()}


def _replaced(codes: Tensor, places: Tensor, others: Tensor) -> Tensor:
    """(B, L, D) codes with others (N, D) at places (N,), which count through B L."""
    flat = codes.flatten(0, 1).index_copy(0, places, others.to(codes))
    return flat.view_as(codes)


def _weighted(geometry: dict[str, Tensor], weights: LossWeights) -> Tensor:
    return sum(getattr(weights, name) * value for name, value in geometry.items())


def _lifted_loss(pose: Tensor, batch: CropBatch, joints_fn: JointsFn) -> Tensor:
    """Pose and joints on the true shape, as the lifter was pre-trained: the heads learn nothing."""
    betas = torch.where(batch.has_smpl[:, None], batch.betas, 0.0)
    with torch.no_grad():
        target = joints_fn(batch.pose, betas)
    error = pose_loss(pose, batch.pose, batch.has_smpl)
    return error + joints_loss(joints_fn(pose, betas), target, batch.has_smpl)


def _geometry_losses(
    pose: Tensor, features: ImageFeatures, batch: CropBatch, joints_fn: JointsFn
) -> dict[str, Tensor]:
    """Unweighted losses of a decoded body, by the names of ``LossWeights``."""
    joints = joints_fn(pose, features.betas)
    # Shards hold 0 for an unknown shape; were it NaN, no product with 0 would remove it.
    betas = torch.where(batch.has_smpl[:, None], batch.betas, 0.0)
    with torch.no_grad():
        target = joints_fn(batch.pose, betas)
    projected = project(joints, cam_to_translation(features.cam))
    return {
        "pose": pose_loss(pose, batch.pose, batch.has_smpl),
        "betas": betas_loss(features.betas, betas, batch.has_smpl),
        "joints_3d": joints_loss(joints, target, batch.has_smpl),
        "keypoints_2d": keypoints_loss(projected, batch.keypoints_2d),
    }
