"""Training, evaluation and export of the pose tokenizer (the paper's first stage).

Paper profile: AMASS training split and MOYO, Adam, learning rate 1e-4, batch 512, 200k steps,
all 6890 vertices in the loss. The open profile is the same code with other numbers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genhmr.body.model_files import BodyModelData
from genhmr.body.rotations import axis_angle_to_matrix
from genhmr.tokenizer.augment import augment_poses
from genhmr.tokenizer.losses import PosedPoints, tokenizer_loss
from genhmr.tokenizer.model import PoseTokenizer, TokenizerOutput
from genhmr.train.loop import ResumableLoop, cosine_lr, set_lr
from genhmr.types import NUM_JOINTS, UserError


class PosePool:
    """Training poses from one or several sets, drawn with fixed shares.

    Args:
        sets: arrays (N_i, 24, 3) axis-angle, root in an upright camera frame. They are kept so,
            288 bytes a pose: AMASS has millions of them, and matrices take three times as much.
        shares: how often each set is drawn, any positive scale; None: in proportion to size.

    Raises:
        UserError: no poses, a wrong shape, or numbers that are not finite.
    """

    def __init__(self, sets: Sequence[np.ndarray], shares: Sequence[float] | None = None) -> None:
        if shares is not None and len(shares) != len(sets):
            raise ValueError(f"{len(sets)} sets of poses but {len(shares)} shares")
        for i, poses in enumerate(sets):
            if poses.ndim != 3 or poses.shape[1:] != (NUM_JOINTS, 3) or len(poses) == 0:
                raise UserError(
                    f"pose set {i} has shape {poses.shape}, (N, 24, 3) with N > 0 is needed: "
                    "write its motion shard again."
                )
            if not np.isfinite(poses).all():
                raise UserError(f"pose set {i} holds NaN or infinity: write its shard again.")
        if not sets:
            raise UserError("there are no poses to train the tokenizer on: run the data stages.")
        sizes = torch.tensor([len(poses) for poses in sets])
        weights = sizes.double() if shares is None else torch.tensor(shares, dtype=torch.float64)
        self._edges = torch.cumsum(weights, 0) / weights.sum()
        self._starts = torch.cumsum(sizes, 0) - sizes
        self._sizes = sizes
        stacked = np.concatenate(sets).astype(np.float32, copy=False)
        self._poses = torch.from_numpy(stacked)

    def __len__(self) -> int:
        return len(self._poses)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, 24, 3, 3) random poses, with replacement."""
        picks = torch.rand(count, 2, generator=generator, dtype=torch.float64)
        which = torch.searchsorted(self._edges, picks[:, 0].contiguous(), right=True)
        which = which.clamp_(max=len(self._sizes) - 1)
        rows = self._starts[which] + (picks[:, 1] * self._sizes[which]).long()
        return axis_angle_to_matrix(self._poses[rows])


def train_tokenizer(
    poses: Sequence[np.ndarray],
    body: BodyModelData,
    scratch: Path,
    *,
    num_tokens: int,
    num_codes: int,
    code_dim: int,
    width: int,
    steps: int,
    batch_size: int,
    lr: float,
    seed: int,
    shares: Sequence[float] | None = None,
    frame: str = "global",
    num_vertices: int = 120,
    warm_up: int = 50,
    constant_lr: bool = False,
    unquantised_steps: int = 0,
    joint_noise: float = 0.0,
    loss_weights: dict[str, float] | None = None,
    mixed_precision: bool = False,
    device: torch.device | str = "cpu",
    max_seconds: float | None = None,
    checkpoint_every: int = 500,
    log_every: int = 50,
) -> tuple[PoseTokenizer, list[dict[str, float]]]:
    """Trains a tokenizer, or goes on with the one in ``scratch``.

    On a CPU the same arguments and thread count give the same result, interrupted or not. On a GPU
    they need not: sums over the latents of a code and some convolutions add in any order there.

    Args:
        poses: arrays (N_i, 24, 3) axis-angle, root in an upright camera frame
            (``MotionShard.poses``).
        body: for vertices and joints in the loss.
        scratch: folder of the checkpoint ``tokenizer.pt``.
        num_tokens, num_codes, code_dim, width, frame: see :class:`PoseTokenizer`.
        steps: of the whole training; the learning rate follows half a cosine over them, down to
            1 % (the paper names neither that nor a warm-up).
        batch_size: poses a step.
        lr: of Adam, after ``warm_up`` steps of linear increase.
        seed: of weights, data order, augmentation and codebook resets.
        shares: how often each array is drawn; None: in proportion to its size.
        num_vertices: evenly spread vertices in the loss; 6890 is the paper.
        warm_up: steps.
        constant_lr: keep ``lr`` after the warm-up instead.
        unquantised_steps: first steps without codebook; the codes then start on latents that
            already mean something. 0 starts the codebook on the untrained encoder's latents.
        joint_noise: see :func:`augment_poses`.
        loss_weights: keyword arguments of :func:`tokenizer_loss`.
        mixed_precision: bfloat16 convolutions and bypasses (2.8x on CPUs with AVX512-BF16; what a
            caller asks for on a GPU depends on the width, ``genhmr.precision.fast_bfloat16``);
            rotations, body and codebook stay float32. Else all is float32.
        device: where to train.
        max_seconds: stop early after this much training time.
        checkpoint_every, log_every: steps.

    Returns:
        the tokenizer, in evaluation mode, and the history (one dict a logged step).

    Raises:
        UserError: unusable poses, or a checkpoint of another training in ``scratch``.
    """
    signature = json.dumps(
        [num_tokens, num_codes, code_dim, width, frame, steps, batch_size, lr, seed, shares,
         num_vertices, warm_up, unquantised_steps, joint_noise, loss_weights, mixed_precision,
         *([constant_lr] if constant_lr else [])],  # earlier checkpoints know no such option
        sort_keys=True,
    )  # fmt: skip
    pool = PosePool(poses, shares)
    device = torch.device(device)
    # The initialisers of torch.nn know only the global generator: borrow it and give it back.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = PoseTokenizer(num_tokens, num_codes, code_dim, width, frame=frame)
    model.to(device).train()
    points = PosedPoints(body, num_vertices).to(device)
    optimiser = torch.optim.Adam(model.parameters(), lr=lr, betas=(0.9, 0.99))
    generator = torch.Generator().manual_seed(seed)

    def batch(count: int) -> Tensor:
        return augment_poses(pool.draw(count, generator), generator, joint_noise).to(device)

    loop = ResumableLoop(
        Path(scratch) / "tokenizer.pt",
        steps,
        {"model": model, "optimiser": optimiser},
        {"data": generator},
        every=checkpoint_every,
        max_seconds=max_seconds,
        title="tokenizer",
        signature=signature,
    )
    for step in loop:
        if step == unquantised_steps:
            # About 16 latents a code are enough for k-means.
            count = max(batch_size, 16 * num_codes // num_tokens)
            with torch.no_grad():
                model.quantizer.initialise(model.encode(batch(count)), generator)
        target = batch(batch_size)
        quantise = step >= unquantised_steps
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=mixed_precision):
            output = model(target) if quantise else _without_codes(model, target)
        codes = model.quantizer.lookup(output.tokens) if quantise else output.latents
        loss, parts = tokenizer_loss(output, target, codes, points, **(loss_weights or {}))
        rate = cosine_lr(step, steps, lr, warm_up, 0.01 * lr)
        if constant_lr:
            rate = min(lr, lr * (step + 1) / max(1, warm_up))
        set_lr(optimiser, rate)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        reset = model.quantizer.update(output.latents, output.tokens, generator) if quantise else 0
        if step % log_every == 0 or step + 1 == steps:
            if not torch.isfinite(loss):
                raise FloatingPointError(f"the loss is {loss.item()} at step {step}")
            loop.log(loss=loss.item(), reset=reset, **{k: v.item() for k, v in parts.items()})
    return model.eval(), loop.history


def _without_codes(model: PoseTokenizer, pose: Tensor) -> TokenizerOutput:
    """The autoencoder alone; the tokens are zeros that nothing reads."""
    latents = model.encode(pose)
    tokens = torch.zeros(latents.shape[:2], dtype=torch.int64, device=latents.device)
    return TokenizerOutput(model.decode(latents), tokens, latents, latents)
