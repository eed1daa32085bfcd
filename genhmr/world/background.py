"""Rooms and open places: a floor, four walls and a ceiling or a sky, seen by any camera.

Every pixel's ray is intersected with an axis-aligned box, so one place looks right from all
cameras of a set-up, and moves as it should when the camera does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .appearance import fabric_colour
from .camera import Camera
from .kernels import kernel
from .textures import TEXTURE_SIZE

_WRAP = TEXTURE_SIZE - 1  # a power of two less one: a bit mask wraps a tile


@dataclass(frozen=True)
class Place:
    """A box around the scene. World frame, metres, y up, floor at y = 0.

    Attributes:
        half_size: (2,) half extent along x and z.
        height: of the walls; above it is ceiling or sky.
        roofed: True for a room with a ceiling.
        texture: (6,) int32 index in the texture bank: -x, +x, -z, +z, floor, ceiling.
        scale: (6,) float32 texture tiles a metre.
        colours: (6, 2, 3) float32 linear RGB, mixed by the texture.
        sky: (2, 3) float32 linear RGB, horizon and zenith.
    """

    half_size: np.ndarray
    height: float
    roofed: bool
    texture: np.ndarray
    scale: np.ndarray
    colours: np.ndarray
    sky: np.ndarray


def sample_place(rng: np.random.Generator, textures: int, indoor: bool) -> Place:
    """A random room or open place.

    Args:
        rng: the only source of chance.
        textures: number of patterns in the bank.
        indoor: a room of 6 to 12 m, or a street or garden of 20 to 80 m.
    """
    colours = np.empty((6, 2, 3), np.float32)
    for i in range(6):
        colours[i, 0] = _surface_colour(rng)
        # The two colours of a surface are mostly related, sometimes strangers.
        colours[i, 1] = (
            _surface_colour(rng) if rng.random() < 0.35 else colours[i, 0] * rng.uniform(0.3, 1.0)
        )
    if indoor and rng.random() < 0.7:  # four walls of one paint
        colours[1:4], walls = colours[0], 1
    else:
        walls = 4
    texture = rng.integers(0, textures, 6).astype(np.int32)
    if walls == 1:
        texture[1:4] = texture[0]
    if indoor:
        half, height = rng.uniform(3.0, 6.0, 2), rng.uniform(2.4, 3.8)
        scale = rng.uniform(0.2, 0.9, 6)
    else:
        half, height = rng.uniform(10.0, 40.0, 2), rng.uniform(0.5, 12.0)
        scale = np.append(rng.uniform(0.04, 0.15, 4), rng.uniform(0.15, 0.7, 2))
        if rng.random() < 0.5:  # grass or hedge
            green = np.float32([rng.uniform(0.03, 0.12), rng.uniform(0.1, 0.25), 0.03])
            colours[4] = green * np.float32([[1], [0.5]])
    horizon = np.float32(rng.uniform(0.5, 0.95, 3))
    zenith = horizon * np.float32([rng.uniform(0.2, 0.9), rng.uniform(0.5, 0.95), 1.0])
    return Place(half, float(height), indoor, texture, scale.astype(np.float32), colours,
                 np.stack([horizon, zenith]).astype(np.float32))


def _surface_colour(rng):
    """Walls and floors are duller than clothes, and never black."""
    colour = fabric_colour(rng)
    grey = colour.mean()
    return 0.05 + 0.85 * (grey + (colour - grey) * rng.uniform(0.1, 0.8))


def draw_place(
    place: Place,
    camera: Camera,
    textures: np.ndarray,
    matrix: np.ndarray,
    width: int,
    height: int,
    light: np.ndarray,
    shadows: np.ndarray,
    hidden: np.ndarray | None = None,
) -> np.ndarray:
    """The empty place as the camera sees it.

    Args:
        place: what to draw.
        camera: where from; its own intrinsics are not used.
        textures: (T, 128, 128) the texture bank.
        matrix: (3, 3) camera frame to pixels, of the frame or of a crop.
        width: of the picture, pixels.
        height: of the picture, pixels.
        light: (3,) linear RGB that surfaces receive.
        shadows: (N, 4) discs on the floor: x, z, radius in metres and darkness in [0, 1].
        hidden: (height, width) bool, pixels that something else will cover; they stay 0.

    Returns:
        (height, width, 3) float32 linear RGB.
    """
    rays = camera.rotation.T @ np.linalg.inv(np.asarray(matrix, np.float64))
    centre = -camera.rotation.T @ camera.translation
    image = np.zeros((height, width, 3), np.float32)
    if hidden is None:
        hidden = np.zeros((height, width), np.bool_)
    _trace(rays, centre, np.asarray(place.half_size, np.float64), place.height, place.roofed,
           place.texture, place.scale, place.colours, place.sky, textures,
           np.asarray(light, np.float32), np.asarray(shadows, np.float32).reshape(-1, 4),
           hidden, image)
    return image


@kernel
def _trace(rays, centre, half, top, roofed, texture, scale, colours, sky, bank, light, shadows,
           hidden, image):
    height, width = image.shape[:2]
    for j in range(height):
        for i in range(width):
            if hidden[j, i]:
                continue
            u, v = i + 0.5, j + 0.5
            dx = rays[0, 0] * u + rays[0, 1] * v + rays[0, 2]
            dy = rays[1, 0] * u + rays[1, 1] * v + rays[1, 2]
            dz = rays[2, 0] * u + rays[2, 1] * v + rays[2, 2]
            best, surface = 1e9, -1
            if dx != 0:
                t = ((half[0] if dx > 0 else -half[0]) - centre[0]) / dx
                if 0 < t < best:
                    best, surface = t, 1 if dx > 0 else 0
            if dz != 0:
                t = ((half[1] if dz > 0 else -half[1]) - centre[2]) / dz
                if 0 < t < best:
                    best, surface = t, 3 if dz > 0 else 2
            if surface >= 0 and not roofed and centre[1] + best * dy > top:
                best, surface = 1e9, -1
            if dy < 0 and centre[1] > 0:
                t = -centre[1] / dy
                if t < best:
                    best, surface = t, 4
            elif roofed and dy > 0 and top > centre[1]:
                t = (top - centre[1]) / dy
                if t < best:
                    best, surface = t, 5
            if surface < 0:
                up = dy / np.sqrt(dx * dx + dy * dy + dz * dz)
                up = min(max(up * 1.6, 0.0), 1.0)
                cloud = bank[0, int(abs(dx / (abs(dy) + 0.2)) * 40) & _WRAP,
                             int(abs(dz / (abs(dy) + 0.2)) * 40) & _WRAP]
                for k in range(3):
                    base = sky[0, k] + (sky[1, k] - sky[0, k]) * up
                    image[j, i, k] = base + (np.float32(0.9) - base) * cloud * 0.5
                continue
            x, y, z = centre[0] + best * dx, centre[1] + best * dy, centre[2] + best * dz
            if surface < 2:
                a, b = z, y
            elif surface < 4:
                a, b = x, y
            else:
                a, b = x, z
            a = a * scale[surface] * TEXTURE_SIZE
            b = b * scale[surface] * TEXTURE_SIZE
            fa, fb = np.floor(a), np.floor(b)
            wa, wb = a - fa, b - fb
            a0, b0 = int(fa) & _WRAP, int(fb) & _WRAP
            a1, b1 = (a0 + 1) & _WRAP, (b0 + 1) & _WRAP
            n = texture[surface]
            mix = ((bank[n, b0, a0] * (1 - wa) + bank[n, b0, a1] * wa) * (1 - wb)
                   + (bank[n, b1, a0] * (1 - wa) + bank[n, b1, a1] * wa) * wb)
            shade = 1.0
            if surface == 4:
                for n in range(shadows.shape[0]):
                    ex, ez = x - shadows[n, 0], z - shadows[n, 1]
                    reach = 4 * shadows[n, 2] * shadows[n, 2]
                    if ex * ex + ez * ez < reach:
                        fall = 1 - (ex * ex + ez * ez) / reach
                        shade = min(shade, 1 - shadows[n, 3] * fall * fall)
            elif surface == 5:
                shade = 1.1
            elif surface % 2 == 0:
                shade = 0.9
            for k in range(3):
                first, second = colours[surface, 0, k], colours[surface, 1, k]
                image[j, i, k] = shade * light[k] * (first + (second - first) * mix)
