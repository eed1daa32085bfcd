"""Deformable cross-attention and sampling beside the usual order of work.

Peer: the pure-torch multi-scale deformable attention of `transformers` (Deformable DETR), which
projects every pixel to values and samples those; the projection is part of its time. One thread,
both in turn in one process, medians of CPU time, same weights, equal results asserted.
The size is the paper's: 96 tokens, maps of 1x to 16x of a 16 x 12 grid, width 256.
"""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from genhmr.inference.sampling import uncertainty_guided_sampling
from genhmr.transformer.deformable import DeformableCrossAttention, FlatMaps, flatten_maps
from genhmr.transformer.model import MaskedTransformer

MultiScaleDeformableAttention = pytest.importorskip(
    "transformers.models.deformable_detr.modeling_deformable_detr", exc_type=ImportError
).MultiScaleDeformableAttention

WIDTH, HEADS, POINTS, TOKENS, CODES = 256, 8, 4, 96, 2048
SHAPES = ((16, 12), (64, 48), (128, 96), (256, 192))
ROUNDS = 3
PEER = "transformers, pure torch"


class ProjectThenSample(DeformableCrossAttention):
    """The same layer in the peer's order, by the peer's kernel."""

    def forward(self, query: Tensor, reference: Tensor, maps: FlatMaps) -> Tensor:
        batch, queries, width = query.shape
        grid = (batch, queries, self.heads, self.num_levels, self.points)
        value = F.linear(maps.values, self.value.weight, self.value.bias)
        value = value.view(batch, -1, self.heads, width // self.heads)
        size = reference.new_tensor([(w, h) for h, w in maps.shapes])[:, None]
        offsets = self.offsets(query).view(*grid, 2) / size
        attention = self.attention(query).view(*grid[:3], -1).softmax(-1).view(grid)
        out = MultiScaleDeformableAttention()(
            value,
            torch.tensor(maps.shapes),
            list(maps.shapes),
            None,
            reference[..., None, None, None, :] + offsets,
            attention,
            64,
        )
        return self.out(out)


def _features(batch: int, requires_grad: bool) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(batch, WIDTH, h, w, generator=generator)
        .contiguous(memory_format=torch.channels_last)
        .requires_grad_(requires_grad)
        for h, w in SHAPES
    ]


def _layers() -> tuple[DeformableCrossAttention, ProjectThenSample]:
    torch.manual_seed(0)
    ours = DeformableCrossAttention(WIDTH, WIDTH, HEADS, POINTS, len(SHAPES))
    with torch.no_grad():
        ours.offsets.weight.normal_(std=0.05)
        ours.value.bias.normal_()
    peer = copy.deepcopy(ours)
    peer.__class__ = ProjectThenSample
    return ours, peer


def test_forward_beside_project_then_sample(beside):
    ours, peer = _layers()
    query, reference = torch.randn(1, TOKENS, WIDTH), torch.rand(TOKENS, 2)
    maps = flatten_maps(_features(1, False))

    @torch.no_grad()
    def run(layer: DeformableCrossAttention) -> Tensor:
        return layer(query, reference[None], maps)

    torch.testing.assert_close(run(ours), run(peer), rtol=1e-4, atol=1e-4)
    name = "deformable attention, forward"
    beside(name, PEER, lambda: run(ours), lambda: run(peer), 18.0, ROUNDS)


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen features", "trained features"])
def test_backward_beside_project_then_sample(beside, frozen):
    ours, peer = _layers()
    query = torch.randn(1, TOKENS, WIDTH, requires_grad=True)
    reference = torch.rand(TOKENS, 2)
    features = _features(1, not frozen)
    fixed = flatten_maps(features)  # frozen features are laid out once for all iterations

    def run(layer: DeformableCrossAttention) -> tuple[Tensor, ...]:
        maps = fixed if frozen else flatten_maps(features)
        out = layer(query, reference[None], maps)
        inputs = [query, *layer.parameters()] + ([] if frozen else features)
        return torch.autograd.grad(out.square().sum(), inputs)

    for mine, theirs in zip(run(ours), run(peer), strict=True):
        assert (mine - theirs).abs().max() <= 1e-3 * theirs.abs().max()
    name = f"deformable attention, f+b, {'frozen' if frozen else 'trained'} features"
    beside(name, PEER, lambda: run(ours), lambda: run(peer), 9.0, ROUNDS)


def test_memory_beside_project_then_sample(benchmark):
    """Peak resident memory over that of the inputs, each in a process of its own; Linux only."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the peak of a process can be reset on Linux only")
    program = f"""
import ctypes, sys, torch
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from bench.test_attention import TOKENS, WIDTH, _features, _layers, flatten_maps
torch.set_num_threads(1)
layer = dict(zip(("ours", "peer"), _layers()))[sys.argv[1]]
query, reference = torch.randn(1, TOKENS, WIDTH, requires_grad=True), torch.rand(1, TOKENS, 2)
maps = flatten_maps(_features(1, False))
small = flatten_maps([level[:, :, :4, :4] for level in _features(1, False)])
def run(maps):
    out = layer(query, reference, maps)
    torch.autograd.grad(out.square().sum(), [query, *layer.parameters()])
def resident(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024
run(small)  # libraries and kernels are loaded
ctypes.CDLL(None).malloc_trim(0)  # else what was freed is used again, unseen
open("/proc/self/clear_refs", "w").write("5")  # forgets the peak of making the inputs
before = resident("VmRSS")
run(maps)
print(resident("VmHWM") - before)
"""

    def peak(which: str) -> int:
        call = [sys.executable, "-c", program, which]
        return int(subprocess.run(call, capture_output=True, text=True, check=True).stdout)

    peaks = {which: peak(which) for which in ("ours", "peer")}
    benchmark.pedantic(peak, ("ours",), rounds=1)
    benchmark.extra_info.update(
        path="deformable attention, f+b, peak memory", peer=PEER, goal=10.0,
        ratio=peaks["peer"] / max(peaks["ours"], 1),
        ours_bytes=peaks["ours"], peer_bytes=peaks["peer"],
    )  # fmt: skip


def test_sampling_beside_reprojecting_every_iteration(beside):
    torch.manual_seed(0)
    ours = MaskedTransformer(TOKENS, CODES, WIDTH, 4, HEADS, POINTS, WIDTH, len(SHAPES)).eval()
    peer = copy.deepcopy(ours)
    for layer in peer.layers:
        layer.cross_attention.__class__ = ProjectThenSample
    maps = flatten_maps(_features(1, False))

    @torch.no_grad()
    def run(model: MaskedTransformer) -> Tensor:
        trace = uncertainty_guided_sampling(
            lambda tokens, mask: model(tokens, mask, maps), 1, TOKENS, iterations=5
        )
        return trace.confidences

    torch.testing.assert_close(run(ours), run(peer), rtol=1e-3, atol=1e-5)
    name, peer_name = "sampling, T=5, batch 1", "values projected every iteration"
    beside(name, peer_name, lambda: run(ours), lambda: run(peer), 20.0, ROUNDS)
