"""Acceleration error and PCK against their formulas, written out."""

import numpy as np
import pytest

from genhmr.metrics import acceleration_error, best_of, pck, track_acceleration


def test_acceleration_is_the_second_difference():
    rng = np.random.default_rng(0)
    pred, gt = rng.standard_normal((2, 9, 5, 3))
    expected = [
        np.mean([
            np.linalg.norm(
                (pred[t - 1, j] - 2 * pred[t, j] + pred[t + 1, j])
                - (gt[t - 1, j] - 2 * gt[t, j] + gt[t + 1, j])
            )
            for j in range(5)
        ])
        for t in range(1, 8)
    ]  # fmt: skip
    np.testing.assert_allclose(acceleration_error(pred, gt), 1000 * np.array(expected))
    np.testing.assert_allclose(acceleration_error(pred, gt, fps=30), 9e5 * np.array(expected))
    drift = np.linspace(0, 1, 9)[:, None, None] * [1.0, 2.0, 3.0]
    np.testing.assert_allclose(acceleration_error(gt + drift, gt), 0, atol=1e-9)
    pred[4, 0, 0] = np.nan
    assert np.isnan(acceleration_error(pred, gt)).tolist() == [False] * 2 + [True] * 3 + [False] * 2
    with pytest.raises(ValueError, match="F >= 3"):
        acceleration_error(pred[:2], gt[:2])


def test_tracks_are_measured_apart_in_any_order_and_over_no_hole():
    rng = np.random.default_rng(1)
    walk, run = rng.standard_normal((6, 4, 3)), rng.standard_normal((5, 4, 3))
    gap = np.concatenate([walk, run])
    tracks = np.array(["walk"] * 6 + ["run"] * 5)
    frames = np.array([3, 4, 5, 7, 8, 9, 0, 1, 2, 3, 4])  # walk lacks frame 6
    nan = [np.nan]
    expected = np.concatenate([
        nan, acceleration_error(walk[:3], 0 * walk[:3]), nan,
        nan, acceleration_error(walk[3:], 0 * walk[3:]), nan,
        nan, acceleration_error(run, 0 * run), nan,
    ])  # fmt: skip
    np.testing.assert_allclose(track_acceleration(gap, tracks, frames), expected)
    order = rng.permutation(11)
    shuffled = track_acceleration(gap[order], tracks[order], frames[order])
    np.testing.assert_allclose(shuffled, expected[order])
    assert np.isnan(track_acceleration(gap[:2], tracks[:2], frames[:2])).all()


def test_pck_counts_what_is_near_and_known():
    gt = np.zeros((2, 4, 2))
    pred = np.array([[[0, 0], [3, 4], [6, 8], [np.nan, 0]], [[9, 9]] * 4], float)
    confidence = np.array([[1, 0.5, 1, 0], [0, 0, 0, 0]])
    found = pck(pred, gt, confidence, scale=np.array([100.0, 100.0]), threshold=0.05)
    assert found[0] == pytest.approx(2 / 3) and np.isnan(found[1])
    assert pck(pred, gt, confidence, np.array([200.0, 1.0]), 0.05)[0] == 1.0


def test_best_of_does_not_hide_a_diverged_hypothesis():
    found = best_of(np.array([[3.0, 1.0], [np.nan, 1.0]]))
    assert found[0] == 1.0 and np.isnan(found[1])
