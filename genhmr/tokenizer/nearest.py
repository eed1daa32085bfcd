"""Nearest code of a codebook: one matrix product, and no more of it in float32 than is needed.

``argmin |z - c|^2 = argmax (z.c - |c|^2 / 2)``. The product takes nearly all of the time. Where the
processor multiplies bfloat16 twice as fast, it is done in bfloat16 to find the few codes that can
be the nearest by a bound on its rounding, and these alone are scored in float32. Either way the
answer is float32's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genhmr.precision import fast_bfloat16

# Rows of latents scored at once: the (rows, K) score block then stays in the cache, which is
# 1.4x the speed of one large product followed by an argmax over memory.
_ROWS = 1024
_FILTERED_ROWS = 512
# An argmax by blocks: most of it becomes a maximum, which a CPU does 8x as fast.
_BLOCK = 64
# Below this size of the codebook the filter's own passes cost more than they save.
_WORTH_FILTERING = 1024 * 128
_MAX_CANDIDATES = 4  # a row, on average; scoring more of them one by one costs what is saved
_ROUNDING = 2.0**-8  # of a number to bfloat16, relative: it has 8 binary digits


def nearest_codes(latents: Tensor, codebook: Tensor, filtered: bool | None = None) -> Tensor:
    """Index of the nearest code in Euclidean distance, by float32 scores.

    Codes whose scores float32 cannot tell apart may be exchanged; of equal codes the first is
    taken.

    Args:
        latents: (..., D).
        codebook: (K, D).
        filtered: whether bfloat16 scores choose the codes to look at; None: where that is faster.

    Returns:
        (...) int64.
    """
    flat = latents.detach().reshape(-1, latents.shape[-1])
    if filtered is None:
        worth = flat.device.type == "cpu" and codebook.numel() >= _WORTH_FILTERING
        filtered = worth and flat.dtype == torch.float32 and fast_bfloat16("cpu")
    bias = -0.5 * codebook.square().sum(dim=1)
    indices = torch.empty(len(flat), dtype=torch.int64, device=flat.device)
    rows = _FILTERED_ROWS if filtered else _ROWS
    coarse = _Coarse(codebook, bias) if filtered else None
    # Distances in bfloat16 alone would pick a wrong code for some 2 % of the latents.
    with torch.autocast(flat.device.type, enabled=False):
        for start in range(0, len(flat), rows):
            chunk = flat[start : start + rows]
            found = None if coarse is None else coarse.nearest(chunk)
            if found is None:
                coarse = None  # codes so near to each other will be so in the next rows too
                found = _argmax(torch.addmm(bias, chunk, codebook.t()))
            indices[start : start + rows] = found
    return indices.reshape(latents.shape[:-1])


def _argmax(scores: Tensor) -> Tensor:
    """(N, K) -> (N,), the lowest index of the maximum."""
    if scores.device.type != "cpu" or scores.shape[1] % _BLOCK:
        return scores.argmax(dim=1)
    blocks = scores.view(len(scores), -1, _BLOCK)
    block = blocks.amax(dim=2).argmax(dim=1)
    inside = blocks[torch.arange(len(scores)), block].argmax(dim=1)
    return block * _BLOCK + inside


class _Coarse:
    """A codebook in bfloat16, which tells the codes that cannot be the nearest.

    With z' and c' for the rounded z and c and u = 2^-8, a score is off by at most
    ``|z - z'| |c| + |z'| |c - c'| + D 2^-23 |z'| |c'| + u (2 |score| + 2 |bias|)``: the factors
    are rounded (Cauchy-Schwarz), the product is summed in float32, then it, the bias and their sum
    are rounded. A code further below the best than two such errors is not the nearest. The bound
    takes the best score for that of every candidate, which lies two errors away at most: 5 % on top
    are more than twice what that can change.

    Args:
        codebook: (K, D) float32.
        bias: (K,), of the scores.
    """

    def __init__(self, codebook: Tensor, bias: Tensor) -> None:
        self._codebook, self._bias = codebook, bias
        # What all scores have in common would cost digits of what tells them apart.
        centred = bias - bias.mean()
        self._coarse, self._coarse_bias = codebook.t().bfloat16(), centred.bfloat16()
        rounded = self._coarse.t().float()
        self._norm = codebook.norm(dim=1).max()
        summed = codebook.shape[1] * 2.0**-23 * rounded.norm(dim=1).max()
        self._lost = (codebook - rounded).norm(dim=1).max() + summed
        self._bias_size = centred.abs().max()

    def error(self, latents: Tensor, low: Tensor, best: Tensor) -> Tensor:
        """(N,) bound, of latents (N, D), the same rounded, and their best coarse scores (N,)."""
        factors = (latents - low).norm(dim=1) * self._norm + low.norm(dim=1) * self._lost
        return 1.05 * (factors + _ROUNDING * 2 * (best.abs() + self._bias_size))

    def nearest(self, latents: Tensor) -> Tensor | None:
        """(N, D) -> (N,) int64; None where too many codes are left, or scores are not finite."""
        low = latents.bfloat16()
        scores = torch.addmm(self._coarse_bias, low, self._coarse)
        count, num_codes = scores.shape
        blocks = scores.view(count, -1, _BLOCK if num_codes % _BLOCK == 0 else 1)
        tops = blocks.amax(dim=2).float()
        best = tops.amax(dim=1)
        error = self.error(latents, low.float(), best)
        least = best - 2 * error
        row, block = (tops >= least[:, None]).nonzero(as_tuple=True)
        if len(row) > _MAX_CANDIDATES * count:
            return None
        which, inside = (blocks[row, block].float() >= least[row, None]).nonzero(as_tuple=True)
        if len(which) > _MAX_CANDIDATES * count:
            return None
        row, code = row[which], block[which] * blocks.shape[2] + inside
        exact = (latents[row] * self._codebook[code]).sum(dim=1) + self._bias[code]
        top = exact.new_full((count,), -torch.inf).scatter_reduce_(0, row, exact, "amax")
        wins = exact >= top[row]
        found = row.new_full((count,), num_codes)
        found.scatter_reduce_(0, row[wins], code[wins], "amin")
        return None if bool((found == num_codes).any()) else found
