"""Rendered crops with dense labels for pre-training the backbone.

The role that ViTPose's keypoint training plays in the paper. A crop is rendered directly, by
multiplying the crop's affine map into the camera, with the jitter of the crop code (scale 0.3,
rotation 30 degrees, translation) and with everything the roles contain: low and high cameras,
close and distant ones, occluders, other people, frame borders.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from genhmr.types import GENDERS, DenseBatch

from .camera import Camera, look_at, project_points
from .lighting import develop, sample_development
from .people import Wardrobe
from .props import sample_occluder
from .scene import (
    Actor,
    clear_view,
    keypoint_visibility,
    make_actor,
    photograph_view,
    sample_stage,
    view_of,
)

BOX_MARGIN = 1.2  # side of the person's box over the extent of the keypoints, as SPIN's


def render_dense(
    wardrobes: Mapping[str, Wardrobe],
    poses: np.ndarray,
    betas: np.ndarray,
    textures: np.ndarray,
    rng: np.random.Generator,
    size: int = 64,
) -> DenseBatch:
    """Render one labelled crop per pose.

    Args:
        wardrobes: from `genhmr.world.people.make_wardrobes`.
        poses: (N, 24, 3) axis-angle, y-up world.
        betas: (N, 10); the gender is drawn.
        textures: from `genhmr.world.textures.texture_bank`.
        rng: the only source of chance.
        size: S, side of the crops in pixels.

    Returns:
        N crops with labels.
    """
    n = len(poses)
    genders = [GENDERS[i] for i in rng.integers(0, len(GENDERS), n)]
    actors, keypoints = _cast(wardrobes, genders, poses, betas, rng)
    images = np.empty((n, size, size, 3), np.uint8)
    parts = np.empty((n, size, size), np.uint8)
    normals = np.empty((n, size, size, 3), np.int8)
    points = np.empty((n, 25, 3), np.float32)
    for i in range(n):
        companion = actors[(i + 1) % n] if n > 1 and rng.random() < 0.12 else None
        images[i], parts[i], normals[i], points[i] = _one_crop(
            actors[i], keypoints[i], companion, textures, rng, size
        )
    return DenseBatch(images, parts, normals, points)


def _cast(wardrobes, genders, poses, betas, rng):
    """Pose and dress everybody, standing at the origin; (actors, (N, 25, 3) keypoints)."""
    actors: list[Actor | None] = [None] * len(genders)
    keypoints = np.empty((len(genders), 25, 3), np.float32)
    for gender in GENDERS:
        rows = [i for i, g in enumerate(genders) if g == gender]
        if not rows:
            continue
        wardrobe = wardrobes[gender]
        people = wardrobe.pose(poses[rows], betas[rows], np.zeros((len(rows), 3)))
        shift = -people.joints[:, 0]
        shift[:, 1] = -people.vertices[:, :, 1].min(1)
        jumping = rng.random(len(rows)) < 0.08
        shift[:, 1] += np.where(jumping, rng.uniform(0, 0.5, len(rows)), 0)
        for k, row in enumerate(rows):
            look = wardrobe.sample_appearance(rng)
            actors[row] = make_actor(wardrobe, people.vertices[k] + shift[k],
                                     people.joints[k] + shift[k], look)
            keypoints[row] = people.keypoints[k] + shift[k]
    return actors, keypoints


def _one_crop(actor, keypoints, companion, textures, rng, size):
    camera = _sample_camera(keypoints, rng)
    pixels = camera.project(keypoints)
    crop, turn = _sample_crop(pixels, rng, size)
    matrix = crop @ camera.intrinsics
    indoor = bool(rng.random() < 0.5)
    stage = sample_stage(rng, len(textures), indoor, clear=1.2)
    stage = clear_view(stage, camera, keypoints)
    actors = [actor]
    if companion is not None:
        actors.append(_beside(companion, rng))
    position = -camera.rotation.T @ camera.translation
    count = int(rng.random() < 0.45) + int(rng.random() < 0.15)
    occluders = [sample_occluder(rng, position, actor.joints) for _ in range(count)]
    view = view_of(actors, stage, occluders, camera, matrix, size, size)
    if view.visible[0] < 0.35:  # hidden almost wholly: nothing to learn from
        view = view_of(actors[:1], stage, [], camera, matrix, size, size)
    picture = photograph_view(view, textures)

    harshness = float(rng.random() ** 2)
    image = develop(picture.image, sample_development(rng, harshness), rng)
    points = camera.to_camera(keypoints)
    pixels = project_points(points, matrix)
    visibility = keypoint_visibility(points, pixels, picture.depth)
    parts = picture.parts
    normals = _turned(picture.normals, turn)
    outside = _outside_frame(rng, turn, size)
    if outside is not None:
        image[outside], parts[outside], normals[outside] = 0, 0, 0
        row, column = (np.clip(pixels[:, k].astype(int), 0, size - 1) for k in (1, 0))
        visibility = np.where(outside[row, column], np.minimum(visibility, 0.5), visibility)
    labelled = np.concatenate([pixels, visibility[:, None]], 1).astype(np.float32)
    return image, parts, np.rint(normals * 127).astype(np.int8), labelled


def _sample_camera(keypoints, rng):
    """Distances, heights and tilts of all roles; the unit of its pixels is the focal length."""
    centre = keypoints.mean(0)
    unusual = rng.random() < 0.3
    elevation = rng.uniform(-0.4, 1.1) if unusual else rng.normal(0.1, 0.15)
    azimuth = rng.uniform(0, 2 * np.pi)
    distance = float(np.exp(rng.uniform(np.log(1.9), np.log(9.0))))
    position = centre + distance * np.array([
        np.cos(elevation) * np.cos(azimuth), np.sin(elevation), np.cos(elevation) * np.sin(azimuth)
    ])
    position[1] = max(position[1], 0.15)
    # A person is rarely in the middle of the frame.
    target = centre + rng.normal(0, 0.12 * distance, 3) * np.array([1, 0.6, 1])
    roll = rng.normal(0, 0.2 if unusual else 0.05)
    rotation, translation = look_at(position, target, roll)
    return Camera(rotation, translation, np.eye(3), 1, 1)


def _sample_crop(pixels, rng, size):
    """Affine map (3, 3) from the frame to a jittered square crop, and its turn in radians."""
    low, high = pixels.min(0), pixels.max(0)
    if rng.random() < 0.1:  # an extreme crop: the box holds a part of the person only
        kept = pixels[rng.permutation(len(pixels))[:12]]
        low, high = kept.min(0), kept.max(0)
    centre = (low + high) / 2
    side = BOX_MARGIN * max((high - low).max(), 1e-3)
    side *= 1 + 0.3 * np.clip(rng.standard_normal(), -1, 1)
    centre = centre + side * np.clip(rng.normal(0, 0.04, 2), -0.1, 0.1)
    turn = np.deg2rad(30) * np.clip(rng.standard_normal(), -2, 2) if rng.random() < 0.6 else 0.0
    c, s = np.cos(turn) * size / side, np.sin(turn) * size / side
    crop = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    crop[:2, 2] = size / 2 - crop[:2, :2] @ centre
    return crop, turn


def _turned(normals, turn):
    """Normals in the frame of the camera turned with the crop."""
    c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    x, y, z = np.moveaxis(normals, -1, 0)
    return np.stack([c * x - s * y, s * x + c * y, z], -1)


def _outside_frame(rng, turn, size):
    """Pixels of the crop beyond the border of the frame (black there), or None."""
    if rng.random() > 0.2:
        return None
    side = rng.integers(4)
    angle = turn + side * np.pi / 2
    distance = rng.uniform(0.2, 0.48) * size
    axis = np.arange(size) + 0.5 - size / 2
    return axis[None] * np.cos(angle) + axis[:, None] * np.sin(angle) > distance


def _beside(companion, rng):
    """Another person near the origin, in front, behind or beside."""
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.6)
    shift = np.float32([distance * np.cos(angle), 0, distance * np.sin(angle)])
    mesh = companion.mesh
    moved = type(mesh)(mesh.vertices + shift, mesh.faces, mesh.albedo, mesh.parts)
    return Actor(moved, companion.joints + shift)
