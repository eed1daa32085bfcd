"""GenHMR as one module: backbone, pyramid, masked transformer, heads, frozen tokenizer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genhmr.transformer.deformable import FlatMaps, flatten_maps
from genhmr.transformer.guide import KeypointGuide, TokenGuide
from genhmr.transformer.model import ImageHeads, MaskedTransformer


@dataclass(frozen=True)
class ImageFeatures:
    """What is computed once per image and shared by all sampling iterations.

    Attributes:
        grid: (B, dim, H, W), the backbone's output.
        maps: the pyramid's levels, flattened for sampling.
        betas: (B, 10).
        cam: (B, 3), s, tx, ty.
        guide: where the tokens look first; None where they have learned reference points.
    """

    grid: Tensor
    maps: FlatMaps
    betas: Tensor
    cam: Tensor
    guide: TokenGuide | None = None


class GenHMR(nn.Module):
    """The composed model; the parts are injected, the tokenizer is frozen.

    Args:
        backbone: images (B, 3, S, S) -> grid (B, dim, H, W).
        pyramid: grid -> list of maps (B, C, H_l, W_l).
        transformer: the masked decoder.
        heads: grid -> betas, cam.
        tokenizer: ``tokenize``, ``decode`` and ``codebook`` of ``genhmr.tokenizer``; its
            parameters are frozen here and left out of ``trainable_state``.
        guide: grid -> reference points of the tokens; None for learned ones (the paper's).

    Raises:
        ValueError: the tokenizer's codebook and the transformer's code head differ in size.
    """

    def __init__(
        self,
        backbone: nn.Module,
        pyramid: nn.Module,
        transformer: MaskedTransformer,
        heads: ImageHeads,
        tokenizer: nn.Module,
        guide: KeypointGuide | None = None,
    ):
        super().__init__()
        if len(tokenizer.codebook) != transformer.num_codes:
            raise ValueError(
                f"the tokenizer has {len(tokenizer.codebook)} codes, "
                f"the transformer predicts {transformer.num_codes}"
            )
        self.backbone, self.pyramid = backbone, pyramid
        self.transformer, self.heads, self.guide = transformer, heads, guide
        self.tokenizer = tokenizer.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "GenHMR":
        """Training mode of everything but the tokenizer."""
        super().train(mode)
        self.tokenizer.eval()
        return self

    def encode_grid(self, grid: Tensor) -> ImageFeatures:
        """Everything behind the backbone that does not depend on tokens."""
        betas, cam = self.heads(grid)
        guide = None if self.guide is None else self.guide(grid, self.tokenizer.encode)
        return ImageFeatures(grid, flatten_maps(self.pyramid(grid)), betas, cam, guide)

    def encode_image(self, images: Tensor) -> ImageFeatures:
        """(B, 3, S, S) normalised crops -> features, shape and camera."""
        return self.encode_grid(self.backbone(images))

    def logits(self, tokens: Tensor, mask: Tensor, features: ImageFeatures) -> Tensor:
        """(B, L) tokens, (B, L) mask (True is [MASK]) -> (B, L, K)."""
        return self.transformer(tokens, mask, features.maps, features.guide)

    def trainable_state(self) -> dict[str, Tensor]:
        """The state without the tokenizer, which ships in its own file."""
        return {k: v for k, v in self.state_dict().items() if not k.startswith("tokenizer.")}

    @torch.no_grad()
    def load_trainable_state(self, state: dict[str, Tensor]) -> None:
        """Loads what ``trainable_state`` returned; every name must match."""
        missing, unexpected = self.load_state_dict(state, strict=False)
        missing = [name for name in missing if not name.startswith("tokenizer.")]
        if missing or unexpected:
            raise ValueError(f"state does not fit: missing {missing}, unexpected {unexpected}")
