"""The codebook beside its peers: nearest code, and the moving average of the codes.

Peers: vector-quantize-pytorch, and the formulas that most VQ code uses,
``cdist`` + ``argmin`` and ``one_hot.T @ latents``. One thread, in turn, medians.
The size is the paper's codebook (2048 x 256) under 64 poses of 96 tokens.
"""

from __future__ import annotations

import torch

from bench.speed.rows import row
from genhmr.tokenizer.nearest import nearest_codes
from genhmr.tokenizer.quantizer import code_statistics

BATCH, TOKENS, CODES, DIM = 64, 96, 2048, 256


def _data(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(BATCH * TOKENS, DIM, generator=generator)
    return latents.to(device), torch.randn(CODES, DIM, generator=generator).to(device)


@row("nearest code", "torch.cdist + argmin", 1.35)
def test_nearest_code_beside_cdist(beside, device):
    latents, codebook = _data(device)

    def ours() -> torch.Tensor:
        return nearest_codes(latents, codebook)

    def peer() -> torch.Tensor:
        return torch.cdist(latents, codebook).argmin(1)

    assert (ours() == peer()).float().mean() > 0.999
    beside(ours, peer)


@row("moving average of the codes", "one-hot matrix product", 50.0)
def test_codebook_statistics_beside_one_hot(beside, device):
    latents, codebook = _data(device)
    indices = nearest_codes(latents, codebook)

    def ours() -> tuple[torch.Tensor, torch.Tensor]:
        return code_statistics(latents, indices, CODES)

    def peer() -> tuple[torch.Tensor, torch.Tensor]:
        one_hot = torch.nn.functional.one_hot(indices, CODES).to(latents.dtype)
        return one_hot.sum(0), one_hot.t() @ latents

    for mine, theirs in zip(ours(), peer()):
        torch.testing.assert_close(mine, theirs, atol=1e-3, rtol=1e-4)
    beside(ours, peer)


@row("nearest code", "vector-quantize-pytorch", 5.0, needs="vector_quantize_pytorch")
def test_nearest_code_beside_vector_quantize_pytorch(beside, device):
    from vector_quantize_pytorch import VectorQuantize

    latents, codebook = _data(device)
    module = VectorQuantize(dim=DIM, codebook_size=CODES).to(device).eval()
    with torch.no_grad():
        module.codebook = codebook

    def ours() -> torch.Tensor:
        return nearest_codes(latents, codebook)

    @torch.no_grad()
    def peer() -> torch.Tensor:
        return module(latents[None])[1][0]

    assert (ours() == peer()).float().mean() > 0.999
    beside(ours, peer)
