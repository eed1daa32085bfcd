"""The rows of the table that ends a benchmark run: path, ours, peer, ratio, goal.

A benchmark says which row it is by the decorator :func:`row`, before anything of its peer is
imported. So a row that cannot run, because the peer's package is missing or because ours is a
kernel of the CPU alone, still stands in the table with its goal and the reason.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

MARKER = "speed_row"
_LINE = "{:44s} {:>9s} {:>9s} {:>8s} {:>6s}  {}"


@dataclass(frozen=True)
class Row:
    """What is known of a row before it runs.

    Attributes:
        path: what is timed, at which size.
        peer: what it stands beside.
        goal: the ratio that is wanted, on one thread of a CPU; None where it is only reported.
        needs: module of the peer, with dots; None where the peer is written out here.
        cpu_only: why ours does not run elsewhere; None where it does.
        linux_only: measured with what only Linux tells of a process.
    """

    path: str
    peer: str
    goal: float | None = None
    needs: str | None = None
    cpu_only: str | None = None
    linux_only: bool = False

    def left_out(self, device: str) -> str | None:
        """Why the row cannot run on a device of this type ("cpu", "cuda"); None if it can."""
        if device != "cpu" and self.cpu_only:
            return f"CPU only: {self.cpu_only}"
        if device == "cpu" and self.linux_only and sys.platform != "linux":
            return "Linux only: memory of a process"
        if self.needs is not None:
            try:
                importlib.import_module(self.needs)
            except ImportError:  # not installed, or a version without what is needed
                return f"peer missing: {self.needs.split('.')[0].replace('_', '-')}"
        return None


def row(path: str, peer: str, goal: float | None = None, **more: Any) -> pytest.MarkDecorator:
    """Marks a benchmark, or one of its parameters, as a row; arguments as :class:`Row`."""
    return getattr(pytest.mark, MARKER)(Row(path, peer, goal, **more))


def row_of(item: pytest.Item) -> Row | None:
    """The row of a test; None if it is none."""
    mark = item.get_closest_marker(MARKER)
    return None if mark is None else mark.args[0]


def record_seconds(benchmark, request, ours: float, peer: float) -> None:
    """Fills the row of the test that runs, by seconds."""
    _record(benchmark, request, ours, peer, "s")


def record_bytes(benchmark, request, ours: float, peer: float) -> None:
    """Fills the row of the test that runs, by bytes."""
    _record(benchmark, request, ours, peer, "bytes")


def _record(benchmark, request, ours: float, peer: float, unit: str) -> None:
    row = row_of(request.node)
    benchmark.extra_info.update(
        {"path": row.path, "peer": row.peer, "goal": row.goal, "ratio": peer / ours,
         f"ours_{unit}": ours, f"peer_{unit}": peer}
    )  # fmt: skip


def readable(amount: float, units: Mapping[str, float]) -> str:
    """Three digits and the largest unit that leaves at least 1; units from large to small."""
    for unit, size in units.items():
        if amount >= 0.9995 * size:  # 0.99951 ms is printed as 1.00 ms, not as 1e+03 us
            break
    return f"{amount / size:#.3g}".rstrip(".") + f" {unit}"


def seconds(amount: float) -> str:
    """For example ``12.3 ms``."""
    return readable(amount, {"s": 1.0, "ms": 1e-3, "us": 1e-6})


def size(amount: float) -> str:
    """Bytes, for example ``12.3 MB`` (10^6)."""
    return readable(amount, {"GB": 1e9, "MB": 1e6, "kB": 1e3, "B": 1.0})


def _amount(info: Mapping[str, Any], which: str) -> str:
    for key, text in ((f"{which}_s", seconds), (f"{which}_bytes", size)):
        if key in info:
            return text(info[key])
    return "-"


def table(
    ran: Iterable[Mapping[str, Any]], left_out: Iterable[tuple[Row, str]], goals: bool = True
) -> list[str]:
    """The lines of the table, sorted by path.

    Args:
        ran: ``extra_info`` of each row that ran: path, peer, ratio, goal, and ``ours_s`` and
            ``peer_s`` (seconds) or ``ours_bytes`` and ``peer_bytes``.
        left_out: rows that did not run, and why.
        goals: False prints none: they were set for one thread of a CPU.
    """

    def wanted(goal: float | None) -> str:
        return f"{goal:.3g}x" if goal and goals else "-"

    lines = [
        _LINE.format(
            info["path"], _amount(info, "ours"), _amount(info, "peer"),
            f"{info['ratio']:.2f}x", wanted(info.get("goal")), info["peer"],
        )
        for info in ran
    ]  # fmt: skip
    lines += [
        _LINE.format(row.path, "-", "-", "-", wanted(row.goal), f"{reason} ({row.peer})")
        for row, reason in left_out
    ]
    return [_LINE.format("path", "ours", "peer", "ratio", "goal", "the peer"), *sorted(lines)]
