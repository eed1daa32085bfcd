"""How much of its codebook a tokenizer uses: share of the codes, and their perplexity.

A codebook of which few codes are ever chosen is a smaller codebook than its name says (van den
Oord et al., "Neural discrete representation learning", 2017, and all that follow report it as
perplexity); reconstruction errors alone do not show it.
"""

from __future__ import annotations

import numpy as np
import torch

from genhmr.body.rotations import axis_angle_to_matrix
from genhmr.tokenizer.model import PoseTokenizer


def count_codes(
    tokenizer: PoseTokenizer,
    poses: np.ndarray,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """How often each code stands for a token of some poses.

    Args:
        tokenizer: trained.
        poses: (N, 24, 3) axis-angle.
        batch_size: poses at once.
        device: where the tokenizer is.

    Returns:
        (K,) int64, of sum N x L.
    """
    counts = np.zeros(len(tokenizer.codebook), np.int64)
    for start in range(0, len(poses), batch_size):
        batch = np.array(poses[start : start + batch_size], dtype=np.float32)
        tokens = tokenizer.tokenize(axis_angle_to_matrix(torch.from_numpy(batch)).to(device))
        counts += np.bincount(tokens.flatten().cpu().numpy(), minlength=len(counts))
    return counts


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
