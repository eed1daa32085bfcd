"""A z-buffer renderer for triangle meshes: smooth shading, part labels, normals and depth.

The classic recipe: project the vertices, fill each front-facing triangle with edge functions,
keep the nearest surface per sample (inverse depth is linear on the screen, so it is interpolated
there), then shade the surviving samples with perspective-correct barycentrics and average the
samples of a pixel. About 1 ms for one body in a 64-pixel crop on one core.

Conventions: OpenCV camera frame; the centre of pixel (column i, row j) is (i + 0.5, j + 0.5);
faces are counter-clockwise seen from outside; colours are linear RGB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import raster_kernels as kernels


@dataclass(frozen=True)
class Mesh:
    """A closed triangle mesh in the camera frame.

    Attributes:
        vertices: (V, 3) float32 metres, camera frame.
        faces: (F, 3) int32, counter-clockwise seen from outside; back faces are culled.
        albedo: (V, 3) float32 linear RGB in [0, 1].
        parts: (V,) uint8 labels, 0 where the mesh carries none.
    """

    vertices: np.ndarray
    faces: np.ndarray
    albedo: np.ndarray
    parts: np.ndarray


@dataclass(frozen=True)
class Light:
    """A sun and a hemisphere, in the camera frame; the colours are linear RGB.

    Attributes:
        direction: (3,) unit vector to the sun.
        up: (3,) unit vector, up in the world.
        sun: (3,) colour of the sun.
        sky: (3,) colour of the light from above.
        ground: (3,) colour of the light from below.
    """

    direction: np.ndarray
    up: np.ndarray
    sun: np.ndarray
    sky: np.ndarray
    ground: np.ndarray


@dataclass(frozen=True)
class Picture:
    """What `draw` returns.

    Attributes:
        image: (H, W, 3) float32 linear RGB, the meshes over the background.
        parts: (H, W) uint8, the label of the nearest surface where at least half of the pixel is
            covered, 0 elsewhere.
        normals: (H, W, 3) float32 unit normals in the camera frame, 0 where no surface is.
        depth: (H, W) float32 metres along z, infinity where no surface is.
        visible: one number per mesh, the share of its samples inside the picture that no other
            mesh hides; 0 for a mesh that covers no sample.
    """

    image: np.ndarray
    parts: np.ndarray
    normals: np.ndarray
    depth: np.ndarray
    visible: tuple[float, ...]


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals of the vertices.

    Args:
        vertices: (V, 3) float32.
        faces: (F, 3) int32, counter-clockwise seen from outside.

    Returns:
        (V, 3) float32, pointing outwards.
    """
    return kernels.vertex_normals(vertices, faces)


@dataclass(frozen=True)
class Cover:
    """Which surface is nearest in every sample of a picture that is not painted yet.

    Attributes:
        depth: (H, W) float32 metres along z, infinity where less than half of the pixel is covered.
        full: (H, W) bool, pixels in which nothing of a background is seen.
        visible: see :class:`Picture`.
        meshes, screens, near, face: what :func:`paint` needs.
    """

    depth: np.ndarray
    full: np.ndarray
    visible: tuple[float, ...]
    meshes: tuple[Mesh, ...]
    screens: tuple[np.ndarray, ...]
    near: np.ndarray
    face: np.ndarray


def cover(
    meshes: Sequence[Mesh], matrix: np.ndarray, width: int, height: int, samples: int = 2
) -> Cover:
    """Finds the nearest surface everywhere; who is seen is known then, at a third of the cost.

    Args:
        meshes: what to draw, in any order; at least one.
        matrix: (3, 3) camera frame to pixels, last row 0 0 1. A crop is drawn directly by
            multiplying its affine map (also a rotated one) into the intrinsics.
        width: of the picture, pixels.
        height: of the picture, pixels.
        samples: per pixel side; 2 is four samples a pixel.
    """
    matrix = np.ascontiguousarray(matrix, np.float64)
    near = np.zeros((height * samples, width * samples), np.float32)
    face = np.full(near.shape, -1, np.int32)
    spans, covered, screens = [], [], []
    first_face = 0
    for mesh in meshes:
        screen = kernels.project(mesh.vertices, matrix, samples)
        own_near, own_face = np.zeros_like(near), np.full_like(face, -1)
        kernels.fill(screen, mesh.faces, own_near, own_face)
        covered.append(kernels.merge(near, face, own_near, own_face, first_face))
        spans.append((first_face, first_face + len(mesh.faces)))
        screens.append(screen)
        first_face += len(mesh.faces)
    depth, full = np.full((height, width), np.inf, np.float32), np.empty((height, width), np.bool_)
    kernels.surface(near, face, depth, full)
    visible = tuple(
        kernels.count_between(face, *span) / total if total else 0.0
        for span, total in zip(spans, covered)
    )
    return Cover(depth, full, visible, tuple(meshes), tuple(screens), near, face)


def paint(covered: Cover, light: Light, background: np.ndarray) -> Picture:
    """Shades what was covered: Lambert shading and anti-aliasing.

    Args:
        covered: see :func:`cover`.
        light: the light, in the camera frame.
        background: (H, W, 3) float32 linear RGB; not changed. Not looked at, but finite, in
            pixels that are covered whole.

    Returns:
        The picture with its labels.
    """
    meshes, (height, width) = covered.meshes, covered.depth.shape
    firsts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
    image = background.astype(np.float32, copy=True)
    parts = np.zeros((height, width), np.uint8)
    normal_map = np.zeros((height, width, 3), np.float32)
    rows = np.stack([light.direction, light.up, light.sun, light.sky, light.ground])
    kernels.resolve(
        covered.near, covered.face, np.concatenate(covered.screens),
        np.concatenate([m.faces + np.int32(first) for m, first in zip(meshes, firsts)]),
        np.concatenate([kernels.vertex_normals(m.vertices, m.faces) for m in meshes]),
        np.concatenate([m.albedo for m in meshes]), np.concatenate([m.parts for m in meshes]),
        rows.astype(np.float32), image, parts, normal_map,
    )
    return Picture(image, parts, normal_map, covered.depth, covered.visible)


def draw(
    meshes: Sequence[Mesh],
    matrix: np.ndarray,
    light: Light,
    background: np.ndarray,
    samples: int = 2,
) -> Picture:
    """Draws meshes over a background with depth test; :func:`cover`, then :func:`paint`."""
    height, width = background.shape[:2]
    return paint(cover(meshes, matrix, width, height, samples), light, background)
