"""A population of plausible adults in Anny's parameters.

A handful of latent traits (stature, adiposity, muscularity, leg, arm, trunk and frame size) move
groups of Anny parameters together, so that principal components of the sampled bodies are
anthropometric traits and not stature alone.  Every trait is drawn as N(0, 1), adiposity with a
higher mean.
"""

from __future__ import annotations

import numpy as np

# Change of a local blend shape per standard deviation of a trait (labels "l-"/"r-" are pairs).
_TRAITS: dict[str, dict[str, float]] = {
    "leg": {
        "upperlegs-height-incr": 0.30, "lowerlegs-height-incr": 0.30,
        "torso-scale-vert-incr": -0.16,
    },
    "arm": {
        "measure-upperarm-length-incr": 0.20, "measure-lowerarm-length-incr": 0.18,
        "l-hand-scale-incr": 0.12, "r-hand-scale-incr": 0.12,
    },
    "adiposity": {
        "measure-waist-circ-incr": 0.31, "measure-hips-circ-incr": 0.24,
        "measure-bust-circ-incr": 0.20, "measure-underbust-circ-incr": 0.20,
        "measure-thigh-circ-incr": 0.20, "measure-calf-circ-incr": 0.14,
        "measure-upperarm-circ-incr": 0.20, "measure-neck-circ-incr": 0.17,
        "l-upperarm-fat-incr": 0.14, "r-upperarm-fat-incr": 0.14,
        "l-upperleg-fat-incr": 0.17, "r-upperleg-fat-incr": 0.17,
        "buttocks-volume-incr": 0.14, "stomach-navel-out": 0.14, "head-fat-incr": 0.14,
        "torso-scale-depth-incr": 0.14, "hip-scale-depth-incr": 0.14,
    },
    "frame": {
        "torso-scale-horiz-incr": 0.22, "measure-shoulder-dist-incr": 0.35,
        "hip-scale-horiz-incr": 0.30,
    },
    "muscularity": {
        "torso-vshape-incr": 0.25, "l-upperarm-shoulder-muscle-incr": 0.25,
        "r-upperarm-shoulder-muscle-incr": 0.25, "torso-muscle-dorsi-incr": 0.25,
    },
    "pear": {
        "measure-hips-circ-incr": 0.30, "hip-scale-horiz-incr": 0.30,
        "measure-waist-circ-incr": -0.25, "buttocks-volume-incr": 0.25,
    },
    "head": {"head-scale-vert-incr": 0.15, "head-scale-horiz-incr": 0.15,
             "head-scale-depth-incr": 0.15},
    "neck": {"measure-neck-height-incr": 0.25},
    "foot": {"l-foot-scale-incr": 0.15, "r-foot-scale-incr": 0.15},
}  # fmt: skip

LOCAL_CHANGES = tuple(sorted({label for group in _TRAITS.values() for label in group}))
_MEAN_ADIPOSITY = 0.4  # Anny's middle is leaner than adults are (median BMI 22)
_MAX_SD = 2.5  # traits are clipped here: no body beyond the tails of real adults


def sample_population(
    count: int, gender: str, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Draw adults.

    Args:
        count: number of people N.
        gender: "male", "female" or "neutral" (half and half).
        rng: source of every draw.

    Returns:
        (N,) arrays by phenotype label, and (N,) arrays by local change label.
    """

    def trait() -> np.ndarray:
        return np.clip(rng.normal(size=count), -_MAX_SD, _MAX_SD)

    stature = trait()
    traits = {name: trait() for name in _TRAITS}
    traits["adiposity"] += _MEAN_ADIPOSITY
    female = {"male": np.zeros(count), "female": np.ones(count)}.get(gender)
    if female is None:
        female = (rng.random(count) < 0.5).astype(float)
    # Anny's axis runs from 0 (male) to 1 (female); nobody sits exactly on an end.
    offset = np.abs(np.clip(rng.normal(0.05, 0.05, count), 0.0, 0.2))
    ancestry = rng.dirichlet([1.0, 1.0, 1.0], count)
    phenotypes = {
        "gender": np.abs(female - offset),
        "age": rng.uniform(0.68, 0.92, count),
        "muscle": np.clip(0.5 + 0.20 * traits["muscularity"], 0.0, 1.0),
        "weight": np.clip(0.52 + 0.20 * traits["adiposity"], -0.05, 1.25),
        "height": 0.385 + 0.043 * stature,
        "proportions": np.clip(0.6 + 0.2 * trait(), 0.0, 1.0),
        "cupsize": np.clip(0.5 + 0.2 * trait() + 0.1 * traits["adiposity"], 0.0, 1.0),
        "firmness": np.clip(0.5 + 0.15 * trait(), 0.0, 1.0),
        "african": ancestry[:, 0],
        "asian": ancestry[:, 1],
        "caucasian": ancestry[:, 2],
    }
    local = {label: np.zeros(count) for label in LOCAL_CHANGES}
    for name, changes in _TRAITS.items():
        for label, step in changes.items():
            local[label] += step * traits[name]
    return phenotypes, local


def average_adult() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The one body on which the mesh is simplified: mid-sex, average build."""
    phenotypes = {
        "gender": 0.5, "age": 0.72, "muscle": 0.5, "weight": 0.5, "height": 0.385,
        "proportions": 0.6, "cupsize": 0.5, "firmness": 0.5,
        "african": 1 / 3, "asian": 1 / 3, "caucasian": 1 / 3,
    }  # fmt: skip
    return (
        {label: np.array([value]) for label, value in phenotypes.items()},
        {label: np.zeros(1) for label in LOCAL_CHANGES},
    )
