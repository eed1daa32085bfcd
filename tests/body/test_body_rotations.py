"""Rotations against scipy and roma."""

from __future__ import annotations

import math

import pytest
import roma
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from genhmr.body import (
    axis_angle_to_matrix,
    geodesic_distance,
    matrix_to_axis_angle,
    matrix_to_rotation_6d,
    rotation_6d_to_matrix,
)

ANGLES = [0.0, 1e-12, 1e-6, 9.9e-5, 1.01e-4, 1e-3, 0.5, 2.0, 3.0, math.pi - 1e-7, math.pi]


def axes(count: int = 20) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    vectors = torch.cat((random, torch.eye(3, dtype=torch.float64)))
    return torch.nn.functional.normalize(vectors, dim=-1)


@pytest.mark.parametrize("angle", ANGLES)
def test_axis_angle_to_matrix_matches_scipy(angle):
    vectors = axes() * angle
    expected = torch.from_numpy(Rotation.from_rotvec(vectors.numpy()).as_matrix())
    assert (axis_angle_to_matrix(vectors) - expected).abs().max() < 1e-14
    single = axis_angle_to_matrix(vectors.float())
    assert (single.double() - expected).abs().max() < 5e-7


@pytest.mark.parametrize("angle", ANGLES)
def test_matrix_to_axis_angle_matches_scipy(angle):
    rotations = Rotation.from_rotvec((axes() * angle).numpy())
    found = matrix_to_axis_angle(torch.from_numpy(rotations.as_matrix()))
    expected = torch.from_numpy(rotations.as_rotvec())
    gap = (found - expected).abs().amax(-1)
    if angle == math.pi:  # both signs of the axis are right
        gap = torch.minimum(gap, (found + expected).abs().amax(-1))
    assert gap.max() < 1e-8
    single = matrix_to_axis_angle(torch.from_numpy(rotations.as_matrix()).float()).double()
    back = torch.from_numpy(Rotation.from_rotvec(single.numpy()).as_matrix())
    assert (back - torch.from_numpy(rotations.as_matrix())).abs().max() < 1e-6


@pytest.mark.parametrize("angle", ANGLES)
def test_gradients_are_finite_everywhere(angle):
    vectors = (axes() * angle).float().requires_grad_()
    matrices = axis_angle_to_matrix(vectors)
    matrix_to_axis_angle(matrices).square().sum().backward(retain_graph=True)
    assert torch.isfinite(vectors.grad).all()
    vectors.grad = None
    geodesic_distance(matrices, torch.eye(3)).sum().backward()
    assert torch.isfinite(vectors.grad).all()


def test_gradients_match_finite_differences():
    for angle in (0.0, 5e-5, 0.7, 2.9):
        vectors = (axes(4) * angle).requires_grad_()
        assert torch.autograd.gradcheck(axis_angle_to_matrix, vectors, eps=1e-7, atol=1e-6)
    vectors = (axes(4) * 1.1).requires_grad_()

    def round_trip(v):
        return matrix_to_axis_angle(axis_angle_to_matrix(v))

    assert torch.autograd.gradcheck(round_trip, vectors)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=6, max_size=6))
def test_rotation_6d_matches_roma(values):
    six = torch.tensor(values, dtype=torch.float64)
    columns = six.view(3, 2)
    if torch.linalg.svdvals(columns)[-1] < 1e-3:
        return  # nearly parallel columns define no rotation
    expected = roma.special_gramschmidt(columns)
    assert (rotation_6d_to_matrix(six) - expected).abs().max() < 1e-9


def test_rotation_6d_is_row_by_row_and_round_trips():
    matrices = axis_angle_to_matrix(axes() * 1.3).view(-1, 1, 3, 3)
    six = matrix_to_rotation_6d(matrices)
    assert six.shape == (23, 1, 6)
    r = matrices[4, 0]
    spin = torch.stack([r[0, 0], r[0, 1], r[1, 0], r[1, 1], r[2, 0], r[2, 1]])
    assert torch.equal(six[4, 0], spin)
    assert (rotation_6d_to_matrix(six) - matrices).abs().max() < 1e-14


@pytest.mark.parametrize("angle", ANGLES)
def test_geodesic_distance_is_the_angle(angle):
    generator = torch.Generator().manual_seed(1)
    base = axis_angle_to_matrix(torch.randn(23, 3, generator=generator, dtype=torch.float64))
    other = base @ axis_angle_to_matrix(axes() * angle)
    assert (geodesic_distance(base, other) - angle).abs().max() < 1e-9
    assert (roma.rotmat_geodesic_distance(base, other) - angle).abs().max() < 1e-6
