"""Import of published weights, against an independent forward of the HMR2.0 encoder."""

import collections
import math

import pytest
import torch
from torch.nn import functional as F

from genhmr.image.pretrained import (
    VIT_H,
    backbone_from_weights,
    import_vitpose,
    read_checkpoint,
    warm_start_pyramid,
)
from genhmr.image.pyramid import FeaturePyramid
from genhmr.image.vit import ViTBackbone, ViTConfig
from genhmr.types import UserError

TINY = ViTConfig((64, 48), 16, 32, 2, 4, drop_path=0.2, patch_padding=2)


def published(config=TINY, seed=0):
    """Random weights with the names and shapes of a ViTPose checkpoint."""
    generator = torch.Generator().manual_seed(seed)
    dim, patch = config.dim, config.patch_size
    cells = (config.image_size[0] // patch) * (config.image_size[1] // patch)
    shapes = {
        "pos_embed": (1, 1 + cells, dim),
        "patch_embed.proj.weight": (dim, 3, patch, patch),
        "patch_embed.proj.bias": (dim,),
        "last_norm.weight": (dim,),
        "last_norm.bias": (dim,),
    }
    for i in range(config.depth):
        for name, shape in {
            "norm1": (dim,), "norm2": (dim,), "attn.qkv": (3 * dim, dim),
            "attn.proj": (dim, dim), "mlp.fc1": (4 * dim, dim), "mlp.fc2": (dim, 4 * dim),
        }.items():  # fmt: skip
            shapes[f"blocks.{i}.{name}.weight"] = shape
            shapes[f"blocks.{i}.{name}.bias"] = shape[:1]
    return {n: 0.2 * torch.randn(s, generator=generator) for n, s in shapes.items()}


def hmr2_forward(state, x, config):
    """The encoder as 4D-Humans computes it, written out with elementary operations."""
    side, width = config.image_size
    x = x[:, :, :, (side - width) // 2 : (side + width) // 2]
    x = F.conv2d(
        x, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"],
        stride=config.patch_size, padding=2,
    )  # fmt: skip
    batch, dim, rows, columns = x.shape
    x = x.flatten(2).transpose(1, 2)
    x = x + state["pos_embed"][:, 1:] + state["pos_embed"][:, :1]

    def norm(x, name):
        mean = x.mean(-1, keepdim=True)
        variance = ((x - mean) ** 2).mean(-1, keepdim=True)
        scaled = (x - mean) / torch.sqrt(variance + 1e-6)
        return scaled * state[name + ".weight"] + state[name + ".bias"]

    def linear(x, name):
        return x @ state[name + ".weight"].T + state[name + ".bias"]

    size = dim // config.heads
    for i in range(config.depth):
        block = f"blocks.{i}."
        qkv = linear(norm(x, block + "norm1"), block + "attn.qkv")
        q, k, v = (
            t.reshape(batch, -1, config.heads, size).transpose(1, 2) for t in qkv.chunk(3, -1)
        )
        weight = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(size), -1)
        mixed = (weight @ v).transpose(1, 2).reshape(batch, -1, dim)
        x = x + linear(mixed, block + "attn.proj")
        hidden = linear(norm(x, block + "norm2"), block + "mlp.fc1")
        hidden = 0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2)))
        x = x + linear(hidden, block + "mlp.fc2")
    x = norm(x, "last_norm")
    return x.transpose(1, 2).reshape(batch, dim, rows, columns)


def wrap(state, kind):
    if kind == "flat":
        return state
    if kind == "mmpose":
        heads = {"keypoint_head.final_layer.weight": torch.zeros(17, 8)}
        backbone = {f"backbone.{n}": v for n, v in state.items()}
        return {"meta": {"epoch": 210}, "state_dict": backbone | heads}
    return {"model": collections.OrderedDict(state), "epoch": 3}


@pytest.mark.parametrize("kind", ["flat", "mmpose", "nested"])
def test_imported_features_equal_the_published_forward(tmp_path, kind):
    state = published()
    torch.save(wrap(state, kind), tmp_path / "vitpose.pth")
    backbone = import_vitpose(tmp_path / "vitpose.pth", TINY).eval()
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        torch.testing.assert_close(
            backbone(x), hmr2_forward(state, x, TINY), atol=2e-5, rtol=1e-4
        )


def test_without_the_adapter_the_features_would_be_wrong(tmp_path):
    state = published()
    torch.save(state, tmp_path / "vitpose.pth")
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    unpadded = ViTBackbone.from_config({**TINY.__dict__, "patch_padding": 0}).eval()
    unpadded.load_state_dict(import_vitpose(tmp_path / "vitpose.pth", TINY).state_dict())
    with torch.no_grad():
        assert (unpadded(x) - hmr2_forward(state, x, TINY)).abs().max() > 0.1


def test_names_fit_the_published_size():
    with torch.device("meta"):
        names = ViTBackbone.from_config(VIT_H).state_dict()
    expected = {n.replace("last_norm", "norm") for n in published(VIT_H_SHAPED)}
    assert {n.removeprefix("vit.") for n in names} == expected


VIT_H_SHAPED = ViTConfig((64, 48), 16, 32, VIT_H.depth, 4, patch_padding=2)


def test_a_checkpoint_of_another_size_is_refused(tmp_path):
    torch.save(published(ViTConfig((64, 48), 16, 16, 2, 4)), tmp_path / "small.pth")
    with pytest.raises(UserError, match="small.pth"):
        import_vitpose(tmp_path / "small.pth", TINY)


def test_a_missing_or_damaged_or_unsafe_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="absent.pth"):
        read_checkpoint(tmp_path / "absent.pth")
    (tmp_path / "damaged.pth").write_bytes(b"not an archive")
    with pytest.raises(UserError, match="damaged.pth"):
        read_checkpoint(tmp_path / "damaged.pth")
    torch.save({"state_dict": published(), "trap": Trap()}, tmp_path / "unsafe.pth")
    with pytest.raises(UserError, match="unsafe.pth"):
        read_checkpoint(tmp_path / "unsafe.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(UserError, match="list.pth"):
        read_checkpoint(tmp_path / "list.pth")


class Trap:
    """An object whose unpickling would run code."""

    def __reduce__(self):
        return (print, ("code ran",))


def test_own_export_rebuilds_the_backbone():
    torch.manual_seed(0)
    backbone = ViTBackbone((32, 24), 8, 24, 1, 3, stem="conv").eval()
    tensors = {f"backbone.{n}": v for n, v in backbone.state_dict().items()}
    tensors["head.extra"] = torch.zeros(1)
    again = backbone_from_weights(tensors, {"backbone": backbone.to_dict()}).eval()
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(again(x), backbone(x))
    del tensors["backbone.vit.pos_embed"]
    with pytest.raises(UserError, match="do not fit"):
        backbone_from_weights(tensors, {"backbone": backbone.to_dict()})


def test_pyramid_takes_over_what_fits():
    torch.manual_seed(0)
    trained = FeaturePyramid(32, 8, (1, 4))
    tensors = {f"pyramid.{n}": v for n, v in trained.state_dict().items()}
    finer = FeaturePyramid(32, 8, (1, 4, 8))
    assert set(warm_start_pyramid(finer, tensors)) == set(trained.state_dict())
    x = torch.randn(1, 32, 4, 3)
    for a, b in zip(trained(x), finer(x), strict=False):
        torch.testing.assert_close(a, b)
    assert not warm_start_pyramid(FeaturePyramid(48, 12, (4,)), tensors)
