"""Data-parallel training: one process per GPU (or per core), the same weights in all of them.

Started by ``torchrun --nproc-per-node N -m bench train-transformer base`` (``pretrain`` likewise).
Every process computes its share of the batch, the gradients are averaged before the step, and
only the first process shows progress, evaluates, saves and exports. Without torchrun all of this
does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from genhmr.types import UserError


def join(device: str) -> None:
    """Joins the processes that torchrun started; does nothing where it did not.

    Args:
        device: "cuda" (each process takes the GPU of its local rank) or "cpu".
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        return
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # The first process may render a data set while the others wait for it.
    dist.init_process_group("nccl" if device == "cuda" else "gloo", timeout=timedelta(hours=6))


def leave() -> None:
    """Parts from the others once all are done; who ends early would break their last exchange."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def rank() -> int:
    """Number of this process, 0 for the first or only one."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def wait() -> None:
    """Until all processes are here."""
    if dist.is_initialized():
        dist.barrier()


@contextmanager
def leader_first() -> Iterator[None]:
    """The first process runs the block alone, then the others do and find what it has made."""
    if rank() > 0:
        wait()
    yield
    if rank() == 0:
        wait()


def share(batch_size: int) -> int:
    """This process's part of a batch.

    Raises:
        UserError: the batch cannot be divided.
    """
    if batch_size % size():
        raise UserError(
            f"variants.yaml: a batch of {batch_size} cannot be divided among {size()} processes; "
            "change --nproc-per-node or the batch of the profile."
        )
    return batch_size // size()


def stream(seed: int, *place: int) -> int:
    """Seed of a random stream of its own, for example for (step, rank)."""
    return int(np.random.SeedSequence([seed, *place]).generate_state(1, np.uint64)[0]) >> 1


@contextmanager
def torch_stream(seed: int, step: int) -> Iterator[None]:
    """A stream of its own for torch's generator, from which stochastic depth draws.

    Without it the masks would depend on what ran before in the process: a training that was
    stopped, or that follows another seed's, would end elsewhere. Afterwards it is what it was.
    """
    used = torch.cuda.is_available() and torch.cuda.is_initialized()
    with torch.random.fork_rng([torch.cuda.current_device()] if used else []):
        torch.manual_seed(stream(seed, step, rank(), 1))
        yield


@torch.no_grad()
def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replaces every gradient by its mean over the processes, in one exchange.

    A parameter without a gradient in this process counts as zero if another process has one.
    """
    if size() == 1:
        return
    parameters = list(parameters)
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    flat = torch.cat([parameter.grad.flatten() for parameter in parameters])
    dist.all_reduce(flat)
    flat /= size()
    start = 0
    for parameter in parameters:
        parameter.grad.copy_(flat[start : start + parameter.numel()].view_as(parameter))
        start += parameter.numel()


def agree(value: bool, device: torch.device | str = "cpu") -> bool:
    """What the first process says, so that all of them stop at the same step."""
    if size() == 1:
        return value
    flag = torch.tensor([int(value)], device=device)
    dist.broadcast(flag, 0)
    return bool(flag.item())
