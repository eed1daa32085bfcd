"""The one codebook of the pose tokenizer: nearest code, straight-through, EMA, reset.

Follows the paper's section "Pose Tokenizer": Euclidean nearest neighbour, straight-through
gradient, codebook by exponential moving average (van den Oord et al. 2017, appendix A.1) and
reset of dead codes (Williams et al. 2020). ``forward`` is pure; the codebook changes only in
``initialise`` and ``update``, which the training loop calls with an explicit generator.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genhmr.tokenizer.nearest import nearest_codes


def code_statistics(latents: Tensor, indices: Tensor, num_codes: int) -> tuple[Tensor, Tensor]:
    """How many latents fell on each code, and their sum.

    Equal to the usual ``one_hot(indices).T @ latents``, without the (N, K) matrix.

    Args:
        latents: (N, D).
        indices: (N,) int64 in [0, K).
        num_codes: K.

    Returns:
        counts (K,) and sums (K, D), of the latents' dtype.
    """
    sums = latents.new_zeros(num_codes, latents.shape[1]).index_add_(0, indices, latents)
    counts = torch.bincount(indices, minlength=num_codes).to(latents.dtype)
    return counts, sums


class VectorQuantizer(nn.Module):
    """Quantises latents to the nearest of K codes.

    Args:
        num_codes: K.
        code_dim: D.
        decay: of the moving averages of counts and sums (0.99 in TokenHMR and T2M-GPT).
        dead_below: a code whose average count falls below this fraction of the mean count over
            all codes is dead, and is put on a random latent of the batch.
    """

    codebook: Tensor

    def __init__(
        self, num_codes: int, code_dim: int, decay: float = 0.99, dead_below: float = 0.03
    ) -> None:
        super().__init__()
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"decay must be in [0, 1), got {decay}")
        self.decay = decay
        self.dead_below = dead_below
        # Zeros until initialise(): a forgotten initialisation shows at once as one single code.
        self.register_buffer("codebook", torch.zeros(num_codes, code_dim))
        self.register_buffer("counts", torch.zeros(num_codes))
        self.register_buffer("sums", torch.zeros(num_codes, code_dim))

    @property
    def num_codes(self) -> int:
        """K."""
        return self.codebook.shape[0]

    def nearest(self, latents: Tensor) -> Tensor:
        """(..., D) -> (...) int64, the nearest code of each latent."""
        return nearest_codes(latents, self.codebook)

    def lookup(self, indices: Tensor) -> Tensor:
        """(...) int64 -> (..., D), the codes themselves."""
        return F.embedding(indices, self.codebook)

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Quantises with a straight-through gradient.

        Args:
            latents: (B, L, D).

        Returns:
            quantised (B, L, D): the codes, whose gradient passes to ``latents`` unchanged;
            indices (B, L) int64.
        """
        indices = self.nearest(latents)
        codes = self.lookup(indices).to(latents.dtype)
        return latents + (codes - latents).detach(), indices

    @torch.no_grad()
    def initialise(self, latents: Tensor, generator: torch.Generator, iterations: int = 5) -> None:
        """Puts the codes where the data are: random latents, then a few steps of k-means.

        Args:
            latents: (..., D), ideally many more than K of them.
            generator: CPU generator that draws the first codes.
            iterations: of Lloyd's algorithm; a code that catches nothing keeps its place.
        """
        flat = latents.reshape(-1, latents.shape[-1]).float()
        self.codebook.copy_(_draw(flat, self.num_codes, generator))
        counts = flat.new_zeros(self.num_codes)
        for _ in range(iterations):
            counts, sums = code_statistics(flat, self.nearest(flat), self.num_codes)
            hit = counts > 0
            self.codebook[hit] = sums[hit] / counts[hit, None]
        # Every code starts its life with the mean count, so that none is dead at birth.
        self.counts.fill_(len(flat) / self.num_codes)
        self.sums.copy_(self.codebook * self.counts[:, None])

    @torch.no_grad()
    def update(self, latents: Tensor, indices: Tensor, generator: torch.Generator) -> int:
        """One step of the moving averages, then the reset of dead codes.

        This takes the place of a gradient of the paper's ``|sg[z] - c|``: the moving average
        of the latents of a code is the (online) minimiser of that term.

        Args:
            latents: (..., D) encoder outputs of the batch.
            indices: (...) their codes, from ``forward``.
            generator: CPU generator that draws the new places of dead codes.

        Returns:
            How many codes were reset.
        """
        flat = latents.detach().reshape(-1, latents.shape[-1]).float()
        counts, sums = code_statistics(flat, indices.reshape(-1), self.num_codes)
        self.counts.lerp_(counts, 1.0 - self.decay)
        self.sums.lerp_(sums, 1.0 - self.decay)
        mean_count = self.counts.mean()
        dead = self.counts < self.dead_below * mean_count
        num_dead = int(dead.sum())
        if num_dead:
            self.sums[dead] = _draw(flat, num_dead, generator) * mean_count
            self.counts[dead] = mean_count
        self.codebook.copy_(self.sums / self.counts[:, None])
        return num_dead


def _draw(flat: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``count`` random rows of ``flat`` (N, D); with a little noise where N is too small."""
    if len(flat) >= count:
        rows = torch.randperm(len(flat), generator=generator)[:count]
        return flat[rows.to(flat.device)]
    rows = torch.randint(len(flat), (count,), generator=generator)
    noise = torch.randn(count, flat.shape[1], generator=generator).to(flat)
    return flat[rows.to(flat.device)] + 0.01 * flat.std() * noise
