"""The least time that a stage can take on a GPU: to read its weights, and to multiply.

A lower bound, not a forecast: it knows nothing of launches, of activations, or of operations that
are no matrix products or convolutions; and it lets all products run at the speed of bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


@dataclass(frozen=True)
class Peak:
    """What a GPU can do at most, from its data sheet.

    Attributes:
        flops: operations a second in bfloat16, dense.
        bandwidth: bytes a second of its memory.
        cache: bytes of its second-level cache.
    """

    flops: float
    bandwidth: float
    cache: float


# By a part of the name that the driver gives: the same chip in a slot has other numbers, so a name
# that is not here has no bound.
PEAKS = {
    "H100 80GB HBM3": Peak(989e12, 3.35e12, 50e6),  # SXM
    "H100 PCIe": Peak(756e12, 2.0e12, 50e6),
    "H200": Peak(989e12, 4.8e12, 50e6),
    "A100-SXM4-80GB": Peak(312e12, 2.039e12, 40e6),
    "A100-SXM4-40GB": Peak(312e12, 1.555e12, 40e6),
    "A100 80GB PCIe": Peak(312e12, 1.935e12, 40e6),
    "RTX A5000": Peak(111e12, 0.768e12, 6e6),  # the paper's
}


@dataclass(frozen=True)
class Work:
    """What a stage has to do.

    Attributes:
        reads: for each group of weights its bytes, and how often they are used one after another.
        flops: operations in matrix products and convolutions; two for a multiplication and its
            addition.
    """

    reads: tuple[tuple[int, int], ...]
    flops: int

    @property
    def weights(self) -> int:
        """Bytes of all weights."""
        return sum(size for size, _ in self.reads)


def weight_bytes(*modules: nn.Module) -> int:
    """Bytes of the parameters and buffers, in the types in which they are kept."""
    tensors = [t for module in modules for t in (*module.parameters(), *module.buffers())]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


class _Counter(TorchDispatchMode):
    # FlopCounterMode also tells modules apart, by hooks that fail on a variable with a gradient in
    # a passage without (the last decoding of refinement); its formulas are what is wanted.
    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **kwargs, out_val=out)
        return out


def count_flops(run: Callable[[], object]) -> int:
    """Operations of all products and convolutions that a call does, backward passes included."""
    with _Counter() as counter:
        run()
    return counter.flops


def bound(work: Work, device: str) -> tuple[float, str] | None:
    """Seconds at least, and whether "bytes" or "FLOPs" ask for them.

    Weights are read again at every use where they do not fit into the cache together, and once
    where they do.

    Args:
        work: of the stage.
        device: name of the GPU.

    Returns:
        None where the device is not in ``PEAKS``.
    """
    peak = next((peak for name, peak in PEAKS.items() if name in device), None)
    if peak is None:
        return None
    kept = work.weights <= peak.cache
    moved = sum(size * (1 if kept else times) for size, times in work.reads)
    return max((moved / peak.bandwidth, "bytes"), (work.flops / peak.flops, "FLOPs"))
