"""Poses without pictures: their projection, the disturbed keypoints, and their part in training."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from genhmr.body import SMPLJoints, body25, load_bodies
from genhmr.train.lifting import KeypointNoise, LiftingSource, project_into_crop
from genhmr.train.tokenizer import PosePool
from genhmr.train.transformer import train_transformer
from genhmr.transformer.objective import lifting_loss
from tests.transformer.test_guide import guided
from tests.transformer.tiny_models import composed, stick_joints, tiny_batch

BODY = Path(__file__).parents[2] / "datasets" / "open" / "body"
EXACT = KeypointNoise(spread=(1e-9, 1e-8), lost=0.0, swapped=0.0)


@pytest.fixture(scope="module")
def joints_fn():
    return SMPLJoints(load_bodies(BODY).neutral, body25())


@pytest.fixture(scope="module")
def pool():
    rng = np.random.default_rng(0)
    return PosePool([0.3 * rng.standard_normal((50, 24, 3))])


def test_people_fill_their_crops(joints_fn):
    pose = torch.eye(3).expand(400, 24, 3, 3).clone()
    pose[:, 0] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))  # upright before the camera
    joints = joints_fn(pose, torch.zeros(400, 10))
    crop = project_into_crop(joints, torch.Generator().manual_seed(0))
    extent = (crop.amax(1) - crop.amin(1)).amax(-1)
    # Box = 1.2 times the extent, jittered by a quarter at most.
    assert 1 / 1.2 / 1.25 - 1e-4 <= extent.min() and extent.max() <= 1 / 1.2 / 0.75 + 1e-4
    assert crop[:, 0, 1].median() < -0.2 < 0.2 < crop[:, 11, 1].median()  # nose above ankle
    # The left of the body is at the right of a picture of somebody who faces the camera.
    assert (crop[:, 5, 0] > crop[:, 2, 0]).all()


def test_undisturbed_keypoints_are_the_projection(joints_fn, pool):
    """By hand, with the same random numbers: cut coordinates of the crop's coordinates."""
    source = LiftingSource(pool, joints_fn, 40, aspect=0.75, joint_noise=0.0, noise=EXACT)
    pose, keypoints = source.draw(torch.Generator().manual_seed(5), torch.device("cpu"))
    assert pose.shape == (40, 24, 3, 3) and keypoints.shape == (40, 25, 3)
    inside = ((keypoints[..., :2] > 0.01) & (keypoints[..., :2] < 0.99)).all(-1)
    seen = keypoints[..., 2] > 0.5
    assert (seen & inside).float().mean() > 0.7
    # Joints of the returned pose, up to the unknown camera: a similarity per axis fits closely
    # for people far away; the order of the keypoints along the body must agree.
    joints = joints_fn(pose, torch.zeros(40, 10))
    for axis in (0, 1):
        a = joints[..., axis] - joints[..., axis].mean(1, keepdim=True)
        b = keypoints[..., axis] - keypoints[..., axis].mean(1, keepdim=True)
        weight = (seen & inside).float()
        correlation = (a * b * weight).sum(1) / (
            (a.square() * weight).sum(1) * (b.square() * weight).sum(1)
        ).sqrt().clamp(min=1e-9)
        assert correlation.median() > 0.95


def test_noise_is_what_it_says(joints_fn, pool):
    def draw(noise, seed=1):
        source = LiftingSource(pool, joints_fn, 300, noise=noise)
        return source.draw(torch.Generator().manual_seed(seed), torch.device("cpu"))[1]

    exact = draw(EXACT)
    noisy = draw(KeypointNoise(spread=(0.02, 0.02 + 1e-9), lost=0.0, swapped=0.0))
    both = (exact[..., 2] > 0.5) & (exact[..., :2] > 0.1).all(-1) & (exact[..., :2] < 0.9).all(-1)
    gap = (noisy - exact)[both]
    assert gap[:, 1].std() == pytest.approx(0.02, rel=0.1)
    assert gap[:, 0].std() == pytest.approx(0.02 / 0.75, rel=0.1)
    lost = draw(KeypointNoise(lost=1.0))
    share = (lost[..., 2] < 0.6).float().mean()
    assert 0.4 < share < 0.75  # half of them on average, and those outside
    again = draw(KeypointNoise(lost=1.0))
    assert torch.equal(lost, again) and not torch.equal(lost, draw(KeypointNoise(lost=1.0), 2))
    assert lost[..., :2].min() >= 0 and lost[..., :2].max() <= 1


def test_the_loss_is_the_cross_entropy_without_a_picture():
    model = guided()
    pose = tiny_batch().pose[:3]
    keypoints = torch.rand(3, 25, 3, generator=torch.Generator().manual_seed(0))
    mask = torch.rand(3, 24, generator=torch.Generator().manual_seed(1)) < 0.6
    with torch.no_grad():
        loss = lifting_loss(model, pose, keypoints, mask)
        tokens = model.tokenizer.tokenize(pose)
        guide = model.guide.from_keypoints(keypoints)
        logits = model.transformer(tokens, mask, None, guide)
        nll = -logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0][mask]
    assert loss.item() == pytest.approx(nll.mean().item(), rel=1e-5)


def test_it_joins_the_training_and_leaves_the_backbone_alone(tmp_path, pool):
    def train(lifting, folder, model):
        return train_transformer(
            model, lambda start: (tiny_batch(seed=s % 3) for s in itertools.count(start)),
            stick_joints, tmp_path / folder, 3, lr=1e-2, warmup=1, log_every=1, lifting=lifting,
        )  # fmt: skip

    source = LiftingSource(pool, stick_joints, 6)
    first, second = guided(), guided()
    history = train(source, "a", first)
    assert all(row["lifting"] > 0 for row in history)
    again = train(source, "b", second)
    assert [r["lifting"] for r in history] == [r["lifting"] for r in again]
    without = guided()
    train(None, "c", without)
    assert not torch.equal(
        first.transformer.code_head.weight, without.transformer.code_head.weight
    )
    start = guided()
    assert torch.equal(first.backbone.weight, start.backbone.weight)


def test_without_maps_the_layers_skip_their_cross_attention():
    model = composed()
    tokens = torch.zeros(2, 24, dtype=torch.int64)
    mask = torch.ones(2, 24, dtype=torch.bool)
    out = model.transformer(tokens, mask, None)
    for layer in model.transformer.layers:
        layer.cross_attention = None  # would fail if it were called
    torch.testing.assert_close(model.transformer(tokens, mask, None), out)
