"""What the command measures, against formulas of its own; any way to write the same bodies."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from scipy.linalg import orthogonal_procrustes

from bench.__main__ import cli
from bench.keys import track_of
from bench.score_report import summarise
from bench.truth import read_truth
from genhmr.body import SMPL, axis_angle_to_matrix
from genhmr.body.joints import H36M_TO_14
from genhmr.metrics import Evaluator, presets_for, protocol_for
from genhmr.types import UserError
from genhmr.world.generate import generate
from tests.bench.prediction_files import measure, write

ROOT = Path(__file__).parents[2]


def test_the_numbers_are_those_of_the_evaluator(checkout, bodies, truth, predictions, tmp_path):
    scores = measure(checkout, bodies, write(tmp_path / "p.npz", predictions), ("spin", "mega"))
    matrices = axis_angle_to_matrix(torch.from_numpy(predictions["pose"]))
    for name in ("spin", "mega"):
        expected = Evaluator(protocol_for("3dpw", name), bodies)(
            matrices,
            torch.from_numpy(predictions["betas"]),
            axis_angle_to_matrix(torch.from_numpy(truth.pose)),
            torch.from_numpy(truth.betas),
            truth.genders,
        )
        own = scores.frames[scores.frames["protocol"] == name]
        assert own["key"].tolist() == truth.keys
        for metric, values in expected.items():
            np.testing.assert_allclose(own[metric], values, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("dataset", "kind", "splits"),
    [("open-extreme", "emdb", {"test"}), ("open-lab", "h36m", {"test", "test-p2"})],
)
def test_the_other_sets_score_under_all_their_protocols(
    bodies, tmp_path, monkeypatch, dataset, kind, splits
):
    """Whose frames differ: P1 has every camera of Human3.6M, P2 the frontal one."""
    root = tmp_path / "datasets" / "raw" / dataset
    motion = ROOT / "datasets" / "open" / "motion"
    counts = {"train": 8, "test": 16} if kind == "h36m" else {"test": 10}
    generate(dataset, root, bodies, motion, counts, 3, 64)
    (tmp_path / "datasets" / "open").symlink_to(ROOT / "datasets" / "open")
    monkeypatch.chdir(tmp_path)
    every = read_truth(kind, root, "test", bodies)
    rng = np.random.default_rng(0)
    pose = (every.pose + 0.1 * rng.standard_normal(every.pose.shape)).astype(np.float32)
    columns = {"imgname": np.array([f"/elsewhere/{image}" for image in every.images]),
               "pose": pose, "betas": every.betas}  # fmt: skip
    if kind == "emdb":
        columns["person"] = np.zeros(len(pose), int)
    path = write(tmp_path / "p.npz", columns)
    result = CliRunner().invoke(cli, ["score", str(path), "--dataset", dataset, "--out", "s",
                                      "--protocol", "all", "--also", "pa_mve"])  # fmt: skip
    assert result.exit_code == 0 and "MISSING" not in result.output, result.output
    frames = pd.read_parquet("s/per_image.parquet").set_index("key")
    protocols = presets_for(dataset)
    assert {p.frames for p in protocols.values()} == splits
    for name, protocol in protocols.items():
        own = frames[frames["protocol"] == name]
        truth = read_truth(kind, root, protocol.frames, bodies)
        assert own.index.tolist() == truth.keys, name
        rows = [every.keys.index(key) for key in truth.keys]
        expected = Evaluator(protocol, bodies)(
            axis_angle_to_matrix(torch.from_numpy(pose[rows])),
            torch.from_numpy(every.betas[rows]),
            axis_angle_to_matrix(torch.from_numpy(truth.pose)),
            torch.from_numpy(truth.betas),
            truth.genders,
            torch.from_numpy(truth.joints_3d),
        )
        for metric, values in expected.items():
            np.testing.assert_allclose(own[metric], values, rtol=0, atol=1e-6)
        assert (own["pa_mve"] < own["mve"]).mean() > 0.9
    if kind == "h36m":
        assert len(read_truth(kind, root, "test-p2", bodies).keys) < len(every.keys)


def test_every_way_to_write_the_same_bodies_gives_the_same_numbers(
    checkout, bodies, truth, predictions, tmp_path
):
    pose, betas = predictions["pose"], predictions["betas"]
    count = len(pose)
    matrices = axis_angle_to_matrix(torch.from_numpy(pose))
    with torch.no_grad():
        vertices = SMPL(bodies.neutral)(matrices, torch.from_numpy(betas)).vertices.numpy()
    key = {"key": predictions["key"]}
    forms = {
        "pose.npz": predictions,
        "flat.npz": {**key, "pose": pose.reshape(count, 72), "betas": betas},
        "split.npz": {
            **key, "global_orient": pose[:, 0], "body_pose": pose[:, 1:].reshape(count, 69),
            "betas": betas,
        },
        "hmr2.npz": {
            **key, "global_orient": matrices[:, :1].numpy(), "body_pose": matrices[:, 1:].numpy(),
            "betas": np.concatenate([betas, betas], 1),
        },
        "pose.parquet": {**key, "pose": pose, "betas": betas},
        "vertices.npz": {**key, "vertices": vertices},
        "images.npz": {
            "imgname": np.array(["/data/3DPW/" + image for image in truth.images]),
            "person": np.array([int(k.rsplit("/", 1)[1]) for k in truth.keys]),
            "pose": pose, "betas": betas,
        },
        "boxes.npz": {  # as 4D-Humans' loader has it: numbers of people are all 0 there
            "imgname": np.array([f"/data/3DPW/{image}" for image in truth.images]),
            "center": truth.center + 3.0, "pose": pose, "betas": betas,
        },
        "shuffled.npz": {k: v[np.random.default_rng(1).permutation(count)]
                         for k, v in predictions.items()},
    }  # fmt: skip
    reference = measure(checkout, bodies, write(tmp_path / "p.npz", predictions)).frames
    for name, columns in forms.items():
        frames = measure(checkout, bodies, write(tmp_path / name, columns)).frames
        pd.testing.assert_frame_equal(frames, reference, check_exact=False, atol=1e-2, rtol=0)


def test_joints_score_where_their_root_is_known(checkout, bodies, truth, predictions, tmp_path):
    matrices = axis_angle_to_matrix(torch.from_numpy(predictions["pose"]))
    with torch.no_grad():
        body = SMPL(bodies.neutral)(matrices, torch.from_numpy(predictions["betas"]))
    joints = (torch.from_numpy(bodies.regressor_h36m).float() @ body.vertices).numpy()
    fourteen = joints[:, [6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10]]
    path = write(tmp_path / "j.npz", {"key": predictions["key"], "joints": fourteen})
    scores = measure(checkout, bodies, path, ("wham",), joint_set="h36m14")
    full = measure(checkout, bodies, write(tmp_path / "p.npz", predictions), ("wham",))
    np.testing.assert_allclose(scores.frames["mpjpe"], full.frames["mpjpe"], atol=1e-2)
    assert scores.frames["mve"].isna().all()
    advice = "whose 14 joints lack the pelvis: write h36m17, or use --protocol wham"
    with pytest.raises(UserError, match=advice):
        measure(checkout, bodies, path, ("spin",), joint_set="h36m14")
    # All 17 know every root, and serve the protocols of 14 and of 17 whose root is a joint.
    path = write(tmp_path / "k.npz", {"key": predictions["key"], "joints": joints})
    names = ("wham", "spin")
    scores = measure(checkout, bodies, path, names, joint_set="h36m17")
    full = measure(checkout, bodies, write(tmp_path / "p.npz", predictions), names)
    np.testing.assert_allclose(scores.frames["mpjpe"], full.frames["mpjpe"], atol=1e-2)
    np.testing.assert_allclose(scores.frames["pa_mpjpe"], full.frames["pa_mpjpe"], atol=1e-2)
    advice = "whose 17 joints lack the vertex centroid: write vertices, or pose and betas, or use "
    with pytest.raises(UserError, match=f"{advice}--protocol genhmr"):
        measure(checkout, bodies, path, ("mega",), joint_set="h36m17")
    extra = (torch.from_numpy(bodies.regressor_extra19).float() @ body.vertices).numpy()
    path = write(tmp_path / "e.npz", {"key": predictions["key"], "joints": extra})
    scores = measure(checkout, bodies, path, ("hmr2",), joint_set="extra19")
    full = measure(checkout, bodies, write(tmp_path / "p.npz", predictions), ("hmr2",))
    np.testing.assert_allclose(scores.frames["mpjpe"], full.frames["mpjpe"], atol=1e-2)
    advice = "the pelvis, and the file has extra19: write h36m17, or use --protocol hmr2"
    with pytest.raises(UserError, match=f"measures h36m14 from {advice}"):
        measure(checkout, bodies, path, ("spin",), joint_set="extra19")


def test_of_several_hypotheses_the_best_counts(checkout, bodies, predictions, tmp_path):
    worse = predictions["pose"] + 0.3
    count = len(worse)
    both = {
        "key": np.tile(predictions["key"], 2),
        "sample": np.repeat([0, 1], count),
        "pose": np.concatenate([worse, predictions["pose"]]).astype(np.float32),
        "betas": np.tile(predictions["betas"], (2, 1)),
    }
    scores = measure(checkout, bodies, write(tmp_path / "two.npz", both))
    alone = measure(checkout, bodies, write(tmp_path / "one.npz", predictions))
    bad = measure(
        checkout, bodies,
        write(tmp_path / "bad.npz", {**predictions, "pose": worse.astype(np.float32)}),
    )  # fmt: skip
    assert scores.hypotheses == 2
    for metric in ("mpjpe", "pa_mpjpe", "mve"):
        expected = np.minimum(alone.frames[metric], bad.frames[metric])
        np.testing.assert_allclose(scores.frames[metric], expected, atol=1e-9)
    both["sample"][-1] = 0
    with pytest.raises(UserError, match="predicted twice"):
        measure(checkout, bodies, write(tmp_path / "twice.npz", both))
    short = {name: values[:-1] for name, values in both.items()}
    with pytest.raises(UserError, match="has 'sample' 0: every frame needs 0 to 1"):
        measure(checkout, bodies, write(tmp_path / "short.npz", short))


def _with_keypoints(predictions, truth, shift):
    """2D keypoints that miss every known one by ``shift`` of the side of the person's box."""
    places = truth.keypoints_2d[..., :2].copy()
    places[..., 0] += shift * truth.box_size[:, None]
    return {**predictions, "keypoints_2d": places}


def test_further_metrics_are_those_of_their_formulas(
    checkout, bodies, truth, predictions, tmp_path
):
    """Every one by another path: scipy for the alignment, loops over frames, a known miss."""
    path = write(tmp_path / "p.npz", _with_keypoints(predictions, truth, 0.07))
    extras = ("pa_mve", "accel", "pck")
    scores = measure(checkout, bodies, path, ("genhmr", "mega"), extras=extras)
    assert scores.metrics == (
        "mpjpe", "pa_mpjpe", "mve", "pa_mve", "accel", "pck05", "pck10"
    )  # fmt: skip
    own = scores.frames[scores.frames["protocol"] == "genhmr"].set_index("key").loc[truth.keys]
    assert (own["pck05"] == 0).all() and (own["pck10"] == 1).all()

    def posed(pose, betas, gender):
        layer = SMPL(bodies.get(gender))
        with torch.no_grad():
            rotations = axis_angle_to_matrix(torch.from_numpy(pose[None]))
            return layer(rotations, torch.from_numpy(betas[None])).vertices[0].double().numpy()

    gaps = {}
    for i, key in enumerate(truth.keys):
        ours = posed(predictions["pose"][i], predictions["betas"][i], "neutral")
        true = posed(truth.pose[i], truth.betas[i], truth.genders[i])
        if i < 3:
            a, b = ours - ours.mean(0), true - true.mean(0)
            turn, weight = orthogonal_procrustes(a, b)
            scale = weight / (a**2).sum()
            error = 1000 * np.linalg.norm(scale * a @ turn - b, axis=1).mean()
            assert own.loc[key, "pa_mve"] == pytest.approx(error, abs=1e-3)
        joints = [bodies.regressor_h36m @ body for body in (ours, true)]
        centred = [j[list(H36M_TO_14)] - j[:1] for j in joints]
        gaps[key] = centred[0] - centred[1]
    found = 0
    for key in truth.keys:
        sequence, frame, person = key.split("/")
        before, after = (f"{sequence}/{int(frame) + d:05d}/{person}" for d in (-1, 1))
        if before in gaps and after in gaps:
            change = gaps[before] - 2 * gaps[key] + gaps[after]
            expected = 1000 * np.linalg.norm(change, axis=1).mean()
            assert own.loc[key, "accel"] == pytest.approx(expected, rel=1e-3)
            found += 1
        else:
            assert np.isnan(own.loc[key, "accel"])
    assert found > 5
    summary = summarise(scores).set_index(["protocol", "metric"])
    assert summary.loc[("genhmr", "accel"), "n"] == found
    assert summary.loc[("genhmr", "accel"), "unit"] == "mm/frame^2"
    assert summary.loc[("mega", "mpjpe"), "n"] == len(truth.keys)


def test_of_hypotheses_the_most_keypoints_count(checkout, bodies, truth, predictions, tmp_path):
    near, far = (_with_keypoints(predictions, truth, shift) for shift in (0.01, 0.3))
    count = len(predictions["key"])
    both = {name: np.concatenate([near[name], far[name]]) for name in near}
    both["sample"] = np.repeat([0, 1], count)
    scores = measure(checkout, bodies, write(tmp_path / "p.npz", both), extras=("pck",))
    assert (scores.frames["pck05"] == 1).all()


@pytest.mark.parametrize(
    ("key", "track"),
    [
        ("downtown_walk_00/00017/1", ("downtown_walk_00/1", 17)),
        ("images/S9_Walk 0.60457274_000123/000003", ("images/S9_Walk 0.60457274_", 123)),
        ("images/S11_Eating.60457274_000006.jpg/9", ("images/S11_Eating.60457274_", 6)),
    ],
)
def test_motion_is_measured_along_one_person_and_camera(key, track):
    assert track_of(key) == track
