"""How the numba kernels of this room are compiled.

Compiled code is cached beside the source, or in numba's per-user cache when the source folder is
read-only; where neither can be written the kernels are compiled once per process.
"""

from __future__ import annotations

from collections.abc import Callable

import numba


def kernel(function: Callable) -> Callable:
    """Compile ``function`` in no-Python mode, releasing the GIL, cached on disk if possible.

    Args:
        function: a function of scalars and arrays that numba can compile.

    Returns:
        The compiled function.
    """
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # numba: "no locator available", nothing is writable
        return numba.njit(**options)(function)
