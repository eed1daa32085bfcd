"""How many processes pay off."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Cores that this process may run on, which a scheduler or `taskset` may have restricted."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
