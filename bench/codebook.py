"""How much of its codebook a tokenizer uses: share of the codes, and their perplexity.

A codebook of which few codes are ever chosen is a smaller codebook than its name says, and
reconstruction errors alone do not show it.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from genhmr.tokenizer.model import PoseTokenizer


def codebook_use(counts: np.ndarray) -> dict[str, float]:
    """Share and perplexity of the codes that were used.

    Args:
        counts: (K,) how often each code was chosen.

    Returns:
        ``codes`` K, ``tokens`` how many were chosen in all, ``used`` the share of the codes that
        were chosen at all (0 to 1), ``perplexity`` exp of the entropy of the shares of the codes:
        as many codes as would be in use if all were chosen equally often (1 to K).
    """
    shares = counts[counts > 0] / counts.sum()
    # Rounded: the last bits of a sum are no measurement, and they differ between machines.
    return {
        "codes": len(counts),
        "tokens": int(counts.sum()),
        "used": round(len(shares) / len(counts), 6),
        "perplexity": round(float(np.exp(-(shares * np.log(shares)).sum())), 3),
    }


class CountingTokenizer:
    """Reads and writes poses as a tokenizer does, and counts the codes that it reads.

    What is scored is counted, in one pass: reading poses twice would cost as much again.

    Args:
        tokenizer: trained.

    Attributes:
        counts: (K,) int64, how often each code stood for a token so far.
    """

    def __init__(self, tokenizer: PoseTokenizer) -> None:
        self._tokenizer = tokenizer
        self.counts = np.zeros(len(tokenizer.codebook), np.int64)

    def tokenize(self, pose: Tensor) -> Tensor:
        """Pose (B, 24, 3, 3) -> tokens (B, L) int64."""
        tokens = self._tokenizer.tokenize(pose)
        self.counts += np.bincount(tokens.flatten().cpu().numpy(), minlength=len(self.counts))
        return tokens

    def decode_tokens(self, tokens: Tensor) -> Tensor:
        """Tokens (B, L) int64 -> pose (B, 24, 3, 3)."""
        return self._tokenizer.decode_tokens(tokens)
