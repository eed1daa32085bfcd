"""Mask schedules: how many tokens are [MASK], in training and while sampling.

Every function is pure. Sampling schedules map the fraction ``t/T`` of finished iterations to the
share of tokens that is masked again; training draws its ratio from the cosine of the paper's
section "Training Strategy".
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

# gamma(r), r = t/T in [0, 1]: gamma(0) = 1 (all masked), gamma(1) = 0 (nothing left).
# "cosine", "linear", "cubic" and "square_root" are the appendix' four; "cosine_half" is what the
# method section calls cosine (MaskGIT's). The paper's own two cosines differ; its Figure 7 and
# Table 11 belong to the appendix, so "cosine" is the appendix' form.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": lambda r: 0.5 * (1.0 + math.cos(math.pi * r)),
    "cosine_half": lambda r: math.cos(0.5 * math.pi * r),
    "linear": lambda r: 1.0 - r,
    "cubic": lambda r: 1.0 - r**3,
    "square_root": lambda r: math.sqrt(max(0.0, 1.0 - r * r)),
}


def sampling_mask_ratio(schedule: str, fraction: float) -> float:
    """gamma(t/T) of a named sampling schedule (appendix, "Mask Scheduling Function").

    Args:
        schedule: a key of ``SCHEDULES``.
        fraction: t/T in [0, 1].

    Raises:
        ValueError: unknown name, or a fraction outside [0, 1].
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"unknown mask schedule {schedule!r}; known: {sorted(SCHEDULES)}")
    if not 0.0 <= fraction <= 1.0:
        raise ValueError(f"fraction of finished iterations must be in [0, 1], got {fraction}")
    return SCHEDULES[schedule](fraction)


def num_masked(schedule: str, step: int, iterations: int, length: int) -> int:
    """Tokens masked again after ``step`` of ``iterations`` sampling iterations.

    ``ceil(gamma(step / iterations) * length)``; 0 after the last one, whatever rounding does:
    cos(pi/2) is 6e-17 in floating point, and a ceil of it would leave one token masked for ever.

    Args:
        schedule: a key of ``SCHEDULES``.
        step: finished iterations, 0..iterations.
        iterations: T, at least 1.
        length: L, number of tokens.

    Raises:
        ValueError: unknown schedule, ``iterations < 1`` or ``step`` outside 0..iterations.
    """
    if iterations < 1 or not 0 <= step <= iterations:
        raise ValueError(f"need 0 <= step <= iterations and iterations >= 1: {step}, {iterations}")
    ratio = sampling_mask_ratio(schedule, step / iterations)
    if step == iterations:
        return 0
    # 1e-9: a ratio that is exact on paper (1 - 1/5 of 40 tokens) must not round up to one more.
    return min(length, math.ceil(ratio * length - 1e-9))


def training_mask_ratio(tau: Tensor) -> Tensor:
    """gamma(tau) = cos(pi tau / 2), the training mask ratio; tau in [0, 1], any shape."""
    return torch.cos(0.5 * math.pi * tau)


def random_training_mask(
    batch_size: int,
    length: int,
    generator: torch.Generator,
    tau_max: float = 1.0,
) -> Tensor:
    """Draws one mask per item: ceil(gamma(tau) L) random positions, tau ~ U(0, tau_max).

    At least one token is masked, so that every item has something to predict. ``tau_max`` is the
    upper end of Table 4 of the paper (1.0, 0.7, 0.5, 0.3).

    Args:
        batch_size: B.
        length: L.
        generator: CPU generator.
        tau_max: upper end of the uniform distribution of tau, in (0, 1].

    Returns:
        (B, L) bool, True where the token is replaced by [MASK].

    Raises:
        ValueError: ``tau_max`` outside (0, 1].
    """
    if not 0.0 < tau_max <= 1.0:
        raise ValueError(f"tau_max must be in (0, 1], got {tau_max}")
    tau = torch.rand(batch_size, 1, generator=generator) * tau_max
    count = torch.ceil(training_mask_ratio(tau) * length).clamp(1, length)
    order = torch.rand(batch_size, length, generator=generator).argsort(dim=1)
    # order is a uniform permutation per row; the positions holding a rank below count are masked.
    return order < count
