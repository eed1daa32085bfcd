"""Compiled CPU kernel of multi-scale deformable sampling (same maths as ``deformable.py``).

torch has no CPU kernel for this operation: built from ``embedding_bag`` the backward pass alone
costs ten times the forward pass, because it sorts the indices. Here one pass over the sampled
corners yields all gradients. Compiled by numba at the first call and cached on disk.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numba
import numpy as np
import torch
from torch import Tensor

# Reassociation lets the dot products vectorise; infinities and NaN keep their meaning.
_FASTMATH = {"reassoc", "contract", "nsz"}


@numba.njit(fastmath=_FASTMATH, nogil=True, cache=True, error_model="numpy")
def _forward(maps, sizes, starts, locations, weights, out, mass):
    """maps (B,S,C), locations (B,Q,M,N,P,2), weights (B,Q,M,N,P) -> out (B,Q,M,C), mass (B,Q,M)."""
    batch, queries, heads, levels, points = weights.shape
    channels = maps.shape[2]
    for b in range(batch):
        for q in range(queries):
            for m in range(heads):
                row = out[b, q, m]
                row[:] = 0.0
                total = np.float32(0.0)
                for n in range(levels):
                    height, width = sizes[n, 0], sizes[n, 1]
                    for p in range(points):
                        x = locations[b, q, m, n, p, 0] * width - np.float32(0.5)
                        y = locations[b, q, m, n, p, 1] * height - np.float32(0.5)
                        if not (x > -1.0 and y > -1.0 and x < width and y < height):
                            continue
                        x0, y0 = int(np.floor(x)), int(np.floor(y))
                        fx, fy = np.float32(x - x0), np.float32(y - y0)
                        for dy in range(2):
                            iy = y0 + dy
                            if iy < 0 or iy >= height:
                                continue
                            wy = fy if dy == 1 else np.float32(1.0) - fy
                            for dx in range(2):
                                ix = x0 + dx
                                if ix < 0 or ix >= width:
                                    continue
                                wx = fx if dx == 1 else np.float32(1.0) - fx
                                w = weights[b, q, m, n, p] * wx * wy
                                source = maps[b, starts[n] + iy * width + ix]
                                for c in range(channels):
                                    row[c] += w * source[c]
                                total += w
                mass[b, q, m] = total


@numba.njit(fastmath=_FASTMATH, nogil=True, cache=True, error_model="numpy")
def _backward(
    maps, sizes, starts, locations, weights, grad_out, grad_mass,
    grad_locations, grad_weights, grad_maps, with_maps,
):  # fmt: skip
    """Gradients of ``_forward``; ``grad_maps`` is accumulated into when ``with_maps``."""
    batch, queries, heads, levels, points = weights.shape
    channels = maps.shape[2]
    for b in range(batch):
        for q in range(queries):
            for m in range(heads):
                grad = grad_out[b, q, m]
                for n in range(levels):
                    height, width = sizes[n, 0], sizes[n, 1]
                    for p in range(points):
                        grad_locations[b, q, m, n, p, 0] = 0.0
                        grad_locations[b, q, m, n, p, 1] = 0.0
                        grad_weights[b, q, m, n, p] = 0.0
                        x = locations[b, q, m, n, p, 0] * width - np.float32(0.5)
                        y = locations[b, q, m, n, p, 1] * height - np.float32(0.5)
                        if not (x > -1.0 and y > -1.0 and x < width and y < height):
                            continue
                        x0, y0 = int(np.floor(x)), int(np.floor(y))
                        fx, fy = np.float32(x - x0), np.float32(y - y0)
                        weight = weights[b, q, m, n, p]
                        sum_w, sum_x, sum_y = np.float32(0), np.float32(0), np.float32(0)
                        for dy in range(2):
                            iy = y0 + dy
                            if iy < 0 or iy >= height:
                                continue
                            wy = fy if dy == 1 else np.float32(1.0) - fy
                            for dx in range(2):
                                ix = x0 + dx
                                if ix < 0 or ix >= width:
                                    continue
                                wx = fx if dx == 1 else np.float32(1.0) - fx
                                k = starts[n] + iy * width + ix
                                source = maps[b, k]
                                dot = grad_mass[b, q, m]
                                for c in range(channels):
                                    dot += grad[c] * source[c]
                                sum_w += wx * wy * dot
                                sum_x += (wy if dx == 1 else -wy) * dot
                                sum_y += (wx if dy == 1 else -wx) * dot
                                if with_maps:
                                    w = weight * wx * wy
                                    target = grad_maps[b, k]
                                    for c in range(channels):
                                        target[c] += w * grad[c]
                        grad_weights[b, q, m, n, p] = sum_w
                        grad_locations[b, q, m, n, p, 0] = sum_x * weight * width
                        grad_locations[b, q, m, n, p, 1] = sum_y * weight * height


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="deformable")


def _split(kernel, arrays: list[np.ndarray], tables: tuple, tail: tuple = ()) -> None:
    """Runs ``kernel`` over slices of the batch, one per torch thread; items never share output."""
    batch, threads = arrays[0].shape[0], torch.get_num_threads()
    if threads == 1 or batch < 2 * threads:
        kernel(arrays[0], *tables, *arrays[1:], *tail)
        return
    edges = np.linspace(0, batch, threads + 1).astype(int)
    jobs = [
        _pool(threads).submit(kernel, arrays[0][a:b], *tables, *[x[a:b] for x in arrays[1:]], *tail)
        for a, b in zip(edges, edges[1:], strict=False)
    ]
    for job in jobs:
        job.result()


def _tables(shapes: tuple[tuple[int, int], ...]) -> tuple[np.ndarray, np.ndarray]:
    sizes = np.array(shapes, np.int64)
    return sizes, np.concatenate([[0], np.cumsum(sizes.prod(1))[:-1]]).astype(np.int64)


def _zeros(like: Tensor) -> Tensor:
    """Zeros of that shape, whose pages the system hands out when they are first written to.

    Few pixels of large maps are ever sampled; torch would write all of them.
    """
    return torch.from_numpy(np.zeros(tuple(like.shape), np.float32))


class GradientSink:
    """One gradient of the maps that all layers of a decoder add to.

    autograd would give every layer a zeroed gradient of the size of all maps and then sum them;
    for the small decoders that are trained on a CPU this costs more than the sampling itself.
    """

    def __init__(self) -> None:
        self._total: Tensor | None = None

    def buffer(self, like: Tensor) -> Tensor:
        """The running sum, zero at first."""
        if self._total is None:
            self._total = _zeros(like)
        return self._total

    def take(self) -> Tensor | None:
        """The sum, which is forgotten here; None if nothing was added."""
        total, self._total = self._total, None
        return total


class CollectGradient(torch.autograd.Function):
    """Identity whose gradient is what its consumers left in the sink.

    The engine runs this node after all of its consumers, though they hand it no gradient.
    """

    @staticmethod
    def forward(ctx, maps: Tensor, sink: GradientSink) -> Tensor:
        ctx.sink = sink
        ctx.set_materialize_grads(False)
        return maps.view_as(maps)

    @staticmethod
    def backward(ctx, grad: Tensor | None) -> tuple:
        total = ctx.sink.take()
        if total is None or grad is None:
            return (grad if total is None else total), None
        return total.add_(grad), None


class DeformableSampleCPU(torch.autograd.Function):
    """Autograd node around the kernel; see ``deformable.deformable_sample`` for the contract."""

    @staticmethod
    def forward(
        ctx,
        maps: Tensor,
        locations: Tensor,
        weights: Tensor,
        shapes: tuple[tuple[int, int], ...],
        sink: GradientSink | None,
    ) -> tuple[Tensor, Tensor]:
        maps, locations, weights = (t.float().contiguous() for t in (maps, locations, weights))
        ctx.save_for_backward(maps, locations, weights)
        ctx.shapes, ctx.sink = shapes, sink
        out = maps.new_empty(*weights.shape[:3], maps.shape[2])
        mass = maps.new_empty(weights.shape[:3])
        arrays = [t.detach().numpy() for t in (maps, locations, weights, out, mass)]
        _split(_forward, arrays, _tables(shapes))
        return out, mass

    @staticmethod
    def backward(ctx, grad_out: Tensor, grad_mass: Tensor) -> tuple:
        maps, locations, weights = ctx.saved_tensors
        grad_locations, grad_weights = torch.empty_like(locations), torch.empty_like(weights)
        with_maps = ctx.needs_input_grad[0]
        if not with_maps:  # a (B, 1, 1) placeholder keeps the kernel's signature
            grad_maps = maps.new_zeros(maps.shape[0], 1, 1)
        elif ctx.sink is None:
            grad_maps = _zeros(maps)
        else:
            grad_maps = ctx.sink.buffer(maps)
        inputs = (maps, locations, weights, grad_out.float().contiguous())
        outputs = (grad_mass.float().contiguous(), grad_locations, grad_weights, grad_maps)
        arrays = [t.detach().numpy() for t in inputs + outputs]
        _split(_backward, arrays, _tables(ctx.shapes), (with_maps,))
        own = grad_maps if with_maps and ctx.sink is None else None
        return own, grad_locations, grad_weights, None, None
