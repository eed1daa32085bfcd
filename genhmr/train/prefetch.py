"""Batches made by worker processes while the GPU computes; the same ones, in the same order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from genhmr.cores import usable_cores

T = TypeVar("T")
MOST = 4  # processes; more were never needed


def loader_processes(device: str) -> int:
    """How many processes should make batches for a training on ``device``.

    None on a CPU, whose cores the training itself needs. Beside a GPU up to four, of the cores
    that this process may use and that no other process of the same training on this machine has.
    """
    if device == "cpu":
        return 0
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # torchrun's
    return max(1, min(MOST, usable_cores() // here - 1))


class _Stream(IterableDataset, Generic[T]):
    def __init__(self, batches: Callable[[int, int], Iterator[T]], start: int) -> None:
        self._batches, self._start = batches, start

    def __iter__(self) -> Iterator[T]:
        worker = get_worker_info()
        return self._batches(self._start + worker.id, worker.num_workers)


def _as_it_is(batch: T) -> T:
    return batch


def prefetch(
    batches: Callable[[int, int], Iterator[T]], start: int, workers: int
) -> Iterator[T]:
    """The batches of a training from a step on.

    Args:
        batches: (first, every) -> the batches of the steps first, first + every, ...; each must
            follow from its step alone. With workers it runs in forked processes, which must not
            touch a GPU, and its tensors come back through shared memory (/dev/shm), where two
            batches a worker must find room.
        start: the first step.
        workers: processes; 0 makes every batch when it is asked for, in this one.

    Yields:
        The batch of ``start``, of ``start + 1``, ... whatever the number of workers.
    """
    if workers == 0:
        yield from batches(start, 1)
        return
    # Forked, since what closures hold cannot be sent to a spawned process. A fork after threads of
    # OpenMP is safe as long as it starts none, and DataLoader leaves each worker one thread.
    yield from DataLoader(
        _Stream(batches, start),
        batch_size=None,
        collate_fn=_as_it_is,
        num_workers=workers,
        multiprocessing_context="fork",
        pin_memory=torch.cuda.is_available(),
    )
