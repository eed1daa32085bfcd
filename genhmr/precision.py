"""Where bfloat16 is fast, and how a training runs in it."""

from __future__ import annotations

from contextlib import ExitStack

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

WIDE = 512  # below, the casts around a GPU's products take longer to launch than they save


def fast_bfloat16(device: str, width: int = WIDE) -> bool:
    """Whether bfloat16 products are faster than float32 there: on GPUs and on recent CPUs.

    A CPU without the instructions emulates them, several times slower than float32.

    Args:
        device: "cpu" or "cuda".
        width: of the model's tokens.
    """
    if device != "cpu":
        return width >= WIDE
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return bool(supported())


def fast_precision(device: str, bf16: bool) -> ExitStack:
    """Autocast to bfloat16; on a CPU without the fused attention, whose backward is slow in it.

    Without ``bf16`` a GPU multiplies float32 in TF32, as the field's trainings do.
    """
    stack = ExitStack()
    if not bf16 and torch.device(device).type == "cuda":
        stack.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
        torch.set_float32_matmul_precision("high")
    if bf16:
        stack.enter_context(torch.autocast(torch.device(device).type, torch.bfloat16))
        if torch.device(device).type == "cpu":
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
    return stack
