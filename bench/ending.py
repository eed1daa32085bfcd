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


def run_to_end(command: Callable[[], object]) -> NoReturn:
    """Runs a command, then leaves the process with its exit code.

    Python's own end would free every object of the libraries: 2 s, and 100 MB of their files that
    nothing has read before. It would also flush files that a module keeps open; there are none.
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
