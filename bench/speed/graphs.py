"""A call as one CUDA graph: captured once, then replayed without the host's part.

At batch 1 sampling and refinement are some thousand small kernels, and the host takes longer to
launch one than the device to run it. In a graph they are launched together. What stands against a
capture here is worked around while it lasts, and nowhere else:

* The model makes small tables of Python's numbers at every call (sizes of the maps, lists of
  joints). Each is a copy from the host's memory, which a graph cannot hold: ``KeptTables``.
* ``torch.optim.Adam`` counts its steps on the host unless it is told not to: ``capturable``.

See https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs for the rules.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode

_WARMUP = 3  # calls before the capture, as the documentation has it


class KeptTables(TorchFunctionMode):
    """Makes each small tensor of Python's numbers once, and hands out the same one from then on.

    That of ``torch.tensor`` and ``Tensor.new_tensor``, and those of lists as indices. Only for code
    that does not write into such a tensor.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tables: dict[Hashable, torch.Tensor] = {}

    def __torch_function__(self, func, types, args=(), kwargs=None) -> Any:
        kwargs = kwargs or {}
        if func is torch.tensor:
            key = (repr(args), repr(kwargs))
            return self._keep(key, lambda: func(*args, **kwargs))
        if func is torch.Tensor.new_tensor:
            key = (repr(args[1:]), repr(kwargs), args[0].dtype, args[0].device)
            return self._keep(key, lambda: func(*args, **kwargs))
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):
            args = (args[0], self._index(args[1], args[0].device), *args[2:])
        return func(*args, **kwargs)

    def _keep(self, key: tuple, make: Callable[[], torch.Tensor]) -> torch.Tensor:
        if "tensor(" in key[0]:  # of tensors: their text does not tell them apart
            return make()
        if key not in self.tables:
            self.tables[key] = make()
        return self.tables[key]

    def _index(self, index: Any, device: torch.device) -> Any:
        if isinstance(index, tuple):
            return tuple(self._index(part, device) for part in index)
        if not isinstance(index, list):
            return index
        return self._keep((repr(index), device), lambda: torch.tensor(index, device=device))


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
    tables, side = KeptTables(), cuda.Stream()
    with tables, mock.patch.object(torch.optim, "Adam", capturable), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This instance was constructed with capturable=True")
        side.wait_stream(cuda.current_stream())
        with cuda.stream(side):
            for _ in range(_WARMUP):
                function()
        cuda.current_stream().wait_stream(side)
        graph = cuda.CUDAGraph()
        with cuda.graph(graph, stream=side):
            result = function()
    return Replay(graph.replay, result, (graph, function, tables.tables))


def try_capture(function: Callable[[], Any], cuda: Any = torch.cuda) -> Replay | str:
    """:func:`capture`, or the first line of why it cannot be."""
    try:
        return capture(function, cuda)
    except RuntimeError as error:
        return str(error).splitlines()[0] if str(error) else type(error).__name__
