"""Mask schedules against the formulas of the paper's appendix."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from genhmr.transformer.schedules import (
    SCHEDULES,
    num_masked,
    random_training_mask,
    sampling_mask_ratio,
    training_mask_ratio,
)

FORMULAS = {
    "cosine": lambda r: (1 + np.cos(np.pi * r)) / 2,
    "cosine_half": lambda r: np.cos(np.pi * r / 2),
    "linear": lambda r: 1 - r,
    "cubic": lambda r: 1 - r**3,
    "square_root": lambda r: np.sqrt(1 - r**2),
}


@pytest.mark.parametrize("name", sorted(FORMULAS))
def test_ratio_follows_the_appendix(name):
    for r in np.linspace(0, 1, 21):
        assert sampling_mask_ratio(name, float(r)) == pytest.approx(FORMULAS[name](r), abs=1e-12)


def test_every_schedule_has_a_formula_here():
    assert set(SCHEDULES) == set(FORMULAS)


@pytest.mark.parametrize("name", sorted(FORMULAS))
@pytest.mark.parametrize("iterations", [1, 2, 3, 5, 10, 15, 20, 97])
@pytest.mark.parametrize("length", [24, 48, 96, 384])
def test_counts_fall_from_all_to_none(name, iterations, length):
    counts = [num_masked(name, t, iterations, length) for t in range(iterations + 1)]
    assert counts[0] == length and counts[-1] == 0
    assert all(a >= b for a, b in pairwise(counts))
    for t, count in enumerate(counts[:-1]):
        exact = FORMULAS[name](t / iterations) * length
        assert exact - 1e-6 <= count < exact + 1 + 1e-6


def test_exact_products_do_not_round_up():
    # 1 - 1/5 of 40 is 32 on paper, and 32.000000000000004 in floating point elsewhere.
    assert [num_masked("linear", t, 5, 40) for t in range(6)] == [40, 32, 24, 16, 8, 0]
    assert num_masked("cosine_half", 7, 7, 96) == 0  # cos(pi/2) is 6e-17, not 0


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="unknown mask schedule"):
        num_masked("quartic", 1, 5, 48)
    with pytest.raises(ValueError):
        num_masked("cosine", 6, 5, 48)
    with pytest.raises(ValueError):
        num_masked("cosine", 0, 0, 48)
    with pytest.raises(ValueError):
        sampling_mask_ratio("cosine", 1.5)
    with pytest.raises(ValueError):
        random_training_mask(2, 48, torch.Generator(), tau_max=0.0)


def test_training_ratio_is_the_quarter_cosine():
    tau = torch.linspace(0, 1, 11)
    expected = [math.cos(math.pi * float(t) / 2) for t in tau]
    assert training_mask_ratio(tau).tolist() == pytest.approx(expected, abs=1e-6)


def test_training_masks_have_the_cosine_distribution():
    generator = torch.Generator().manual_seed(3)
    mask = random_training_mask(20000, 48, generator)
    count = mask.sum(1)
    assert count.min() >= 1 and count.max() <= 48
    # E ceil(48 cos(pi tau/2)): exact by quadrature.
    tau = (np.arange(200000) + 0.5) / 200000
    expected = np.ceil(48 * np.cos(np.pi * tau / 2)).mean()
    assert count.float().mean().item() == pytest.approx(expected, abs=0.35)
    # Every position is as likely as any other.
    assert mask.float().mean(0).std() < 0.01


def test_smaller_tau_max_masks_more():
    generator = torch.Generator().manual_seed(4)
    lowest = random_training_mask(2000, 96, generator, tau_max=0.3).sum(1).min()
    assert lowest >= math.ceil(96 * math.cos(math.pi * 0.15))


def test_training_mask_is_a_function_of_the_seed():
    draws = [random_training_mask(8, 48, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
