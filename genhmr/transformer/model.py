"""Image-conditioned masked transformer decoder over pose tokens (Figure 2b of the paper)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genhmr.transformer.deformable import DeformableCrossAttention, FlatMaps, flatten_maps
from genhmr.transformer.guide import TokenGuide

# Height of the 24 SMPL joints of a person who stands in the middle of a crop, y down in units of
# the crop side (box = 1.2 x extent; where `box_scale` enlarges it, this is a start like any other).
# People face every way, so left and right average out: x = 0.
STANDING_HEIGHTS = (
    0.00, 0.04, 0.04, -0.05, 0.20, 0.20, -0.11, 0.36, 0.36, -0.13, 0.39, 0.39,
    -0.24, -0.21, -0.21, -0.29, -0.22, -0.22, -0.11, -0.11, -0.01, -0.01, 0.02, 0.02,
)  # fmt: skip


def standing_references(num_tokens: int) -> Tensor:
    """Initial reference points (L, 2), x and y in [0, 1]: token i starts at its joint's height.

    Tokens are attached to joints in order (L = 24 r, token i belongs to joint i // r); any other
    L starts at the image centre.
    """
    if num_tokens % len(STANDING_HEIGHTS):
        return torch.full((num_tokens, 2), 0.5)
    height = torch.tensor(STANDING_HEIGHTS).repeat_interleave(num_tokens // len(STANDING_HEIGHTS))
    return torch.stack([torch.full_like(height, 0.5), height + 0.5], -1)


class SelfAttention(nn.Module):
    """Multi-head self-attention among the tokens (no residual, no norm)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, width) -> (B, L, width)."""
        batch, length, width = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        return self.out(mixed.transpose(1, 2).reshape(batch, length, width))


class DecoderLayer(nn.Module):
    """Pre-norm layer: self-attention, deformable cross-attention, MLP."""

    def __init__(
        self,
        width: int,
        heads: int,
        points: int,
        feature_dim: int,
        num_levels: int,
        mlp_ratio: float,
        dropout: float,
    ):
        super().__init__()
        hidden = int(width * mlp_ratio)
        self.norm_self, self.norm_cross, self.norm_mlp = (nn.LayerNorm(width) for _ in range(3))
        self.self_attention = SelfAttention(width, heads)
        self.cross_attention = DeformableCrossAttention(
            width, feature_dim, heads, points, num_levels
        )
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, position: Tensor, reference: Tensor, maps: FlatMaps) -> Tensor:
        """x (B, L, width); position (L, width), reference (L, 2), or one of each an item."""
        x = x + self.dropout(self.self_attention(self.norm_self(x)))
        # As in Deformable DETR the query that aims the samples knows which token it is.
        query = self.norm_cross(x) + position
        x = x + self.dropout(self.cross_attention(query, reference, maps))
        return x + self.dropout(self.mlp(self.norm_mlp(x)))


class MaskedTransformer(nn.Module):
    """Predicts the code of every [MASK] token from the other tokens and the image.

    Args:
        num_tokens: L.
        num_codes: K.
        width: model width.
        layers: decoder layers (Table 16: 4).
        heads: attention heads, for both kinds of attention.
        points: sampling points per head and level (the paper is silent; Deformable DETR's 4).
        feature_dim: channels C of the image features.
        num_levels: number of feature maps.
        mlp_ratio: hidden width of the MLP over ``width``.
        dropout: on the three residual branches.
    """

    def __init__(
        self,
        num_tokens: int = 48,
        num_codes: int = 512,
        width: int = 128,
        layers: int = 4,
        heads: int = 4,
        points: int = 4,
        feature_dim: int = 64,
        num_levels: int = 3,
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.num_tokens, self.num_codes = num_tokens, num_codes
        self.token_embedding = nn.Embedding(num_codes, width)
        self.mask_embedding = nn.Parameter(torch.empty(width))
        self.position_embedding = nn.Parameter(torch.empty(num_tokens, width))
        # Kept as logits so that a reference point cannot leave the image.
        self.reference_logits = nn.Parameter(torch.logit(standing_references(num_tokens)))
        self.layers = nn.ModuleList(
            DecoderLayer(width, heads, points, feature_dim, num_levels, mlp_ratio, dropout)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.code_head = nn.Linear(width, num_codes)
        for table in (self.token_embedding.weight, self.mask_embedding, self.position_embedding):
            nn.init.normal_(table, std=0.02)

    @torch.no_grad()
    def initialise_from_codebook(self, codebook: Tensor, generator: torch.Generator) -> None:
        """Starts the token embeddings as a random projection of the codes.

        Codes that are close in the tokenizer's latent space then start close here too, which a
        table drawn at random must first find out.

        Args:
            codebook: (K, D).
            generator: draws the projection.

        Raises:
            ValueError: another number of codes.
        """
        if len(codebook) != self.num_codes:
            raise ValueError(f"codebook has {len(codebook)} codes, the model {self.num_codes}")
        width = self.token_embedding.embedding_dim
        projection = torch.randn(codebook.shape[1], width, generator=generator)
        rows = (codebook - codebook.mean(0)).float().cpu() @ projection
        self.token_embedding.weight.copy_(0.02 * rows / rows.std().clamp(min=1e-8))

    def decode(
        self,
        tokens: Tensor,
        mask: Tensor,
        features: FlatMaps | list[Tensor] | tuple[Tensor, ...],
        guide: TokenGuide | None = None,
    ) -> Tensor:
        """Hidden states before the code head.

        Args:
            tokens: (B, L) int64; what a masked position holds does not matter.
            mask: (B, L) bool, True where the token is [MASK].
            features: maps (B, C, H_l, W_l), or the ``FlatMaps`` made of them once per image.
            guide: reference points and context of every image; None for the learned points.

        Returns:
            (B, L, width), normalised.
        """
        maps = features if isinstance(features, FlatMaps) else flatten_maps(features)
        x = self.token_embedding(tokens.masked_fill(mask, 0))
        position, reference = self.position_embedding, self.reference_logits.sigmoid()
        if guide is not None:
            position, reference = position + guide.context, guide.reference
        x = torch.where(mask[..., None], self.mask_embedding, x) + position
        for layer in self.layers:
            x = layer(x, position, reference, maps)
        return self.norm(x)

    def forward(
        self,
        tokens: Tensor,
        mask: Tensor,
        features: FlatMaps | list[Tensor] | tuple[Tensor, ...],
        guide: TokenGuide | None = None,
    ) -> Tensor:
        """Code logits (B, L, K); arguments as ``decode``."""
        return self.code_head(self.decode(tokens, mask, features, guide))


class ImageHeads(nn.Module):
    """Shape and camera from the feature grid, as a residual on the mean (HMR2.0's way).

    The grid is pooled by a few learned attention maps. Beside the pooled features every map
    contributes its mean position, so that the camera's translation need not be read out of
    position codes alone.

    Args:
        in_dim: channels of the grid.
        width: hidden width.
        maps: number of attention maps.
        num_betas: shape coefficients.
        mean_cam: (s, tx, ty) of an average crop; s = 0.9 is a standing adult in a 1.2x box.
    """

    def __init__(
        self,
        in_dim: int,
        width: int = 256,
        maps: int = 4,
        num_betas: int = 10,
        mean_cam: tuple[float, float, float] = (0.9, 0.0, 0.0),
    ):
        super().__init__()
        self.norm = nn.LayerNorm(in_dim)
        self.score = nn.Linear(in_dim, maps)
        self.mlp = nn.Sequential(nn.Linear(maps * (in_dim + 2), width), nn.GELU())
        self.readout = nn.Linear(width, num_betas + 3)
        mean = torch.cat([torch.zeros(num_betas), torch.tensor(mean_cam)])
        self.register_buffer("mean", mean)
        # HMR2.0 starts its read-outs at gain 0.01: the first predictions are the mean.
        nn.init.xavier_uniform_(self.readout.weight, gain=0.01)
        nn.init.zeros_(self.readout.bias)

    def forward(self, grid: Tensor) -> tuple[Tensor, Tensor]:
        """grid (B, in_dim, H, W) -> betas (B, num_betas), cam (B, 3) as s, tx, ty."""
        batch, _, height, width = grid.shape
        x = self.norm(grid.flatten(2).transpose(1, 2))
        y_axis = torch.linspace(-1, 1, height, device=x.device, dtype=x.dtype)
        x_axis = torch.linspace(-1, 1, width, device=x.device, dtype=x.dtype)
        coordinates = torch.cartesian_prod(y_axis, x_axis).expand(batch, -1, -1)
        attention = self.score(x).softmax(dim=1).transpose(1, 2)  # (B, maps, HW)
        pooled = attention.to(x.dtype) @ torch.cat([x, coordinates], -1)
        out = self.readout(self.mlp(pooled.flatten(1))).float() + self.mean
        return out[:, :-3], out[:, -3:]
