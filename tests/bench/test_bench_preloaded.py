"""The process that stages are forked from; this test's process stands for DVC."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import bench.ending
import bench.preloaded
import bench.preloading

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="without /proc every command loads its libraries"
)

# A package of our name: the head of bench/__main__.py, and commands that tell what a stage sees.
MAIN = """
import sys
from bench.preloaded import run_forwarded
if __name__ == "__main__" and (code := run_forwarded(sys.argv[1:])) is not None:
    sys.exit(code)
import json, os, signal, time

def cli(**_):
    command = sys.argv[1]
    if command == "tell":
        from bench import own
        serving = int(open(f"/proc/{os.getppid()}/stat").read().rsplit(")", 1)[1].split()[1])
        print(json.dumps({
            "served": "torch" in sys.modules, "serving": serving,
            "libraries": sorted({"torch", "timm", "cv2", "numba"} & set(sys.modules)),
            "arguments": sys.argv[1:], "folder": os.getcwd(), "given": os.environ.get("GIVEN"),
            "stage": os.environ.get("DVC_STAGE"), "input": sys.stdin.read(), "own": own.VALUE,
            "threads": [open(f"/proc/{serving}/task/{thread}/comm").read().strip() for thread
                        in os.listdir(f"/proc/{serving}/task") if thread != str(serving)],
            "ours": sorted(name for name in sys.modules if name.split(".")[0] == "bench"),
        }))
        print("to the error file", file=sys.stderr)
        sys.exit(int(sys.argv[2]))
    if command == "wait":
        try:
            print(os.getpid(), flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            print("interrupted")
            sys.exit(3)
    if command == "end":
        import atexit, threading
        atexit.register(print, "last")
        threading.Thread(target=lambda: (time.sleep(0.3), print("thread"))).start()
        print("torch" in sys.modules, "first")
        if sys.argv[2] == "fail":
            raise ValueError("no")
        if sys.argv[2] == "interrupt":
            raise KeyboardInterrupt
        if sys.argv[2] == "close":
            sys.stdout.flush()
            atexit.unregister(print)
            time.sleep(0.5)
            sys.stdout.close()
            sys.exit(0)
        sys.exit({"none": None, "words": "a reason", "big": 300}[sys.argv[2]])
    if command == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if command == "leave":
        if not os.fork():
            print(os.getpid(), flush=True)
            time.sleep(60)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    cli()
"""


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def gone(pid):
    """Ended, though perhaps not yet waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def write_package(folder):
    (folder / "bench").mkdir(parents=True)
    (folder / "bench" / "__init__.py").touch()
    (folder / "bench" / "__main__.py").write_text(MAIN)
    (folder / "bench" / "own.py").write_text("VALUE = 1\n")
    for module in (bench.ending, bench.preloaded, bench.preloading):
        shutil.copy(module.__file__, folder / "bench")


def stage(folder, *arguments, environment=None, **options):
    """Starts a command as DVC would."""
    return subprocess.Popen(
        [sys.executable, "-m", "bench", *arguments],
        cwd=folder,
        env={**os.environ, "DVC_STAGE": "a-stage", "GIVEN": "42", **(environment or {})},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        **options,
    )  # fmt: skip


def served(folder, pid=None):
    """Where the socket is for stages of a process, by default of this one."""
    return folder / "build" / "preloaded" / bench.preloaded.identity(pid or os.getpid())


@pytest.fixture(autouse=True, scope="module")
def _interruptible():
    """In the background of a shell SIGINT is ignored, also by what is started here."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a process serves this one, ready."""
    folder = tmp_path_factory.mktemp("served")
    write_package(folder)
    out, err = stage(folder, "tell", "0").communicate("", timeout=60)
    assert not (folder / "build").exists(), "only a command that needs the libraries starts it"
    assert not json.loads(out)["served"] and err
    stage(folder, "data").communicate(timeout=60)
    wait_for((served(folder) / "socket").exists)
    yield folder
    shutil.rmtree(served(folder))  # it sees that, and ends


def tell(folder, *arguments, code=0, given="", **options):
    process = stage(folder, "tell", str(code), *arguments, **options)
    out, err = process.communicate(given, timeout=60)
    assert (process.returncode, err) == (code, "to the error file\n")
    return json.loads(out)


def test_a_stage_runs_in_a_fork_and_sees_what_it_would_have_seen(folder):
    forked = tell(folder, "ä", given="in\n")
    alone = tell(folder, "ä", given="in\n", environment={"BENCH_COLD": "1"})
    assert forked["served"] and not alone["served"]
    assert forked["libraries"] == ["cv2", "numba", "timm", "torch"]
    # A thread's locks may be held at a fork, for ever in the child. jemalloc's are seen to by it.
    assert set(forked["threads"]) <= {"jemalloc_bg_thd"}
    for key in ("arguments", "folder", "given", "stage", "input", "own"):
        assert forked[key] == alone[key]
    assert forked["arguments"] == ["tell", "0", "ä"] and forked["folder"] == str(folder)
    assert forked["given"] == "42" and forked["input"] == "in\n"


def test_what_libraries_read_when_they_start_is_never_another_process_s(folder):
    """Threads are set at the first import: with another number of them a stage runs alone."""
    assert not tell(folder, environment={"OMP_NUM_THREADS": "3"})["served"]
    assert tell(folder, environment={"OTHER": "3"})["served"]


def test_without_dvc_nothing_is_handed_over(folder):
    environment = {k: v for k, v in os.environ.items() if k != "DVC_STAGE"}
    command = [sys.executable, "-m", "bench", "tell", "0"]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, stdin=subprocess.DEVNULL
    )
    assert not json.loads(done.stdout)["served"]


def test_an_edit_between_two_stages_counts(folder):
    """It holds libraries and bench.preloaded: all else of this repository a fork loads anew."""
    first = tell(folder)
    assert first["served"] and first["own"] == 1
    assert first["ours"] == [
        "bench", "bench.__main__", "bench.ending", "bench.own", "bench.preloaded",
    ]  # fmt: skip
    (folder / "bench" / "own.py").write_text("VALUE = 'edited'\n")
    assert tell(folder)["own"] == "edited"


def test_exit_codes_and_signals_are_those_of_the_command(folder):
    assert tell(folder, code=7)["served"]
    process = stage(folder, "die")
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGKILL
    for number, code, said in ((signal.SIGINT, 3, "interrupted\n"), (signal.SIGTERM, 143, "")):
        process = stage(folder, "wait")
        job = int(process.stdout.readline())
        assert job != process.pid
        process.send_signal(number)
        out, _ = process.communicate(timeout=60)
        assert (process.returncode, out) == (code, said)
        wait_for(lambda: gone(job))  # noqa: B023


@pytest.mark.parametrize("how", ["none", "words", "big", "fail", "interrupt", "close"])
def test_a_fork_ends_as_a_python_does(folder, how):
    """It waits for its threads, runs what is registered for the end, and flushes."""
    forked, alone = (
        stage(folder, "end", how, environment=environment)
        for environment in ({}, {"BENCH_COLD": "1"})
    )
    (out, err), (other, told) = (process.communicate(timeout=60) for process in (forked, alone))
    said = "first\nthread\n" + "last\n" * (how != "close")
    assert (out, other) == (f"True {said}", f"False {said}")
    assert err.splitlines()[-1:] == told.splitlines()[-1:]
    codes = {"none": 0, "close": 0, "big": 300 & 255, "interrupt": 128 + signal.SIGINT}
    assert forked.returncode == codes.get(how, 1)
    if how != "interrupt":  # of which Python dies by the signal itself
        assert alone.returncode == forked.returncode


def test_what_could_not_be_printed_is_no_success(folder):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bench", "end", "none"], cwd=folder, stdout=full,
            stderr=subprocess.PIPE, text=True, env={**os.environ, "DVC_STAGE": "a-stage"},
        )  # fmt: skip
    assert done.returncode == 120 and "No space left on device" in done.stderr


def test_a_killed_caller_does_not_leave_its_work_behind(folder):
    process = stage(folder, "wait")
    job = int(process.stdout.readline())
    process.kill()
    process.communicate()
    wait_for(lambda: gone(job), 10)


def test_a_command_that_dies_before_its_workers_ends_them_too(folder):
    """As a pool's are left when the kernel ends their parent for its memory."""
    process = stage(folder, "leave")
    worker = int(process.stdout.readline())
    process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGKILL
    wait_for(lambda: gone(worker), 10)


def test_a_stopped_caller_stops_its_work(folder):
    # In a group of its own with a parent outside of it: where the tests run in an orphaned group
    # (setsid), the system would not let SIGTSTP stop anything.
    process = stage(folder, "wait", process_group=0)
    job = int(process.stdout.readline())

    def state(pid):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]

    process.send_signal(signal.SIGTSTP)
    wait_for(lambda: state(job) == state(process.pid) == "T")
    process.send_signal(signal.SIGCONT)
    wait_for(lambda: "T" not in (state(job), state(process.pid)))
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[0] == "interrupted\n"


def test_a_killed_server_is_replaced(tmp_path):
    write_package(tmp_path)
    stage(tmp_path, "data").communicate(timeout=60)
    wait_for((served(tmp_path) / "socket").exists)
    serving = tell(tmp_path)["serving"]
    os.kill(serving, signal.SIGKILL)
    wait_for(lambda: gone(serving))
    assert not tell(tmp_path)["served"]  # and clears away what it found
    stage(tmp_path, "data").communicate(timeout=60)
    wait_for((served(tmp_path) / "socket").exists)
    assert tell(tmp_path)["served"]
    shutil.rmtree(served(tmp_path))


def test_it_ends_with_its_owner(tmp_path):
    write_package(tmp_path)
    place = tmp_path / "build" / "preloaded"
    owner = subprocess.Popen(
        [sys.executable, "-c",
         "import subprocess, sys\n"
         "for _ in sys.stdin: subprocess.run([sys.executable, '-m', 'bench', 'data'])"],
        cwd=tmp_path, stdin=subprocess.PIPE, text=True, env={**os.environ, "DVC_STAGE": "s"},
    )  # fmt: skip
    (place / "999999999-1").mkdir(parents=True)  # left by an owner that was killed
    owner.stdin.write("\n")
    owner.stdin.flush()
    wait_for((served(tmp_path, owner.pid) / "socket").exists)
    assert not (place / "999999999-1").exists()
    owner.kill()
    owner.wait()
    wait_for(lambda: not any(place.iterdir()), 10)
