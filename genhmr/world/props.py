"""Boxes, poles and round things: furniture in the background and occluders in front."""

from __future__ import annotations

import numpy as np

from .appearance import fabric_colour
from .camera import Camera
from .render import Mesh

_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)
# Four corners per side, counter-clockwise from outside.
_SIDES = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4],
                   [1, 5, 7, 3]])


def box(centre: np.ndarray, size: np.ndarray, yaw: float, colour: np.ndarray) -> Mesh:
    """An upright box in the world frame.

    Args:
        centre: (3,) metres.
        size: (3,) metres.
        yaw: turn about the vertical, radians.
        colour: (3,) linear RGB.

    Returns:
        24 vertices, so that the sides have their own flat normals.
    """
    c, s = np.cos(yaw), np.sin(yaw)
    rotation = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    corners = (_CORNERS * np.asarray(size) / 2) @ rotation.T + centre
    vertices = corners[_SIDES].reshape(24, 3).astype(np.float32)
    quads = np.arange(24, dtype=np.int32).reshape(6, 4)
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    # Sides differ a little, as wood and paint do.
    tint = np.repeat(np.float32([0.9, 1.0, 0.95, 1.05, 0.85, 1.0]), 4)[:, None]
    albedo = np.clip(tint * colour, 0, 1).astype(np.float32)
    return Mesh(vertices, faces, albedo, np.zeros(24, np.uint8))


def ellipsoid(centre: np.ndarray, size: np.ndarray, colour: np.ndarray) -> Mesh:
    """A round thing in the world frame: bush, ball, balloon, lamp; diameters ``size`` (3,)."""
    rings, segments = 6, 10
    theta = np.linspace(0, np.pi, rings + 1)[:, None]
    phi = np.linspace(0, 2 * np.pi, segments, endpoint=False)[None]
    unit = np.stack(np.broadcast_arrays(np.sin(theta) * np.cos(phi), np.cos(theta),
                                        np.sin(theta) * np.sin(phi)), -1).reshape(-1, 3)
    vertices = (unit * np.asarray(size) / 2 + centre).astype(np.float32)
    i, j = np.meshgrid(np.arange(rings), np.arange(segments), indexing="ij")
    a, b = i * segments + j, i * segments + (j + 1) % segments
    c, d = a + segments, b + segments
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3),
                            np.stack([b, d, c], -1).reshape(-1, 3)]).astype(np.int32)
    albedo = np.tile(np.asarray(colour, np.float32), (len(vertices), 1))
    return Mesh(vertices, faces, albedo, np.zeros(len(vertices), np.uint8))


def in_camera(mesh: Mesh, camera: Camera) -> Mesh:
    """A world mesh in the camera's frame."""
    rotation = camera.rotation.T.astype(np.float32)
    vertices = mesh.vertices @ rotation + camera.translation.astype(np.float32)
    return Mesh(vertices, mesh.faces, mesh.albedo, mesh.parts)


def sample_furniture(
    rng: np.random.Generator, count: int, nearest: float, farthest: float
) -> list[Mesh]:
    """Boxes and round things standing on the floor around the origin.

    Args:
        rng: the only source of chance.
        count: how many.
        nearest: distance of the nearest from the origin, metres; nothing reaches nearer.
        farthest: distance of the farthest.
    """
    things = []
    for _ in range(count):
        size = rng.uniform([0.3, 0.3, 0.3], [1.4, 1.9, 1.0])
        distance = rng.uniform(nearest, max(nearest, farthest)) + size[[0, 2]].max() * 0.71
        angle = rng.uniform(0, 2 * np.pi)
        centre = np.array([distance * np.cos(angle), size[1] / 2, distance * np.sin(angle)])
        if rng.random() < 0.8:
            things.append(box(centre, size, rng.uniform(0, np.pi), fabric_colour(rng)))
        else:
            things.append(ellipsoid(centre, size, fabric_colour(rng)))
    return things


def sample_occluder(
    rng: np.random.Generator, camera_position: np.ndarray, joints: np.ndarray
) -> Mesh:
    """Something between the camera and a person that hides a part of them.

    Args:
        rng: the only source of chance.
        camera_position: (3,) world metres.
        joints: (J, 3) of the person, world metres; one of them is aimed at.

    Returns:
        A table, a wall, a pole, a round thing or a floating board, in the world frame.
    """
    aim = joints[rng.integers(len(joints))]
    along = rng.uniform(0.55, 0.88)
    spot = camera_position + along * (aim - camera_position)
    shrink = along  # nearer things look larger: sizes are chosen as seen at the person
    yaw = np.arctan2(*(aim - camera_position)[[0, 2]]) + rng.normal(0, 0.4)
    colour = fabric_colour(rng)
    kind = rng.random()
    if kind < 0.35:  # stands on the floor, up to the joint aimed at: table, sofa, low wall
        height = max(float(spot[1]), 0.15)
        width = shrink * rng.uniform(0.4, 1.6)
        centre = np.array([spot[0], height / 2, spot[2]])
        return box(centre, np.array([width, height, 0.15 + 0.3 * rng.random()]), yaw, colour)
    if kind < 0.55:  # a pole or a trunk
        width = shrink * rng.uniform(0.06, 0.25)
        centre = np.array([spot[0], 1.3, spot[2]])
        return box(centre, np.array([width, 2.6, width]), yaw, colour)
    if kind < 0.7:  # a door or a pillar beside the person, hiding one side
        width = shrink * rng.uniform(0.4, 0.9)
        sideways = np.cross(aim - camera_position, [0.0, 1.0, 0.0])
        sideways /= np.linalg.norm(sideways) + 1e-9
        centre = spot + sideways * rng.choice([-1, 1]) * width * 0.5
        centre[1] = 1.1
        return box(centre, np.array([width, 2.4, 0.1]), yaw, colour)
    if kind < 0.85:
        return ellipsoid(spot, shrink * rng.uniform(0.15, 0.55, 3), colour)
    return box(spot, np.append(shrink * rng.uniform(0.15, 0.6, 2), 0.05), yaw, colour)
