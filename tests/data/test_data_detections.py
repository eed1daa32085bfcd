"""The simulated detector's statistics and the reading of OpenPose's files."""

import json
from dataclasses import replace

import numpy as np
import pytest

from genhmr.data.detections import (
    JOINT_SPREAD,
    DetectorModel,
    choose_person,
    openpose_detections,
    person_sizes,
    read_openpose,
    simulate_detections,
)
from genhmr.types import UserError

CLEAN = DetectorModel(
    outlier_probability=0.0, miss_probability=0.0, occluded_miss_probability=0.0,
    false_probability=0.0,
)  # fmt: skip


def truth(count=2000, confidence=1.0):
    keypoints = np.random.default_rng(0).uniform(-0.4, 0.4, (count, 25, 3))
    keypoints[:, 0, :2], keypoints[:, 1, :2] = [-0.4, -0.4], [0.1, 0.4]  # size 0.8
    keypoints[..., 2] = confidence
    return keypoints.astype(np.float32)


def run(keypoints, model=DetectorModel(), seed=1):
    return simulate_detections(keypoints, np.random.default_rng(seed), model)


def test_noise_has_the_documented_spread_per_joint():
    keypoints = truth()
    assert person_sizes(keypoints) == pytest.approx(0.8)
    error = run(keypoints, CLEAN)[..., :2] - keypoints[..., :2]
    np.testing.assert_allclose(error.std(axis=(0, 2)), 0.015 * 0.8 * JOINT_SPREAD, rtol=0.06)
    np.testing.assert_allclose(error.mean(axis=(0, 1)), 0, atol=3e-4)


def test_occluded_joints_are_worse_lost_oftener_and_less_confident():
    keypoints = truth()
    keypoints[:, ::2, 2] = 0.5
    seen = run(keypoints)
    lost = seen[..., 2] == 0
    assert lost[:, 1::2].mean() == pytest.approx(0.02, abs=0.01)
    assert lost[:, ::2].mean() == pytest.approx(0.3, abs=0.02)
    assert (seen[lost] == 0).all()
    error = np.linalg.norm(seen[..., :2] - keypoints[..., :2], axis=-1)
    relative = error / JOINT_SPREAD
    assert np.median(relative[:, ::2][~lost[:, ::2]]) > 1.7 * np.median(relative[:, 1::2])
    assert seen[:, ::2, 2][~lost[:, ::2]].mean() < seen[:, 1::2, 2].mean() - 0.2


def test_confidence_tells_bad_joints_from_good_ones():
    keypoints = truth()
    seen = run(keypoints, replace(CLEAN, outlier_probability=0.2))
    error = np.linalg.norm(seen[..., :2] - keypoints[..., :2], axis=-1) / (0.012 * JOINT_SPREAD)
    assert seen[..., 2][error > 6].mean() < 0.4 < 0.8 < seen[..., 2][error < 2].mean()
    assert (error > 6).mean() > 0.05
    assert seen[..., 2].max() <= 1.0 and seen[..., 2][seen[..., 2] > 0].min() >= 0.05


def test_joints_outside_the_crop_or_without_truth_are_not_invented():
    keypoints = truth(500)
    keypoints[:, 3, :2] = [0.9, 0.2]
    keypoints[:, 5, 2] = 0.0
    seen = run(keypoints, replace(DetectorModel(), false_probability=0.1, miss_probability=0.0))
    assert (seen[:, 5] == 0).all()
    reported = seen[:, 3, 2] > 0
    assert reported.mean() == pytest.approx(0.1, abs=0.04)
    assert np.abs(seen[:, 3, :2]).max() <= 0.5 and seen[reported, 3, 2].max() < 0.5


def test_same_generator_gives_the_same_detections():
    np.testing.assert_array_equal(run(truth(20)), run(truth(20)))
    assert (run(truth(20)) != run(truth(20), seed=2)).any()
    assert run(truth(20)).dtype == np.float32


def person(x, y, size, confidence=0.8):
    points = np.zeros((25, 3))
    points[:, 0] = x + size * np.linspace(-0.5, 0.5, 25)
    points[:, 1] = y + size * np.linspace(-0.5, 0.5, 25)
    points[:, 2] = confidence
    points[20] = 0.0
    return points


def write_openpose(path, people):
    path.parent.mkdir(parents=True, exist_ok=True)
    content = [{"person_id": [-1], "pose_keypoints_2d": p.ravel().tolist()} for p in people]
    path.write_text(json.dumps({"version": 1.3, "people": content}))


def test_openpose_person_of_the_box_in_crop_units(tmp_path):
    near, far = person(100, 120, 80), person(300, 120, 60)
    write_openpose(tmp_path / "street_00" / "image_00003_keypoints.json", [far, near])
    got = openpose_detections(
        tmp_path,
        np.array(["street_00/image_00003.jpg"]),
        centers=np.array([[104.0, 118]]),
        box_sizes=np.array([96.0]),
    )
    known = near[:, 2] > 0
    np.testing.assert_allclose(got[0, known, :2], (near[known, :2] - [104, 118]) / 96, atol=1e-6)
    np.testing.assert_allclose(got[0, known, 2], 0.8)
    assert (got[0, 20] == 0).all()


def test_openpose_files_may_lie_together_only_if_their_names_differ(tmp_path):
    write_openpose(tmp_path / "00000_keypoints.json", [person(50, 50, 40)])
    boxes = (np.array([[50.0, 50], [50, 50]]), np.array([60.0, 60]))
    same = np.array(["P0_a/00000.jpg", "P0_a/00000.jpg"])  # two people of one picture
    assert (openpose_detections(tmp_path, same, *boxes)[..., 2].sum(axis=1) > 0).all()
    with pytest.raises(UserError, match="P1_b.00000_keypoints.json"):
        write_openpose(tmp_path / "P0_a" / "00000_keypoints.json", [])
        openpose_detections(tmp_path, np.array(["P0_a/00000.jpg", "P1_b/00000.jpg"]), *boxes)


def test_nobody_in_the_box_is_nothing_detected():
    people = np.stack([person(500, 500, 40)])
    assert (choose_person(people, np.array([50.0, 50]), 60.0) == 0).all()
    assert (choose_person(people[:0], np.array([50.0, 50]), 60.0) == 0).all()


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"people": [{}]}', '{"people": [{"pose_keypoints_2d": [1, 2]}]}',
             '{"people": [{"pose_keypoints_2d": [NaN' + ", 1" * 74 + "]}]}"],
)  # fmt: skip
def test_bad_openpose_files_are_named(tmp_path, text):
    path = tmp_path / "x_keypoints.json"
    path.write_text(text)
    with pytest.raises(UserError, match="x_keypoints.json"):
        read_openpose(path)
    with pytest.raises(UserError, match="gone_keypoints.json"):
        read_openpose(tmp_path / "gone_keypoints.json")
    with pytest.raises(UserError, match="not a folder"):
        openpose_detections(tmp_path / "none", np.array([]), np.zeros((0, 2)), np.zeros(0))
