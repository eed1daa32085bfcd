"""Workers of a pool end when the process that started them is killed."""

import multiprocessing
import subprocess
import sys

import pytest

# Both workers say that they are there and then sleep; they share the standard output of all.
POOL = """
import multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
from genhmr.workers import end_with_parent

def work(number):
    os.write(1, b"at work\\n")  # in one piece
    time.sleep(600)

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    with ProcessPoolExecutor(2, context, end_with_parent) as pool:
        list(pool.map(work, range(2)))
"""


@pytest.mark.parametrize("method", sorted(multiprocessing.get_all_start_methods()))
def test_workers_end_with_a_parent_that_is_killed(method, tmp_path):
    script = tmp_path / "pool.py"
    script.write_text(POOL)
    command = [sys.executable, str(script), method]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        lines = [parent.stdout.readline() for _ in range(2)]
        parent.kill()
        # The pipe ends with the last process that holds it.
        rest, _ = parent.communicate(timeout=120)
    assert [*lines, rest] == ["at work\n", "at work\n", ""]


def test_a_process_of_its_own_is_left_alone():
    code = "from genhmr.workers import end_with_parent as e; import threading; e(); "
    code += "print(threading.active_count())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
