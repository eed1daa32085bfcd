"""The measuring instrument: predictions in, trusted numbers out, and nothing out of bad input."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from scipy.linalg import orthogonal_procrustes

from bench.__main__ import cli
from bench.intervals import bootstrap
from bench.keys import sequence_of, track_of
from bench.matching import match_frames
from bench.predictions import Predictions
from bench.score import score
from bench.score_report import compare, summarise
from bench.stage import whole_folder
from bench.truth import read_truth
from genhmr.body import SMPL, axis_angle_to_matrix, load_bodies
from genhmr.body.joints import H36M_TO_14
from genhmr.metrics import Evaluator, presets_for, protocol_for
from genhmr.types import UserError
from genhmr.world.generate import generate

ROOT = Path(__file__).parents[2]
DATASET = "open-wild"


@pytest.fixture(scope="module")
def bodies():
    return load_bodies(ROOT / "datasets" / "open" / "body")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory, bodies):
    """A folder with a small open-wild of several sequences where the command looks for it."""
    folder = tmp_path_factory.mktemp("score")
    (folder / "datasets").mkdir()
    (folder / "datasets" / "open").symlink_to(ROOT / "datasets" / "open")
    root = folder / "datasets" / "raw" / DATASET
    motion = ROOT / "datasets" / "open" / "motion"
    generate(DATASET, root, bodies, motion, {"test": 30}, 3, 64)
    return folder


@pytest.fixture(scope="module")
def truth(checkout, bodies):
    return read_truth("3dpw", checkout / "datasets" / "raw" / DATASET, "test", bodies)


@pytest.fixture
def predictions(truth):
    """Parameters that are off by a little, in the order of the ground truth."""
    rng = np.random.default_rng(0)
    pose = truth.pose + 0.1 * rng.standard_normal(truth.pose.shape)
    return {
        "key": np.array(truth.keys),
        "pose": pose.astype(np.float32),
        "betas": truth.betas.copy(),
    }


def write(path, columns):
    if path.suffix == ".npz":
        np.savez(path, **columns)
    else:
        listed = {k: v.tolist() if v.ndim > 1 else v for k, v in columns.items()}
        pd.DataFrame(listed).to_parquet(path)
    return path


def measure(checkout, bodies, path, names=("genhmr",), **options):
    root = checkout / "datasets" / "raw" / DATASET
    return score(path, DATASET, names, root, bodies, **options)


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
        "shuffled.npz": {k: v[np.random.default_rng(1).permutation(count)]
                         for k, v in predictions.items()},
    }  # fmt: skip
    reference = measure(checkout, bodies, write(tmp_path / "p.npz", predictions)).frames
    for name, columns in forms.items():
        frames = measure(checkout, bodies, write(tmp_path / name, columns)).frames
        pd.testing.assert_frame_equal(frames, reference, check_exact=False, atol=1e-2, rtol=0)


def test_missing_and_unknown_frames_are_counted_and_told(
    checkout, truth, predictions, tmp_path, monkeypatch
):
    monkeypatch.chdir(checkout)
    columns = {name: values[2:] for name, values in predictions.items()}
    columns["key"] = columns["key"].copy()
    columns["key"][0] = "nowhere/00001/0"
    path = write(tmp_path / "p.npz", columns)
    result = CliRunner().invoke(
        cli, ["score", str(path), "--dataset", DATASET, "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 0, result.output
    assert "MISSING: 3 frames" in result.output and truth.keys[0] in result.output
    assert "UNKNOWN: 1 predictions of p.npz fit no frame (nowhere/00001/0)" in result.output
    assert f"{len(truth.keys) - 3} of {len(truth.keys)}" in result.output
    about = json.loads((tmp_path / "out" / "about.json").read_text())
    assert about["missing"]["genhmr"] == [*truth.keys[:3]] and about["unknown"]
    summary = pd.read_csv(tmp_path / "out" / "summary.csv")
    assert (summary["low"] <= summary["mean"]).all() and (summary["mean"] <= summary["high"]).all()


def test_all_protocols_at_once_with_their_picture(
    checkout, predictions, tmp_path, monkeypatch
):
    monkeypatch.chdir(checkout)
    path = write(tmp_path / "p.npz", predictions)
    out = tmp_path / "out"
    result = CliRunner().invoke(
        cli, ["score", str(path), "--dataset", DATASET, "--protocol", "all", "--out", str(out)]
    )
    assert result.exit_code == 0, result.output
    summary = pd.read_csv(out / "summary.csv")
    assert set(summary["protocol"]) == {
        "genhmr", "spin", "hmr2", "tokenhmr", "pare", "fastmetro", "bedlam", "camerahmr", "wham",
        "gvhmr", "vqhps", "mega",
    }  # fmt: skip
    assert summary[summary["metric"] == "mpjpe"]["mean"].round(3).nunique() >= 5
    assert (out / "protocols.png").stat().st_size > 5000


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
    with pytest.raises(UserError, match="the root pelvis, the file has h36m14"):
        measure(checkout, bodies, path, ("spin",), joint_set="h36m14")
    # All 17 know every root, and serve the protocols of 14 and of 17 whose root is a joint.
    path = write(tmp_path / "k.npz", {"key": predictions["key"], "joints": joints})
    names = ("wham", "spin")
    scores = measure(checkout, bodies, path, names, joint_set="h36m17")
    full = measure(checkout, bodies, write(tmp_path / "p.npz", predictions), names)
    np.testing.assert_allclose(scores.frames["mpjpe"], full.frames["mpjpe"], atol=1e-2)
    np.testing.assert_allclose(scores.frames["pa_mpjpe"], full.frames["pa_mpjpe"], atol=1e-2)
    with pytest.raises(UserError, match="vertex_centroid, the file has h36m17"):
        measure(checkout, bodies, path, ("mega",), joint_set="h36m17")
    extra = (torch.from_numpy(bodies.regressor_extra19).float() @ body.vertices).numpy()
    path = write(tmp_path / "e.npz", {"key": predictions["key"], "joints": extra})
    scores = measure(checkout, bodies, path, ("hmr2",), joint_set="extra19")
    full = measure(checkout, bodies, write(tmp_path / "p.npz", predictions), ("hmr2",))
    np.testing.assert_allclose(scores.frames["mpjpe"], full.frames["mpjpe"], atol=1e-2)


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
    with pytest.raises(UserError, match="every frame needs 'sample' 0 to 1"):
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


def test_what_cannot_be_measured_is_said(
    checkout, bodies, truth, predictions, tmp_path, monkeypatch
):
    monkeypatch.chdir(checkout)
    path = write(tmp_path / "p.npz", predictions)
    call = ["score", str(path), "--dataset", DATASET, "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(cli, [*call, "--also", "pck"])
    assert result.exit_code == 2 and "p.npz has no 'keypoints_2d'" in result.output
    crop_units = {**predictions, "keypoints_2d": np.full((len(truth.keys), 25, 2), 0.4)}
    with pytest.raises(UserError, match="units of the crop"):
        measure(checkout, bodies, write(tmp_path / "crop.npz", crop_units))
    with pytest.raises(UserError, match=r"\(N, 25, 2\) in the order of BODY_25"):
        wrong = {**predictions, "keypoints_2d": np.full((len(truth.keys), 17, 2), 9.0)}
        measure(checkout, bodies, write(tmp_path / "coco.npz", wrong))
    every_third = {name: values[::3] for name, values in predictions.items()}
    write(path, every_third)
    result = CliRunner().invoke(cli, [*call, "--also", "accel"])
    assert result.exit_code == 0, result.output
    assert "accel: nothing to measure, no three consecutive frames" in result.output


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


def test_two_files_are_compared_in_pairs(checkout, bodies, predictions, tmp_path):
    ours = measure(checkout, bodies, write(tmp_path / "a.npz", predictions))
    rng = np.random.default_rng(7)
    pose = predictions["pose"] + 0.1 * rng.standard_normal(predictions["pose"].shape)
    worse = {name: values[3:] for name, values in {**predictions, "pose": pose}.items()}
    theirs = measure(checkout, bodies, write(tmp_path / "b.npz", worse))
    table = compare(ours, theirs).set_index("metric")
    common = ours.frames.merge(theirs.frames, on="key")
    gap = (common["mpjpe_x"] - common["mpjpe_y"]).mean()
    assert table.loc["mpjpe", "mean"] == pytest.approx(gap)
    assert table.loc["mpjpe", "n"] == len(predictions["key"]) - 3
    assert table.loc["mpjpe", "high"] < 0
    same = compare(ours, ours)
    assert (same["mean"] == 0).all() and (same["low"] == 0).all()


def _edit(name, change):
    def edit(columns):
        columns[name] = change(columns[name])
    return edit  # fmt: skip


def _nan(array):
    array = array.copy()
    array[4, 2] = np.nan
    return array


BAD = {
    "no key": (lambda c: c.pop("key"), "neither 'key' nor 'imgname'"),
    "no betas": (lambda c: c.pop("betas"), "has a pose and no 'betas'"),
    "no body": (lambda c: c.pop("pose"), "must hold one of"),
    "two bodies": (lambda c: c.update(vertices=np.zeros((1, 6890, 3))), "must hold one of"),
    "wrong shape": (_edit("pose", lambda a: a[:, :20]), "axis-angle or rotation matrices of 24"),
    "too few rows": (_edit("betas", lambda a: a[:5]), "rows are expected"),
    "few betas": (_edit("betas", lambda a: a[:, :4]), r"\(N, 10\) is expected"),
    "nan": (_edit("pose", _nan), "NaN or infinity in 1 rows, first in row 4"),
    "duplicate": (_edit("key", lambda a: np.array([a[0], *a[:-1]])), "is predicted twice"),
    "foreign": (_edit("key", lambda a: np.array([f"x/{i}/0" for i in range(len(a))])),
                "no key is known to the ground truth"),
    "text pose": (_edit("pose", lambda a: np.array(["a"] * len(a))), "does not hold numbers"),
    "no rotation": (lambda c: c.update(pose=np.ones((len(c["key"]), 24, 3, 3))), "no rotations"),
    "object keys": (_edit("key", lambda a: a.astype(object)), "save plain arrays"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_writes_nothing(
    checkout, predictions, tmp_path, monkeypatch, case
):
    monkeypatch.chdir(checkout)
    edit, message = BAD[case]
    columns = dict(predictions)
    edit(columns)
    path = tmp_path / "p.npz"
    np.savez(path, **columns)
    out = tmp_path / "out"
    result = CliRunner().invoke(
        cli, ["score", str(path), "--dataset", DATASET, "--out", str(out)]
    )
    assert result.exit_code == 2, result.output
    assert len(result.output.strip().splitlines()) == 1 and "p.npz" in result.output
    assert re.search(message, result.output), result.output
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "coco"], "'coco' has no evaluation protocol"),
        (["--dataset", DATASET, "--protocol", "gold"], "'gold' is not defined on open-wild"),
        (["--dataset", DATASET, "--protocol", "emdb-official"], "is not defined on open-wild"),
        (["--dataset", "open-lab"], "open-lab is missing: generate it with"),
        (["--dataset", "3dpw"], "datasets/body"),
        (["--dataset", "open-mocap"], "has no images to predict from"),
    ],
)
def test_unknown_names_are_one_sentence(
    checkout, predictions, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(checkout)
    path = write(tmp_path / "p.npz", predictions)
    result = CliRunner().invoke(cli, ["score", str(path), *arguments])
    assert result.exit_code == 2 and message in result.output
    assert len(result.output.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"not a zip", "cannot be read"), (b"\x93NUMPY\x01\x00", "cannot be read"),
     (None, "does not exist")],
)
def test_unreadable_files_are_one_sentence(checkout, bodies, tmp_path, content, message):
    path = tmp_path / "p.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        measure(checkout, bodies, path)
    with pytest.raises(UserError, match="neither .npz nor .parquet"):
        measure(checkout, bodies, tmp_path / "p.csv")


@pytest.mark.parametrize(("factor", "message"), [(1000, "millimetres"), (0.001, "write metres")])
def test_other_units_are_noticed(checkout, bodies, predictions, tmp_path, factor, message):
    matrices = axis_angle_to_matrix(torch.from_numpy(predictions["pose"]))
    with torch.no_grad():
        body = SMPL(bodies.neutral)(matrices, torch.from_numpy(predictions["betas"]))
    columns = {"key": predictions["key"], "vertices": factor * body.vertices.numpy()}
    with pytest.raises(UserError, match=message):
        measure(checkout, bodies, write(tmp_path / "v.npz", columns))


def test_an_image_of_several_people_asks_who_is_meant():
    keys = ["walk/00001/0", "walk/00001/1", "walk/00002/0"]
    images = ["imageFiles/walk/image_00001.jpg"] * 2 + ["imageFiles/walk/image_00002.jpg"]
    names = np.array(["walk/image_00002.jpg", "x/imageFiles/walk/image_00001.jpg"])

    def found(person):
        return Predictions(Path("p.npz"), names, "imgname", person, None)

    with pytest.raises(UserError, match="shows 2 people: add a column 'person'.*walk/00001/0"):
        match_frames(found(None), keys, images)
    match = match_frames(found(np.array([0, 1])), keys, images)
    assert match.frames.tolist() == [1, 2] and match.rows.tolist() == [[1], [0]]
    assert match.missing == ["walk/00001/0"]
    match = match_frames(found(np.array([0, 5])), keys, images)
    assert match.unknown == ["x/imageFiles/walk/image_00001.jpg person 5"]
    # Person 0 of the first image was filtered out: a prediction of theirs must not score person 1.
    match = match_frames(found(np.array([0, 0])), keys[1:], images[1:])
    assert match.frames.tolist() == [1] and match.missing == ["walk/00001/1"]
    assert match.unknown == ["x/imageFiles/walk/image_00001.jpg person 0"]


def test_an_ambiguous_file_name_matches_nothing():
    """EMDB calls every sequence's pictures images/00000.jpg: the last two parts do not tell."""
    keys, images = ["a/0/0", "b/0/0"], ["P1/a/images/0.jpg", "P2/b/images/0.jpg"]
    names = np.array(["P2\\b\\images\\0.jpg"])
    match = match_frames(Predictions(Path("p"), names, "imgname", None, None), keys, images)
    assert match.frames.tolist() == [1]
    names = np.array(["images/0.jpg"])
    with pytest.raises(UserError, match="no imgname is known"):
        match_frames(Predictions(Path("p"), names, "imgname", None, None), keys, images)


def test_a_result_replaces_nothing_but_a_result(
    checkout, predictions, tmp_path, monkeypatch
):
    monkeypatch.chdir(checkout)
    path = write(tmp_path / "p.npz", predictions)
    precious = tmp_path / "thesis" / "chapter.txt"
    precious.parent.mkdir()
    precious.write_text("x")

    def run(out):
        return CliRunner().invoke(cli, ["score", str(path), "--dataset", DATASET, "--out", out])

    for out in (str(precious.parent), str(precious), ".", "..", str(tmp_path)):
        result = run(out)
        assert result.exit_code == 2 and "is no result of score" in result.output, (out, result)
    assert precious.read_text() == "x" and path.exists() and (checkout / "datasets").is_dir()
    assert run(str(tmp_path / "new")).exit_code == 0
    (tmp_path / "new" / "summary.csv").unlink()
    assert run(str(tmp_path / "new")).exit_code == 0
    assert (tmp_path / "new" / "summary.csv").exists()


def test_outputs_never_replace_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    for out in (".", "..", "../../" + tmp_path.name):
        with pytest.raises(ValueError, match="not a folder for outputs"):
            with whole_folder(Path(out)):
                raise AssertionError("the block must not run")
    assert (tmp_path / "a").is_dir()


def test_a_comparison_tells_of_both_files(checkout, predictions, tmp_path, monkeypatch):
    monkeypatch.chdir(checkout)
    ours = write(tmp_path / "a.npz", predictions)
    count = len(predictions["key"])
    two = {k: np.concatenate([v, v]) for k, v in predictions.items()}
    two["sample"] = np.repeat([0, 1], count)
    keep = np.tile(np.arange(count) > 0, 2)
    theirs = write(tmp_path / "b.npz", {k: v[keep] for k, v in two.items()})
    result = CliRunner().invoke(
        cli, ["score", str(ours), "--dataset", DATASET, "--against", str(theirs), "--out",
              str(tmp_path / "out")],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "MISSING: 1 frames have no prediction in b.npz" in result.output
    assert "NOT ALIKE: best of 1 beside best of 2" in result.output
    about = json.loads((tmp_path / "out" / "about.json").read_text())
    assert about["against"]["hypotheses"] == 2
    assert about["against"]["missing"]["genhmr"] == [predictions["key"][0]]


@pytest.mark.parametrize(
    ("key", "sequence"),
    [
        ("downtown_walk_00/00017/0", "downtown_walk_00"),
        ("P1_14_outdoor_climb/00017/0", "P1_14_outdoor_climb"),
        ("images/S9_Walking 1.60457274_000123.jpg/17", "S9_Walking 1"),
    ],
)
def test_frames_of_one_video_are_one_sequence(key, sequence):
    assert sequence_of(key) == sequence


def test_intervals_are_of_sequences_and_repeat():
    """Twenty sequences of fifty equal frames: the interval is that of twenty numbers."""
    rng = np.random.default_rng(0)
    level = rng.normal(100, 10, 20)
    values, names = np.repeat(level, 50), np.repeat(np.arange(20), 50)
    found = bootstrap(values, names, seed=1)
    assert found == bootstrap(values, names, seed=1) and found.unit == "sequences"
    assert found.mean == pytest.approx(level.mean())
    half = 1.96 * level.std() / np.sqrt(20)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.15)
    order = rng.permutation(1000)
    assert bootstrap(values[order], names[order], seed=1).low == pytest.approx(found.low)
    # A long sequence weighs by its frames, or counts once.
    values, names = np.array([0.0, 0.0, 0.0, 8.0]), np.array(["a", "a", "a", "b"])
    assert bootstrap(values, names).mean == 2.0
    assert bootstrap(values, names, aggregate="sequences").mean == 4.0
    assert bootstrap(values, names).unit == "frames"
    assert np.isnan(bootstrap(values[:1], names[:1]).low)


def test_summary_has_a_line_for_each_number(checkout, bodies, predictions, tmp_path):
    scores = measure(checkout, bodies, write(tmp_path / "p.npz", predictions), ("spin", "wham"))
    summary = summarise(scores)
    assert len(summary) == 6 and (summary["n"] == len(predictions["key"])).all()
    own = scores.frames[scores.frames["protocol"] == "wham"]["mpjpe"]
    line = summary[(summary["protocol"] == "wham") & (summary["metric"] == "mpjpe")]
    assert line["mean"].item() == pytest.approx(own.mean())
