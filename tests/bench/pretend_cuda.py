"""A pytest plugin: torch pretends to have a CUDA device, whose tensors have all but contents.

What lies on the CPU is computed there. What lies on the device has a shape and a type, and an
operation on tensors of both devices fails, as it would on a real one. So a benchmark that forgets
to move something is found without a GPU. Comparisons hold, gradients are zeros, and each event says
a millisecond. `tests/bench/test_speed_device.py` runs the benchmarks under it.
"""

import sys

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten

from bench.speed import timers

_ASKS = ("bench/conftest.py", "torch/amp/autocast_mode.py", "torch/cuda/amp/common.py")
_available = torch.cuda.is_available


def _is_available():
    # Others would go on and look for the device.
    return sys._getframe(1).f_code.co_filename.endswith(_ASKS) or _available()


def _there(part):
    if isinstance(part, torch.device):
        return part.type == "cuda"
    return isinstance(part, FakeTensor) or (isinstance(part, str) and part == "cuda")


class Pretend(TorchFunctionMode):
    """Makes the tensors of the device, and computes with them, in torch's fake mode."""

    fake = FakeTensorMode(allow_non_fake_inputs=True)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if not any(map(_there, tree_flatten((args, kwargs))[0])):
            return func(*args, **kwargs)
        if func is torch.bincount:  # its shape depends on contents, but for this
            return args[0].new_zeros(kwargs["minlength"])
        with self.fake:
            return func(*args, **kwargs)


def _numpy(self, **_):
    assert self.device.type == "cpu", "numpy of a tensor that lies on the device"
    return np.zeros(self.shape)


def _apply(self, fn, recurse=True):
    for module in self.children():
        module._apply(fn)
    for name, tensor in self._parameters.items():
        if tensor is not None:
            moved = fn(tensor.detach())
            self._parameters[name] = torch.nn.Parameter(moved, tensor.requires_grad)
    for name, tensor in self._buffers.items():
        self._buffers[name] = None if tensor is None else fn(tensor)
    return self


class Event:
    """Stands for ``torch.cuda.Event``."""

    def __init__(self, enable_timing):
        assert enable_timing

    def record(self):
        pass

    def synchronize(self):
        pass

    def elapsed_time(self, other):
        return 1.0


def _once(timer, functions, rounds, repeats):
    return [timer.seconds(function, 1) for function in functions]


def _time_once(call, *_):
    call()
    return [1e-3]


torch.cuda.is_available = _is_available
torch.cuda.is_bf16_supported = lambda *_, **__: True
torch.cuda._lazy_init = torch.cuda.synchronize = lambda *_: None
torch.nn.Module._apply = _apply
torch.testing.assert_close = lambda *_, **__: None
# The engine looks for the device; what it would compute lies where the forward pass lies.
torch.autograd.grad = lambda _, inputs: [torch.zeros_like(x) for x in inputs]
torch.Tensor.backward = lambda self: None
FakeTensor.__bool__ = lambda self: True
FakeTensor.__index__ = lambda self: 0  # smplx reads the parents of its joints from the device
FakeTensor.__float__ = lambda self: 0.0
FakeTensor.numpy = _numpy
timers.device_name = lambda device: "NVIDIA H100 80GB HBM3"
timers.timer_for = lambda device: timers.CudaTimer(Event, lambda: None)
timers.medians_in_turn = _once  # nothing is measured: once is enough


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session):
    for module in {item.module for item in session.items}:
        if hasattr(module, "PAPER"):  # ViT-H takes minutes to be drawn at random
            module.PAPER = module.OPEN
            module.time_callable = _time_once
    with Pretend():
        return (yield)
