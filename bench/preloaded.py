"""One process with the libraries loaded, from which the stages of a `dvc repro` are forked.

Loading torch, timm and torchvision takes 2 to 5 s, and DVC starts a Python for each of its 120
stages, most of which work for less than 10 s. The first stage that needs the libraries starts this
process beside itself; once it is ready, later stages hand their command over and wait. It holds
third-party modules alone: a fork loads this repository's code anew, as a new Python would. It
belongs to one DVC process, has that one's environment, and ends with it.

Without DVC, without /proc, with BENCH_COLD=1, with other threads than this process was started
with, or where anything goes wrong before it began, a command loads what it needs itself. The
results are the same; a fork's peak memory counts the half GB of libraries that it shares.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

FOLDER = Path("build/preloaded")  # a folder for each owner: a socket's path has to be short
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
# Commands that load them and have others after them. A repro of the last pages alone is left be.
STARTERS = ("data", "pretrain", "train-lifter", "train-tokenizer", "train-transformer",
            "evaluate-tokenizer", "evaluate")  # fmt: skip
SHELLS = ("sh", "bash", "dash", "zsh", "ksh", "fish")
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGTSTP, signal.SIGCONT)
# Read when a library or Python starts: with other values a fork would be another program.
AT_START = ("OMP_", "KMP_", "MKL_", "OPENBLAS_", "NUMBA_", "TORCH", "PYTHON", "CUDA_", "LD_")
_ACCEPTED = b"+"
_LENGTH = struct.Struct("!Q")
_STATUS = struct.Struct("!i")


def _stat(pid: int) -> tuple[str, list[str]]:
    """Name of a process and what Linux says of it after that, from its state on.

    Raises:
        OSError: no such process, or no /proc.
    """
    text = Path(f"/proc/{pid}/stat").read_text()
    name, rest = text[text.index("(") + 1 :].rsplit(")", 1)
    return name, rest.split()


def _identity(pid: int) -> str | None:
    """Its id and when it started, since ids are used again; None of a process that has ended."""
    try:
        _, fields = _stat(pid)
    except (OSError, ValueError):
        return None
    return None if fields[0] == "Z" else f"{pid}-{fields[19]}"


def dvc_process(environment: Mapping[str, str] = os.environ) -> str | None:
    """The DVC process that runs this command as a stage, above the shell it may have used.

    Returns:
        Its identity; None where the command is not a stage, or where this cannot be known.
    """
    if "DVC_STAGE" not in environment or environment.get("BENCH_COLD") == "1":
        return None
    try:
        pid = os.getppid()
        while _stat(pid)[0] in SHELLS:
            pid = int(_stat(pid)[1][1])
    except (OSError, ValueError):
        return None
    return _identity(pid)


def _alive(owner: str) -> bool:
    pid, _, _ = owner.partition("-")
    return pid.isdigit() and _identity(int(pid)) == owner


def start(owner: str, folder: Path = FOLDER) -> bool:
    """Starts the process that serves ``owner``, once; False where it was started before.

    What is left of owners that have ended is removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for other in folder.iterdir():
        if not _alive(other.name):
            shutil.rmtree(other, ignore_errors=True)
    try:
        (folder / owner).mkdir(mode=0o700)  # who may connect may run commands
    except FileExistsError:
        return False
    # A session of its own: the Ctrl-C of a terminal reaches the stage, which passes it on.
    subprocess.Popen(
        [sys.executable, "-m", "bench.preloaded", owner, str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    return True


def forward(arguments: Sequence[str], owner: str, folder: Path = FOLDER) -> int | None:
    """Runs a command of `python -m bench` in a fork of the process that serves ``owner``.

    The fork has the caller's arguments, environment, working directory and three standard files;
    signals are passed on to it and to what it started.

    Returns:
        The exit code; None where nothing was run.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with connection:
        request = {"arguments": list(arguments), "folder": os.getcwd()}
        body = json.dumps({**request, "environment": dict(os.environ)}).encode()
        try:
            connection.connect(str(folder / owner / "socket"))
            socket.send_fds(connection, [_LENGTH.pack(len(body))], [0, 1, 2])
            connection.sendall(body)
            if connection.recv(1) != _ACCEPTED:
                return None
        except ConnectionRefusedError:  # it was killed: the next stage may start another
            shutil.rmtree(folder / owner, ignore_errors=True)
            return None
        except OSError:
            return None

        def pass_on(number: int, _: object) -> None:
            with suppress(OSError):
                stop = number == signal.SIGTSTP
                connection.send(bytes([signal.SIGSTOP if stop else number]))
                if stop:
                    os.kill(os.getpid(), signal.SIGSTOP)

        before = {
            number: signal.signal(number, pass_on)
            for number in FORWARDED
            if signal.getsignal(number) != signal.SIG_IGN
        }
        try:
            answer = connection.recv(_STATUS.size, socket.MSG_WAITALL)
        except OSError:
            answer = b""
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    if len(answer) < _STATUS.size:
        print("bench: the process that ran this was stopped: run it again.", file=sys.stderr)
        return 1
    return _STATUS.unpack(answer)[0]


def run_forwarded(arguments: Sequence[str]) -> int | None:
    """What a stage does first: hand its command over, or see to it that later ones can.

    Returns:
        The exit code of the command; None where the caller has to run it.
    """
    owner = dvc_process()
    if owner is None:
        return None
    code = forward(arguments, owner)
    if code is None and arguments and arguments[0] in STARTERS:
        start(owner)
    return code


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    head, files, *_ = socket.recv_fds(connection, _LENGTH.size, 3)
    if len(head) < _LENGTH.size:
        raise ConnectionError("no request")
    (length,) = _LENGTH.unpack(head)
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
    connection.sendall(_ACCEPTED)
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
        connection.sendall(_STATUS.pack(128 - code if code < 0 else code))
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
        while _alive(owner) and own.exists():
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
            atexit.register(gc.unfreeze)  # extensions look for leaks among what is not frozen
            return True
    finally:
        listener.close()
    shutil.rmtree(own, ignore_errors=True)
    return False


if __name__ == "__main__":
    if serve(sys.argv[1], Path(sys.argv[2])):
        from bench.__main__ import cli

        cli(prog_name="python -m bench")
