"""Seconds of a call on the device that it runs on: two clocks behind one small interface.

On a CPU the clock is the process's CPU time, which a busy machine disturbs least. On a CUDA device
it is two events in the stream around the calls: they tell the time at which the device came by,
which a clock of the host, ahead of the device, cannot.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch

Call = Callable[[], object]


class Timer(Protocol):
    """A clock for calls.

    Attributes:
        warmup: rounds that are not counted.
    """

    warmup: int

    def seconds(self, function: Call, repeats: int) -> float:
        """Of one call, the mean of ``repeats`` in a row."""

    def finished(self, function: Call) -> Call:
        """The same call, which returns when the device is done: for clocks of the host."""


class CpuTimer:
    """CPU time of this process."""

    warmup = 1

    def seconds(self, function: Call, repeats: int) -> float:
        began = time.process_time()
        for _ in range(repeats):
            function()
        return (time.process_time() - began) / repeats

    def finished(self, function: Call) -> Call:
        return function


class CudaTimer:
    """CUDA events around the calls.

    Args:
        event: makes an event with ``record``, ``synchronize`` and ``elapsed_time`` (milliseconds).
        synchronize: waits until the device is idle.
    """

    warmup = 3  # libraries are loaded and algorithms chosen at first calls, memory is kept after

    def __init__(
        self,
        event: Callable[..., Any] = torch.cuda.Event,
        synchronize: Callable[[], None] = torch.cuda.synchronize,
    ) -> None:
        self._event, self._synchronize = event, synchronize

    def seconds(self, function: Call, repeats: int) -> float:
        began, ended = self._event(enable_timing=True), self._event(enable_timing=True)
        self._synchronize()  # what came before is not ours
        began.record()
        for _ in range(repeats):
            function()
        ended.record()
        ended.synchronize()  # else there is no time to read yet
        return 1e-3 * began.elapsed_time(ended) / repeats

    def finished(self, function: Call) -> Call:
        def call() -> object:
            result = function()
            self._synchronize()
            return result

        return call


def timer_for(device: torch.device) -> Timer:
    """The clock of a device."""
    return CudaTimer() if device.type == "cuda" else CpuTimer()


def medians_in_turn(
    timer: Timer, functions: Sequence[Call], rounds: int, repeats: Sequence[int]
) -> list[float]:
    """Median seconds of each function; they take turns, so that a slow spell hits all of them."""
    times = [
        [timer.seconds(function, often) for function, often in zip(functions, repeats, strict=True)]
        for _ in range(timer.warmup + rounds)
    ]
    return [statistics.median(own) for own in zip(*times[timer.warmup :])]


def device_name(device: torch.device) -> str:
    """The name of a GPU as its driver gives it, or "CPU"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
