"""Independent blocks of work, on any number of processes, with the same result."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from genhmr.workers import end_with_parent

_POOL_PAYS = 1500  # images; starting processes takes as long as one process needs for so many


def block_generator(seed: int, *path: int) -> np.random.Generator:
    """The generator of one block: a function of the seed and of the block's place only."""
    return np.random.default_rng(np.random.SeedSequence([seed, *path]))


def run_blocks(
    work: Callable[..., Any],
    blocks: Sequence[tuple],
    sizes: Sequence[int],
    setup: Callable[..., Any],
    setup_args: tuple,
    workers: int,
    label: str,
) -> Iterator[Any]:
    """Call ``work(tools, *block)`` for every block; yield the results in order, with progress.

    Bodies are posed by torch on one thread in either case, so that a sum does not depend on the
    number of threads and neither do the pictures.

    Args:
        work: a module-level function.
        blocks: picklable arguments.
        sizes: number of images that each block stands for.
        setup: a module-level function that makes ``tools``, once per process.
        setup_args: its picklable arguments.
        workers: processes; 0 or 1, or little work, runs in this process.
        label: of the progress bar.
    """
    with tqdm(total=int(sum(sizes)), desc=label, unit="img", mininterval=1.0) as bar:
        if workers <= 1 or sum(sizes) < _POOL_PAYS:
            threads = torch.get_num_threads()
            torch.set_num_threads(1)
            try:
                tools = setup(*setup_args)
                for block, size in zip(blocks, sizes):
                    result = work(tools, *block)
                    bar.update(size)
                    yield result
            finally:
                torch.set_num_threads(threads)
            return
        # Spawned, not forked: a fork of a process that has run torch or numba threads can hang.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, _start_worker, (setup, setup_args)) as pool:
            futures = [pool.submit(_in_worker, work, block) for block in blocks]
            try:
                for future, size in zip(futures, sizes):
                    result = future.result()
                    bar.update(size)
                    yield result
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


class _Worker:
    """What a worker process holds between blocks; untouched in the parent."""

    tools: Any = None


def _start_worker(setup: Callable[..., Any], setup_args: tuple) -> None:
    end_with_parent()
    torch.set_num_threads(1)
    _Worker.tools = setup(*setup_args)


def _in_worker(work: Callable[..., Any], block: tuple) -> Any:
    return work(_Worker.tools, *block)
