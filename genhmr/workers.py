"""Worker processes that do not outlive the process that started them."""

from __future__ import annotations

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """Ends this worker at once when the process that started it is gone; to be called in it.

    The workers of a pool wait for one another's tasks on pipes whose other ends they hold
    themselves: of a parent that was killed they would never hear, and work on. In the process
    that was started by no other it does nothing.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent) -> None:
    parent.join()
    os._exit(1)  # what it worked for is gone; nobody reads an exit status or a traceback
