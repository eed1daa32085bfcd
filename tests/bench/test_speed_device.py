"""Benchmarks on a CUDA device: refused where there is none, complete on a pretended one."""

import os
import subprocess
import sys

import pytest
import torch

from tests.bench.test_speed_rows import ROOT, run_benchmarks

# One of each kind; all of them pass, in minutes.
SOME = "aiti or (smpl and B1) or statistics or usual_formula or whole_evaluation or 128 or frozen"
FILES = [f"bench/test_{name}.py" for name in
         ("aiti", "attention", "evaluation", "loader", "metrics", "quantizer", "smpl")]  # fmt: skip


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_it_says_so_and_runs_nothing():
    run = run_benchmarks("bench/test_quantizer.py", "--device", "cuda")
    assert run.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--device cuda: torch finds no CUDA device" in run.stderr


def test_pretended_device_finds_what_was_not_moved():
    program = (
        "import torch\nfrom tests.bench.pretend_cuda import Pretend\n"
        "with Pretend():\n"
        "    there = torch.ones(2).to('cuda')\n"
        "    assert (there + there).device.type == 'cuda' and torch.ones(2).sum() == 2\n"
        "    try:\n        there + torch.ones(2)\n"
        "    except RuntimeError as error:\n        print(error)\n"
    )
    call = [sys.executable, "-c", program]
    run = subprocess.run(call, cwd=ROOT, capture_output=True, text=True,
                         env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)  # fmt: skip
    assert "on the same device" in run.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_rows_run_with_everything_on_the_device():
    plugin = ["-p", "tests.bench.pretend_cuda", "--device", "cuda"]
    run = run_benchmarks(*FILES, *plugin, "-k", f"{SOME} or loader or loop", PYTHONPATH=str(ROOT))
    assert run.returncode == 0, run.stdout + run.stderr
    lines = run.stdout.splitlines()
    rows = lines[next(i for i, line in enumerate(lines) if line.startswith("path  ")) + 1 :]
    of_events = [row for row in rows if "1.00 ms   1.00 ms    1.00x      -" in row]
    left_out = [row for row in rows if "CPU only: " in row]
    # Two of transformers' rows are there where it is installed.
    assert len(of_events) >= 4 + 1 + 1 + 2 and len(left_out) == 2 + 1
    assert any(row.startswith("SMPL full mesh, B=1") for row in of_events)
    assert any("The goals hold for one thread of a CPU" in row for row in rows)
    # bfloat16: half of the 12.4 MB that the weights of the image side take in float32.
    image = next(line for line in lines if line.startswith("image side"))
    assert "(bytes)" in image and "weights 6.26 MB" in image
    assert sum(line.startswith("no CUDA graph of ") for line in lines) == 3
