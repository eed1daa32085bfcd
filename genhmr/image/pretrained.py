"""Backbones that were trained elsewhere, or by ``genhmr.train.pretrain``.

ViTPose and HMR2.0 publish a ViT-H/16 whose forward differs from timm's in two places, so that
weights copied as they are give wrong features without any error:

* the patch convolution pads by 2, so patches start 2 pixels above and left of the image
  (``ViTConfig.patch_padding``);
* the position of the class token, which the model does not have, is added to every patch token;
  here it is folded into the patch positions once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genhmr.image.pyramid import FeaturePyramid
from genhmr.image.vit import ViTBackbone, ViTConfig
from genhmr.types import UserError

VIT_H = ViTConfig(
    image_size=(256, 192), patch_size=16, dim=1280, depth=32, heads=16, drop_path=0.55,
    stem="patch", patch_padding=2,
)  # fmt: skip


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a published ViTPose or HMR2.0 checkpoint's backbone.

    Accepts a flat state dict or one under ``state_dict`` or ``model``; the prefix ``backbone.``
    is taken off, and where it occurs everything else (heads, discriminators) is left out.

    Args:
        path: a ``.pth``, ``.ckpt`` or ``.pt`` file; read with ``weights_only=True``.

    Raises:
        UserError: the file is missing or damaged, holds objects other than tensors and
            containers, or holds no state dict.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist: download the backbone's checkpoint.") from error
    except Exception as error:  # torch raises a zoo of types on a damaged archive
        raise UserError(
            f"{path} cannot be read safely ({type(error).__name__}): it is damaged or holds more "
            "than tensors; save its 'state_dict' alone to a new file and point to that."
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no state dict: is it a ViTPose or HMR2.0 checkpoint?")
    state = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    prefix = "backbone."
    if any(name.startswith(prefix) for name in state):
        state = {n[len(prefix) :]: v for n, v in state.items() if n.startswith(prefix)}
    return state


def convert_vitpose(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names and positions of ViTPose / HMR2.0 -> those of ``ViTBackbone``.

    Args:
        state: ``patch_embed.proj.*``, ``pos_embed`` (1, 1 + N, dim), ``blocks.<i>.*`` and
            ``last_norm.*``; a ``cls_token`` (ViT-B of MAE) is ignored.

    Raises:
        KeyError: there is no ``pos_embed``.
    """
    converted = {}
    for name, value in state.items():
        if name == "cls_token":
            continue
        converted["vit." + name.replace("last_norm.", "norm.")] = value
    position = state["pos_embed"]
    converted["vit.pos_embed"] = position[:, 1:] + position[:, :1]
    return converted


def import_vitpose(path: Path, config: ViTConfig = VIT_H) -> ViTBackbone:
    """A ``ViTBackbone`` with the weights of a published checkpoint.

    Args:
        path: see ``read_checkpoint``.
        config: the size of the published model; its ``patch_padding`` must be 2, its stem
            "patch".

    Raises:
        UserError: the file cannot be read, or does not fit the configuration.
    """
    state = read_checkpoint(path)
    backbone = ViTBackbone.from_config(config)
    try:
        backbone.load_state_dict(convert_vitpose(state))
    except (KeyError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise UserError(
            f"{path} is not a ViTPose or HMR2.0 backbone of {config.depth} blocks of width "
            f"{config.dim} ({reason}): fetch the matching file."
        ) from error
    return backbone


def backbone_from_weights(tensors: dict[str, Tensor], config: dict[str, Any]) -> ViTBackbone:
    """Rebuilds an exported backbone.

    Args:
        tensors: of which those named ``backbone.*`` are used.
        config: its entry ``backbone`` is what ``ViTBackbone.to_dict`` returned.

    Raises:
        UserError: the tensors do not fit the configuration.
    """
    backbone = ViTBackbone.from_config(config["backbone"])
    prefix = "backbone."
    own = {n[len(prefix) :]: v for n, v in tensors.items() if n.startswith(prefix)}
    try:
        backbone.load_state_dict(own)
    except RuntimeError as error:
        raise UserError(
            "the backbone's weights do not fit the configuration beside them: export them again."
        ) from error
    return backbone


@torch.no_grad()
def warm_start_pyramid(pyramid: FeaturePyramid, tensors: dict[str, Tensor]) -> list[str]:
    """Takes over the pre-trained ``pyramid.*`` tensors that the pyramid has too.

    Pre-training needs the 1x and 4x levels only; a pyramid with more levels shares its first
    steps with it. One with other widths shares nothing: half a chain is of no use.

    Returns:
        The names that were taken over; none if any shape differs.
    """
    own = pyramid.state_dict()
    shared = [name for name in own if "pyramid." + name in tensors]
    if any(tensors["pyramid." + name].shape != own[name].shape for name in shared):
        return []
    for name in shared:
        own[name].copy_(tensors["pyramid." + name])
    return shared
