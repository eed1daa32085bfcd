"""One process with the libraries loaded, from which the stages of a `dvc repro` are forked.

It holds third-party modules alone, and of this repository no more than ``bench.preloaded``: a fork
loads our code anew, as a new Python would. It belongs to one DVC process, has that one's
environment, and ends with it.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.preloaded import ACCEPTED, FOLDER, LENGTH, STATUS, alive

LIBRARIES = (
    "cv2",
    "matplotlib.pyplot",
    "numba",
    "pandas",
    "safetensors.torch",
    "scipy.optimize",
    "scipy.sparse.csgraph",
    "scipy.spatial.transform",
    "scipy.stats",
    "timm.models.vision_transformer",
    "torch.distributed",
    "tqdm",
    "yaml",
)
# Read when a library or Python starts: with other values a fork would be another program.
AT_START = ("OMP_", "KMP_", "MKL_", "OPENBLAS_", "NUMBA_", "TORCH", "PYTHON", "CUDA_", "LD_")


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    head, files, *_ = socket.recv_fds(connection, LENGTH.size, 3)
    if len(head) < LENGTH.size:
        raise ConnectionError("no request")
    (length,) = LENGTH.unpack(head)
    body = connection.recv(length, socket.MSG_WAITALL)
    return json.loads(body), files


def _become(request: dict[str, Any], files: list[int]) -> None:
    """Turns this fork into the process that was asked for."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    encoding = sys.stdout.encoding  # as the locale has it, which is the caller's too
    sys.stdin = open(0, encoding=encoding, closefd=False)
    sys.stdout, sys.stderr = (
        open(
            number,
            "w",
            buffering=1 if number == 2 or os.isatty(number) else -1,
            encoding=encoding,
            errors="backslashreplace" if number == 2 else "strict",
            closefd=False,
        )
        for number in (1, 2)
    )
    if request["environment"].get("PYTHONUNBUFFERED"):
        sys.stdout.reconfigure(write_through=True)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = ["bench", *request["arguments"]]


def _die_with_parent() -> None:
    """Linux ends this process when its parent is killed: nobody would wait for it any more."""
    parent = os.getppid()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


def _at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(AT_START)}


def _attend(connection: socket.socket, environment: Mapping[str, str]) -> bool:
    """Forks a caller's command and waits with the caller; True in the fork, which has to run it.

    Args:
        connection: of the caller; closed without a word where it has to run the command itself.
        environment: what this process was started with.
    """
    request, files = _receive(connection)
    if _at_start(request["environment"]) != _at_start(environment):
        return False
    os.close(os.pidfd_open(os.getpid()))  # an OSError here costs nothing yet
    job = os.fork()
    if job == 0:
        _die_with_parent()
        connection.close()
        os.setpgid(0, 0)
        _become(request, files)
        return True
    with suppress(OSError):
        os.setpgid(job, job)
    for file in files:
        os.close(file)
    connection.sendall(ACCEPTED)
    # Its own end, not that of a pipe that its workers hold too: they may outlive it.
    ended = os.pidfd_open(job)
    while ended not in select.select([connection, ended], [], [])[0]:
        # A caller that is gone was killed: its work ends too, as that of a killed Python would.
        with suppress(OSError):
            number = connection.recv(1)
            os.killpg(job, number[0] if number else signal.SIGTERM)
            if not number:
                break
    code = os.waitstatus_to_exitcode(os.waitpid(job, 0)[1])
    with suppress(OSError):
        os.killpg(job, signal.SIGTERM)  # workers that it left behind
    with suppress(OSError):
        connection.sendall(STATUS.pack(128 - code if code < 0 else code))
    return False


def serve(owner: str, folder: Path = FOLDER) -> bool:
    """Loads the libraries and forks commands until ``owner`` has ended.

    Returns:
        True in a fork, which has to run its command; False in the process itself, at its end.
    """
    own, environment = folder / owner, dict(os.environ)  # before libraries add to it
    for name in LIBRARIES:
        # A library that is not installed is the matter of the stage that misses it.
        with suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a fork would touch, and so copy, every page
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(own / "loading"))
        listener.listen()
        (own / "loading").rename(own / "socket")
        while alive(owner) and own.exists():
            if not select.select([listener], [], [], 1.0)[0]:
                with suppress(ChildProcessError):
                    while os.waitpid(-1, os.WNOHANG)[0]:
                        pass
                continue
            connection, _ = listener.accept()
            try:
                attendant = os.fork()
            except OSError:  # no memory for another: the caller runs its command itself
                attendant = -1
            if attendant:
                connection.close()
                continue
            listener.close()
            try:
                in_fork = _attend(connection, environment)
            except (OSError, ValueError, KeyError, AttributeError):  # or no pidfd
                os._exit(1)
            if not in_fork:
                os._exit(0)
            return True
    finally:
        listener.close()
    shutil.rmtree(own, ignore_errors=True)
    return False


if __name__ == "__main__":
    if serve(sys.argv[1], Path(sys.argv[2])):
        # Now: the process that forks holds no code of this repository.
        from bench.__main__ import cli
        from bench.ending import run_to_end

        run_to_end(lambda: cli(prog_name="python -m bench"))
