"""Small tables of Python's numbers as tensors, made once for each device.

Making one at every call would cost a copy from the host's memory, for which a GPU's queue of
kernels has to run empty first.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=None)  # few, and a CUDA graph that reads one must never lose it
def table(values: tuple, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The same tensor at every call, not to be written into.

    Args:
        values: numbers, or nested tuples of them.
        dtype: of the tensor.
        device: where it lies.
    """
    with torch.inference_mode(False):  # it outlives the call and may be needed in a backward pass
        return torch.tensor(values, dtype=dtype, device=device)


def indices(values: tuple[int, ...], device: torch.device) -> Tensor:
    """Positions to index a dimension with."""
    return table(values, torch.long, device)
