"""Training-time differentiable sampling of tokens: straight-through Gumbel-Softmax, Eqs. 5 and 6.

The forward pass picks one code per token (categorical sampling by the Gumbel-max trick) and the
backward pass differentiates the tempered softmax of the same noisy logits.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def annealed_temperature(
    step: int, steps: int, start: float = 1.0, end: float = 0.01, duration: float = 0.5
) -> float:
    """Cosine-annealed temperature of Eq. 5.

    Args:
        step: current training step, 0-based.
        steps: length of the training.
        start: tau at step 0.
        end: tau once the annealing is over.
        duration: annealing time as a fraction of the training (Table 9: 0.5 to 2.0). Above 1 the
            training ends before ``end`` is reached.

    Raises:
        ValueError: a temperature or duration that is not positive.
    """
    if min(start, end, duration) <= 0 or steps < 1:
        raise ValueError("temperatures, duration and steps must be positive")
    progress = min(1.0, step / (duration * steps))
    return end + 0.5 * (start - end) * (1.0 + math.cos(math.pi * progress))


def gumbel_noise(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Standard Gumbel noise, float32, on the generator's device."""
    uniform = torch.rand(shape, generator=generator, device=generator.device)
    # The clamp keeps log(0) out; 1e-20 is far below the smallest non-zero draw (6e-8).
    return uniform.clamp_(min=1e-20).log_().neg_().log_().neg_()


class _StraightThroughLookup(torch.autograd.Function):
    """codebook[argmax(x)] forward, gradient of softmax(x / tau) @ codebook backward.

    One fused node: neither the one-hot nor the soft code mixture is ever built, which halves the
    memory traffic of the textbook ``hard - soft.detach() + soft``. The codebook gets no gradient
    (it belongs to the frozen tokenizer).
    """

    @staticmethod
    def forward(ctx, noisy_logits: Tensor, codebook: Tensor, temperature: float) -> tuple:
        soft = torch.softmax(noisy_logits / temperature, dim=-1)
        tokens = noisy_logits.argmax(dim=-1)
        ctx.save_for_backward(soft, codebook)
        ctx.temperature = temperature
        ctx.mark_non_differentiable(tokens)
        return codebook[tokens], tokens

    @staticmethod
    def backward(ctx, grad_codes: Tensor, _grad_tokens: Tensor) -> tuple:
        soft, codebook = ctx.saved_tensors
        grad_soft = grad_codes @ codebook.T
        inner = (grad_soft * soft).sum(dim=-1, keepdim=True)
        return soft * (grad_soft - inner) / ctx.temperature, None, None


def straight_through_codes(
    logits: Tensor, codebook: Tensor, temperature: float, noise: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Samples a code per token so that gradients reach the logits (Eq. 6).

    Args:
        logits: (..., K).
        codebook: (K, D), frozen.
        temperature: tau > 0 of the backward softmax.
        noise: (..., K) Gumbel noise; None picks the most likely code.

    Returns:
        codes (..., D), the sampled rows of the codebook, differentiable in ``logits`` as
        ``softmax((logits + noise) / tau) @ codebook`` is; tokens (...) int64.

    Raises:
        ValueError: temperature not positive.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    noisy = logits if noise is None else logits + noise
    return _StraightThroughLookup.apply(noisy.float(), codebook, float(temperature))
