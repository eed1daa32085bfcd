"""Pre-training on crops that are drawn here: one coloured ball for each keypoint."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from genhmr.image.pretrained import backbone_from_weights
from genhmr.image.vit import ViTConfig
from genhmr.train.checkpoint import load_weights
from genhmr.train.dense_data import DenseSet
from genhmr.train.dense_scores import evaluate_dense
from genhmr.train.pretrain import build_dense_model, pretrain_backbone
from genhmr.types import UserError

TINY = ViTConfig((32, 24), 8, 32, 1, 2, mlp_ratio=2.0, stem="conv")
# Keypoints that are drawn, with their colour and part; the others are outside. They are their
# own mirror images (nose, neck, mid hip), as the colours do not tell left from right.
SHOWN = {0: ((250, 40, 40), 16), 1: ((40, 250, 40), 13), 8: ((40, 40, 250), 1)}


def draw_set(folder, count, seed=0, size=32):
    """Balls of one colour a keypoint, with parts, normals of a sphere, and keypoints."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 60, (count, size, size, 3), dtype=np.uint8)
    parts = np.zeros((count, size, size), np.uint8)
    normals = np.zeros((count, size, size, 3), np.int8)
    keypoints = np.full((count, 25, 3), -9, np.float32) * [1, 1, 0]
    y, x = np.mgrid[:size, :size] + 0.5
    for i in range(count):
        for k, (colour, part) in SHOWN.items():
            cx, cy = rng.uniform(7, 25), rng.uniform(3, 29)
            inside = (x - cx) ** 2 + (y - cy) ** 2 < 25
            images[i][inside], parts[i][inside] = colour, part
            depth = np.sqrt(np.clip(25 - (x - cx) ** 2 - (y - cy) ** 2, 0, 9))
            n = np.stack([x - cx, y - cy, -depth], -1)
            normals[i][inside] = np.round(127 * n / 5)[inside]
            keypoints[i, k] = cx, cy, 1
    folder.mkdir()
    np.save(folder / "images.npy", images)
    np.save(folder / "parts.npy", parts)
    np.save(folder / "normals.npy", normals)
    np.save(folder / "keypoints.npy", keypoints.astype(np.float32))
    return folder


def train(folder, tmp_path, name="run", **changes):
    values = {
        "pyramid_dim": 24, "steps": 6, "batch_size": 8, "warmup": 2, "bf16": False,
        "average_decay": 0.9, "evaluate_every": 1000,
    }  # fmt: skip
    out = tmp_path / f"{name}.safetensors"
    config = changes.pop("config", TINY)
    history = pretrain_backbone(folder, tmp_path / name, out, config, **{**values, **changes})
    return history, out


def test_it_learns_where_things_are_and_exports_what_it_learned(tmp_path):
    folder = draw_set(tmp_path / "set", 400)
    data, held_out = DenseSet(folder), np.arange(380, 400)
    fresh = evaluate_dense(build_dense_model(TINY, 24, 0), data, held_out, bf16=False)
    history, out = train(
        folder, tmp_path, steps=130, batch_size=16, lr=4e-3, warmup=10, evaluate_every=60
    )
    last = history[-1]
    assert fresh["pck10"] < 0.3 and last["pck10"] > 0.75
    assert last["pck10"] >= last["pck05"] and last["keypoint_error"] < 10
    assert last["part_accuracy"] > fresh["part_accuracy"] + 0.2
    assert last["normal_degrees"] < fresh["normal_degrees"] - 10
    assert last["visibility_accuracy"] > 0.95  # 22 keypoints are never there
    assert last["step"] == 129
    early = load_weights(tmp_path / "run" / "latest.safetensors")[1]
    assert early["steps_done"] == 120 and early["scores"]["pck10"] <= last["pck10"] + 0.1
    assert any("pck10" in row and row["step"] == 59 for row in history)

    tensors, config = load_weights(out)
    assert config["scores"]["pck10"] == pytest.approx(last["pck10"], abs=1e-3)
    model = build_dense_model(TINY, 24, 7)
    model.load_state_dict(tensors)
    again = evaluate_dense(model, data, held_out, bf16=False)
    assert again["pck10"] == pytest.approx(last["pck10"], abs=0.05)  # half precision
    backbone = backbone_from_weights(tensors, config)
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(backbone.eval()(x), model.backbone.eval()(x))
    assert json.loads((tmp_path / "run" / "history.json").read_text())[-1]["pck10"] == last["pck10"]


@pytest.mark.parametrize("config", [TINY, dataclasses.replace(TINY, depth=2, drop_path=0.5)])
def test_a_stopped_training_goes_on_as_if_it_had_not_stopped(tmp_path, config):
    """Stochastic depth too: it draws from torch's own generator, which no checkpoint holds."""
    folder = draw_set(tmp_path / "set", 60)
    _, whole = train(folder, tmp_path, "whole", config=config)
    torch.manual_seed(12345)
    _, stopped = train(folder, tmp_path, "stopped", max_seconds=1e-9, config=config)
    assert load_weights(stopped)[1]["steps_done"] == 1
    checkpoint = tmp_path / "stopped" / "pretrain.pt"
    state = torch.load(checkpoint, weights_only=True)
    assert state["step"] == 1
    torch.save({**state, "stopped_early": False}, checkpoint)
    _, resumed = train(folder, tmp_path, "stopped", config=config)
    assert resumed.read_bytes() == whole.read_bytes()


def test_same_seed_same_bytes_and_another_seed_other_bytes(tmp_path):
    folder = draw_set(tmp_path / "set", 40)
    global_state = torch.random.get_rng_state()
    a, b, c = (
        train(folder, tmp_path, name, steps=2, seed=seed)[1].read_bytes()
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert a == b and a != c
    assert torch.equal(torch.random.get_rng_state(), global_state)


def test_bfloat16_stays_near_float32(tmp_path):
    data = DenseSet(draw_set(tmp_path / "set", 30))
    model = build_dense_model(TINY, 24, 0)
    rows = np.arange(30)
    exact = evaluate_dense(model, data, rows, bf16=False)
    fast = evaluate_dense(model, data, rows, bf16=True)
    assert fast["normal_degrees"] == pytest.approx(exact["normal_degrees"], abs=2.0)
    assert fast["keypoint_error"] == pytest.approx(exact["keypoint_error"], abs=3.0)


def test_scores_of_known_predictions(tmp_path):
    """A model that always answers the same: the scores follow from counting."""
    data = DenseSet(draw_set(tmp_path / "set", 12))
    model = build_dense_model(TINY, 24, 0)
    with torch.no_grad():
        model.head.cells.weight.zero_()
        model.head.cells.bias.zero_()
        model.head.cells.bias[25 + 1] = 5.0  # the part of the mid hip's ball everywhere
        model.head.cells.bias[-1] = -1.0  # every normal towards the camera
        model.head.visibility_bias.fill_(1.0)  # everything visible
    scores = evaluate_dense(model, data, np.arange(12), bf16=False)
    batch = data.batch(np.arange(12))
    parts = batch.parts[:, 1::2, 4:28][:, :, 1::2]
    normals = batch.normals[:, 1::2, 4:28][:, :, 1::2].astype(float)
    person = parts > 0
    assert scores["part_accuracy"] == pytest.approx((parts == 1).sum() / person.sum())
    unions = [(parts == 1).sum() / parts.size] + [0.0] * 3
    assert scores["part_iou"] == pytest.approx(np.mean(unions))
    assert scores["visibility_accuracy"] == pytest.approx(3 / 25)
    cosine = -normals[person][:, 2] / np.linalg.norm(normals[person], axis=-1)
    assert scores["normal_degrees"] == pytest.approx(np.degrees(np.arccos(cosine)).mean(), abs=0.1)


def test_bad_sets_are_refused_in_one_sentence(tmp_path):
    with pytest.raises(UserError, match="render the pre-training set"):
        train(tmp_path / "absent", tmp_path)
    with pytest.raises(UserError, match="fewer than a batch"):
        train(draw_set(tmp_path / "few", 6), tmp_path)
    with pytest.raises(UserError, match="48 pixels"):
        train(draw_set(tmp_path / "large", 12, size=48), tmp_path)
