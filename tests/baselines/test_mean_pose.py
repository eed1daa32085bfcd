"""The mean pose against scipy's rotation mean."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from genhmr.baselines.mean_pose import chordal_mean, fit_mean_pose


def test_chordal_mean_equals_scipy():
    rng = np.random.default_rng(0)
    rotations = Rotation.from_rotvec(rng.normal(0, 1.0, (50, 3)))
    expected = rotations.mean().as_matrix()
    np.testing.assert_allclose(chordal_mean(rotations.as_matrix()), expected, atol=1e-9)


def test_mean_is_a_rotation_even_of_opposite_headings():
    """Uniform headings leave the vertical axis only: the mean must not become a reflection."""
    turns = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    headings = Rotation.from_rotvec(np.outer(turns, [0, 1, 0])).as_matrix()
    flips = Rotation.from_rotvec(np.pi * np.eye(3)).as_matrix()
    for rotations in (headings, flips):
        mean = chordal_mean(rotations)
        np.testing.assert_allclose(mean @ mean.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(mean) == pytest.approx(1)


def test_fit_averages_each_joint_and_the_shape():
    rng = np.random.default_rng(1)
    pose = Rotation.from_rotvec(rng.normal(0, 0.5, (20 * 24, 3))).as_matrix().reshape(20, 24, 3, 3)
    betas = rng.normal(size=(20, 10))
    mean = fit_mean_pose(pose, betas)
    for joint in (0, 7, 23):
        expected = Rotation.from_matrix(pose[:, joint]).mean().as_matrix()
        np.testing.assert_allclose(mean.pose[joint], expected, atol=1e-6)
    np.testing.assert_allclose(mean.betas, betas.mean(0), atol=1e-6)
    poses, shapes = mean.predict(3)
    assert poses.shape == (3, 24, 3, 3) and shapes.shape == (3, 10)
    assert (poses == mean.pose).all() and (shapes == mean.betas).all()


def test_bad_input_is_refused():
    with pytest.raises(ValueError):
        fit_mean_pose(np.zeros((0, 24, 3, 3)), np.zeros((0, 10)))
    with pytest.raises(ValueError):
        fit_mean_pose(np.zeros((2, 72)), np.zeros((2, 10)))
