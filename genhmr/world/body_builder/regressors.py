"""Sparse joint regressors by non-negative least squares."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls
from scipy.spatial import cKDTree

_SUM_WEIGHT = 100.0  # weight of the row-sum-is-one equation against metres
_SMALLEST = 1e-4  # smaller weights are dropped before renormalising


def fit_regressor(
    vertices: np.ndarray,
    targets: np.ndarray,
    candidates: int = 160,
    stride: int = 3,
    locality: float = 0.02,
) -> np.ndarray:
    """Rows that average vertices into points: non-negative, summing to one, local.

    Args:
        vertices: (N, V, 3) example bodies; the first is taken as reference for nearness.
        targets: (N, P, 3) the points on the same bodies.
        candidates: vertices a row may use, spread over the ``candidates * stride`` nearest.
        stride: every which of the nearest vertices is a candidate.
        locality: penalty on weight times distance, which keeps rows near their point.

    Returns:
        (P, V) float64.
    """
    count = len(vertices)
    reference = vertices[0]
    tree = cKDTree(reference)
    rows = np.zeros((targets.shape[1], vertices.shape[1]))
    for p in range(targets.shape[1]):
        distance, near = tree.query(targets[0, p], candidates * stride)
        distance, near = distance[::stride], near[::stride]
        # Rows sum to one, so offsets from the target can be averaged instead of positions:
        # the same residual, far better conditioned.
        offsets = (vertices[:, near] - targets[:, p, None]).transpose(0, 2, 1)
        system = np.concatenate([
            offsets.reshape(-1, len(near)),
            np.full((1, len(near)), _SUM_WEIGHT),
            locality * np.sqrt(3 * count) * np.diag(distance),
        ])
        right = np.zeros(len(system))
        right[3 * count] = _SUM_WEIGHT
        # The normal equations have the same minimiser and far fewer rows; a Cholesky factor
        # turns them back into the least-squares form that NNLS takes.
        gram = system.T @ system
        factor = np.linalg.cholesky(gram + 1e-9 * np.trace(gram) / len(gram) * np.eye(len(gram)))
        weights, _ = nnls(factor.T, np.linalg.solve(factor, system.T @ right), maxiter=20000)
        weights[weights < _SMALLEST] = 0.0
        rows[p, near] = weights / weights.sum()
    return rows


def symmetrise(rows: np.ndarray, row_mirror: np.ndarray, vertex_mirror: np.ndarray) -> np.ndarray:
    """Average a regressor with its mirror image.

    Args:
        rows: (P, V).
        row_mirror: (P,) the point on the other side.
        vertex_mirror: (V,) the vertex on the other side.
    """
    return 0.5 * (rows + rows[row_mirror][:, vertex_mirror])


def regression_error(rows: np.ndarray, vertices: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(N, P) distance in metres between regressed and true points."""
    return np.linalg.norm(np.einsum("pv,nvc->npc", rows, vertices) - targets, axis=-1)
