"""How a command ends: as multiprocessing ends its forks, not as Python ends itself."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn


def _is_watched() -> bool:
    """Whether something around the command wants to have the last word."""
    monitoring = getattr(sys, "monitoring", None)  # Python 3.12; tools have the numbers 0 to 5
    tools = () if monitoring is None else map(monitoring.get_tool, range(6))
    return bool(sys.getprofile() or sys.gettrace() or any(tools))


def run_to_end(command: Callable[[], object]) -> NoReturn:
    """Runs a command, then leaves the process with its exit code.

    Python's own end would free every object of the libraries: that takes 2 s, and pages in 100 MB
    of library code that was never used. It would also flush files that a module keeps open; there
    are none. Under a profiler, a coverage tool or a debugger it is Python's own end all the same.
    """
    code: object = 0
    try:
        command()
    except SystemExit as end:
        code = end.code
        if code is not None and not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = 128 + signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    if _is_watched():
        sys.exit(code)
    threading._shutdown()  # waits for threads, as both ends do
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if stream is None or stream.closed:
            continue
        try:
            stream.flush()
        except OSError as error:  # as Python has it
            code = 120
            with suppress(OSError):
                print(f"bench: what was printed is lost: {error}", file=sys.stderr, flush=True)
    os._exit((code or 0) & 0xFF)
