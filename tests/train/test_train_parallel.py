"""Two processes that share a batch do what one does with the whole of it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from genhmr.train import parallel
from genhmr.types import UserError

SCRIPT = '''
import sys
import torch
from genhmr.train import parallel

parallel.join("cpu")
torch.manual_seed(0)
model = torch.nn.Linear(3, 2)
unused = torch.nn.Parameter(torch.ones(2))
x = torch.arange(24.0).view(8, 3).cos()
own = x[parallel.rank() :: parallel.size()]
assert len(own) == parallel.share(8)
loss = model(own).square().mean()
if parallel.rank() == 0:
    loss = loss + unused.sum()
loss.backward()
parallel.average_gradients([*model.parameters(), unused])
assert parallel.agree(parallel.rank() == 0)
assert not parallel.agree(parallel.rank() == 1)
torch.save([p.grad for p in (*model.parameters(), unused)], f"{sys.argv[1]}/{parallel.rank()}.pt")
parallel.leave()
'''


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_two_processes_average_what_one_computes(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    common = {
        **os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()),
    }  # fmt: skip
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), str(tmp_path)],
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    for process in processes:
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    model(torch.arange(24.0).view(8, 3).cos()).square().mean().backward()
    for rank in (0, 1):
        weight, bias, unused = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(weight, model.weight.grad)
        torch.testing.assert_close(bias, model.bias.grad)
        torch.testing.assert_close(unused, torch.full((2,), 0.5))


def test_alone_nothing_changes():
    parameter = torch.nn.Parameter(torch.ones(2))
    parallel.average_gradients([parameter])
    assert parameter.grad is None
    assert (parallel.rank(), parallel.size(), parallel.share(7)) == (0, 1, 7)
    assert parallel.agree(True) and not parallel.agree(False)


def test_streams_differ_by_every_number_of_their_place():
    seeds = {parallel.stream(*place) for place in ((0, 1, 2), (0, 2, 1), (1, 1, 2), (0, 1, 3))}
    assert len(seeds) == 4 and all(0 <= seed < 2**63 for seed in seeds)


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch):
    monkeypatch.setattr(parallel, "size", lambda: 2)
    with pytest.raises(UserError, match="7"):
        parallel.share(7)
