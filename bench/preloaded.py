"""One process with the libraries loaded, from which the stages of a `dvc repro` are forked.

Loading torch, timm and torchvision takes 2 to 5 s, and DVC starts a Python for each of its 120
stages, most of which work for less than 10 s. The first stage that needs the libraries starts this
process beside itself; once it is ready, later stages hand their command over and wait. It holds
third-party modules alone: a fork loads this repository's code anew, as a new Python would. It
belongs to one DVC process, has that one's environment, and ends with it.

Without DVC, without /proc or with BENCH_COLD=1 every command loads what it needs itself. The
results are the same.
"""

from __future__ import annotations

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
from collections.abc import Callable, Mapping, Sequence
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
FORWARDED = (signal.SIGINT, signal.SIGTERM)
_LENGTH = struct.Struct("!Q")
_STATUS = struct.Struct("!i")


def _parent(pid: int) -> tuple[str, int]:
    """Name and parent of a process.

    Raises:
        OSError: no such process, or no /proc.
    """
    text = Path(f"/proc/{pid}/stat").read_text()
    name, rest = text[text.index("(") + 1 :].rsplit(")", 1)
    return name, int(rest.split()[1])


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def dvc_process(environment: Mapping[str, str] = os.environ) -> int | None:
    """The DVC process that runs this command as a stage, above the shell it may have used.

    Returns:
        Its id; None where the command is not a stage, or where this cannot be known.
    """
    if "DVC_STAGE" not in environment or environment.get("BENCH_COLD") == "1":
        return None
    try:
        pid = os.getppid()
        while _parent(pid)[0] in SHELLS:
            pid = _parent(pid)[1]
    except (OSError, ValueError):
        return None
    return pid


def start(owner: int, folder: Path = FOLDER) -> bool:
    """Starts the process that serves ``owner``, once; False where it was started before.

    What is left of owners that have ended is removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for other in folder.iterdir():
        if not (other.name.isdigit() and _alive(int(other.name))):
            shutil.rmtree(other, ignore_errors=True)
    try:
        (folder / str(owner)).mkdir()
    except FileExistsError:
        return False
    # A session of its own: the Ctrl-C of a terminal reaches the stage, which passes it on.
    subprocess.Popen(
        [sys.executable, "-m", "bench.preloaded", str(owner), str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    return True


def forward(arguments: Sequence[str], owner: int, folder: Path = FOLDER) -> int | None:
    """Runs a command of `python -m bench` in a fork of the process that serves ``owner``.

    The fork has the caller's arguments, environment, working directory and three standard files;
    signals are passed on to it and to what it started.

    Returns:
        The exit code; None where no process is ready and nothing was run.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with connection:
        try:
            connection.connect(str(folder / str(owner) / "socket"))
        except OSError:
            return None
        request = {"arguments": list(arguments), "folder": os.getcwd()}
        body = json.dumps({**request, "environment": dict(os.environ)}).encode()
        socket.send_fds(connection, [_LENGTH.pack(len(body))], [0, 1, 2])
        connection.sendall(body)
        before = {
            number: signal.signal(number, lambda got, _: connection.send(bytes([got])))
            for number in FORWARDED
            if signal.getsignal(number) != signal.SIG_IGN
        }
        try:
            answer = connection.recv(_STATUS.size, socket.MSG_WAITALL)
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
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = ["bench", *request["arguments"]]


def _attend(connection: socket.socket, request: dict[str, Any], files: list[int]) -> bool:
    """Forks the command and waits with its caller; True in the fork, which has to run it."""
    ended, end = os.pipe()  # the fork holds the other end for as long as it lives
    job = os.fork()
    if job == 0:
        os.close(ended)
        connection.close()
        os.setpgid(0, 0)
        _become(request, files)
        return True
    os.close(end)
    for file in files:
        os.close(file)
    with suppress(OSError):
        os.setpgid(job, job)
    while True:
        ready, _, _ = select.select([connection, ended], [], [])
        if ended in ready:
            break
        # A caller that is gone was killed: its work ends too, as that of a killed Python would.
        with suppress(OSError):
            number = connection.recv(1)
            os.killpg(job, number[0] if number else signal.SIGTERM)
            if not number:
                break
    code = os.waitstatus_to_exitcode(os.waitpid(job, 0)[1])
    with suppress(OSError):
        connection.sendall(_STATUS.pack(128 - code if code < 0 else code))
    return False


def serve(owner: int, folder: Path = FOLDER) -> Callable[[], None] | None:
    """Loads the libraries and forks commands until ``owner`` has ended.

    Returns:
        In a fork: what to run there. In the process itself, at its end: None.
    """
    own = folder / str(owner)
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
            if os.fork():
                connection.close()
                continue
            listener.close()
            try:
                fork = _attend(connection, *_receive(connection))
            except (OSError, ValueError):
                os._exit(1)
            if not fork:
                os._exit(0)
            return _command
    finally:
        listener.close()
    shutil.rmtree(own, ignore_errors=True)
    return None


def _command() -> None:
    from bench.__main__ import cli

    cli(prog_name="python -m bench")


if __name__ == "__main__":
    if command := serve(int(sys.argv[1]), Path(sys.argv[2])):
        command()
