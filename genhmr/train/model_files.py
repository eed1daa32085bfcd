"""GenHMR on disk: three weight files that make a model, and how to build it afresh.

A folder with ``backbone``, ``tokenizer`` and ``genhmr`` safetensors is a whole model. The third
holds what stage 2 trained; a backbone that stayed frozen is only in its own file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from genhmr.image.pretrained import backbone_from_weights
from genhmr.image.pyramid import FeaturePyramid
from genhmr.image.vit import ViTBackbone
from genhmr.tokenizer.model import PoseTokenizer
from genhmr.train.checkpoint import (
    BACKBONE_FILE,
    GENHMR_FILE,
    TOKENIZER_FILE,
    load_weights,
    save_weights,
)
from genhmr.train.tokenizer_files import load_tokenizer
from genhmr.transformer.genhmr import GenHMR
from genhmr.transformer.guide import KeypointGuide
from genhmr.transformer.lifter import PoseLifter
from genhmr.transformer.model import ImageHeads, MaskedTransformer
from genhmr.types import UserError

Json = dict[str, Any]


def build_genhmr(
    backbone: ViTBackbone, tokenizer: PoseTokenizer, sizes: Json, generator: torch.Generator
) -> GenHMR:
    """A fresh GenHMR around a trained backbone and a trained tokenizer.

    Args:
        backbone: pre-trained.
        tokenizer: trained.
        sizes: ``scales, layers, width, heads, points, features, reference, lifter``; the last
            but one is "learned" or "keypoints" (``genhmr.transformer.guide``), the last the
            width of the guide's lifter.
        generator: draws the initial weights.
    """
    num_codes = len(tokenizer.codebook)
    with torch.random.fork_rng(devices=[]):  # torch.nn initialises from the global generator
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        pyramid = FeaturePyramid(backbone.dim, sizes["features"], sizes["scales"])
        transformer = MaskedTransformer(
            tokenizer.num_tokens,
            num_codes,
            sizes["width"],
            sizes["layers"],
            sizes["heads"],
            sizes["points"],
            sizes["features"],
            len(sizes["scales"]),
        )
        heads = ImageHeads(backbone.dim)
        guide = None
        if sizes["reference"] == "keypoints":
            guide = KeypointGuide(
                backbone.dim,
                sizes["features"],
                tokenizer.num_tokens,
                sizes["width"],
                tokenizer.codebook.shape[1],
                PoseLifter(sizes["lifter"]),
            )
    transformer.initialise_from_codebook(tokenizer.codebook, generator)
    return GenHMR(backbone, pyramid, transformer, heads, tokenizer, guide)


def save_genhmr(folder: Path, model: GenHMR, sizes: Json, about: Json) -> None:
    """Exports what stage 2 trained as ``genhmr.safetensors``; a frozen backbone is left out."""
    frozen = not any(p.requires_grad for p in model.backbone.parameters())
    state = {
        name: tensor
        for name, tensor in model.trainable_state().items()
        if not (frozen and name.startswith("backbone."))
    }
    save_weights(folder / GENHMR_FILE, state, {"sizes": sizes, "about": about})


def load_genhmr(folder: Path, device: str = "cpu") -> GenHMR:
    """The model of a folder with ``backbone``, ``tokenizer`` and ``genhmr`` weights.

    Raises:
        UserError: a file is missing, damaged, or does not belong to the others.
    """
    tensors, config = load_weights(folder / GENHMR_FILE)
    backbone = backbone_from_weights(*load_weights(folder / BACKBONE_FILE))
    tokenizer = load_tokenizer(folder / TOKENIZER_FILE)
    try:
        model = build_genhmr(backbone, tokenizer, config["sizes"], torch.Generator())
        own = {f"backbone.{k}": v for k, v in backbone.state_dict().items()}
        model.load_trainable_state({**own, **tensors})
    except (ValueError, KeyError, RuntimeError) as error:
        raise UserError(
            f"{folder / GENHMR_FILE} does not fit the weights beside it ({error}): "
            "export them together."
        ) from error
    return model.to(device).eval().requires_grad_(False)
