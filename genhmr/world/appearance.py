"""What a person wears: skin, hair, clothes as regions of the body surface, and their looseness.

A person's look is a colour and a small outward displacement per vertex, in the rest pose, so
that it moves with the body. All colours are linear RGB.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

from .regions import ELSEWHERE, BodyRegions

# Linear RGB of skin from light to dark, between which a person's tone is interpolated.
_SKIN = np.array(
    [[0.78, 0.53, 0.42], [0.68, 0.42, 0.29], [0.48, 0.26, 0.15], [0.27, 0.13, 0.07],
     [0.11, 0.05, 0.03]], np.float32)
_HAIR = np.array(
    [[0.010, 0.008, 0.007], [0.035, 0.018, 0.010], [0.10, 0.05, 0.025], [0.42, 0.27, 0.12],
     [0.35, 0.34, 0.33], [0.20, 0.05, 0.02]], np.float32)


@dataclass(frozen=True)
class Appearance:
    """The look of one person.

    Attributes:
        albedo: (V, 3) float32 linear RGB.
        offset: (V,) float32 metres along the outward normal: hair and loose clothes.
    """

    albedo: np.ndarray
    offset: np.ndarray


def fabric_colour(rng: np.random.Generator) -> np.ndarray:
    """A colour as clothes have it: often grey, black, white or denim, sometimes vivid; (3,)."""
    kind = rng.random()
    if kind < 0.35:  # neutral
        return np.full(3, rng.choice([0.012, 0.03, 0.12, 0.35, 0.75]) * rng.uniform(0.7, 1.2),
                       np.float32)
    if kind < 0.5:  # denim and navy
        return np.float32([0.03, 0.06, 0.14]) * np.float32(rng.uniform(0.4, 2.5))
    hue, saturation, value = rng.random(), rng.uniform(0.25, 0.95), rng.uniform(0.1, 0.85)
    return np.float32(colorsys.hsv_to_rgb(hue, saturation, value)) ** np.float32(2.2)


def sample_appearance(regions: BodyRegions, rng: np.random.Generator) -> Appearance:
    """Dress a body at random.

    Args:
        regions: where the vertices of the body lie.
        rng: the only source of chance.

    Returns:
        The look of the person.
    """
    arm, leg, trunk = regions.arm, regions.leg, regions.trunk
    on_arm, on_leg, on_trunk = (c != ELSEWHERE for c in (arm, leg, trunk))
    tone = rng.uniform(0, len(_SKIN) - 1)
    below = min(int(tone), len(_SKIN) - 2)
    skin = _SKIN[below] + (tone - below) * (_SKIN[below + 1] - _SKIN[below])
    albedo = np.tile(skin, (len(arm), 1)).astype(np.float32)
    offset = np.zeros(len(arm), np.float32)

    # Dark eyes and red lips: front and back of a head differ as in photographs.
    albedo[regions.eyes] = skin * 0.15
    albedo[regions.lips] = skin * np.float32([0.75, 0.45, 0.45])
    _draw_hair(albedo, offset, regions, rng)

    waist = rng.uniform(0.22, 0.42)
    # Bottom: shorts, knee-long or trousers; the trunk below the waist belongs to it.
    hem = rng.choice([rng.uniform(0.3, 0.8), rng.uniform(0.8, 1.4), rng.uniform(1.75, 2.05)],
                     p=[0.25, 0.15, 0.6])
    bottom = (on_leg & (leg < hem)) | (on_trunk & (trunk < waist))
    _wear(albedo, offset, bottom, regions, rng, rng.uniform(0.0, 0.016))
    if rng.random() < 0.25 and hem > 1.5:  # side stripe
        z = regions.rest[:, 2]
        albedo[bottom & on_leg & (np.abs(z - z[bottom].mean()) < 0.02)] = fabric_colour(rng)

    # Top: sleeveless, t-shirt or long sleeves.
    sleeve = rng.choice([-0.05, rng.uniform(0.35, 0.85), rng.uniform(1.7, 2.0)],
                        p=[0.15, 0.45, 0.4])
    neckline = rng.uniform(0.88, 1.06) - 0.12 * (rng.random() < 0.3) * (regions.rest[:, 2] > 0)
    low = waist - rng.uniform(0.0, 0.2) * (rng.random() < 0.6)
    top = (on_trunk & (trunk >= low) & (trunk < neckline)) | (on_arm & (arm < sleeve))
    _wear(albedo, offset, top, regions, rng, rng.uniform(0.0, 0.014))
    _decorate_top(albedo, top, regions, arm, rng)
    if rng.random() < 0.12:  # a dress: the top's colour runs down the legs
        dress = (on_trunk & (trunk < low)) | (on_leg & (leg < rng.uniform(0.5, 1.3)))
        albedo[dress] = albedo[top].mean(0)
        offset[dress] = 0.018

    if rng.random() < 0.9:  # shoes, over socks or boots
        edge = rng.choice([1.98, 1.9, 1.5], p=[0.6, 0.25, 0.15])
        albedo[leg > edge] = fabric_colour(rng)
        albedo[leg > 1.96] = fabric_colour(rng)
        offset[leg > 1.96] = 0.006
    if rng.random() < 0.06:  # gloves
        albedo[arm > 1.97] = fabric_colour(rng)
    return Appearance(np.clip(albedo, 0.004, 0.9), offset)


def _wear(albedo, offset, rows, regions, rng, looseness):
    """Colour a garment, plain or patterned, and let it stand off the skin."""
    colour, other = fabric_colour(rng), fabric_colour(rng)
    rest = regions.rest[rows]
    x, y, z = rest.T
    on_arm = regions.arm[rows] != ELSEWHERE
    # Along an arm in the rest pose x changes, elsewhere y: stripes go round either.
    along, across = np.where(on_arm, x, y), np.where(on_arm, y, x)
    pattern = rng.random()
    period = rng.uniform(0.04, 0.14)
    cloth = np.tile(colour, (len(rest), 1))
    if pattern < 0.14:
        cloth[np.mod(along, period) < period * rng.uniform(0.2, 0.6)] = other
    elif pattern < 0.2:
        cloth[np.mod(across, period) < period * 0.5] = other
    elif pattern < 0.27:
        cloth[(np.mod(along, period) < period / 2) ^ (np.mod(x + z, period) < period / 2)] = other
    elif pattern < 0.36:  # soft blotches
        waves = rng.normal(0, 18, (3, 3)).astype(np.float32)
        height = np.sin(rest @ waves + rng.uniform(0, 6, 3)).sum(1)
        cloth[height > rng.uniform(-0.5, 1)] = other
    albedo[rows] = cloth
    offset[rows] = looseness


def _decorate_top(albedo, top, regions, arm, rng):
    """Logo, open jacket, contrasting sleeves or yoke; each now and then."""
    x, y, z = regions.rest.T
    kind = rng.random()
    if kind < 0.12:
        middle = y[top].mean()
        albedo[top & (z > 0.03) & (np.abs(x) < 0.09) & (np.abs(y - middle) < 0.07)] = (
            fabric_colour(rng))
    elif kind < 0.22:
        albedo[top & (z > 0) & (np.abs(x) < rng.uniform(0.02, 0.07))] = fabric_colour(rng)
    elif kind < 0.34:
        albedo[top & (arm > rng.uniform(-0.2, 0.3))] = fabric_colour(rng)
    elif kind < 0.42:
        albedo[top & (y > np.quantile(y[top], rng.uniform(0.4, 0.8)))] = fabric_colour(rng)


def _draw_hair(albedo, offset, regions, rng):
    """A cap of hair from the forehead to the nape, long or short, or a hat, or none."""
    head = regions.head
    on_head = head[:, 1] != ELSEWHERE
    kind = rng.random()
    if kind < 0.06:
        return
    colour = _HAIR[rng.integers(len(_HAIR))] * np.float32(rng.uniform(0.6, 1.4))
    if kind > 0.9:
        colour = fabric_colour(rng)
    # The hairline falls from the forehead to the nape as one goes from the front to the back.
    front, slope = rng.uniform(0.42, 0.62), rng.uniform(1.0, 1.9)
    line = front - slope * np.clip(0.45 - head[:, 2], 0, 1.1)
    hair = on_head & (head[:, 1] > line)
    albedo[hair] = colour
    offset[hair] = rng.uniform(0.004, 0.022)
    if rng.random() < 0.3:  # long hair: the back of the neck and the upper back
        x, _, z = regions.rest.T
        back = (regions.trunk > rng.uniform(0.8, 1.0)) & (z < np.median(z[regions.part == 12]))
        albedo[back & (np.abs(x) < 0.09)] = colour
        offset[back & (np.abs(x) < 0.09)] = 0.02
    if rng.random() < 0.12:  # beard
        beard = on_head & (head[:, 2] > 0.2) & (head[:, 1] < -0.45)
        albedo[beard] = colour
