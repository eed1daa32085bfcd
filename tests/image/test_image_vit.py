"""ViTBackbone and ConvStem against explicit convolutions and plain properties."""

import pytest
import torch
from torch.nn import functional as F

from genhmr.image.vit import ConvStem, ViTBackbone, ViTConfig

SMALL = {"image_size": (32, 24), "patch_size": 8, "dim": 24, "depth": 2, "heads": 3}


def small(stem="patch", **changes):
    torch.manual_seed(0)
    return ViTBackbone(**{**SMALL, "stem": stem, **changes}).eval()


def crops(count=2, side=32):
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("stem", ["patch", "conv"])
def test_grid_has_one_cell_per_patch_of_the_cut(stem):
    assert small(stem)(crops()).shape == (2, 24, 4, 3)


@pytest.mark.parametrize("stem", ["patch", "conv"])
def test_only_the_cut_columns_are_seen(stem):
    backbone, x = small(stem), crops()
    outside, inside = x.clone(), x.clone()
    outside[..., :4] += 1
    outside[..., 28:] -= 1
    inside[..., 4] += 1
    assert torch.equal(backbone(outside), backbone(x))
    assert (backbone(inside) - backbone(x)).abs().max() > 1e-3


def test_patch_tokens_are_laid_out_as_the_image_is():
    embed = small().vit.patch_embed
    x = torch.zeros(1, 3, 32, 24, requires_grad=True)
    for row in range(4):
        for column in range(3):
            (field,) = torch.autograd.grad(embed(x)[0, 3 * row + column].square().sum(), x)
            rows, columns = field[0, 0].nonzero().T
            assert set((rows // 8).tolist()) == {row} and set((columns // 8).tolist()) == {column}


def test_field_of_a_conv_stem_token_is_centred_on_its_patch():
    torch.manual_seed(0)
    embed = ConvStem((64, 48), 8, embed_dim=32)
    x = torch.randn(1, 3, 64, 48, generator=torch.Generator().manual_seed(2)).requires_grad_()
    (field,) = torch.autograd.grad(embed(x)[0, 3 * 6 + 2].square().sum(), x)
    rows, columns = field.square().sum((0, 1)).nonzero().T
    assert (rows.min() + rows.max()) / 2 == 3 * 8 + 3.5
    assert (columns.min() + columns.max()) / 2 == 2 * 8 + 3.5


def test_patch_padding_is_the_padding_of_the_convolution():
    backbone = small(patch_padding=2)
    seen = {}
    backbone.vit.patch_embed.register_forward_hook(lambda m, a, out: seen.update(tokens=out))
    x = crops()
    backbone(x)
    conv = backbone.vit.patch_embed.proj
    expected = F.conv2d(x[..., 4:28], conv.weight, conv.bias, stride=8, padding=2)
    torch.testing.assert_close(seen["tokens"], expected.flatten(2).transpose(1, 2))


def test_conv_stem_is_strided_convolutions_normed_over_channels():
    torch.manual_seed(0)
    stem = ConvStem((16, 8), 4, embed_dim=32)
    x = torch.randn(2, 3, 16, 8)
    y = x
    convs = [m for m in stem.convs if isinstance(m, torch.nn.Conv2d)]
    assert [c.weight.shape[0] for c in convs] == [8, 16]
    for conv in convs:  # the norm is fresh: no scale, no shift
        y = F.conv2d(y, conv.weight, stride=2, padding=1)
        mean = y.mean(1, keepdim=True)
        variance = ((y - mean) ** 2).mean(1, keepdim=True)
        y = ((y - mean) / (variance + 1e-6).sqrt()).clamp(min=0)
    y = torch.einsum("bchw,oc->bhwo", y, stem.proj.weight[:, :, 0, 0]) + stem.proj.bias
    torch.testing.assert_close(stem(x), y.reshape(2, 8, 32), atol=1e-5, rtol=1e-4)


def test_items_do_not_see_each_other():
    backbone, x = small("conv"), crops(3)
    torch.testing.assert_close(backbone(x)[1:2], backbone(x[1:2]), atol=1e-5, rtol=1e-4)


def test_configuration_rebuilds_the_module():
    backbone = small("conv", mlp_ratio=2.0)
    again = ViTBackbone.from_config(backbone.to_dict())
    again.load_state_dict(backbone.state_dict())
    assert again.config == backbone.config
    assert torch.equal(again.eval()(crops()), backbone(crops()))


def test_paper_size_has_the_published_shape():
    with torch.device("meta"):
        vit = ViTBackbone.from_config(ViTConfig((256, 192), 16, 1280, 32, 16, patch_padding=2)).vit
    assert vit.pos_embed.shape == (1, 192, 1280)
    assert 6.2e8 < sum(p.numel() for p in vit.parameters()) < 6.4e8


def test_positions_begin_smooth():
    position = small().vit.pos_embed[0].unflatten(0, (4, 3))
    near = (position[0, 0] - position[0, 1]).norm()
    assert 0 < near < (position[0, 0] - position[3, 2]).norm()


@pytest.mark.parametrize(
    "changes",
    [
        {"image_size": (32, 20)},
        {"image_size": (24, 32)},
        {"stem": "unknown"},
        {"image_size": (36, 24), "patch_size": 12, "stem": "conv"},
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes):
    with pytest.raises(ValueError):
        ViTBackbone(**{**SMALL, **changes})


def test_a_crop_of_another_size_is_refused():
    with pytest.raises(ValueError, match="32 x 32"):
        small()(torch.zeros(1, 3, 64, 64))
