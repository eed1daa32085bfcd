"""A call as one CUDA graph: captured once, then replayed without the host's part.

At batch 1 sampling and refinement are some thousand small kernels, and the host takes longer to
launch one than the device to run it. In a graph they are launched together. The model's small
tables of numbers are constants of the device (``genhmr.constants``), so one thing alone stands
against a capture: ``torch.optim.Adam`` counts its steps on the host unless it is told not to, which
it is while the capture lasts.

See https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs for the rules.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch

_WARMUP = 3  # calls before the capture, as the documentation has it


@dataclass(frozen=True)
class Replay:
    """A captured call.

    Attributes:
        run: does it again, on the inputs that lie where they lay.
        result: what the call returned; its tensors are written anew by ``run``.
        kept: what the graph reads and nobody else holds.
    """

    run: Callable[[], None]
    result: Any
    kept: tuple


def capture(function: Callable[[], Any], cuda: Any = torch.cuda) -> Replay:
    """Captures a call on the current device.

    Args:
        function: with the same shapes at every call, and nothing read back to the host.
        cuda: ``torch.cuda``, or what stands for it in a test.

    Raises:
        RuntimeError: something in the call cannot be captured.
    """
    capturable = functools.partial(torch.optim.Adam, capturable=True)
    side = cuda.Stream()
    with mock.patch.object(torch.optim, "Adam", capturable), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This instance was constructed with capturable=True")
        side.wait_stream(cuda.current_stream())
        with cuda.stream(side):
            for _ in range(_WARMUP):
                function()
        cuda.current_stream().wait_stream(side)
        graph = cuda.CUDAGraph()
        with cuda.graph(graph, stream=side):
            result = function()
    return Replay(graph.replay, result, (graph, function))


def try_capture(function: Callable[[], Any], cuda: Any = torch.cuda) -> Replay | str:
    """:func:`capture`, or the first line of why it cannot be."""
    try:
        return capture(function, cuda)
    except RuntimeError as error:
        return str(error).splitlines()[0] if str(error) else type(error).__name__
