"""Reference points and context of the tokens from the backbone's own keypoints."""

import pytest
import torch

from genhmr.body.joints import BODY25_FLIP, SMPL24_FLIP
from genhmr.image.dense_head import DenseHead, DenseModel
from genhmr.image.pyramid import FeaturePyramid
from genhmr.image.vit import ViTBackbone
from genhmr.transformer.genhmr import GenHMR
from genhmr.transformer.guide import KeypointGuide, joint_places
from genhmr.transformer.lifter import PoseLifter
from genhmr.transformer.losses import LossWeights
from genhmr.transformer.objective import training_losses
from tests.transformer.tiny_models import composed, stick_joints, tiny_batch

DIM, FEATURES, TOKENS, WIDTH, CODE = 12, 6, 48, 16, 8


def fresh(seed=0, features=FEATURES):
    torch.manual_seed(seed)
    return KeypointGuide(DIM, features, TOKENS, WIDTH, CODE, PoseLifter(20, 1)).eval()


def latents(pose):
    """Stand-in for the tokenizer's encoder: two tokens a joint, the rotation's first rows."""
    return pose[:, :, :2].reshape(len(pose), TOKENS, 3).tile(1, 1, CODE)[..., :CODE]


def guided():
    """The tiny model with a guide; its grid has 4 x 4 cells."""
    plain = composed()
    torch.manual_seed(1)
    guide = KeypointGuide(DIM, FEATURES, 24, 16, 8, PoseLifter(20, 1))
    torch.nn.init.normal_(guide.lifter.blocks[0].outer.weight)  # the identity at the start
    return GenHMR(
        plain.backbone, plain.pyramid, plain.transformer, plain.heads, plain.tokenizer, guide
    ).eval()


def test_places_are_means_and_mirror_with_the_body():
    places = joint_places()
    torch.testing.assert_close(places.sum(1), torch.ones(24))
    torch.testing.assert_close(places[list(SMPL24_FLIP)][:, list(BODY25_FLIP)], places)


def test_a_token_starts_where_its_joint_peaks():
    """One sharp peak per keypoint, at cells we choose; the reference follows by hand."""
    guide = fresh()
    rows = torch.randint(2, 14, (25,), generator=torch.Generator().manual_seed(2))
    columns = torch.randint(2, 10, (25,), generator=torch.Generator().manual_seed(3))
    heatmaps = torch.full((1, 25, 16, 12), -30.0)
    heatmaps[0, torch.arange(25), rows, columns] = 30.0
    guide.heatmaps.register_forward_hook(lambda *_: heatmaps)
    out = guide(torch.randn(1, DIM, 4, 3), latents)
    expected = torch.stack([(columns + 0.5) / 12, (rows + 0.5) / 16], -1)
    torch.testing.assert_close(out.keypoints[0, :, :2], expected)
    torch.testing.assert_close(out.keypoints[0, :, 2], torch.ones(25))
    # Token 8 and 9 belong to joint 4, the left knee (BODY_25's 13); 6 and 7 to spine1.
    torch.testing.assert_close(out.reference[0, [8, 9]], expected[[13, 13]])
    torch.testing.assert_close(out.reference[0, 6], (2 * expected[8] + expected[1]) / 3)
    assert out.context.shape == (1, TOKENS, WIDTH)
    assert not torch.allclose(out.context[0, 8], out.context[0, 6])


def test_the_lifter_is_told_crop_units_and_its_guess_reaches_every_token():
    """The grid is a cut of 3:4 out of a square crop: its right edge lies at x = 0.375."""
    guide = fresh()
    heatmaps = torch.full((1, 25, 16, 12), -30.0)
    heatmaps[0, :, 15, 11] = 30.0
    guide.heatmaps.register_forward_hook(lambda *_: heatmaps)
    told = []
    guide.lifter.register_forward_pre_hook(lambda _, inputs: told.append(inputs[0]))
    out = guide(torch.randn(1, DIM, 4, 3), latents)
    corner = torch.tensor([0.375 - 0.5 / 16, 0.5 - 0.5 / 16, 1.0])
    torch.testing.assert_close(told[0], corner.expand(1, 25, 3))
    torch.testing.assert_close(out.pose, guide.lifter(told[0])[0])
    other = guide(torch.randn(1, DIM, 4, 3), lambda pose: latents(pose) + 1.0)
    assert ((other.context - out.context).abs().sum(-1) > 0).all()


def test_warm_start_repeats_the_pretrained_heatmaps():
    torch.manual_seed(0)
    backbone = ViTBackbone((32, 24), 8, DIM, 1, 2)
    model = DenseModel(backbone, FeaturePyramid(DIM, FEATURES, (1, 4)), DenseHead(FEATURES))
    grid = torch.randn(2, DIM, 4, 3)
    guide = fresh()
    seen = []
    guide.heatmaps.register_forward_hook(lambda _m, _i, out: seen.append(out))
    assert guide.warm_start(model.state_dict())
    guide(grid, latents)
    torch.testing.assert_close(seen[0], model.head(*model.pyramid(grid)).heatmaps)

    other = fresh(features=8)
    before = {k: v.clone() for k, v in other.state_dict().items()}
    assert not other.warm_start(model.state_dict())
    assert all(torch.equal(v, before[k]) for k, v in other.state_dict().items())


def test_the_guide_reaches_the_logits_and_its_gradient_reaches_the_heatmaps():
    model, batch = guided(), tiny_batch()
    features = model.encode_image(batch.images)
    tokens = torch.zeros(4, 24, dtype=torch.int64)
    mask = torch.ones(4, 24, dtype=torch.bool)
    logits = model.logits(tokens, mask, features)
    unguided = model.transformer(tokens, mask, features.maps)
    assert not torch.allclose(logits, unguided)
    logits.square().sum().backward()
    lifter = dict(model.guide.lifter.named_parameters())
    own = {n: p for n, p in model.guide.named_parameters() if not n.startswith("lifter.")}
    for parameter in (*own.values(), model.backbone.weight):
        assert parameter.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in lifter.values())
    # The learned points, which the guide replaces, take no part.
    assert model.transformer.reference_logits.grad is None


def test_the_lifter_learns_from_its_own_pose_and_teaches_nobody_else():
    model, batch = guided(), tiny_batch()
    features = model.encode_image(batch.images)
    mask = torch.ones(4, 24, dtype=torch.bool)

    def loss(lifted):
        weights = LossWeights(mask=0.0, lifted=lifted)
        generator = torch.Generator().manual_seed(0)
        return training_losses(
            model, features, batch, stick_joints, mask, generator, 1.0, weights, 0.0
        )  # fmt: skip

    total, parts = loss(0.5)
    torch.testing.assert_close(total.detach(), 0.5 * parts["lifted"])
    total.backward()
    for name, parameter in model.named_parameters():
        reached = parameter.grad is not None and parameter.grad.abs().sum() > 0
        assert reached == name.startswith("guide.lifter."), name
    # By hand, over the three items with ground truth.
    known = batch.has_smpl
    betas = torch.where(known[:, None], batch.betas, 0.0)
    pose = features.guide.pose.detach()
    gap = stick_joints(pose, betas) - stick_joints(batch.pose, betas)
    gap = gap - gap[:, 8:9]
    each = (pose - batch.pose).square().sum((1, 2, 3)) + gap.abs().sum((1, 2))
    torch.testing.assert_close(parts["lifted"], (each * known).mean())
    assert "lifted" not in loss(0.0)[1]


def test_an_image_is_guided_by_itself_alone():
    model, images = guided(), tiny_batch(6).images
    together = model.encode_image(images).guide
    alone = model.encode_image(images[2:3]).guide
    for name in ("keypoints", "reference", "context", "pose"):
        torch.testing.assert_close(getattr(together, name)[2:3], getattr(alone, name))


def test_tokens_must_share_out_among_the_joints():
    with pytest.raises(ValueError, match="multiple of 24"):
        KeypointGuide(DIM, FEATURES, 50, WIDTH, CODE, PoseLifter(20, 1))
