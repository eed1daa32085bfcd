"""Ends a benchmark run with one table: path, ours, peer, ratio, goal.

A benchmark stores ``path``, ``peer``, ``ratio`` and ``goal`` in ``benchmark.extra_info``; the
ratio is the peer's median time over ours, both timed in turn in one process.
"""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    session = getattr(terminalreporter.config, "_benchmarksession", None)
    rows = [b for b in getattr(session, "benchmarks", []) if "ratio" in b.extra_info]
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
