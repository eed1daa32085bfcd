"""Peak memory of a computation over that of its inputs, in a process of its own.

``python -m bench.speed.memory MODULE:FUNCTION WHICH DEVICE`` prints it in bytes. The function gets
the other two words and returns two calls: one on inputs of next to no size, which loads libraries
and compiles kernels, and the one that is measured. On a CPU that is the peak of the resident memory
as Linux tells it, in pages; on a CUDA device that of torch's allocator.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
PAGE = 4096  # the least that can be told of a process


def peak_bytes(case: str, which: str, device: str = "cpu") -> int:
    """Runs a case ("module:function") in a new process, see the module's docstring."""
    call = [sys.executable, "-m", "bench.speed.memory", case, which, device]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        call, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return max(int(done.stdout), PAGE)


def _resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def measure(small: Callable[[], object], whole: Callable[[], object], device: str) -> int:
    """Bytes that ``whole`` takes at its peak, on top of what there is before it."""
    small()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        whole()
        return torch.cuda.max_memory_allocated() - before
    ctypes.CDLL(None).malloc_trim(0)  # else what was freed is used again, unseen
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of making the inputs
    before = _resident("VmRSS")
    whole()
    return _resident("VmHWM") - before


def _main(case: str, which: str, device: str) -> None:
    torch.set_num_threads(1)
    module, function = case.split(":")
    print(measure(*getattr(importlib.import_module(module), function)(which, device), device))


if __name__ == "__main__":
    _main(*sys.argv[1:])
