"""Deformable cross-attention and sampling beside the usual order of work.

Peer: the pure-torch multi-scale deformable attention of `transformers` (Deformable DETR), which
projects every pixel to values and samples those; the projection is part of its time. One thread,
both in turn in one process, medians, same weights, equal results asserted.
The size is the paper's: 96 tokens, maps of 1x to 16x of a 16 x 12 grid, width 256.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.speed.memory import peak_bytes
from bench.speed.rows import record_bytes, row
from genhmr.inference.sampling import uncertainty_guided_sampling
from genhmr.transformer.deformable import DeformableCrossAttention, FlatMaps, flatten_maps
from genhmr.transformer.model import MaskedTransformer

WIDTH, HEADS, POINTS, TOKENS, CODES = 256, 8, 4, 96, 2048
SHAPES = ((16, 12), (64, 48), (128, 96), (256, 192))
ROUNDS = 3
PEER = "transformers, pure torch"
PEER_MODULE = "transformers.models.deformable_detr.modeling_deformable_detr"


def _row(path: str, goal: float, peer: str = PEER, **more):
    return row(path, peer, goal, needs=PEER_MODULE, **more)


class ProjectThenSample(DeformableCrossAttention):
    """The same layer in the peer's order, by the peer's kernel."""

    def forward(self, query: Tensor, reference: Tensor, maps: FlatMaps) -> Tensor:
        from transformers.models.deformable_detr.modeling_deformable_detr import (
            MultiScaleDeformableAttention,
        )

        batch, queries, width = query.shape
        grid = (batch, queries, self.heads, self.num_levels, self.points)
        value = F.linear(maps.values, self.value.weight, self.value.bias)
        value = value.view(batch, -1, self.heads, width // self.heads)
        size = reference.new_tensor([(w, h) for h, w in maps.shapes])[:, None]
        offsets = self.offsets(query).view(*grid, 2) / size
        attention = self.attention(query).view(*grid[:3], -1).softmax(-1).view(grid)
        out = MultiScaleDeformableAttention()(
            value,
            torch.tensor(maps.shapes, device=value.device),
            list(maps.shapes),
            None,
            reference[..., None, None, None, :] + offsets,
            attention,
            64,
        )
        return self.out(out)


def _features(
    batch: int, requires_grad: bool, device: torch.device | str = "cpu"
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(batch, WIDTH, h, w, generator=generator)
        .to(device)
        .contiguous(memory_format=torch.channels_last)
        .requires_grad_(requires_grad)
        for h, w in SHAPES
    ]


def _layers(
    device: torch.device | str = "cpu",
) -> tuple[DeformableCrossAttention, ProjectThenSample]:
    torch.manual_seed(0)
    ours = DeformableCrossAttention(WIDTH, WIDTH, HEADS, POINTS, len(SHAPES))
    with torch.no_grad():
        ours.offsets.weight.normal_(std=0.05)
        ours.value.bias.normal_()
    ours = ours.to(device)
    peer = copy.deepcopy(ours)
    peer.__class__ = ProjectThenSample
    return ours, peer


@_row("deformable attention, forward", 18.0)
def test_forward_beside_project_then_sample(beside, device):
    ours, peer = _layers(device)
    query, reference = torch.randn(1, TOKENS, WIDTH).to(device), torch.rand(TOKENS, 2).to(device)
    maps = flatten_maps(_features(1, False, device))

    @torch.no_grad()
    def run(layer: DeformableCrossAttention) -> Tensor:
        return layer(query, reference[None], maps)

    torch.testing.assert_close(run(ours), run(peer), rtol=1e-4, atol=1e-4)
    beside(lambda: run(ours), lambda: run(peer), ROUNDS)


def _backward_row(kind: str):
    marks = _row(f"deformable attention, f+b, {kind} features", 9.0)
    return pytest.param(kind == "frozen", marks=marks, id=f"{kind} features")


@pytest.mark.parametrize("frozen", [_backward_row("frozen"), _backward_row("trained")])
def test_backward_beside_project_then_sample(beside, device, frozen):
    ours, peer = _layers(device)
    query = torch.randn(1, TOKENS, WIDTH).to(device).requires_grad_()
    reference = torch.rand(TOKENS, 2).to(device)
    features = _features(1, not frozen, device)
    fixed = flatten_maps(features)  # frozen features are laid out once for all iterations

    def run(layer: DeformableCrossAttention) -> tuple[Tensor, ...]:
        maps = fixed if frozen else flatten_maps(features)
        out = layer(query, reference[None], maps)
        inputs = [query, *layer.parameters()] + ([] if frozen else features)
        return torch.autograd.grad(out.square().sum(), inputs)

    for mine, theirs in zip(run(ours), run(peer), strict=True):
        assert (mine - theirs).abs().max() <= 1e-3 * theirs.abs().max()
    beside(lambda: run(ours), lambda: run(peer), ROUNDS)


def memory_case(which: str, device: str) -> tuple[Callable[[], object], Callable[[], object]]:
    """The layer forward and backward on maps of 4 x 4 pixels and whole ones, for ``peak_bytes``."""
    layer = dict(zip(("ours", "peer"), _layers(device)))[which]
    query = torch.randn(1, TOKENS, WIDTH).to(device).requires_grad_()
    reference = torch.rand(1, TOKENS, 2).to(device)
    maps = flatten_maps(_features(1, False, device))
    small = flatten_maps([level[:, :, :4, :4] for level in _features(1, False, device)])

    def run(maps: FlatMaps) -> None:
        out = layer(query, reference, maps)
        torch.autograd.grad(out.square().sum(), [query, *layer.parameters()])

    return lambda: run(small), lambda: run(maps)


@_row("deformable attention, f+b, peak memory", 10.0, linux_only=True)
def test_memory_beside_project_then_sample(benchmark, request, device):
    """Peak memory over that of the inputs, each in a process of its own."""

    def peak(which: str) -> int:
        return peak_bytes("bench.test_attention:memory_case", which, device.type)

    peaks = {which: peak(which) for which in ("ours", "peer")}
    benchmark.pedantic(peak, ("ours",), rounds=1)
    record_bytes(benchmark, request, peaks["ours"], peaks["peer"])


@_row("sampling, T=5, batch 1", 20.0, peer="values projected every iteration")
def test_sampling_beside_reprojecting_every_iteration(beside, device):
    torch.manual_seed(0)
    ours = MaskedTransformer(TOKENS, CODES, WIDTH, 4, HEADS, POINTS, WIDTH, len(SHAPES)).eval()
    ours = ours.to(device)
    peer = copy.deepcopy(ours)
    for layer in peer.layers:
        layer.cross_attention.__class__ = ProjectThenSample
    maps = flatten_maps(_features(1, False, device))

    @torch.no_grad()
    def run(model: MaskedTransformer) -> Tensor:
        trace = uncertainty_guided_sampling(
            lambda tokens, mask: model(tokens, mask, maps), 1, TOKENS, 5, device=device
        )
        return trace.confidences

    torch.testing.assert_close(run(ours), run(peer), rtol=1e-3, atol=1e-5)
    beside(lambda: run(ours), lambda: run(peer), ROUNDS)
