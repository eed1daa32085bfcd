"""Errors and Procrustes against scipy, a per-sample textbook loop, and a brute-force optimum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from genhmr.metrics import (
    mpjpe,
    mve,
    pa_mpjpe,
    pa_mve,
    similarity_align,
    similarity_transform,
)


def oracle_pa(pred: np.ndarray, gt: np.ndarray) -> float:
    """One sample: rotation by scipy's Kabsch, scale by least squares along it."""
    p, g = pred - pred.mean(0), gt - gt.mean(0)
    rotation, _ = Rotation.align_vectors(g, p)
    turned = rotation.apply(p)
    scale = max((turned * g).sum() / (turned * turned).sum(), 0.0)
    return 1000 * np.linalg.norm(scale * turned - g, axis=1).mean()


def bodies(batch: int, joints: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    gt = rng.normal(size=(batch, joints, 3)) * [0.2, 0.5, 0.1] + rng.normal(size=(batch, 1, 3)) * 3
    turned = np.stack([Rotation.random(rng=rng).apply(sample) for sample in gt])
    pred = rng.uniform(0.5, 2, (batch, 1, 1)) * turned + 0.08 * rng.normal(size=gt.shape)
    return pred, gt


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(4, 24), st.integers(0, 10_000))
def test_pa_mpjpe_matches_scipy_sample_by_sample(batch, joints, seed):
    pred, gt = bodies(batch, joints, seed)
    expected = [oracle_pa(p, g) for p, g in zip(pred, gt)]
    np.testing.assert_allclose(pa_mpjpe(pred, gt), expected, rtol=0, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_pa_mpjpe_ignores_any_similarity_and_mpjpe_matches_the_formula(seed):
    rng = np.random.default_rng(seed)
    pred, gt = bodies(3, 14, seed)
    moved = np.stack([Rotation.random(rng=rng).apply(p) for p in pred])
    moved = rng.uniform(0.1, 10, (3, 1, 1)) * moved + rng.normal(size=(3, 1, 3))
    np.testing.assert_allclose(pa_mpjpe(moved, gt), pa_mpjpe(pred, gt), atol=1e-9)
    np.testing.assert_allclose(pa_mpjpe(2.0 * gt - 1.0, gt), 0, atol=1e-9)
    expected = [
        1000 * np.mean([np.sqrt(((a - b) ** 2).sum()) for a, b in zip(p, g)])
        for p, g in zip(pred, gt)
    ]
    np.testing.assert_allclose(mpjpe(pred, gt), expected, rtol=1e-13)
    np.testing.assert_allclose(mve(pred, gt), expected, rtol=1e-13)


def test_the_transform_is_the_least_squares_optimum():
    """No similarity found by a numerical optimiser from many starts is better."""
    rng = np.random.default_rng(0)
    pred, gt = bodies(2, 6, 1)
    aligned = similarity_align(pred, gt)
    for p, g, a in zip(pred, gt, aligned):
        ours = ((a - g) ** 2).sum()

        def loss(x, p=p, g=g):
            turned = Rotation.from_rotvec(x[:3]).apply(p)
            return ((np.exp(x[3]) * turned + x[4:] - g) ** 2).sum()

        starts = rng.normal(size=(4, 7))
        best = min(minimize(loss, start, method="BFGS").fun for start in starts)
        assert ours <= best + 1e-9
        assert best <= ours + 1e-6  # and the optimiser does get there


def test_transform_is_what_it_says():
    pred, gt = (torch.from_numpy(value) for value in bodies(5, 14, 2))
    scale, rotation, translation = similarity_transform(pred, gt)
    eye = torch.eye(3, dtype=torch.float64).expand(5, 3, 3)
    torch.testing.assert_close(rotation @ rotation.transpose(1, 2), eye)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(5, dtype=torch.float64))
    moved = scale[:, None, None] * (rotation[:, None] @ pred[..., None])[..., 0]
    torch.testing.assert_close(moved + translation[:, None], similarity_align(pred, gt))


def test_a_mirrored_body_is_not_forgiven():
    _, gt = bodies(4, 14, 3)
    mirrored = gt * [-1, 1, 1]
    found = pa_mpjpe(mirrored, gt)
    expected = [oracle_pa(p, g) for p, g in zip(mirrored, gt)]
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert (found > 20).all()  # a reflection would make these zero
    _, rotation, _ = similarity_transform(torch.from_numpy(mirrored), torch.from_numpy(gt))
    assert (torch.linalg.det(rotation) > 0).all()


def spread_along(directions: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    points = np.zeros((2, 14, 3))
    points[..., :directions] = rng.normal(size=(2, 14, directions))
    return np.stack([Rotation.random(rng=rng).apply(sample) for sample in points]) + 5


def test_flat_bodies_align_exactly_even_mirrored():
    flat = spread_along(2, 4)
    other = np.stack([Rotation.random(rng=np.random.default_rng(5)).apply(f) for f in flat])
    np.testing.assert_allclose(pa_mpjpe(3 * other, flat), 0, atol=1e-9)
    # The mirror image of a flat body is a rotation of it, so this one is forgiven.
    np.testing.assert_allclose(pa_mpjpe(other * [1, 1, -1], flat), 0, atol=1e-9)


def test_collinear_bodies():
    line, full = spread_along(1, 6), spread_along(3, 7)
    turned = np.stack([Rotation.random(rng=np.random.default_rng(8)).apply(x) for x in line])
    np.testing.assert_allclose(pa_mpjpe(turned * 0.3, line), 0, atol=1e-8)
    # Against a full body: the best line is known in closed form, along which p and g correlate.
    for p, g, found in zip(line, full, pa_mpjpe(line, full)):
        p, g = p - p.mean(0), g - g.mean(0)
        position = p @ np.linalg.svd(p)[2][0]
        slope = position @ g / (position @ position)
        expected = 1000 * np.linalg.norm(np.outer(position, slope) - g, axis=1).mean()
        assert abs(found - expected) < 1e-8


@pytest.mark.parametrize("point", [0.0, 1e-3, 7.0])
def test_bodies_that_are_one_point(point):
    _, gt = bodies(2, 14, 9)
    collapsed = np.full_like(gt, point)
    to_centroid = 1000 * np.linalg.norm(gt - gt.mean(1, keepdims=True), axis=-1).mean(-1)
    np.testing.assert_allclose(pa_mpjpe(collapsed, gt), to_centroid, rtol=1e-12)
    np.testing.assert_allclose(pa_mpjpe(gt, collapsed), 0, atol=1e-9)
    one_joint = gt[:, :1]
    np.testing.assert_allclose(pa_mpjpe(one_joint + 1, one_joint), 0, atol=1e-9)


@pytest.mark.parametrize("batch", [0, 1, 2, 3, 4, 24])
def test_any_batch_size_gives_the_same_numbers(batch):
    """A known batched Procrustes elsewhere is wrong for batches of exactly 2 and 3."""
    pred, gt = bodies(24, 3, 10)
    whole = pa_mpjpe(pred, gt)
    assert np.array_equal(pa_mpjpe(pred[:batch], gt[:batch]), whole[:batch])
    assert mpjpe(pred[:batch], gt[:batch]).shape == (batch,)


def test_kind_and_precision_follow_the_input_and_the_computation_is_double():
    pred, gt = bodies(3, 14, 11)
    far = np.float32(1e3)  # float32 arithmetic would lose 0.06 mm here
    single = (pred.astype(np.float32) + far, gt.astype(np.float32) + far)
    expected = [oracle_pa(p.astype(np.float64), g.astype(np.float64)) for p, g in zip(*single)]
    found = pa_mpjpe(*single)
    assert isinstance(found, np.ndarray) and found.dtype == np.float64
    np.testing.assert_allclose(found, expected, atol=1e-6)
    tensors = [torch.from_numpy(value).requires_grad_() for value in single]
    for function in (pa_mpjpe, mpjpe, mve):
        result = function(*tensors)
        assert isinstance(result, torch.Tensor) and result.dtype == torch.float64
        assert np.array_equal(result.numpy(), function(*single))


def test_nan_stays_in_its_row():
    pred, gt = bodies(4, 14, 12)
    clean = pa_mpjpe(pred, gt)
    pred[1, 3, 0], gt[2, 0, 2] = np.nan, np.inf
    found = pa_mpjpe(pred, gt)
    assert np.isnan(found[[1, 2]]).all()
    assert np.array_equal(found[[0, 3]], clean[[0, 3]])
    assert np.isnan(mpjpe(pred, gt)[1]) and np.isfinite(mpjpe(pred, gt)[0])


@pytest.mark.parametrize("shapes", [((2, 14, 3), (2, 17, 3)), ((14, 3), (14, 3)), ((2, 4, 2),) * 2])
def test_shapes_that_would_broadcast_are_refused(shapes):
    with pytest.raises(ValueError, match="expected two"):
        mpjpe(np.zeros(shapes[0]), np.zeros(shapes[1]))


@pytest.mark.parametrize("kind", ["random", "mirrored", "flat", "collinear", "tiny", "nearly flat"])
def test_the_kernel_agrees_with_the_batched_solution(kind):
    """Two implementations that share nothing: Jacobi a sample, LAPACK's SVD a batch."""
    rng = np.random.default_rng(11)
    gt = 0.3 * rng.standard_normal((500, 14, 3))
    pred = gt + 0.1 * rng.standard_normal(gt.shape)
    if kind == "mirrored":
        pred = pred * [-1, 1, 1]
    elif kind == "flat":
        pred[..., 2] = 0
    elif kind == "collinear":
        pred[..., 1:] = 0
    elif kind == "tiny":
        pred *= 1e-7
    elif kind == "nearly flat":
        pred[..., 1] *= 1e-10
        gt[..., 0] *= 1e-10
    expected = np.linalg.norm(similarity_align(pred, gt) - gt, axis=-1).mean(-1) * 1000
    np.testing.assert_allclose(pa_mpjpe(pred, gt), expected, rtol=0, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 30), st.floats(1e-6, 1e6))
def test_no_proper_similarity_beats_the_kernel(seed, joints, size):
    """Extended precision: the residual of the best transform, by 60-digit arithmetic."""
    import mpmath

    rng = np.random.default_rng(seed)
    pred, gt = size * rng.standard_normal((joints, 3)), rng.standard_normal((joints, 3))
    with mpmath.workdps(60):
        p, g = (mpmath.matrix((x).tolist()) for x in (pred, gt))
        for m in (p, g):
            for c in range(3):
                mean = sum(m[j, c] for j in range(joints)) / joints
                for j in range(joints):
                    m[j, c] -= mean
        k = g.T * p
        u, s, v = mpmath.svd_r(k)
        sign = 1 if mpmath.det(u) * mpmath.det(v) > 0 else -1
        flip = mpmath.diag([1, 1, sign])
        rotation = u * flip * v
        spread = sum(x * x for x in p)
        scale = (s[0] + s[1] + sign * s[2]) / spread if spread > 0 else 0
        moved = scale * (p * rotation.T) - g
        error = sum(
            mpmath.sqrt(sum(moved[j, c] ** 2 for c in range(3))) for j in range(joints)
        ) / joints
        expected = float(1000 * error)
    measured = pa_mpjpe(pred[None], gt[None])[0]
    assert measured == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("points", [1, 63, 64, 65, 200])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_roots_are_subtracted_inside(points, dtype):
    rng = np.random.default_rng(points)
    pred, gt = (rng.standard_normal((5, points, 3)).astype(dtype) for _ in range(2))
    roots = rng.standard_normal((2, 5, 3))
    gap = (pred.astype(np.float64) - roots[0][:, None]) - (
        gt.astype(np.float64) - roots[1][:, None]
    )
    expected = 1000 * np.sqrt((gap**2).sum(-1)).mean(-1)
    np.testing.assert_allclose(mve(pred, gt, *roots), expected, rtol=1e-12)
    tensors = (torch.from_numpy(x) for x in (pred, gt, *roots))
    np.testing.assert_allclose(mve(*tensors).numpy(), expected, rtol=1e-12)
    backwards = mve(pred[::-1], gt[::-1], roots[0][::-1], roots[1][::-1])
    np.testing.assert_array_equal(backwards[::-1], mve(pred, gt, *roots))
    broken = pred.copy()
    broken[2, points // 2, 1] = np.nan
    assert np.isnan(mve(broken, gt, *roots)).tolist() == [False, False, True, False, False]


def test_pa_mve_aligns_by_the_vertices():
    rng = np.random.default_rng(3)
    gt = rng.standard_normal((2, 80, 3))
    turn = Rotation.from_rotvec([0.3, -1.0, 0.4]).as_matrix()
    np.testing.assert_allclose(pa_mve(2.5 * gt @ turn.T + 1.0, gt), 0.0, atol=1e-9)
