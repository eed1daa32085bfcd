"""Compiled CPU kernel of linear blend skinning, forward only (same maths as ``skinning.py``).

A vertex of SMPL follows four bones at most, two on average: here only those are visited, where a
matrix product goes through all 24. Compiled by numba at the first call and cached on disk.
"""

from __future__ import annotations

import numba
from torch import Tensor

# Reassociation lets sums be fused; infinities and NaN keep their meaning.
_FASTMATH = {"reassoc", "contract", "nsz"}


@numba.njit(fastmath=_FASTMATH, nogil=True, cache=True, error_model="numpy")
def _skin(shaped, transforms, first, bones, shares, posed):
    """shaped (B,3,V), transforms (B,J,3,4), entries first[v]..first[v+1] -> posed (B,V,3)."""
    for b in range(len(shaped)):
        own = transforms[b]
        for v in range(shaped.shape[2]):
            x, y, z = shaped[b, 0, v], shaped[b, 1, v], shaped[b, 2, v]
            px = py = pz = shaped.dtype.type(0)
            for entry in range(first[v], first[v + 1]):
                t, share = own[bones[entry]], shares[entry]
                px += share * (t[0, 0] * x + t[0, 1] * y + t[0, 2] * z + t[0, 3])
                py += share * (t[1, 0] * x + t[1, 1] * y + t[1, 2] * z + t[1, 3])
                pz += share * (t[2, 0] * x + t[2, 1] * y + t[2, 2] * z + t[2, 3])
            posed[b, v, 0], posed[b, v, 1], posed[b, v, 2] = px, py, pz


def skin(shaped: Tensor, transforms: Tensor, sparse: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Posed vertices (B, V, 3) without a gradient; see ``skinning.linear_blend_skinning``."""
    posed = shaped.new_empty(len(shaped), shaped.shape[2], 3)
    arrays = (shaped, transforms, *sparse, posed)
    _skin(*(array.detach().contiguous().numpy() for array in arrays))
    return posed
