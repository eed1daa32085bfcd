"""Ends a benchmark run with one table: path, ours, peer, ratio, goal.

A benchmark stores ``path``, ``peer``, ``ratio`` and ``goal`` in ``benchmark.extra_info``; the
ratio is the peer's median time over ours, both timed in turn in one process. Where there is no
peer (`test_world.py`, `test_score.py`) a goal stands in its place.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable

import cv2
import pytest
import torch

PEERS = ("smplx", "transformers", "vector_quantize_pytorch")


@pytest.fixture(autouse=True)
def one_thread():
    """One thread for everything: ratios of threads on a shared machine mean nothing."""
    threads, cv2_threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    yield
    torch.set_num_threads(threads)
    cv2.setNumThreads(cv2_threads)


def _cpu_seconds(function: Callable[[], object], repeats: int) -> float:
    began = time.process_time()
    for _ in range(repeats):
        function()
    return (time.process_time() - began) / repeats


@pytest.fixture
def beside(benchmark):
    """Times ours beside a peer and records the ratio of the median CPU times.

    The two take turns in one process; the first round warms up and is not counted.
    """

    def run(
        path: str,
        peer_name: str,
        ours: Callable[[], object],
        peer: Callable[[], object],
        goal: float | None,
        rounds: int = 7,
        repeats: tuple[int, int] = (1, 1),
    ) -> float:
        pairs = [
            (_cpu_seconds(ours, repeats[0]), _cpu_seconds(peer, repeats[1]))
            for _ in range(rounds + 1)
        ][1:]
        own, other = (statistics.median(times) for times in zip(*pairs))
        benchmark.pedantic(ours, rounds=max(3, rounds // 2))
        benchmark.extra_info.update(
            path=path, peer=peer_name, ratio=other / own, goal=goal, ours_s=own, peer_s=other
        )
        return other / own

    return run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    session = getattr(terminalreporter.config, "_benchmarksession", None)
    everything = getattr(session, "benchmarks", [])
    rows = [b for b in everything if "ratio" in b.extra_info]
    for timed in (b.extra_info for b in everything if "seconds" in b.extra_info):
        terminalreporter.section(f"AITI on {timed['device']}")
        for stage, seconds in timed["seconds"].items():
            bound, aim = timed["bounds"].get(stage), timed["aims"].get(stage)
            terminalreporter.write_line(
                f"{stage:44s} {1e3 * seconds:8.2f} ms   bound "
                + (f"{1e3 * bound:6.2f} ms" if bound else "unknown  ")
                + (f"   aim on an H100 {1e3 * aim:4.1f} ms" if aim else "")
            )
    missing = [name for name in PEERS if importlib.util.find_spec(name) is None]
    if session is not None and missing:
        terminalreporter.section("peers that are not installed")
        for name in missing:
            terminalreporter.write_line(f"{name}: its rows are missing (pip install .[bench])")
    if not rows:
        return
    terminalreporter.section("ours beside the peer")
    terminalreporter.write_line(f"{'path':44s} {'peer':40s} {'ratio':>7s} {'goal':>6s}")
    for bench in sorted(rows, key=lambda b: str(b.extra_info["path"])):
        info = bench.extra_info
        goal = f"{info['goal']:.3g}x" if info.get("goal") else "-"
        terminalreporter.write_line(
            f"{info['path']:44s} {info['peer']:40s} {info['ratio']:6.2f}x {goal:>6s}"
        )
