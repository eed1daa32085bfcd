"""Shape space: ten principal directions of a population of T-posed bodies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ShapeSpace:
    """A linear shape space, ``v = mean + directions @ betas`` with betas ~ N(0, 1).

    Attributes:
        mean: (V, 3) metres.
        directions: (V, 3, 10) metres per unit of beta.
        betas: (N, 10), the coordinates of the people it was built from.
        explained: share of the population's variance in the ten directions.
    """

    mean: np.ndarray
    directions: np.ndarray
    betas: np.ndarray
    explained: float


def fit_shape_space(vertices: np.ndarray, mirror: np.ndarray, components: int = 10) -> ShapeSpace:
    """Principal component analysis of mirror-symmetric people.

    Every person counts as the average with the mirrored self, so mean and directions are
    exactly symmetric.  The sign of a direction is fixed by its largest coordinate being positive
    at the top of the head (taller), or by its largest entry where the head hardly moves.

    Args:
        vertices: (N, V, 3) T-posed people with corresponding vertices.
        mirror: (V,) mirrored vertex.
        components: number of directions.
    """
    flip = np.array([-1.0, 1.0, 1.0])
    symmetric = 0.5 * (vertices + vertices[:, mirror] * flip)
    count = len(symmetric)
    mean = symmetric.mean(axis=0)
    centred = (symmetric - mean).reshape(count, -1)
    # N << 3V: the small Gram matrix gives the same directions as the full SVD.
    values, left = np.linalg.eigh(centred @ centred.T)
    chosen = np.argsort(values)[::-1][:components]
    scale = np.sqrt(values[chosen] / (count - 1))
    directions = (centred.T @ left[:, chosen]) / np.sqrt(count - 1)
    betas = left[:, chosen] * np.sqrt(count - 1)
    directions = directions.reshape(-1, 3, components)
    top = int(mean[:, 1].argmax())
    for k in range(components):
        rise = directions[top, 1, k]
        largest = directions[:, :, k].ravel()[np.abs(directions[:, :, k]).argmax()]
        sign = np.sign(rise if abs(rise) > 0.2 * scale[k] / np.sqrt(len(mean)) else largest)
        directions[:, :, k] *= sign
        betas[:, k] *= sign
    explained = float(values[chosen].sum() / values.sum())
    return ShapeSpace(mean, directions, betas, explained)


def linear_in_betas(targets: np.ndarray, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least-squares fit of points that move with the shape.

    Args:
        targets: (N, P, 3) points of the people.
        betas: (N, S) their shape coordinates.

    Returns:
        (P, 3) mean points and (P, 3, S) directions per unit of beta.
    """
    design = np.concatenate([np.ones((len(betas), 1)), betas], axis=1)
    solution = np.linalg.lstsq(design, targets.reshape(len(targets), -1), rcond=None)[0]
    points = targets.shape[1]
    return solution[0].reshape(points, 3), solution[1:].T.reshape(points, 3, -1)


def per_beta_rms(directions: np.ndarray) -> np.ndarray:
    """(S,) root mean square vertex displacement, metres, per unit of each beta."""
    return np.sqrt((directions**2).sum(axis=1).mean(axis=0))


def mesh_volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Volume in cubic metres enclosed by a closed, outward-oriented mesh (divergence theorem)."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return float(np.einsum("fi,fi->f", a, np.cross(b, c)).sum() / 6.0)
