"""Clocks of benchmarks: a pretended device that lags behind the host, and the CPU's own."""

import sys
import time

import pytest
import torch

from bench.speed import timers
from bench.speed.memory import PAGE, measure, peak_bytes
from bench.speed.timers import CpuTimer, CudaTimer, medians_in_turn


class Device:
    """A queue of work: calls return at once, time passes when somebody waits."""

    def __init__(self):
        self.now, self.queue, self.log = 0.0, [], []

    def launch(self, name, milliseconds):
        self.queue.append((name, milliseconds))

    def drain(self):
        for item, amount in self.queue:
            if isinstance(item, Event):
                item.at = self.now
            else:
                self.log.append(item)
                self.now += amount
        self.queue.clear()

    def event(self, enable_timing=False):
        assert enable_timing
        return Event(self)


class Event:
    def __init__(self, device):
        self.device, self.at = device, None

    def record(self):
        self.device.queue.append((self, 0))

    def synchronize(self):
        self.device.drain()

    def elapsed_time(self, end):
        assert self.at is not None and end.at is not None, "read before the device came by"
        return end.at - self.at


@pytest.fixture
def device():
    return Device()


@pytest.fixture
def timer(device):
    return CudaTimer(device.event, device.drain)


def test_events_tell_the_devices_time_of_one_call(device, timer):
    device.launch("what came before", 1000.0)
    assert timer.seconds(lambda: device.launch("ours", 6.0), repeats=3) == pytest.approx(0.006)
    assert device.log == ["what came before", "ours", "ours", "ours"]


def test_a_finished_call_leaves_nothing_queued(device, timer):
    assert timer.finished(lambda: device.launch("ours", 6.0) or "result")() == "result"
    assert device.now == 6.0 and not device.queue


def test_ours_and_the_peer_take_turns_and_the_warm_up_does_not_count(device, timer):
    costs = {"ours": iter([90, 90, 90, 2, 1, 9]), "peer": iter([90, 90, 90, 8, 80, 7])}

    def call(name):
        return lambda: device.launch(name, next(costs[name]))

    assert timer.warmup == 3
    medians = medians_in_turn(timer, [call("ours"), call("peer")], rounds=3, repeats=(1, 1))
    assert medians == pytest.approx([0.002, 0.008])
    assert device.log == ["ours", "peer"] * 6


def test_cpu_timer_counts_cpu_time_and_adds_nothing(monkeypatch):
    clock = iter([1.0, 4.0])
    monkeypatch.setattr(timers.time, "process_time", lambda: next(clock))
    calls = []
    timer = CpuTimer()
    assert timer.seconds(lambda: calls.append(1), repeats=3) == 1.0 and len(calls) == 3
    assert timer.finished(time.sleep) is time.sleep


def test_each_device_has_its_clock():
    assert isinstance(timers.timer_for(torch.device("cpu")), CpuTimer)
    assert isinstance(timers.timer_for(torch.device("cuda")), CudaTimer)
    assert timers.device_name(torch.device("cpu")) == "CPU"


def allocate(which, device):
    """A case of `bench.speed.memory`: so many megabytes, freed at once."""
    assert device == "cpu"
    return lambda: None, lambda: torch.ones(int(which) * 10**6, dtype=torch.uint8)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells the memory of a process")
def test_peak_memory_is_that_of_what_was_allocated_and_freed():
    case = f"{__name__}:allocate"
    assert peak_bytes(case, "100") == pytest.approx(100e6, abs=3e6)
    assert PAGE <= peak_bytes(case, "0") < 3e6


def test_peak_memory_on_a_device_is_that_of_torchs_allocator(monkeypatch):
    memory = {"now": 0, "peak": 0}

    def take(amount, kept):
        memory["peak"] = max(memory["peak"], memory["now"] + amount)
        memory["now"] += kept

    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: memory["now"])
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: memory["peak"])
    monkeypatch.setattr(
        torch.cuda, "reset_peak_memory_stats", lambda: memory.update(peak=memory["now"])
    )
    # The first call's peak is forgotten, and what it leaves behind does not count.
    assert measure(lambda: take(500, kept=30), lambda: take(70, kept=0), "cuda") == 70
