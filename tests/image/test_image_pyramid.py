"""FeaturePyramid against a transposed convolution written out by hand."""

import pytest
import torch

from genhmr.image.pyramid import FeaturePyramid


def build(scales, in_dim=32, out_dim=8):
    torch.manual_seed(0)
    return FeaturePyramid(in_dim, out_dim, scales)


def grid(in_dim=32):
    return torch.randn(2, in_dim, 4, 3, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("scales", [(1,), (4,), (1, 4, 8), (8, 16), (1, 4, 8, 16)])
def test_levels_have_their_scale_and_only_needed_steps_exist(scales):
    pyramid = build(scales)
    assert [m.shape for m in pyramid(grid())] == [(2, 8, 4 * s, 3 * s) for s in scales]
    assert 2 ** len(pyramid.steps) == scales[-1]
    unused = [n for n, p in pyramid.named_parameters() if p.grad is not None]
    assert not unused
    sum(m.square().mean() for m in pyramid(grid())).backward()
    assert all(p.grad is not None for p in pyramid.parameters())


def test_first_step_is_a_stride_two_transposed_convolution():
    pyramid = build((4,))
    conv, _, _ = pyramid.steps[0]
    x = grid()
    raw = torch.zeros(2, conv.out_channels, 8, 6)
    for dy in range(2):
        for dx in range(2):
            raw[:, :, dy::2, dx::2] = torch.einsum("bchw,co->bohw", x, conv.weight[:, :, dy, dx])
    raw = raw + conv.bias[:, None, None]
    mean, variance = raw.mean(1, keepdim=True), raw.var(1, unbiased=False, keepdim=True)
    normed = (raw - mean) / (variance + 1e-6).sqrt()
    gelu = normed * 0.5 * (1 + torch.erf(normed / 2**0.5))
    torch.testing.assert_close(pyramid.steps[0](x), gelu, atol=1e-5, rtol=1e-4)


def test_a_level_does_not_depend_on_finer_levels():
    fine, coarse = build((1, 4, 8)), build((1, 4))
    coarse.load_state_dict({n: fine.state_dict()[n] for n in coarse.state_dict()})
    for a, b in zip(coarse(grid()), fine(grid()), strict=False):
        torch.testing.assert_close(a, b)


def test_a_cell_reaches_only_its_own_block():
    pyramid, x = build((1, 4)), grid()
    changed = x.clone()
    changed[:, :, 1, 2] += 1
    difference = (pyramid(changed)[1] - pyramid(x)[1]).abs().amax((0, 1)) > 1e-6
    expected = torch.zeros(16, 12, dtype=torch.bool)
    expected[4:8, 8:12] = True
    assert torch.equal(difference, expected)


@pytest.mark.parametrize("scales", [(), (4, 1), (1, 1), (2,), (1, 32)])
def test_other_scales_are_refused(scales):
    with pytest.raises(ValueError, match="subset"):
        build(scales)
