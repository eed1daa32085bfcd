"""Which record comes when: epochs over shards and mixtures of shards, both resumable.

Every plan is a pure function of (lengths, seed, step). Nothing has to be replayed, and nothing but
the step has to be stored in a checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

_GOLDEN = (5.0**0.5 - 1.0) / 2.0


def batches_per_epoch(count: int, batch_size: int, drop_last: bool) -> int:
    """Batches in one pass over ``count`` records."""
    return count // batch_size if drop_last else -(-count // batch_size)


def permutation(count: int, seed: int, *stream: int) -> np.ndarray:
    """The order of ``count`` records in one epoch, (count,) int64.

    Args:
        count: number of records.
        seed: of the whole iteration.
        *stream: what tells epochs and shards apart.
    """
    return np.random.default_rng([seed, *stream]).permutation(count)


def epoch_rows(
    lengths: Sequence[int],
    batch_size: int,
    drop_last: bool,
    seed: int | None,
    start_step: int = 0,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Endless epochs over shards laid end to end; batches do not cross epochs.

    Args:
        lengths: records of each shard.
        batch_size: B.
        drop_last: leave out the smaller last batch of an epoch.
        seed: shuffle with it; None for the order on disk.
        start_step: first batch to yield.

    Yields:
        (B,) shard numbers and (B,) rows within those shards.
    """
    total = sum(lengths)
    ends = np.cumsum(lengths)
    per_epoch = batches_per_epoch(total, batch_size, drop_last)
    step = start_step
    while per_epoch:
        epoch, first = divmod(step, per_epoch)
        order = np.arange(total) if seed is None else permutation(total, seed, 0, epoch)
        for batch in range(first, per_epoch):
            chosen = order[batch * batch_size : (batch + 1) * batch_size]
            which = np.searchsorted(ends, chosen, side="right")
            yield which, chosen - (ends - np.asarray(lengths))[which]
            step += 1


def shard_of_slots(slots: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    """The shard that each slot of the endless stream is filled from.

    Slot n falls at the fraction of n times the golden ratio, which spreads the shards evenly: any
    stretch of the stream holds nearly its exact share of each.

    Args:
        slots: (B,) numbers of slots, 0 for the first crop of the first batch.
        weights: share of each shard, in any unit.
    """
    shares = np.asarray(weights, np.float64)
    ends = np.cumsum(shares / shares.sum())
    ends[-1] = 1.0
    return np.searchsorted(ends, np.mod(slots * _GOLDEN, 1.0), side="right")


def mixed_rows(
    lengths: Sequence[int],
    weights: Sequence[float],
    batch_size: int,
    seed: int,
    start_step: int = 0,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """An endless mixture of shards, each reshuffled whenever it is used up.

    Args:
        lengths: records of each shard.
        weights: share of each shard.
        batch_size: B.
        seed: of the shuffling.
        start_step: first batch to yield.

    Yields:
        (B,) shard numbers and (B,) rows within those shards.

    Raises:
        ValueError: a weight is negative, all are zero, or a shard with a weight is empty.
    """
    if min(weights) < 0 or sum(weights) <= 0:
        raise ValueError(f"weights {list(weights)} are no shares")
    if any(weight > 0 and length == 0 for weight, length in zip(weights, lengths)):
        raise ValueError("a shard with a weight is empty")
    before = shard_of_slots(np.arange(start_step * batch_size), weights)
    used = np.bincount(before, minlength=len(lengths))
    orders: dict[int, tuple[int, np.ndarray]] = {}  # shard -> (epoch, its order)
    step = start_step
    while True:
        which = shard_of_slots(step * batch_size + np.arange(batch_size), weights)
        rows = np.empty(batch_size, np.int64)
        for slot, shard in enumerate(which):
            epoch, position = divmod(int(used[shard]), lengths[shard])
            if shard not in orders or orders[shard][0] != epoch:
                orders[shard] = (epoch, permutation(lengths[shard], seed, 1, int(shard), epoch))
            rows[slot] = orders[shard][1][position]
            used[shard] += 1
        yield which, rows
        step += 1
