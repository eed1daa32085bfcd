"""The pose tokenizer: SMPL pose -> L discrete tokens -> SMPL pose.

Paper, section "Pose Tokenizer" and "Implementation Details": ResBlocks and 1D convolutions along
the joints, one quantisation layer, 24 x {2, 4, 8, 16} tokens. As in TokenHMR the sequence is
lengthened along the joint axis; here by a learned expansion of each joint into r = L / 24 tokens,
so that token ``l`` describes joint ``l // r`` and its neighbours and can be read off an image
locally (``token_joints``).

Two choices the paper leaves open are made here:

* The convolutions run along ``CHAIN_ORDER``, in which neighbours are mostly neighbours in the
  body, not along SMPL's numbering, in which left and right alternate.
* The networks see rotations in one of three frames, see ``genhmr.tokenizer.frames``; the default
  is the camera frame. Both sides of the tokenizer speak SMPL pose.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genhmr.body.rotations import matrix_to_rotation_6d, rotation_6d_to_matrix
from genhmr.tokenizer.frames import CHAIN_ORDER, FRAMES, frames_to_local, local_to_frames
from genhmr.tokenizer.quantizer import VectorQuantizer
from genhmr.types import NUM_JOINTS

# State that only the moving average of the codebook needs.
_TRAINING_ONLY = ("quantizer.counts", "quantizer.sums")


@dataclass(frozen=True)
class TokenizerOutput:
    """One pass through the tokenizer.

    Attributes:
        pose: (B, 24, 3, 3) reconstruction.
        tokens: (B, L) int64.
        latents: (B, L, D) encoder output, with gradient.
        quantised: (B, L, D) the codes, straight-through.
    """

    pose: Tensor
    tokens: Tensor
    latents: Tensor
    quantised: Tensor


class ResBlock(nn.Module):
    """Residual 1D block: dilated convolution of 3, then a pointwise one; (B, C, N) -> same."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.dilated = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.pointwise = nn.Conv1d(width, width, 1)
        # The block starts as the identity: deep stacks then train without normalisation.
        nn.init.zeros_(self.pointwise.weight)
        nn.init.zeros_(self.pointwise.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pointwise(F.relu(self.dilated(F.relu(x))))


class PoseTokenizer(nn.Module):
    """Encoder, codebook and decoder of SMPL pose.

    Args:
        num_tokens: L, a multiple of 24.
        num_codes: K.
        code_dim: D.
        width: channels of the convolutions.
        encoder_dilations: one ResBlock each at joint resolution. Small ones keep a token's
            content near its joint, hence readable from the image.
        decoder_dilations: likewise; large ones let every joint be read off many tokens.
        frame: "global", "trunk" or "local", see the module's docstring.
    """

    def __init__(
        self,
        num_tokens: int,
        num_codes: int,
        code_dim: int,
        width: int,
        encoder_dilations: tuple[int, ...] = (1,),
        decoder_dilations: tuple[int, ...] = (1, 3, 9, 1),
        frame: str = "global",
    ) -> None:
        super().__init__()
        if num_tokens <= 0 or num_tokens % NUM_JOINTS:
            raise ValueError(f"num_tokens must be a multiple of {NUM_JOINTS}, got {num_tokens}")
        if code_dim < 8:
            raise ValueError(f"code_dim must be at least 8, to hold a rotation, got {code_dim}")
        if frame not in FRAMES:
            raise ValueError(f"frame must be one of {tuple(FRAMES)}, got {frame!r}")
        self.config = {
            "num_tokens": num_tokens,
            "num_codes": num_codes,
            "code_dim": code_dim,
            "width": width,
            "encoder_dilations": list(encoder_dilations),
            "decoder_dilations": list(decoder_dilations),
            "frame": frame,
        }
        self.num_tokens = num_tokens
        self.frame = frame
        self.per_joint = num_tokens // NUM_JOINTS
        order = torch.tensor(CHAIN_ORDER)
        self.register_buffer("_order", order, persistent=False)
        self.register_buffer("_rank", torch.argsort(order), persistent=False)

        # Which joint, and which of its tokens: shared kernels cannot know without being told.
        self.joint_embedding = nn.Parameter(torch.zeros(width, NUM_JOINTS))
        self.token_embedding = nn.Parameter(torch.zeros(width, num_tokens))
        nn.init.normal_(self.joint_embedding, std=0.2, generator=torch.Generator().manual_seed(1))
        nn.init.normal_(self.token_embedding, std=0.2, generator=torch.Generator().manual_seed(2))

        self.enter = nn.Conv1d(6, width, 3, padding=1)
        self.encoder = nn.Sequential(*(ResBlock(width, d) for d in encoder_dilations))
        self.expand = nn.Conv1d(width, width * self.per_joint, 1)
        self.to_code = nn.Conv1d(width, code_dim, 3, padding=1)
        self.quantizer = VectorQuantizer(num_codes, code_dim)
        self.from_code = nn.Conv1d(code_dim, width, 3, padding=1)
        self.contract = nn.Conv1d(width * self.per_joint, width, 1)
        self.decoder = nn.Sequential(*(ResBlock(width, d) for d in decoder_dilations))
        self.leave = nn.Conv1d(width, 6, 3, padding=1)

        self.skip_in = nn.Linear(6, code_dim * self.per_joint, bias=False)
        self.skip_out = nn.Linear(code_dim * self.per_joint, 6, bias=False)
        self._start_as_identity()

    @torch.no_grad()
    def _start_as_identity(self) -> None:
        """Makes the untrained tokenizer a product quantiser of rotations.

        The linear skips write the two columns of the 6D rotation into the tokens of the joint, in
        turn, and read them back; the convolutions add nothing yet. Training then starts at the
        error of 512 codes on a sphere (a few degrees) instead of at noise, and spends its steps
        on what neighbouring joints can add.
        """
        per_joint, code_dim = self.per_joint, self.codebook.shape[1]
        generator = torch.Generator().manual_seed(3)
        write = torch.zeros(per_joint, code_dim, 6)
        for token in range(per_joint):
            # Orthonormal directions of zero mean survive the latents' normalisation. Pairs of
            # tokens get directions of their own, so that their roundings are independent.
            if token % 2 == 0:
                normal = torch.randn(code_dim, 6, generator=generator)
                basis = torch.linalg.qr(normal - normal.mean(0)).Q
            columns = [[0, 2, 4], [1, 3, 5]][token % 2] if per_joint > 1 else range(6)
            for place, entry in enumerate(columns):
                write[token, :, entry] = basis[:, place]
        self.skip_in.weight.copy_(write.flatten(0, 1))
        self.skip_out.weight.copy_(write.flatten(0, 1).t() / per_joint)
        for layer in (self.to_code, self.leave):
            layer.weight.zero_()
            layer.bias.zero_()

    @property
    def codebook(self) -> Tensor:
        """(K, D)."""
        return self.quantizer.codebook

    @property
    def token_joints(self) -> Tensor:
        """(L,) int64: the SMPL joint to which each token is attached."""
        return torch.arange(NUM_JOINTS).repeat_interleave(self.per_joint)

    def encode(self, pose: Tensor) -> Tensor:
        """Pose (B, 24, 3, 3) -> latents (B, L, D), before quantisation."""
        rotations = local_to_frames(pose, FRAMES[self.frame])
        six = matrix_to_rotation_6d(rotations)  # (B, 24, 6)
        x = self.encoder(self.enter(six[:, self._order].transpose(1, 2)) + self.joint_embedding)
        x = F.relu(self._split(self.expand(x)) + self.token_embedding)
        skip = self.skip_in(six).unflatten(2, (self.per_joint, -1)).flatten(1, 2)
        latents = (self._to_joint_order(self.to_code(x)) + skip).to(pose.dtype)
        # Unit variance per token: distances, commitment and refinement steps then have one scale
        # for every joint and every run, and the encoder cannot flee its codebook by growing.
        return F.layer_norm(latents, latents.shape[-1:])

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, L, D), codes or not -> pose (B, 24, 3, 3); differentiable."""
        x = F.relu(self.from_code(self._to_chain_order(latents)) + self.token_embedding)
        x = self.decoder(self.contract(self._merge(x)) + self.joint_embedding)
        x = self.leave(x).transpose(1, 2)[:, self._rank]  # (B, 24, 6)
        skip = self.skip_out(latents.unflatten(1, (NUM_JOINTS, -1)).flatten(2))
        rotations = rotation_6d_to_matrix((x + skip).to(latents.dtype))
        return frames_to_local(rotations, FRAMES[self.frame])

    def tokenize(self, pose: Tensor) -> Tensor:
        """Pose (B, 24, 3, 3) -> tokens (B, L) int64; no gradient."""
        with torch.no_grad():
            return self.quantizer.nearest(self.encode(pose))

    def decode_tokens(self, tokens: Tensor) -> Tensor:
        """Tokens (B, L) int64 -> pose (B, 24, 3, 3)."""
        return self.decode(self.quantizer.lookup(tokens))

    def forward(self, pose: Tensor) -> TokenizerOutput:
        """Encodes, quantises, decodes; pose (B, 24, 3, 3)."""
        latents = self.encode(pose)
        quantised, tokens = self.quantizer(latents)
        return TokenizerOutput(self.decode(quantised), tokens, latents, quantised)

    def export(self) -> dict[str, Tensor]:
        """What inference needs, by name: the state without the codebook's moving averages."""
        return {n: t for n, t in self.state_dict().items() if n not in _TRAINING_ONLY}

    @classmethod
    def from_export(cls, tensors: dict[str, Tensor], config: dict) -> "PoseTokenizer":
        """Rebuilds an exported tokenizer, in evaluation mode and frozen.

        Args:
            tensors: as :meth:`export` gave them.
            config: the ``config`` attribute of the exported tokenizer.

        Raises:
            KeyError: a tensor is missing, or there is one too many.
        """
        model = cls(**config)
        wrong = set(tensors) ^ set(model.export())
        if wrong:
            raise KeyError(f"tensors missing or unknown: {sorted(wrong)}")
        averages = {
            "quantizer.counts": torch.ones(len(model.codebook)),
            "quantizer.sums": tensors["quantizer.codebook"],
        }
        model.load_state_dict({**tensors, **averages})
        return model.eval().requires_grad_(False)

    def _split(self, x: Tensor) -> Tensor:
        """(B, width * r, 24) -> (B, width, 24 r): the r tokens of a joint lie side by side."""
        batch, channels, joints = x.shape
        x = x.view(batch, channels // self.per_joint, self.per_joint, joints)
        return x.transpose(2, 3).reshape(batch, -1, joints * self.per_joint)

    def _merge(self, x: Tensor) -> Tensor:
        """Inverse of :meth:`_split`."""
        batch, channels, _ = x.shape
        x = x.view(batch, channels, NUM_JOINTS, self.per_joint).transpose(2, 3)
        return x.reshape(batch, channels * self.per_joint, NUM_JOINTS)

    def _to_joint_order(self, x: Tensor) -> Tensor:
        """(B, D, L) in chain order -> (B, L, D) in SMPL's order of joints."""
        x = x.view(x.shape[0], x.shape[1], NUM_JOINTS, self.per_joint)[:, :, self._rank]
        return x.flatten(2).transpose(1, 2)

    def _to_chain_order(self, x: Tensor) -> Tensor:
        """Inverse of :meth:`_to_joint_order`."""
        x = x.transpose(1, 2).reshape(x.shape[0], x.shape[2], NUM_JOINTS, self.per_joint)
        return x[:, :, self._order].flatten(2)
