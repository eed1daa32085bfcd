"""Dense targets, losses and decoding against textbook formulas."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from genhmr.image.dense_head import (
    DenseHead,
    DenseModel,
    DensePrediction,
    DenseTargets,
    decode_keypoints,
    dense_loss,
    dense_targets,
    heatmap_cross_entropy,
)
from genhmr.image.pyramid import FeaturePyramid
from genhmr.image.vit import ViTBackbone


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_heatmap_loss_is_cross_entropy_with_a_gaussian():
    heat = torch.randn(2, 25, 6, 5, generator=generator())
    points = torch.rand(2, 25, 2, generator=generator(1)) * torch.tensor([5.0, 6.0])
    weight = torch.rand(2, 25, generator=generator(2))
    weight[0, :5] = 0
    y, x = np.mgrid[:6, :5] + 0.5
    total = 0.0
    for b in range(2):
        for k in range(25):
            px, py = points[b, k].tolist()
            gauss = np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 1.3**2))
            gauss /= gauss.sum()
            h = heat[b, k].double().numpy()
            total += weight[b, k].item() * -(gauss * (h - logsumexp(h))).sum()
    loss = heatmap_cross_entropy(heat, points, weight, sigma=1.3)
    assert loss.item() == pytest.approx(total / weight.sum().item(), rel=1e-5)


def test_decoding_finds_the_centre_between_cells():
    y, x = np.mgrid[:16, :12] + 0.5
    points = np.array([[3.2, 9.7], [7.5, 4.5], [8.9, 12.1]])
    logits = np.stack([-((x - a) ** 2 + (y - b) ** 2) / (2 * 0.8**2) for a, b in points])
    found, confidence = decode_keypoints(torch.from_numpy(logits)[None].float())
    assert np.abs(found[0].numpy() - points).max() < 0.06
    assert (confidence > 0.95).all()


def test_decoding_ignores_a_second_weaker_peak():
    heat = torch.zeros(1, 1, 16, 12)
    heat[0, 0, 2, 3], heat[0, 0, 12, 9] = 12.0, 11.0
    found, confidence = decode_keypoints(heat)
    assert found[0, 0].tolist() == pytest.approx([3.5, 2.5], abs=0.02)
    assert 0.6 < confidence.item() < 0.8  # e / (e + 1) = 0.73


def test_targets_follow_the_cut_and_the_cells():
    parts = torch.zeros(1, 32, 32, dtype=torch.uint8)
    parts[0, 10, 6] = 7  # cell (5, 1) of the cut: pixel row 11 is its centre, see below
    parts[0, 11, 7] = 9
    normals = torch.zeros(1, 32, 32, 3, dtype=torch.int8)
    normals[0, 11, 7] = torch.tensor([0, -90, -90])
    keypoints = torch.zeros(1, 25, 3)
    keypoints[0, 0] = torch.tensor([7.0, 11.0, 1.0])
    keypoints[0, 1] = torch.tensor([2.0, 11.0, 1.0])  # in the crop, outside the cut
    keypoints[0, 2] = torch.tensor([27.9, 31.9, 0.5])
    targets = dense_targets(parts, normals, keypoints, (32, 24), 2)
    assert targets.parts.shape == (1, 16, 12)
    assert targets.parts[0, 5, 1] == 9 and (targets.parts > 0).sum() == 1
    assert targets.normals[0, :, 5, 1].tolist() == pytest.approx([0, -(0.5**0.5), -(0.5**0.5)])
    assert targets.keypoints[0, 0].tolist() == [1.5, 5.5]
    assert targets.weight[0, :3].tolist() == [1.0, 0.0, 0.5]
    assert targets.visible[0, :3].tolist() == [1.0, 0.0, 0.0]


def perfect(scale=40.0):
    """Targets of one person of two parts, and the prediction that states them."""
    parts = torch.zeros(1, 8, 6, dtype=torch.long)
    parts[0, 2:4, 1:3], parts[0, 4:6, 1:3] = 4, 11
    normals = torch.zeros(1, 3, 8, 6)
    normals[:, 2, 2:6, 1:3] = -1.0
    points = torch.full((1, 25, 2), 2.5)
    ones = torch.ones(1, 25)
    targets = DenseTargets(parts, normals, points, ones, ones)
    one_hot = torch.nn.functional.one_hot(parts, 25).permute(0, 3, 1, 2).float()
    y, x = torch.meshgrid(torch.arange(8) + 0.5, torch.arange(6) + 0.5, indexing="ij")
    heat = -((x - 2.5) ** 2 + (y - 2.5) ** 2) / 2
    prediction = DensePrediction(
        heat.expand(1, 25, 8, 6), scale * ones, scale * one_hot, 3.0 * normals
    )
    return prediction, targets


def test_perfect_prediction_has_no_loss_beyond_the_entropy_of_the_target():
    losses = dense_loss(*perfect())
    gauss = torch.softmax(perfect()[0].heatmaps[0, 0].flatten(), 0)
    entropy = -(gauss * gauss.log()).sum()
    torch.testing.assert_close(losses["keypoints"], entropy)
    for name in ("visibility", "parts", "normals"):
        assert losses[name] < 1e-5
    torch.testing.assert_close(losses["total"], entropy, atol=1e-4, rtol=1e-4)


def test_pieces_react_to_their_own_target_only():
    prediction, targets = perfect()
    turned = DensePrediction(
        prediction.heatmaps, prediction.visibility, prediction.parts, -prediction.normals
    )
    losses, before = dense_loss(turned, targets), dense_loss(prediction, targets)
    assert losses["normals"].item() == pytest.approx(2.0, abs=1e-5)
    assert losses["parts"] == before["parts"] and losses["keypoints"] == before["keypoints"]


def test_weights_scale_the_pieces():
    prediction, targets = perfect(scale=1.0)
    losses = dense_loss(prediction, targets, 2.0, 3.0, 5.0, 7.0)
    expected = sum(
        w * losses[n] for w, n in zip((2, 3, 5, 7), ("keypoints", "visibility", "parts", "normals"))
    )
    torch.testing.assert_close(losses["total"], expected)


def dense_model(scales=(1, 4)):
    torch.manual_seed(0)
    backbone = ViTBackbone((32, 24), 8, 24, 1, 3, stem="conv")
    return DenseModel(backbone, FeaturePyramid(24, 16, scales), DenseHead(16))


def test_model_predicts_on_the_four_fold_map_and_every_weight_learns():
    model = dense_model()
    prediction = model(torch.randn(2, 3, 32, 32, generator=generator()))
    assert prediction.heatmaps.shape == prediction.parts.shape == (2, 25, 16, 12)
    assert prediction.normals.shape == (2, 3, 16, 12) and prediction.visibility.shape == (2, 25)
    parts = torch.randint(0, 25, (2, 16, 12), generator=generator())
    normals = torch.randn(2, 3, 16, 12, generator=generator())
    normals = normals / normals.norm(dim=1, keepdim=True)
    points = torch.rand(2, 25, 2, generator=generator()) * 12
    ones = torch.ones(2, 25)
    dense_loss(prediction, DenseTargets(parts, normals, points, ones, ones))["total"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_visibility_is_read_where_the_heatmap_looks():
    head = DenseHead(4)
    with torch.no_grad():
        head.visibility_weight[:, 2] = 1.0
        head.cells.weight.zero_()
        head.cells.weight[:25, 0] = 50.0  # every heatmap follows channel 0
    coarse, fine = torch.zeros(1, 4, 2, 2), torch.zeros(1, 4, 8, 8)
    fine[0, 0, 5, 6] = 3.0
    fine[0, 2, 5, 6] = 3.0
    seen = head(coarse, fine).visibility
    fine[0, 2, 5, 6], fine[0, 2, 1, 1] = 0.0, 3.0
    assert (seen > 2.5).all() and (head(coarse, fine).visibility < 0.1).all()


def test_a_pyramid_without_the_needed_scales_is_refused():
    with pytest.raises(ValueError, match="1 and 4"):
        dense_model((4, 8))
