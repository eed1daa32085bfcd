"""Where bfloat16 is fast, and how a training runs in it."""

from __future__ import annotations

from contextlib import ExitStack

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


def fast_bfloat16(device: str) -> bool:
    """Whether bfloat16 products are faster than float32 there: on GPUs and on recent CPUs.

    A CPU without the instructions emulates them, several times slower than float32.
    """
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return device != "cpu" or bool(supported())


def fast_precision(device: str, bf16: bool) -> ExitStack:
    """Autocast to bfloat16; on a CPU without the fused attention, whose backward is slow in it."""
    stack = ExitStack()
    if bf16:
        stack.enter_context(torch.autocast(torch.device(device).type, torch.bfloat16))
        if torch.device(device).type == "cpu":
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
    return stack
