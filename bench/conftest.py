"""Ends a benchmark run with one table: path, ours, peer, ratio, goal.

A benchmark is a row of that table by :func:`bench.speed.rows.row` and fills it through the fixture
``beside``, or by ``record_seconds`` and ``record_bytes``. The ratio is the peer's median time over
ours, both timed in turn in one process. Where there is no peer (`test_world.py`, `test_score.py`)
a goal stands in its place.

``--device cuda`` runs the same rows there: data, models and peers are moved to it, events are the
clock, and rows of which our side is a kernel of the CPU alone are left out, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import pytest
import torch

from bench.speed.aiti import aiti_lines
from bench.speed.rows import MARKER, Row, record_seconds, row_of, table
from bench.speed.timers import Timer, device_name, medians_in_turn, timer_for

LEFT_OUT = pytest.StashKey[list[tuple[Row, str]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device", default="cpu", choices=("cpu", "cuda"), help="where the benchmarks run"
    )


def _device(config: pytest.Config) -> torch.device:
    # Where pytest finds this folder by itself, the option came too late to be known.
    return torch.device(config.getoption("--device", "cpu"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{MARKER}(row): which row of the last table a test fills")
    config.stash[LEFT_OUT] = []
    if _device(config).type == "cuda" and not torch.cuda.is_available():
        raise pytest.UsageError("--device cuda: torch finds no CUDA device")


def pytest_runtest_setup(item: pytest.Item) -> None:
    row = row_of(item)
    reason = None if row is None else row.left_out(_device(item.config).type)
    if reason is not None:
        item.config.stash[LEFT_OUT].append((row, reason))
        pytest.skip(reason)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict) -> None:
    """Kept runs (``--benchmark-json``) say which device they are of, not whose machine."""
    machine_info.pop("node", None)
    machine_info.update(device=device_name(_device(config)), torch=torch.__version__)


@pytest.fixture(autouse=True)
def one_thread():
    """One thread for everything: ratios of threads on a shared machine mean nothing."""
    threads, cv2_threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    yield
    torch.set_num_threads(threads)
    cv2.setNumThreads(cv2_threads)


@pytest.fixture(scope="session")
def device(pytestconfig) -> torch.device:
    """Where data, models and peers are put."""
    return _device(pytestconfig)


@pytest.fixture(scope="session")
def timer(device) -> Timer:
    return timer_for(device)


@pytest.fixture
def beside(benchmark, request, timer):
    """Times ours beside a peer and records the ratio of the medians as the test's row.

    The two take turns in one process; the first rounds warm up and are not counted.
    """

    def run(
        ours: Callable[[], object],
        peer: Callable[[], object],
        rounds: int = 7,
        repeats: tuple[int, int] = (1, 1),
    ) -> float:
        own, other = medians_in_turn(timer, (ours, peer), rounds, repeats)
        benchmark.pedantic(timer.finished(ours), rounds=max(3, rounds // 2))
        record_seconds(benchmark, request, own, other)
        return other / own

    return run


@pytest.hookimpl(trylast=True)  # after pytest-benchmark's own tables: ours is the last
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    config = terminalreporter.config
    session = getattr(config, "_benchmarksession", None)
    infos: list[dict[str, Any]] = [b.extra_info for b in getattr(session, "benchmarks", [])]
    for info in infos:
        if "stages" in info:
            terminalreporter.section(f"AITI on {info['device']}")
            terminalreporter.write_line("\n".join(aiti_lines(info)))
    ran, left_out = [i for i in infos if "ratio" in i], config.stash[LEFT_OUT]
    if not ran and not left_out:
        return
    device = _device(config)
    on_cpu = device.type == "cpu"
    terminalreporter.section(f"ours beside the peer on {device_name(device)}")
    terminalreporter.write_line("\n".join(table(ran, left_out, goals=on_cpu)))
    notes = []
    if any(reason.startswith("peer missing") for _, reason in left_out):
        notes.append('Peers that are missing come with: pip install -e ".[bench]"')
    if not on_cpu:
        notes.append("Times are of CUDA events. The goals hold for one thread of a CPU.")
    elif torch.cuda.is_available():
        notes.append(f"There is a {torch.cuda.get_device_name()} here: --device cuda")
    for note in notes:
        terminalreporter.write_line(note)
