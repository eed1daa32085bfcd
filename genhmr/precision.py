"""Where bfloat16 is fast, and how a training runs in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

WIDE = 512  # below, the casts around a GPU's products take longer to launch than they save


def fast_bfloat16(device: str, width: int = WIDE) -> bool:
    """Whether bfloat16 products are faster than float32 there.

    They are for wide models on GPUs, and on recent CPUs; a CPU without the instructions emulates
    them, several times slower than float32.

    Args:
        device: "cpu" or "cuda".
        width: of the model's tokens.
    """
    if device != "cpu":
        return width >= WIDE
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return bool(supported())


@contextmanager
def tensor_cores(device: str, bf16: bool) -> Iterator[None]:
    """A GPU's float32 products in TF32, as the field trains, unless they are bfloat16.

    Around forward and backward pass both: unlike autocast it counts where a product is computed.
    It holds where autocast is switched off too, for bodies and nearest codes: three digits, of
    which a training notices nothing. Nothing is evaluated in it.
    """
    if bf16 or torch.device(device).type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def fast_precision(device: str, bf16: bool) -> ExitStack:
    """Autocast to bfloat16; on a CPU without the fused attention, whose backward is slow in it.

    Without ``bf16`` see :func:`tensor_cores`.
    """
    stack = ExitStack()
    stack.enter_context(tensor_cores(device, bf16))
    if bf16:
        stack.enter_context(torch.autocast(torch.device(device).type, torch.bfloat16))
        if torch.device(device).type == "cpu":
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
    return stack
