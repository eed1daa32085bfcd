"""Batches from worker processes: the same ones, in the same order, as without them."""

import itertools
import os

import pytest
import torch

from genhmr.cores import usable_cores
from genhmr.train.prefetch import loader_processes, prefetch


def numbered(first, every):
    for step in itertools.count(first, every):
        yield step, os.getpid(), torch.full((2,), step)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_come_in_order_from_any_number_of_processes(workers):
    got = list(itertools.islice(prefetch(numbered, 5, workers), 10))
    assert [step for step, _, _ in got] == list(range(5, 15))
    assert all(torch.equal(batch, torch.full((2,), step)) for step, _, batch in got)
    makers = {pid for _, pid, _ in got}
    assert len(makers) == max(1, workers) and (os.getpid() in makers) == (workers == 0)


def test_a_worker_that_fails_is_heard_of():
    def broken(first, every):
        yield first
        raise ValueError("no such image")

    with pytest.raises(ValueError, match="no such image"):
        list(prefetch(broken, 0, 2))


def test_a_cpu_makes_its_own_batches_and_a_gpu_has_no_more_workers_than_cores(monkeypatch):
    assert loader_processes("cpu") == 0
    assert 1 <= usable_cores() <= os.cpu_count()
    for cores, expected in ((1, 1), (2, 1), (4, 3), (64, 4)):
        monkeypatch.setattr("genhmr.train.prefetch.usable_cores", lambda cores=cores: cores)
        assert loader_processes("cuda") == expected
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "16")
    assert loader_processes("cuda") == 3  # 64 cores among 16 processes
