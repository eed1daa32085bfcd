"""Augmentation of poses, with scipy's rotations as the oracle."""

import math

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from genhmr.body.joints import SMPL24_FLIP
from genhmr.tokenizer.augment import augment_poses, mirror_pose, random_camera_rotations


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_vectors(batch: int, seed: int = 0) -> np.ndarray:
    return 0.7 * np.random.default_rng(seed).normal(size=(batch, 24, 3))


def to_matrices(vectors: np.ndarray) -> torch.Tensor:
    matrices = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix()
    return torch.from_numpy(matrices.reshape(*vectors.shape, 3)).float()


def to_vectors(matrices: torch.Tensor) -> np.ndarray:
    flat = Rotation.from_matrix(matrices.reshape(-1, 3, 3).numpy()).as_rotvec()
    return flat.reshape(*matrices.shape[:-1])


def test_mirror_is_the_fields_axis_angle_flip():
    vectors = random_vectors(3)
    expected = vectors[:, list(SMPL24_FLIP)] * np.array([1.0, -1.0, -1.0])
    np.testing.assert_allclose(to_vectors(mirror_pose(to_matrices(vectors))), expected, atol=1e-5)


def test_only_the_root_turns_without_mirror_and_noise():
    pose = to_matrices(random_vectors(64))
    turned = augment_poses(pose, seeded(1), mirror=False)
    torch.testing.assert_close(turned[:, 1:], pose[:, 1:], rtol=0, atol=0)
    assert (turned[:, 0] - pose[:, 0]).abs().amax((1, 2)).min() > 1e-3


def test_heading_covers_the_circle_evenly():
    turns = random_camera_rotations(8000, seeded(2), pitch_std=0.0, roll_std=0.0, inplane=0.0)
    angles = np.arctan2(turns[:, 0, 2].numpy(), turns[:, 0, 0].numpy())
    counts, _ = np.histogram(angles, bins=16, range=(-math.pi, math.pi))
    assert np.abs(counts / 500.0 - 1.0).max() < 0.2
    down = torch.tensor([0.0, 1.0, 0.0])
    torch.testing.assert_close(turns @ down, down.expand(8000, 3), atol=1e-6, rtol=0)


def test_order_is_heading_then_pitch_then_roll():
    turns = random_camera_rotations(4000, seeded(3), roll_std=0.0, inplane=math.radians(30))
    euler = Rotation.from_matrix(turns.numpy()).as_euler("ZXY", degrees=True)
    assert np.abs(euler[:, 0]).max() <= 30.0 + 1e-3
    assert abs(euler[:, 1].std() - 18.0) < 1.0
    assert abs(euler[:, 2].std() - 360.0 / math.sqrt(12.0)) < 4.0


def test_joint_noise_is_bounded_in_size_and_spares_the_root():
    pose = to_matrices(random_vectors(400))
    noisy = augment_poses(pose, seeded(4), joint_noise=0.1, mirror=False)
    moved = to_vectors((pose[:, 1:].mT @ noisy[:, 1:]))
    # A uniform factor u in [0, 1] on a normal of 0.1: standard deviation 0.1 / sqrt(3).
    assert abs(moved.std() - 0.1 / math.sqrt(3.0)) < 0.005
    clean = augment_poses(pose, seeded(4), joint_noise=0.0, mirror=False)
    torch.testing.assert_close(noisy[:, 0], clean[:, 0])


def test_same_generator_same_poses_and_the_input_is_left_alone():
    pose = to_matrices(random_vectors(16))
    before = pose.clone()
    one = augment_poses(pose, seeded(5), joint_noise=0.1)
    two = augment_poses(pose, seeded(5), joint_noise=0.1)
    torch.testing.assert_close(one, two, rtol=0, atol=0)
    torch.testing.assert_close(pose, before, rtol=0, atol=0)
    mirrored = (one[:, 1:] - pose[:, 1:]).abs().amax((1, 2, 3)) > 0.3
    assert 2 <= int(mirrored.sum()) <= 14
