"""Predictions that are missing, unknown, ambiguous, damaged or in other units: told, not scored."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from bench.__main__ import cli
from bench.matching import NoOverlap, match_frames
from bench.predictions import JOINT_NAMES, Predictions
from bench.score import score
from bench.truth import read_truth
from genhmr.body import SMPL, axis_angle_to_matrix
from genhmr.types import UserError
from genhmr.world.generate import generate
from tests.bench.prediction_files import DATASET, measure, write

ROOT = Path(__file__).parents[2]


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
    "wrong shape": (_edit("pose", lambda a: a[:, :20]), r"\(N, 24, 3\) or \(N, 24"),
    "too few rows": (_edit("betas", lambda a: a[:5]), "has 5 rows and there are .* names: write"),
    "few betas": (_edit("betas", lambda a: a[:, :4]), r"\(N, 10\) is expected"),
    "nan": (_edit("pose", _nan), "NaN or infinity in 1 rows, first in row 4"),
    "duplicate": (_edit("key", lambda a: np.array([a[0], *a[:-1]])), "is predicted twice"),
    "foreign": (_edit("key", lambda a: np.array([f"x/{i}/0" for i in range(len(a))])),
                "no key is known to the ground truth"),
    "text pose": (_edit("pose", lambda a: np.array(["a"] * len(a))), "where numbers are expected"),
    "no rotation": (lambda c: c.update(pose=np.ones((len(c["key"]), 24, 3, 3))), "no rotations"),
    "object keys": (_edit("key", lambda a: a.astype(object)), r"'key' holds Python objects"),
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
        (["--dataset", "coco"], "'coco' is no data set whose images are scored: choose one of "
         "3dpw, emdb, h36m, open-lab, open-wild, open-extreme with --dataset."),
        (["--dataset", DATASET, "--protocol", "gold"], "'gold' is not defined on open-wild"),
        (["--dataset", DATASET, "--protocol", "emdb-official"], "is not defined on open-wild"),
        (["--dataset", "open-lab"], "open-lab is missing: generate it with"),
        (["--dataset", "3dpw"], "datasets/body"),
        (["--dataset", "open-mocap"], "'open-mocap' is no data set whose images are scored"),
        (["--dataset", "amass"], "'amass' is no data set whose images are scored"),
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
    with pytest.raises(NoOverlap, match="no 'person' .* first 9 in walk/image_00002.jpg, where it "
                                        "has 0: write"):  # fmt: skip
        match_frames(found(np.array([9, 9])), keys, images)
    match = match_frames(found(np.array([0, 5])), keys, images)
    assert match.unknown == ["x/imageFiles/walk/image_00001.jpg person 5"]
    # Person 0 of the first image was filtered out: a prediction of theirs must not score person 1.
    match = match_frames(found(np.array([0, 0])), keys[1:], images[1:])
    assert match.frames.tolist() == [1] and match.missing == ["walk/00001/1"]
    assert match.unknown == ["x/imageFiles/walk/image_00001.jpg person 0"]


def test_the_nearest_box_tells_who_is_meant():
    """Two people in one image, one alone in the next whose neighbour was filtered out."""
    keys = ["walk/00001/0", "walk/00001/1", "walk/00002/0"]
    images = ["walk/image_00001.jpg"] * 2 + ["walk/image_00002.jpg"]
    boxes = np.array([[100.0, 200.0], [160.0, 200.0], [100.0, 200.0]]), np.array([80.0, 80.0, 80.0])
    names = np.array([images[0], images[0], images[2], images[2]])
    center = np.array([[150.0, 210.0], [110.0, 190.0], [100.0, 239.0], [170.0, 200.0]])
    found = Predictions(Path("p.npz"), names, "imgname", None, None, center)
    match = match_frames(found, keys, images, boxes=boxes)
    assert match.frames.tolist() == [0, 1, 2] and match.rows.tolist() == [[1], [0], [2]]
    assert match.unknown == ["walk/image_00002.jpg at 170, 200"]
    crowd = Predictions(Path("p.npz"), names[:2], "imgname", None, None, center[[0, 0]])
    with pytest.raises(UserError, match="frame walk/00001/1 is predicted twice"):
        match_frames(crowd, keys, images, boxes=boxes)
    # The image is known, and nobody is there: not the name is what is wrong.
    crop = Predictions(Path("p.npz"), names[:2], "imgname", None, None, center[:2] / 1000)
    nearest = r"\(0, 0\) in walk/image_00001.jpg, where .* box has \(100, 200\) and side 80"
    with pytest.raises(NoOverlap, match=f"2 of 2 names are known .* no 'center' .*{nearest}"):
        match_frames(crop, keys, images, boxes=boxes)
    # Numbers of people, where there are any, are what counts.
    numbered = Predictions(Path("p.npz"), names[:2], "imgname", np.array([0, 1]), None, center[:2])
    assert match_frames(numbered, keys, images, boxes=boxes).rows.tolist() == [[0], [1]]


def test_a_split_that_the_file_does_not_touch_leaves_the_others(checkout_lab, bodies, tmp_path):
    """Protocol 1 has all cameras, protocol 2 the frontal one."""
    root, p1, p2 = checkout_lab

    def columns(keys):
        return {"key": np.array(keys), "pose": np.zeros((len(keys), 24, 3)),
                "betas": np.zeros((len(keys), 10))}  # fmt: skip

    def run(keys, *names):
        return score(write(tmp_path / "p.npz", columns(keys)), "open-lab", names, root, bodies)

    aside = sorted(set(p1) - set(p2))
    both = run([*p1, "nobody/1"], "h36m-p1", "h36m-p2")
    assert both.unknown == ["nobody/1"], "frames of P1 are no strangers because P2 lacks them"
    assert run([*p1, "nobody/1"], "h36m-p2", "h36m-p1").unknown == ["nobody/1"]
    alone = run(aside, "all")
    assert "h36m-p1" in alone.protocols and "h36m-p2" not in alone.protocols
    assert "stand in for those of P2" in alone.left_out["h36m-p2"]
    with pytest.raises(UserError, match="cannot be scored under protocol 'h36m-p2': no prediction"):
        run(aside, "h36m-p1", "h36m-p2")
    with pytest.raises(UserError, match="no key is known to the ground truth"):
        run(["nobody/1"], "all")


@pytest.fixture(scope="module")
def checkout_lab(tmp_path_factory, bodies):
    """A small open-lab, and the keys of its two protocols."""
    root = tmp_path_factory.mktemp("lab") / "open-lab"
    generate("open-lab", root, bodies, ROOT / "datasets" / "open" / "motion", {"test": 24}, 3, 64)
    keys = [read_truth("h36m", root, split, bodies).keys for split in ("test", "test-p2")]
    assert 0 < len(keys[1]) < len(keys[0])
    return root, *keys


@pytest.mark.parametrize("joint_set", ["h36m17", "extra19"])
def test_joints_with_the_legs_exchanged_are_noticed(
    checkout, bodies, predictions, tmp_path, joint_set
):
    """Human3.6M's own order has the right leg first; SPIN's regressor the left."""
    matrices = axis_angle_to_matrix(torch.from_numpy(predictions["pose"]))
    with torch.no_grad():
        vertices = SMPL(bodies.neutral)(matrices, torch.from_numpy(predictions["betas"])).vertices
    matrix = bodies.regressor_h36m if joint_set == "h36m17" else bodies.regressor_extra19
    joints = (torch.from_numpy(matrix).float() @ vertices).numpy()
    names = JOINT_NAMES[joint_set]
    turn = [names.index({"L": "R", "R": "L"}[n[0]] + n[1:]) if n[1:] in ("Hip", "Knee", "Ankle")
            else i for i, n in enumerate(names)]  # fmt: skip
    assert sorted(turn) != turn

    def warning(order):
        columns = {"key": predictions["key"], "joints": joints[:, order]}
        path = write(tmp_path / "j.npz", columns)
        name = "wham" if joint_set == "h36m17" else "hmr2"
        return measure(checkout, bodies, path, (name,), joint_set=joint_set).warning

    assert warning(list(range(len(names)))) == ""
    told = warning(turn)
    assert told.startswith("LEGS: with the left and the right leg exchanged, MPJPE under ")
    assert f"see the order of {joint_set} in docs/predictions.md" in told


def test_an_ambiguous_file_name_matches_nothing():
    """EMDB calls every sequence's pictures images/00000.jpg: the last two parts do not tell."""
    keys, images = ["a/0/0", "b/0/0"], ["P1/a/images/0.jpg", "P2/b/images/0.jpg"]
    names = np.array(["P2\\b\\images\\0.jpg"])
    match = match_frames(Predictions(Path("p"), names, "imgname", None, None), keys, images)
    assert match.frames.tolist() == [1]
    names = np.array(["images/0.jpg"])
    with pytest.raises(UserError, match="no imgname is known"):
        match_frames(Predictions(Path("p"), names, "imgname", None, None), keys, images)
