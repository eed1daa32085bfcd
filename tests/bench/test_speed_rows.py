"""The table that ends a benchmark run: units, columns, and rows that could not run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.speed.rows import Row, seconds, size, table

ROOT = Path(__file__).parents[2]
PEERS = ("transformers", "vector_quantize_pytorch", "smplx")


def run_benchmarks(*arguments, **environment):
    """`pytest --benchmark-only` in a process of its own."""
    call = [sys.executable, "-m", "pytest", "-q", "--benchmark-only", "-p", "no:cacheprovider"]
    # Of a worker of xdist, pytest-benchmark would take it for one and measure nothing.
    own = {name: value for name, value in os.environ.items() if "XDIST" not in name}
    environment = {**own, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(
        [*call, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("amount", "text"),
    [(2.8, "2.80 s"), (0.0123, "12.3 ms"), (0.00099951, "1.00 ms"), (9.9e-4, "990 us"),
     (125.0, "125 s"), (3e-9, "0.00300 us")],
)  # fmt: skip
def test_seconds_have_three_digits_and_a_fitting_unit(amount, text):
    assert seconds(amount) == text


@pytest.mark.parametrize(
    ("amount", "text"), [(4096, "4.10 kB"), (331e6, "331 MB"), (1e9, "1.00 GB"), (0, "0.00 B")]
)
def test_sizes_are_decimal(amount, text):
    assert size(amount) == text


def test_columns_are_path_ours_peer_ratio_goal():
    ran = [
        {"path": "b", "peer": "that", "ratio": 4.0, "goal": 3.0, "ours_s": 0.5, "peer_s": 2.0},
        {"path": "a", "peer": "this", "ratio": 8.0, "goal": None,
         "ours_bytes": 1e6, "peer_bytes": 8e6},
    ]  # fmt: skip
    head, *lines = table(ran, [(Row("c", "other", 18.0), "peer missing: other")])
    assert head.split() == ["path", "ours", "peer", "ratio", "goal", "the", "peer"]
    assert [line.split() for line in lines] == [
        ["a", "1.00", "MB", "8.00", "MB", "8.00x", "-", "this"],
        ["b", "500", "ms", "2.00", "s", "4.00x", "3x", "that"],
        ["c", "-", "-", "-", "18x", "peer", "missing:", "other", "(other)"],
    ]


def test_goals_are_of_the_cpu():
    ran = [{"path": "b", "peer": "that", "ratio": 4.0, "goal": 3.0, "ours_s": 1, "peer_s": 4}]
    assert "3x" in table(ran, [])[1] and "3x" not in table(ran, [], goals=False)[1]


def test_why_a_row_is_left_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "vector_quantize_pytorch", None)
    row = Row("path", "peer", needs="vector_quantize_pytorch")
    assert row.left_out("cpu") == "peer missing: vector-quantize-pytorch"
    row = Row("path", "peer", cpu_only="numba")
    assert row.left_out("cpu") is None and row.left_out("cuda") == "CPU only: numba"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert Row("path", "peer", linux_only=True).left_out("cpu").startswith("Linux only")
    # Installed, but a version without the module of the peer.
    assert Row("path", "peer", needs="numpy.no_such").left_out("cpu") == "peer missing: numpy"


@pytest.fixture(scope="module")
def without_peers(tmp_path_factory):
    """A run in which no peer can be imported, and its JSON."""
    folder = tmp_path_factory.mktemp("blocked")
    (folder / "no_peers.py").write_text(
        f"import sys\nsys.modules.update(dict.fromkeys({PEERS}))  # None: cannot be imported\n"
    )
    files = [f"bench/test_{n}.py" for n in ("smpl", "attention", "evaluation", "quantizer")]
    more = ["-p", "no_peers", "-k", "not cdist", "--benchmark-json", str(folder / "kept.json")]
    run = run_benchmarks(*files, *more, PYTHONPATH=os.pathsep.join([str(folder), str(ROOT)]))
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout, json.loads((folder / "kept.json").read_text())


def test_rows_of_missing_peers_stand_in_the_last_table(without_peers):
    lines = without_peers[0].splitlines()
    start = next(i for i, line in enumerate(lines) if "ours beside the peer on CPU" in line)
    assert not any(line.startswith("Name (time") for line in lines[start:])  # it is the last
    rows = lines[start + 2 : -2]
    ran = [row for row in rows if "missing" not in row]
    assert [row[:25] for row in ran] == ["moving average of the cod"] and "50x" in ran[0]
    missing = {name: [row for row in rows if f"peer missing: {name}" in row]
               for name in ("transformers", "vector-quantize-pytorch", "smplx")}  # fmt: skip
    assert {name: len(found) for name, found in missing.items()} == {
        "transformers": 5, "vector-quantize-pytorch": 1, "smplx": 9 + 3,
    }  # fmt: skip
    forward = next(row for row in missing["transformers"] if "attention, forward" in row)
    assert forward.split()[:7] == ["deformable", "attention,", "forward", "-", "-", "-", "18x"]
    assert lines[-2].endswith('pip install -e ".[bench]"')


def test_kept_run_names_the_device_and_not_the_machine(without_peers):
    kept = without_peers[1]
    assert kept["machine_info"]["device"] == "CPU" and "node" not in kept["machine_info"]
    (row,) = kept["benchmarks"]
    info = row["extra_info"]
    assert info["ratio"] == pytest.approx(info["peer_s"] / info["ours_s"])


def test_the_folder_of_the_ready_command_is_there():
    assert (ROOT / "results" / "benchmarks" / "README.md").exists()
