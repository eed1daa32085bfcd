"""From image crops to bodies: encode once, sample tokens, decode them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genhmr.inference.sampling import Generators, uncertainty_guided_sampling
from genhmr.transformer.genhmr import GenHMR, ImageFeatures
from genhmr.types import SamplingTrace


@dataclass(frozen=True)
class Prediction:
    """A batch of sampled bodies, ready for metrics or for refinement.

    Attributes:
        trace: of uncertainty-guided sampling.
        latents: (B, L, D), the codes of the sampled tokens; where refinement starts.
        pose: (B, 24, 3, 3).
        betas: (B, 10).
        cam: (B, 3), s, tx, ty of ``genhmr.body.camera``.
    """

    trace: SamplingTrace
    latents: Tensor
    pose: Tensor
    betas: Tensor
    cam: Tensor


@torch.no_grad()
def sample_pose(
    model: GenHMR,
    features: ImageFeatures,
    iterations: int = 5,
    schedule: str = "cosine",
    top_k: int = 1,
    temperature: float = 1.0,
    generator: Generators | None = None,
    remask_decoded: bool = False,
) -> Prediction:
    """Samples tokens for images that are already encoded; arguments as ``predict``."""
    trace = uncertainty_guided_sampling(
        lambda tokens, mask: model.logits(tokens, mask, features),
        batch_size=len(features.betas),
        length=model.transformer.num_tokens,
        iterations=iterations,
        schedule=schedule,
        top_k=top_k,
        temperature=temperature,
        generator=generator,
        device=features.betas.device,
        remask_decoded=remask_decoded,
    )
    latents = model.tokenizer.codebook[trace.tokens]
    return Prediction(
        trace, latents, model.tokenizer.decode(latents), features.betas, features.cam
    )


@torch.no_grad()
def predict(
    model: GenHMR,
    images: Tensor,
    iterations: int = 5,
    schedule: str = "cosine",
    top_k: int = 1,
    temperature: float = 1.0,
    generator: Generators | None = None,
    remask_decoded: bool = False,
) -> Prediction:
    """Predicts bodies by uncertainty-guided sampling; refinement is a separate step.

    Args:
        model: in evaluation mode.
        images: (B, 3, S, S), ImageNet-normalised crops.
        iterations: T of the sampling.
        schedule: mask schedule.
        top_k: codes to draw from; 1 is greedy.
        temperature: of the draw.
        generator: needed if ``top_k`` > 1; one, or one for each image.
        remask_decoded: see ``uncertainty_guided_sampling``.

    Raises:
        ValueError: the model is in training mode (dropout would make the result random).
    """
    if model.training:
        raise ValueError("call model.eval() before predict()")
    return sample_pose(
        model,
        model.encode_image(images),
        iterations,
        schedule,
        top_k,
        temperature,
        generator,
        remask_decoded,
    )
