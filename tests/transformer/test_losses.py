"""Losses and the training objective against sums written out by hand."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from genhmr.transformer.gumbel import gumbel_noise
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
from genhmr.transformer.objective import training_losses
from genhmr.transformer.schedules import random_training_mask
from tests.transformer.tiny_models import composed, stick_joints, tiny_batch


def test_mask_loss_is_the_mean_negative_log_likelihood():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 7, generator=generator)
    tokens = torch.tensor([0, 6, 3, 3, 1])
    probabilities = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    nll = -np.log(probabilities[np.arange(5), tokens.numpy()])
    assert mask_loss(logits, tokens).item() == pytest.approx(nll.mean(), rel=1e-5)
    weight = torch.tensor([1.0, 0, 1, 0, 0])
    assert mask_loss(logits, tokens, weight).item() == pytest.approx(
        (nll[0] + nll[2]) / 2, rel=1e-5
    )
    assert mask_loss(logits, tokens, torch.zeros(5)).item() == 0.0


def test_soft_targets_prefer_the_nearest_codes():
    generator = torch.Generator().manual_seed(2)
    codebook = torch.randn(13, 4, generator=generator)
    latents = codebook[[2, 9]] + 0.05 * torch.randn(2, 4, generator=generator)
    squared = ((latents.numpy()[:, None] - codebook.numpy()[None]) ** 2).sum(-1)
    between = ((codebook.numpy()[:, None] - codebook.numpy()[None]) ** 2).sum(-1)
    typical = np.median(np.sort(between, axis=1)[:, 1])
    for spread in (0.1, 2.0):
        expected = np.exp(-squared / (2 * spread * typical))
        expected /= expected.sum(1, keepdims=True)
        got = soft_targets(latents, codebook, spread)
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-3, atol=1e-6)
        assert got.argmax(1).tolist() == [2, 9]
    logits = torch.randn(2, 13, generator=generator)
    cross = -(got * logits.log_softmax(-1)).sum(1).mean()
    assert mask_loss(logits, torch.tensor([2, 9]), None, got).item() == pytest.approx(cross.item())
    sharp = soft_targets(latents, codebook, 1e-4)
    hard = mask_loss(logits, torch.tensor([2, 9]))
    torch.testing.assert_close(mask_loss(logits, torch.tensor([2, 9]), None, sharp), hard)
    with pytest.raises(ValueError):
        soft_targets(latents, codebook, 0.0)


def test_geometry_losses_are_sums_per_item_and_means_over_the_batch():
    batch = tiny_batch()
    valid = torch.tensor([True, False, True, True])
    generator = torch.Generator().manual_seed(1)
    pose, betas = batch.pose[:, torch.randperm(24)], torch.randn(4, 10, generator=generator)
    target_betas = torch.randn(4, 10, generator=generator)
    a, b = (torch.randn(4, 25, 3, generator=generator) for _ in range(2))
    rows = [0, 2, 3]
    expected = sum(float(((pose[i] - batch.pose[i]) ** 2).sum()) for i in rows) / 4
    assert pose_loss(pose, batch.pose, valid).item() == pytest.approx(expected, rel=1e-5)
    expected = sum(float(((betas[i] - target_betas[i]) ** 2).sum()) for i in rows) / 4
    assert betas_loss(betas, target_betas, valid).item() == pytest.approx(expected, rel=1e-5)
    expected = sum(float((a[i] - a[i, 8] - b[i] + b[i, 8]).abs().sum()) for i in rows) / 4
    assert joints_loss(a, b, valid).item() == pytest.approx(expected, rel=1e-5)
    assert joints_loss(a + 5.0, a, valid).item() == pytest.approx(0.0, abs=1e-3)


def test_unknown_keypoints_count_nothing_even_if_stored_as_nan():
    pred = torch.zeros(1, 3, 2, requires_grad=True)
    target = torch.tensor([[[0.5, -0.5, 1.0], [torch.nan, torch.nan, 0.0], [1.0, 0.0, 0.25]]])
    loss = keypoints_loss(pred, target)
    assert loss.item() == pytest.approx(1.0 + 0.25)
    (gradient,) = torch.autograd.grad(loss, pred)
    expected = torch.tensor([[[-1.0, 1.0], [0.0, 0.0], [-0.25, 0.0]]])
    torch.testing.assert_close(gradient, expected)


def run(model, batch, seed=0, **kwargs):
    generator = torch.Generator().manual_seed(seed)
    mask = random_training_mask(len(batch.pose), 24, torch.Generator().manual_seed(5))
    features = model.encode_image(batch.images)
    options = {"temperature": 0.5, "weights": LossWeights(), **kwargs}
    total, parts = training_losses(
        model, features, batch, stick_joints, mask, generator, **options
    )
    return total, parts, mask


def test_total_is_the_weighted_sum_of_its_parts():
    model, batch = composed(), tiny_batch()
    weights = LossWeights(mask=0.7, pose=0.2, betas=0.3, joints_3d=0.4, keypoints_2d=0.6)
    total, parts, _ = run(model, batch, weights=weights, geometry_scale=3.0)
    expected = weights.mask * parts["mask"] + 3.0 * sum(
        getattr(weights, name) * parts[name]
        for name in ("pose", "betas", "joints_3d", "keypoints_2d")
    )
    torch.testing.assert_close(total.detach(), expected)
    assert all(math.isfinite(float(v)) for v in parts.values())


def test_parts_equal_the_losses_of_the_body_that_was_sampled():
    """The whole chain by hand: noise, argmax, true codes elsewhere, decoder, joints, camera."""
    model, batch = composed(), tiny_batch()
    with torch.no_grad():
        _, parts, mask = run(model, batch, seed=3)
        mask = mask.clone()
        mask[-1] = True  # no ground truth: nothing to show
        tokens = model.tokenizer.tokenize(batch.pose)
        features = model.encode_image(batch.images)
        logits = model.logits(tokens, mask, features)
        noise = gumbel_noise((int(mask.sum()), 11), torch.Generator().manual_seed(3))
        sampled = tokens.clone()
        sampled[mask] = (logits[mask] + noise).argmax(-1)
        pose = model.tokenizer.decode_tokens(sampled)
        joints = stick_joints(pose, features.betas)
        s, tx, ty = features.cam.T
        depth = 2 * 5000 / (256 * s)
        xy = joints[..., :2] + torch.stack([tx, ty], -1)[:, None]
        projected = 5000 / 256 * xy / (joints[..., 2:] + depth[:, None, None])
        log_p = logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]
    inside = mask & batch.has_smpl[:, None]
    assert parts["mask"].item() == pytest.approx(-log_p[inside].mean().item(), rel=1e-4)
    hits = (logits.argmax(-1) == tokens)[inside].float().mean()
    assert parts["accuracy"].item() == pytest.approx(hits.item(), abs=1e-6)
    known = [0, 1, 2]
    error = sum(float(((pose[i] - batch.pose[i]) ** 2).sum()) for i in known) / 4
    assert parts["pose"].item() == pytest.approx(error, rel=1e-4)
    wanted = stick_joints(batch.pose, torch.nan_to_num(batch.betas))
    assert parts["joints_3d"].item() == pytest.approx(
        joints_loss(joints, wanted, batch.has_smpl).item(), rel=1e-4
    )
    seen = [k for k in range(25) if k != 3]
    residual = (projected - batch.keypoints_2d[..., :2]).abs() * batch.keypoints_2d[..., 2:]
    assert parts["keypoints_2d"].item() == pytest.approx(
        residual[:, seen].sum().item() / 4, rel=1e-3
    )


@pytest.mark.parametrize("name", ["pose", "joints_3d", "keypoints_2d"])
def test_geometry_reaches_the_logits(name):
    """L_mask off: the code head still learns, through the sampled codes alone."""
    model, batch = composed(), tiny_batch()
    off = LossWeights(mask=0.0, pose=0.0, betas=0.0, joints_3d=0.0, keypoints_2d=0.0)
    total, _, _ = run(model, batch, weights=dataclasses.replace(off, **{name: 1.0}))
    total.backward()
    gradient = model.transformer.code_head.weight.grad
    assert gradient is not None and gradient.abs().max() > 1e-6
    assert torch.isfinite(gradient).all()
    assert all(p.grad is None for p in model.tokenizer.parameters())


def test_no_geometry_means_no_decoding():
    model, batch = composed(), tiny_batch()

    def broken(*_):
        raise AssertionError("the decoder must not run")

    model.tokenizer.decode = broken
    total, parts, _ = run(model, batch, geometry_scale=0.0)
    assert set(parts) == {"mask", "accuracy"}
    torch.testing.assert_close(total.detach(), parts["mask"])


def test_target_spread_softens_the_token_loss_alone():
    model, batch = composed(), tiny_batch()
    with torch.no_grad():
        _, hard, _ = run(model, batch)
        _, sharp, _ = run(model, batch, target_spread=1e-5)
        _, soft, _ = run(model, batch, target_spread=5.0)
    assert sharp["mask"].item() == pytest.approx(hard["mask"].item(), rel=1e-4)
    assert abs(soft["mask"].item() - hard["mask"].item()) > 1e-3
    assert soft["pose"] == hard["pose"] and soft["accuracy"] == hard["accuracy"]


def test_all_tokens_adds_the_visible_ones():
    model, batch = composed(), tiny_batch()
    with torch.no_grad():
        _, masked, mask = run(model, batch)
        _, everything, _ = run(model, batch, all_tokens=True)
        mask = mask | ~batch.has_smpl[:, None]
        tokens = model.tokenizer.tokenize(batch.pose)
        logits = model.logits(tokens, mask, model.encode_image(batch.images))
        nll = -logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]
    assert everything["mask"].item() == pytest.approx(nll[:3].mean().item(), rel=1e-4)
    assert everything["pose"].item() == pytest.approx(masked["pose"].item(), rel=1e-5)
    assert everything["accuracy"].item() == pytest.approx(masked["accuracy"].item(), abs=1e-6)


def test_labels_do_not_follow_the_precision_of_the_training(monkeypatch):
    """Tokens and soft targets under autocast are those without, where bfloat16 gives others."""
    torch.manual_seed(1)
    model, batch = composed(), tiny_batch(64)
    batch = dataclasses.replace(
        batch, has_smpl=torch.ones(64, dtype=torch.bool), betas=torch.zeros(64, 10)
    )
    with torch.no_grad():  # let the convolutions have a say; they start at 0
        model.tokenizer.to_code.weight.normal_(std=0.3)
        wanted = model.tokenizer.tokenize(batch.pose), model.tokenizer.encode(batch.pose)
    seen = {}
    original = model.transformer.decode
    monkeypatch.setattr(
        model.transformer, "decode",
        lambda tokens, *rest: seen.update(tokens=tokens) or original(tokens, *rest),
    )  # fmt: skip
    monkeypatch.setattr(
        "genhmr.transformer.objective.soft_targets",
        lambda latents, *rest: seen.update(latents=latents) or soft_targets(latents, *rest),
    )
    with torch.autocast("cpu", torch.bfloat16):
        loose = model.tokenizer.tokenize(batch.pose)
        run(model, batch, target_spread=2.0, all_tokens=True)
    assert not torch.equal(loose, wanted[0]), "the batch must be one that autocast gets wrong"
    assert torch.equal(seen["tokens"], wanted[0])
    assert torch.equal(seen["latents"], wanted[1].flatten(0, 1))


def test_a_batch_without_ground_truth_trains_on_keypoints_only():
    model, batch = composed(), tiny_batch()
    batch = dataclasses.replace(
        batch, has_smpl=torch.zeros(4, dtype=torch.bool), betas=torch.full((4, 10), torch.nan)
    )
    total, parts, _ = run(model, batch)
    assert parts["mask"] == parts["pose"] == parts["betas"] == parts["joints_3d"] == 0
    total.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.isfinite(g).all() for g in gradients)
    assert model.heads.readout.weight.grad.abs().max() > 0


def test_expected_body_is_decoded_from_the_mean_codes():
    """By hand: softmax of the logits, mean code where masked, true code elsewhere."""
    model, batch = composed(), tiny_batch()
    with torch.no_grad():
        plain, _, _ = run(model, batch, geometry_scale=0.0)
        total, parts, mask = run(model, batch, geometry_scale=0.0, expected_scale=2.0)
        mask = mask | ~batch.has_smpl[:, None]
        tokens = model.tokenizer.tokenize(batch.pose)
        features = model.encode_image(batch.images)
        probabilities = model.logits(tokens, mask, features).softmax(-1)
        mean = torch.einsum("blk,kd->bld", probabilities, model.tokenizer.codebook)
        codes = torch.where(mask[..., None], mean, model.tokenizer.codebook[tokens])
        pose = model.tokenizer.decode(codes)
    error = sum(float(((pose[i] - batch.pose[i]) ** 2).sum()) for i in range(3)) / 4
    assert parts["expected_pose"].item() == pytest.approx(error, rel=1e-4)
    weights = LossWeights()
    added = sum(
        getattr(weights, name) * parts[f"expected_{name}"]
        for name in ("pose", "betas", "joints_3d", "keypoints_2d")
    )
    torch.testing.assert_close(total, plain + 2.0 * added)


def test_heatmaps_loss_follows_the_crop_into_the_cut():
    """A peak on the true cell costs little, one a cell away more; hidden and outside points none.

    The map has 8 x 6 cells: the crop is 8 cells wide, and one cell is cut on each side.
    """
    target = torch.tensor([[[0.0, 0.0, 1.0], [-0.49, 0.0, 1.0], [torch.nan, torch.nan, 0.0]]])
    heatmaps = torch.zeros(1, 3, 8, 6)
    right, wrong = heatmaps.clone(), heatmaps.clone()
    # The centre of the crop is the corner of four cells: x = 3 of 6, y = 4 of 8.
    right[0, 0, 3:5, 2:4] = 1.5
    wrong[0, 0, 3:5, 4:6] = 1.5
    flat = heatmaps_loss(heatmaps, target)
    assert flat.item() == pytest.approx(math.log(48), rel=1e-5)
    assert heatmaps_loss(right, target) < flat < heatmaps_loss(wrong, target)
    elsewhere = right.clone()
    elsewhere[0, 1:] = torch.randn(2, 8, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(heatmaps_loss(elsewhere, target), heatmaps_loss(right, target))


def test_codes_go_to_the_places_that_are_given():
    """Other places than the mask's: their tokens are what is scored and replaced."""
    model, batch = composed(), tiny_batch()
    _, parts, mask = run(model, batch)
    half = (mask | ~batch.has_smpl[:, None]).flatten().nonzero()[::2, 0]
    total, others, _ = run(model, batch, places=half)
    assert others["mask"] != parts["mask"] and torch.isfinite(total)
    _, all_places, _ = run(model, batch, places=torch.arange(mask.numel()), all_tokens=True)
    _, wanted, _ = run(model, batch, places=torch.arange(mask.numel()))
    assert torch.equal(all_places["pose"], wanted["pose"])
