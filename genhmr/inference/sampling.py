"""Uncertainty-guided sampling (UGS): iterative decoding of pose tokens, most certain first.

Follows the paper's section "Uncertainty-Guided Sampling" and, where it is silent, MaskGIT's
``parallel_decode`` (Chang et al. 2022). The function knows neither images nor networks: it takes a
callable that maps a partly masked sequence to logits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from genhmr.transformer.schedules import num_masked
from genhmr.types import SamplingTrace

LogitsFn = Callable[[Tensor, Tensor], Tensor]
Generators = torch.Generator | Sequence[torch.Generator]


def _uniform(shape: tuple[int, ...], generator: Generators | None) -> Tensor:
    """Uniform noise (B, ...), from one generator for the batch or from one per item."""
    if isinstance(generator, torch.Generator):
        return torch.rand(shape, generator=generator, device=generator.device)
    if generator is None or len(generator) != shape[0]:
        raise ValueError("top_k > 1 draws at random: pass one generator, or one for each item")
    return torch.stack([torch.rand(shape[1:], generator=g, device=g.device) for g in generator])


def _draw_tokens(
    logits: Tensor, top_k: int, temperature: float, generator: Generators | None
) -> Tensor:
    """One token per position from the k most likely codes; (B, L, K) -> (B, L)."""
    if top_k == 1:
        return logits.argmax(-1)
    values, codes = logits.topk(min(top_k, logits.shape[-1]), dim=-1)
    probabilities = (values / temperature).softmax(-1).cumsum(-1)
    # Inverse of the cumulative distribution: one uniform number per token, whatever k is.
    draw = _uniform(logits.shape[:2], generator).to(logits.device)[..., None]
    rank = (probabilities < draw).sum(-1, keepdim=True).clamp(max=codes.shape[-1] - 1)
    return codes.gather(-1, rank)[..., 0]


@torch.no_grad()
def uncertainty_guided_sampling(
    logits_fn: LogitsFn,
    batch_size: int,
    length: int,
    iterations: int = 5,
    schedule: str = "cosine",
    top_k: int = 1,
    temperature: float = 1.0,
    generator: Generators | None = None,
    device: torch.device | str = "cpu",
    remask_decoded: bool = False,
) -> SamplingTrace:
    """Decodes L tokens in T iterations, starting from all [MASK].

    In iteration t = 1..T every masked token is drawn from its predicted distribution, then the
    ``ceil(gamma(t/T) L)`` least certain tokens are masked again. A token's confidence is the
    probability the model gave to it (temperature 1, all K codes) when it was drawn. Nothing is
    masked after the last iteration.

    The result of an item never depends on its neighbours when ``top_k`` is 1 or one generator per
    item is given; with a single generator the noise depends on the place in the batch.

    Args:
        logits_fn: (tokens (B, L) int64, mask (B, L) bool) -> logits (B, L, K).
        batch_size: B.
        length: L.
        iterations: T, at least 1.
        schedule: key of ``genhmr.transformer.schedules.SCHEDULES``.
        top_k: tokens are drawn from the k most likely codes; 1 is greedy (the paper's choice).
        temperature: of the draw among them; confidences are not affected.
        generator: source of the noise if ``top_k`` > 1: one for the batch, or B of them.
        device: where tokens and masks live.
        remask_decoded: False keeps a decoded token for good, as MaskGIT does: only tokens drawn in
            this iteration compete for being masked. True lets earlier tokens lose their place too
            (the paper's "tokens with low prediction confidences are re-masked" allows both);
            they compete with the confidence they were drawn with.

    Returns:
        The trace; ``trace.tokens`` is the result.

    Raises:
        ValueError: T or k below 1, temperature not positive, an unknown schedule, or no generator
            where one is needed.
    """
    if iterations < 1 or top_k < 1 or temperature <= 0:
        raise ValueError("iterations and top_k must be at least 1 and temperature positive")
    tokens = torch.zeros(batch_size, length, dtype=torch.int64, device=device)
    mask = torch.ones(batch_size, length, dtype=torch.bool, device=device)
    confidence = torch.zeros(batch_size, length, device=device)
    masks, confidences, history = [], [], []
    for step in range(1, iterations + 1):
        masks.append(mask)
        logits = logits_fn(tokens, mask).float()
        drawn = _draw_tokens(logits, top_k, temperature, generator)
        likelihood = logits.log_softmax(-1).gather(-1, drawn[..., None])[..., 0].exp()
        tokens = torch.where(mask, drawn, tokens)
        confidence = torch.where(mask, likelihood, confidence)
        confidences.append(confidence)
        history.append(tokens)
        keep_first = confidence if remask_decoded else confidence.masked_fill(~mask, torch.inf)
        mask = _least_certain(keep_first, num_masked(schedule, step, iterations, length))
    return SamplingTrace(tokens, torch.stack(masks), torch.stack(confidences), torch.stack(history))


def _least_certain(confidence: Tensor, count: int) -> Tensor:
    """(B, L) bool, True at the ``count`` lowest confidences of each row; ties to the left."""
    order = confidence.argsort(dim=1, stable=True)
    mask = torch.zeros_like(confidence, dtype=torch.bool)
    return mask.scatter_(1, order[:, :count], True)
