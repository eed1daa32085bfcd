"""A bank of tileable procedural patterns: the surfaces of rooms, streets and gardens.

A pattern is a scalar in [0, 1] that a surface mixes its two colours with.
"""

from __future__ import annotations

import numpy as np

TEXTURE_SIZE = 128


def texture_bank(rng: np.random.Generator, count: int = 48) -> np.ndarray:
    """Make tileable patterns of ten families.

    Args:
        rng: the only source of chance.
        count: number of patterns.

    Returns:
        (count, 128, 128) float32 in [0, 1].
    """
    makers = (_cloud, _cloud, _grain, _bricks, _planks, _checks, _stripes, _dots, _foliage, _blocks)
    return np.stack([_normalise(makers[i % len(makers)](rng)) for i in range(count)])


def _normalise(pattern):
    low, high = pattern.min(), pattern.max()
    return ((pattern - low) / max(high - low, 1e-6)).astype(np.float32)


def _noise(rng, exponent):
    """Periodic noise whose amplitude falls as frequency ** -exponent."""
    n = TEXTURE_SIZE
    fy, fx = np.fft.fftfreq(n)[:, None] * n, np.fft.rfftfreq(n)[None] * n
    amplitude = np.maximum(np.hypot(fy, fx), 1.0) ** -exponent
    amplitude[0, 0] = 0
    phase = np.exp(2j * np.pi * rng.random(amplitude.shape))
    return _normalise(np.fft.irfft2(amplitude * phase, s=(n, n)))


def _grid():
    axis = (np.arange(TEXTURE_SIZE) + 0.5) / TEXTURE_SIZE
    return np.meshgrid(axis, axis)


def _cloud(rng):
    return _noise(rng, rng.uniform(1.2, 2.4))


def _grain(rng):
    return _noise(rng, rng.uniform(0.1, 0.8))


def _bricks(rng):
    x, y = _grid()
    rows = int(rng.choice([6, 8, 12]))
    row = np.floor(y * rows)
    u = np.mod(x * rows / 2 + 0.5 * np.mod(row, 2), 1)
    joint = (np.mod(y * rows, 1) < 0.12) | (u < 0.07)
    tone = rng.random(4096)[(row * 64 + np.floor(x * rows / 2 + 0.5 * np.mod(row, 2))
                             % (rows // 2)).astype(int) % 4096]
    return np.where(joint, 0.0, 0.45 + 0.4 * tone) + 0.15 * _noise(rng, 0.8)


def _planks(rng):
    x, y = _grid()
    planks = int(rng.choice([4, 6, 8]))
    tone = rng.random(planks)[(x * planks).astype(int)]
    grain = _noise(rng, 1.2)[:, :: 1]
    seam = np.mod(x * planks, 1) < 0.05
    return np.where(seam, 0.0, 0.3 + 0.4 * tone + 0.3 * np.roll(grain, 3, 0))


def _checks(rng):
    x, y = _grid()
    k = int(rng.choice([2, 4, 8]))
    return ((np.floor(x * k) + np.floor(y * k)) % 2) + 0.2 * _noise(rng, 1.0)


def _stripes(rng):
    x, y = _grid()
    k = int(rng.choice([3, 6, 10]))
    coordinate = x if rng.random() < 0.6 else y
    return (np.mod(coordinate * k, 1) < rng.uniform(0.2, 0.7)) + 0.2 * _noise(rng, 1.2)


def _dots(rng):
    x, y = _grid()
    k = int(rng.choice([4, 6, 9]))
    return (np.hypot(np.mod(x * k, 1) - 0.5, np.mod(y * k, 1) - 0.5) < rng.uniform(0.2, 0.45)) * 1.0


def _foliage(rng):
    fine, coarse = _noise(rng, 0.5), _noise(rng, 1.6)
    return fine * 0.6 + coarse + 0.4 * (coarse > 0.55)


def _blocks(rng):
    """Rectangles over rectangles: shelves, windows, cars, posters seen from afar."""
    pattern = np.full((TEXTURE_SIZE, TEXTURE_SIZE), rng.random())
    for _ in range(40):
        w, h = rng.integers(4, 48, 2)
        x, y = rng.integers(0, TEXTURE_SIZE, 2)
        rows = np.arange(y, y + h) % TEXTURE_SIZE
        columns = np.arange(x, x + w) % TEXTURE_SIZE
        pattern[np.ix_(rows, columns)] = rng.random()
    return pattern + 0.15 * _noise(rng, 1.0)
