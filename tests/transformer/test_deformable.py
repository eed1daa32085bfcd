"""Sample-first deformable attention against project-then-sample with F.grid_sample."""

import pytest
import torch
import torch.nn.functional as F

from genhmr.transformer.deformable import (
    DeformableCrossAttention,
    deformable_sample,
    deformable_sample_torch,
    flatten_maps,
)

SHAPES = ((8, 6), (16, 12), (5, 7))


def project_then_sample(module, query, reference, features):
    """Multi-scale deformable attention as Deformable DETR writes it, with its own offsets."""
    batch, queries, width = query.shape
    heads, levels, points = module.heads, module.num_levels, module.points
    offsets = module.offsets(query).view(batch, queries, heads, levels, points, 2)
    attention = module.attention(query).view(batch, queries, heads, levels * points).softmax(-1)
    attention = attention.view(batch, queries, heads, levels, points)
    out = 0.0
    for level, feature in enumerate(features):
        height, wide = feature.shape[2:]
        value = F.linear(feature.flatten(2).transpose(1, 2), module.value.weight, module.value.bias)
        value = value.view(batch, height * wide, heads, width // heads).permute(0, 2, 3, 1)
        value = value.reshape(batch * heads, width // heads, height, wide)
        size = torch.tensor([wide, height], dtype=query.dtype)
        where = reference[:, None, None] + offsets[:, :, :, level] / size  # (B, Q, M, P, 2)
        grid = (2 * where - 1).permute(0, 2, 1, 3, 4).flatten(0, 1)
        sampled = F.grid_sample(value, grid, "bilinear", "zeros", align_corners=False)
        weight = attention[:, :, :, level].permute(0, 2, 1, 3).flatten(0, 1)[:, None]
        out = out + (sampled * weight).sum(-1)  # (B*M, d, Q)
    out = out.view(batch, heads, width // heads, queries).permute(0, 3, 1, 2).flatten(2)
    return module.out(out)


def make(batch=3, queries=9, width=16, channels=10, seed=0, spread=1.0):
    """A module whose samples fall inside, across and beyond the border."""
    generator = torch.Generator().manual_seed(seed)
    module = DeformableCrossAttention(width, channels, heads=4, points=3, num_levels=len(SHAPES))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
        module.offsets.bias.mul_(6 * spread)
    features = [
        torch.randn(batch, channels, h, w, generator=generator, requires_grad=True)
        for h, w in SHAPES
    ]
    query = torch.randn(batch, queries, width, generator=generator, requires_grad=True)
    reference = torch.rand(queries, 2, generator=generator).requires_grad_()
    return module, query, reference, features


def close(ours, theirs, tolerance=1e-5):
    scale = theirs.abs().max().clamp(min=1.0)
    assert (ours - theirs).abs().max() <= tolerance * scale


@pytest.mark.parametrize("spread", [0.3, 1.0, 4.0])
def test_equals_project_then_sample_with_gradients(spread):
    module, query, reference, features = make(spread=spread)
    ours = module(query, reference, flatten_maps(features))
    theirs = project_then_sample(module, query, reference, features)
    close(ours, theirs)
    inputs = [query, reference, *features, *module.parameters()]
    direction = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1))
    for got, want in zip(
        torch.autograd.grad((ours * direction).sum(), inputs),
        torch.autograd.grad((theirs * direction).sum(), inputs),
        strict=True,
    ):
        close(got, want, 3e-5)


def test_bias_counts_only_inside():
    """All samples far away: nothing is read, and the value bias must not appear either."""
    module, query, reference, features = make()
    with torch.no_grad():
        module.offsets.weight.zero_()
        module.offsets.bias.fill_(1000.0)
        module.value.bias.fill_(7.0)
    out = module(query, reference, flatten_maps(features))
    close(out, module.out.bias.expand_as(out))


def test_constant_map_gives_the_value_of_the_constant():
    """Bilinear weights sum to one inside, so any attention over a constant map returns it."""
    module, query, _, _ = make()
    with torch.no_grad():
        module.offsets.weight.zero_()
        module.offsets.bias.zero_()
    constant = torch.randn(10)
    maps = flatten_maps([constant.view(1, -1, 1, 1).expand(3, -1, h, w) for h, w in SHAPES])
    out = module(query, torch.full((9, 2), 0.5), maps)
    close(out, module.out(module.value(constant)).expand_as(out))


def sample_inputs(seed=0, batch=4):
    generator = torch.Generator().manual_seed(seed)
    maps = flatten_maps(
        [torch.randn(batch, 5, h, w, generator=generator) for h, w in SHAPES]
    ).values.requires_grad_()
    locations = (torch.rand(batch, 6, 2, 3, 2, 2, generator=generator) * 1.6 - 0.3).requires_grad_()
    weights = torch.rand(batch, 6, 2, 3, 2, generator=generator).requires_grad_()
    return maps, locations, weights


def both(run, inputs):
    pooled, mass = run(*inputs, SHAPES)
    loss = (pooled * torch.arange(5.0)).sum() + (mass**2).sum()
    return pooled, mass, torch.autograd.grad(loss, inputs)


def test_compiled_kernel_equals_torch_operations():
    inputs = sample_inputs()
    ours, plain = both(deformable_sample, inputs), both(deformable_sample_torch, inputs)
    close(ours[0], plain[0])
    close(ours[1], plain[1])
    for got, want in zip(ours[2], plain[2], strict=True):
        close(got, want)


def test_threads_do_not_change_the_result():
    inputs = sample_inputs(batch=5)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        single = both(deformable_sample, inputs)
        torch.set_num_threads(2)
        double = both(deformable_sample, inputs)
    finally:
        torch.set_num_threads(before)
    for a, b in zip((*single[:2], *single[2]), (*double[:2], *double[2]), strict=True):
        assert torch.equal(a, b)


def test_shared_gradient_equals_the_sum_of_layers():
    """Two layers and a direct use of the same maps: the sink must neither lose nor double."""
    module, query, reference, features = make()
    other = make(seed=5)[0]

    def loss(maps):
        x = module(query, reference, maps)
        return (other(x, reference, maps) ** 2).sum() + (maps.values**3).mean()

    shared = flatten_maps(features)
    assert shared.sink is not None
    plain = type(shared)(
        torch.cat([f.flatten(2).transpose(1, 2) for f in features], 1), shared.shapes
    )
    want = torch.autograd.grad(loss(plain), features)
    for _ in range(2):  # a second backward pass must start from zero
        for got, wanted in zip(
            torch.autograd.grad(loss(flatten_maps(features)), features), want, strict=True
        ):
            close(got, wanted)
    value = loss(shared)
    first = torch.autograd.grad(value, features, retain_graph=True)
    second = torch.autograd.grad(value, features)
    for got, again, wanted in zip(first, second, want, strict=True):
        close(got, wanted)
        close(again, wanted)


def test_initial_offsets_are_rings_of_growing_radius():
    module = DeformableCrossAttention(32, 8, heads=8, points=4, num_levels=2)
    offsets = module.offsets.bias.view(8, 2, 4, 2)
    radius = offsets.abs().amax(-1)
    torch.testing.assert_close(radius, torch.arange(1.0, 5.0).expand(8, 2, 4))
    torch.testing.assert_close(offsets[:, 0], offsets[:, 1])
    assert len({tuple(row) for row in offsets[:, 0, 0].detach().round(decimals=3).tolist()}) == 8


def test_width_must_be_a_multiple_of_heads():
    with pytest.raises(ValueError, match="multiple"):
        DeformableCrossAttention(30, 8, heads=4, points=4, num_levels=2)
