"""Stages of a `dvc repro` are run by one process that has the libraries loaded: the stages' side.

Loading torch, timm and torchvision takes 2 to 5 s, and DVC starts a Python for each of its 120
stages, most of which work for less than 10 s. The first stage that needs the libraries, or the
plan before it, starts ``bench.preloading`` beside itself; once that is ready, later stages hand
their command over and wait.

Without DVC, without /proc, with BENCH_COLD=1, with other threads than this process was started
with, or where anything goes wrong before it began, a command loads what it needs itself. The
results are the same; a fork's peak memory counts the half GB of libraries that it shares.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

FOLDER = Path("build/preloaded")  # a folder for each owner: a socket's path has to be short
# Commands that load them and have others after them, and the one before all. A repro of the last
# pages alone is left be.
STARTERS = ("plan", "data", "pretrain", "train-lifter", "train-tokenizer", "train-transformer",
            "evaluate-tokenizer", "evaluate")  # fmt: skip
SHELLS = ("sh", "bash", "dash", "zsh", "ksh", "fish")
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGTSTP, signal.SIGCONT)
ACCEPTED = b"+"
LENGTH = struct.Struct("!Q")
STATUS = struct.Struct("!i")


def _stat(pid: int) -> tuple[str, list[str]]:
    """Name of a process and what Linux says of it after that, from its state on.

    Raises:
        OSError: no such process, or no /proc.
    """
    text = Path(f"/proc/{pid}/stat").read_text()
    name, rest = text[text.index("(") + 1 :].rsplit(")", 1)
    return name, rest.split()


def identity(pid: int) -> str | None:
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
    return identity(pid)


def alive(owner: str) -> bool:
    pid, _, _ = owner.partition("-")
    return pid.isdigit() and identity(int(pid)) == owner


def start(owner: str, folder: Path = FOLDER) -> bool:
    """Starts the process that serves ``owner``, once; False where it was started before.

    What is left of owners that have ended is removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for other in folder.iterdir():
        if not alive(other.name):
            shutil.rmtree(other, ignore_errors=True)
    try:
        (folder / owner).mkdir(mode=0o700)  # who may connect may run commands
    except FileExistsError:
        return False
    # A session of its own: the Ctrl-C of a terminal reaches the stage, which passes it on.
    subprocess.Popen(
        [sys.executable, "-m", "bench.preloading", owner, str(folder)],
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
            socket.send_fds(connection, [LENGTH.pack(len(body))], [0, 1, 2])
            connection.sendall(body)
            if connection.recv(1) != ACCEPTED:
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
            answer = connection.recv(STATUS.size, socket.MSG_WAITALL)
        except OSError:
            answer = b""
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    if len(answer) < STATUS.size:
        print("bench: the process that ran this was stopped: run it again.", file=sys.stderr)
        return 1
    return STATUS.unpack(answer)[0]


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
