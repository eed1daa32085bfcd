"""The image encoder: timm's Vision Transformer, cut and shaped as HMR2.0 and ViTPose use it.

One class serves both ends of the suite; only the numbers differ:

==========  ===========  ==========  =====  =====  =====  =====  ==============
profile     image        patch size  dim    depth  heads  stem   patch padding
==========  ===========  ==========  =====  =====  =====  =====  ==============
``paper``   256 x 192    16          1280   32     16     patch  2 (published)
``open``    128 x 96     16          192    6      6      conv   0
==========  ===========  ==========  =====  =====  =====  =====  ==============

The crop that enters is square; the backbone itself cuts the width to 3:4, so that every other room
keeps one square coordinate system. 4D-Humans cuts its 256 pixels to 192 too, but of a box that it
has enlarged by 4/3 first (``expand_to_aspect_ratio(...).max()``), so that the cut takes nothing of
the person's box. Here an eighth of the box is lost on either side unless the shards were made with
``box_scale`` 4/3, as in profile ``paper`` (docs/decisions.md).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from timm.layers import LayerNorm2d, build_sincos2d_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

STEMS = ("patch", "conv")


@dataclass(frozen=True)
class ViTConfig:
    """The numbers that rebuild a ``ViTBackbone``; stored beside exported weights.

    Attributes:
        image_size: (H, W) of the cut image in pixels; the square crop has side H.
        patch_size: side of a patch in pixels.
        dim: width of a token.
        depth: number of blocks.
        heads: attention heads.
        mlp_ratio: hidden width of the MLP over ``dim``.
        drop_path: stochastic depth rate of the last block, linear from 0 at the first.
        stem: "patch" (one strided convolution) or "conv" (``ConvStem``).
        patch_padding: pixels by which the first patch begins above and left of the image.
            ViTPose and HMR2.0 pad their patch convolution by 2; needed for their weights only.
    """

    image_size: tuple[int, int]
    patch_size: int
    dim: int
    depth: int
    heads: int
    mlp_ratio: float = 4.0
    drop_path: float = 0.0
    stem: str = "patch"
    patch_padding: int = 0


class ConvStem(nn.Module):
    """Patch embedding by a stack of stride-2 convolutions, and a 1x1 convolution at the end.

    Xiao et al. 2021, "Early Convolutions Help Transformers See Better": at small scale a plain
    patch projection is what makes a ViT slow to learn from scratch. Two things differ from
    theirs. The norm is a LayerNorm over channels, not a BatchNorm, so that a frozen backbone and
    a moving average of the weights need no care for running statistics. The kernels are 4 x 4,
    not 3 x 3, so that a token's field is centred on its patch and mirrored images give
    mirrored fields.

    The signature is that of timm's ``PatchEmbed``, so it plugs in as ``embed_layer``.

    Args:
        img_size: (H, W) in pixels, multiples of ``patch_size``.
        patch_size: a power of two >= 2; log2 of it is the number of strided convolutions.
        in_chans: input channels.
        embed_dim: output channels; the strided convolutions double up to half of it.
        bias: bias of the last convolution.

    Raises:
        ValueError: ``patch_size`` is no power of two.
    """

    def __init__(
        self,
        img_size: tuple[int, int],
        patch_size: int,
        in_chans: int = 3,
        embed_dim: int = 768,
        bias: bool = True,
        **_: Any,  # timm passes options of its own patch embedding that have no meaning here
    ) -> None:
        super().__init__()
        halvings = patch_size.bit_length() - 1
        if patch_size < 2 or patch_size != 1 << halvings:
            raise ValueError(f"the conv stem needs a power of two as patch size, got {patch_size}")
        self.grid_size = (img_size[0] // patch_size, img_size[1] // patch_size)
        self.num_patches = self.grid_size[0] * self.grid_size[1]
        layers: list[nn.Module] = []
        width = in_chans
        for k in range(halvings):
            out = max(8, embed_dim >> (halvings - k))
            layers += [
                nn.Conv2d(width, out, 4, stride=2, padding=1, bias=False),
                LayerNorm2d(out),
                nn.ReLU(inplace=True),
            ]
            width = out
        self.convs = nn.Sequential(*layers)
        self.proj = nn.Conv2d(width, embed_dim, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, H W / patch_size^2, embed_dim), row by row."""
        # Channels last: the layer norms then run on contiguous memory, and so do the tokens.
        x = self.convs(x.contiguous(memory_format=torch.channels_last))
        return self.proj(x).flatten(2).transpose(1, 2)


class ViTBackbone(nn.Module):
    """Vision Transformer without class token: square crops in, a grid of features out.

    Args:
        image_size: (H, W) of the cut image; H is the side of the crop, W <= H.
        patch_size: side of a patch; divides H and W.
        dim: width of a token.
        depth: number of blocks.
        heads: attention heads.
        mlp_ratio: hidden width of the MLP over ``dim``.
        drop_path: stochastic depth rate of the last block (ViT-H of HMR2.0: 0.55).
        stem: "patch" or "conv", see ``ViTConfig``.
        patch_padding: see ``ViTConfig``.

    Raises:
        ValueError: sizes that do not divide, or an unknown stem.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        patch_size: int,
        dim: int,
        depth: int,
        heads: int,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
        stem: str = "patch",
        patch_padding: int = 0,
    ) -> None:
        super().__init__()
        height, width = image_size
        if height % patch_size or width % patch_size or width > height or (height - width) % 2:
            raise ValueError(
                f"image size {height} x {width} must be multiples of the patch size {patch_size}, "
                "not wider than high, and the cut must be even"
            )
        if stem not in STEMS:
            raise ValueError(f"stem must be one of {STEMS}, got {stem!r}")
        self.config = ViTConfig(
            (height, width), patch_size, dim, depth, heads, mlp_ratio, drop_path, stem,
            patch_padding,
        )  # fmt: skip
        options: dict[str, Any] = {"embed_layer": ConvStem} if stem == "conv" else {}
        self.vit = VisionTransformer(
            img_size=(height, width),
            patch_size=patch_size,
            embed_dim=dim,
            depth=depth,
            num_heads=heads,
            mlp_ratio=mlp_ratio,
            drop_path_rate=drop_path,
            num_classes=0,
            class_token=False,
            global_pool="",
            **options,
        )
        self.grid_size = (height // patch_size, width // patch_size)
        # Learned positions that begin as sines and cosines: neighbours are alike from step 0.
        with torch.no_grad():
            position = build_sincos2d_pos_embed(list(self.grid_size), dim=dim)
            self.vit.pos_embed.copy_(0.5 * position.reshape(self.vit.pos_embed.shape))

    @classmethod
    def from_config(cls, config: ViTConfig | dict[str, Any]) -> "ViTBackbone":
        """Builds the module of a ``ViTConfig`` or of the mapping that ``to_dict`` returned."""
        values = asdict(config) if isinstance(config, ViTConfig) else dict(config)
        values["image_size"] = tuple(values["image_size"])
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The configuration as JSON-serialisable values."""
        return {**asdict(self.config), "image_size": list(self.config.image_size)}

    @property
    def dim(self) -> int:
        """Channels of the grid."""
        return self.config.dim

    def cut(self, images: Tensor) -> Tensor:
        """The part of the crop that is seen: (B, 3, S, S) -> (B, 3, H, W), centred.

        Raises:
            ValueError: the crop is not square with side H.
        """
        height, width = self.config.image_size
        if images.shape[-2:] != (height, height):
            raise ValueError(
                f"the backbone takes crops of {height} x {height} pixels, got "
                f"{images.shape[-2]} x {images.shape[-1]}"
            )
        left = (height - width) // 2
        return images[..., left : left + width]

    def forward(self, images: Tensor) -> Tensor:
        """Features of square crops.

        Args:
            images: (B, 3, S, S) ImageNet-normalised.

        Returns:
            (B, dim, H / patch_size, W / patch_size), after the last norm.
        """
        x = self.cut(images)
        if pad := self.config.patch_padding:
            # A convolution padded by p with stride = kernel starts p pixels early and never
            # reaches the last p pixels: the same as shifting the image.
            x = F.pad(x, (pad, -pad, pad, -pad))
        tokens = self.vit.forward_features(x)  # (B, N, dim)
        return tokens.transpose(1, 2).unflatten(2, self.grid_size)
