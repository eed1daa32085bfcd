"""The lifter's training: its made-up pictures are pictures, it learns, and resumes exactly."""

from pathlib import Path

import numpy as np
import pytest
import torch

from genhmr.body.joints import body25
from genhmr.body.model_files import load_bodies
from genhmr.body.smpl import SMPLJoints
from genhmr.train.lifter import disturb_keypoints, train_lifter, view_keypoints
from genhmr.train.loop import ResumableLoop
from genhmr.transformer.lifter import PoseLifter
from genhmr.types import UserError
from tests.train.test_train_tokenizer import toy_poses
from tests.transformer.tiny_models import stick_joints


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def people(count, seed=0):
    return torch.randn(count, 25, 3, generator=generator(seed)) * torch.tensor([0.3, 0.6, 0.2])


def fresh():
    torch.manual_seed(0)
    return PoseLifter(16, 2)


def train(lifter, scratch, steps=8, **knobs):
    settings = dict(batch_size=16, lr=3e-3, warmup=2, log_every=2, checkpoint_every=3, seed=5)
    return train_lifter(lifter, [toy_poses(200)], stick_joints, scratch, steps,
                        **{**settings, **knobs})


def test_crops_sit_as_crops_do():
    places = view_keypoints(people(2000), generator(1))
    low, high = places.amin(1), places.amax(1)
    extent = 1.2 * (high - low).amax(1)
    assert 0.7 < extent.min() < 0.72 and 1.4 < extent.max() < 1.4143
    centre = (low + high) / 2
    assert 0.18 < centre.abs().max() <= 0.2 + 1e-6
    assert (centre.mean(0).abs() < 0.01).all()


def test_the_camera_is_a_pinhole_2_to_9_metres_away():
    """Four collinear points keep their cross ratio, which weak perspective would not."""
    along = torch.tensor([0.0, 0.5, 1.2, 2.0])
    start, way = torch.tensor([-0.5, -0.3, -0.6]), torch.tensor([0.5, 0.2, 0.6])
    joints = people(500)
    joints[:, :4] = start + along[:, None] * way
    flat = view_keypoints(joints, generator(2))[:, :4].double()
    steps = (flat[:, 1:] - flat[:, :1]).norm(dim=-1)
    a, b, c = steps.unbind(-1)
    truth = (1.2 / 0.7) / (2.0 / 1.5)
    torch.testing.assert_close((b / (b - a)) / (c / (c - a)), torch.full((500,), truth).double(),
                               atol=2e-3, rtol=0)
    # The far half of the rod looks shorter, more so from nearby.
    foreshortening = c / b * (1.2 / 2.0)
    assert foreshortening.max() < 1 and foreshortening.min() < 0.93


def test_errors_follow_the_confidence_and_what_is_cut_off_lies_at_the_edge():
    truth = torch.zeros(4000, 25, 2)
    truth[:, 0] = torch.tensor([0.6, 0.1])
    read = disturb_keypoints(truth, generator(3))
    places, confidence = read[..., :2], read[..., 2]
    assert (confidence > 0).all() and (confidence < 1).all()
    assert places[..., 0].abs().max() <= 0.375 and places[..., 1].abs().max() <= 0.5
    for level, spread in ((0.85, 0.02), (0.6, 0.0445), (0.4, 0.0845)):
        near = (confidence[:, 1:] - level).abs() < 0.02
        error = places[:, 1:][near]
        # The median of |error|: robust against the clamp, 0.674 sigma for a normal one.
        assert abs(error.abs().median() / (0.674 * spread) - 1) < 0.1, level
    assert confidence[:, 0].mean() < confidence[:, 1:].mean() - 0.2
    assert (places[:, 0, 0] == 0.375).float().mean() > 0.45


def test_it_learns_to_lift(tmp_path):
    """On the open body: within 150 steps it turns people the way they face."""
    body = SMPLJoints(load_bodies(Path("datasets/open/body")).neutral, body25())
    history = train_lifter(fresh(), [toy_poses(200)], body, tmp_path, 150, batch_size=32, lr=1e-2,
                           joint_noise=0.0, log_every=15)  # fmt: skip
    assert history[-1]["step"] == 149
    assert history[-1]["pose"] < 0.88 * history[0]["pose"]
    assert history[-1]["joints_3d"] < 0.5 * history[0]["joints_3d"]


def test_a_stopped_training_ends_where_an_unbroken_one_does(tmp_path, monkeypatch):
    whole, broken = fresh(), fresh()
    train(whole, tmp_path / "whole")
    log = ResumableLoop.log

    def stop(self, **values):
        if len(self.history) == 2:
            raise KeyboardInterrupt
        log(self, **values)

    monkeypatch.setattr(ResumableLoop, "log", stop)
    with pytest.raises(KeyboardInterrupt):
        train(broken, tmp_path / "broken")
    monkeypatch.setattr(ResumableLoop, "log", log)
    resumed = fresh()
    train(resumed, tmp_path / "broken")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert not resumed.training


def test_what_it_refuses(tmp_path):
    train(fresh(), tmp_path)
    with pytest.raises(UserError, match="lifter.pt belongs to a training with other settings"):
        train(fresh(), tmp_path, joint_noise=0.2)
    bad = toy_poses(20)
    bad[3, 2, 1] = np.nan
    with pytest.raises(UserError, match="NaN"):
        train_lifter(fresh(), [bad], stick_joints, tmp_path / "other", 2)
