"""Training of the image-conditioned masked transformer (second stage of the paper)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from genhmr.precision import fast_precision, tensor_cores
from genhmr.train import parallel
from genhmr.train.averaging import WeightAverage
from genhmr.train.loop import ResumableLoop, cosine_lr, set_lr
from genhmr.transformer.genhmr import GenHMR
from genhmr.transformer.gumbel import annealed_temperature
from genhmr.transformer.losses import LossWeights
from genhmr.transformer.objective import JointsFn, training_losses
from genhmr.transformer.schedules import random_training_mask
from genhmr.types import CropBatch, moved


def train_transformer(
    model: GenHMR,
    crops: Callable[[int], Iterator[CropBatch]],
    joints_fn: JointsFn,
    scratch: Path,
    steps: int,
    lr: float = 5e-4,
    weight_decay: float = 1e-4,
    warmup: int = 200,
    constant_lr: bool = False,
    backbone_lr_scale: float = 0.0,
    tau_max: float = 1.0,
    temperature_start: float = 1.0,
    temperature_end: float = 0.01,
    annealing_duration: float = 0.5,
    weights: LossWeights | None = None,
    geometry_scale: float = 1.0,
    all_tokens: bool = False,
    target_spread: float = 0.0,
    expected_scale: float = 0.0,
    ema_decay: float = 0.999,
    clip_norm: float = 1.0,
    seed: int = 0,
    device: torch.device | str = "cpu",
    bfloat16: bool = False,
    checkpoint_every: int = 500,
    log_every: int = 20,
    max_seconds: float | None = None,
    evaluate: Callable[[GenHMR], dict[str, float]] | None = None,
    evaluate_every: int = 1000,
) -> list[dict[str, float]]:
    """Trains ``model`` in place; afterwards it holds the averaged weights, in evaluation mode.

    Interrupted and called again with the same arguments it goes on from its last checkpoint and
    ends at the same weights (the data iterator is asked for the step to start from).

    Under torchrun (``genhmr.train.parallel``) every process takes its share of each batch.

    Args:
        model: backbone pre-trained, tokenizer trained and frozen, the rest fresh.
        crops: start step -> endless iterator of batches from that step on, deterministic; of
            this process's share.
        joints_fn: (pose, betas) -> BODY_25 joints; ``genhmr.body.smpl.SMPLJoints``.
        scratch: folder of the checkpoint.
        steps: length of the training; learning rate and temperature follow it.
        lr: peak learning rate (the paper's 1e-5 belongs to ViT-H and days of training).
        weight_decay: of AdamW; 0 makes it the paper's Adam.
        warmup: steps of linear warm-up.
        constant_lr: keep ``lr`` after the warm-up instead of following a cosine to 0.
        backbone_lr_scale: learning rate of the backbone over ``lr``; 0 freezes it, and its
            forward pass then builds no graph.
        tau_max: tau ~ U(0, tau_max) of the mask ratio (Table 4).
        temperature_start: of the Gumbel-Softmax (Table 8).
        temperature_end: likewise.
        annealing_duration: fraction of the training (Table 9).
        weights: loss weights, the paper's by default.
        geometry_scale: factor on L_SMPL + L_3D + L_2D, see ``genhmr.transformer.losses``.
        all_tokens: L_mask over all tokens instead of the masked ones.
        target_spread: 0 for the paper's one-hot L_mask; above 0 nearby codes share the target,
            which learns faster (``genhmr.transformer.losses.soft_targets``).
        expected_scale: factor on the geometric losses of the expected body, which learns faster
            (``genhmr.transformer.objective``); 0 in the paper.
        ema_decay: of the average of the weights that is left in the model; 0 keeps the last, as
            the paper, which names no average.
        clip_norm: maximal norm of the gradient.
        seed: of masks and Gumbel noise.
        device: where to train; the batches are moved there.
        bfloat16: autocast of the matrix products; on a GPU they are TF32 without it.
        checkpoint_every: steps.
        log_every: steps between entries of the history (means since the last entry).
        max_seconds: stop after this much time.
        evaluate: called on the averaged model in evaluation mode; its numbers join the history.
        evaluate_every: steps.

    Returns:
        The history: one dict per logged step, with the unweighted losses and token accuracy.

    Raises:
        UserError: the checkpoint belongs to other settings.
    """
    weights = weights or LossWeights()
    device = torch.device(device)
    model.to(device)
    frozen = backbone_lr_scale == 0.0
    model.backbone.requires_grad_(not frozen)
    groups = _groups(model, backbone_lr_scale, weight_decay)
    optimiser = torch.optim.AdamW(groups, lr=lr, fused=device.type == "cuda")
    average = WeightAverage(model, ema_decay)
    generator = torch.Generator(device)  # of the noise; masks are drawn by the host
    draws = generator if device.type == "cpu" else torch.Generator()
    settings = (
        steps, lr, weight_decay, warmup, constant_lr, backbone_lr_scale, tau_max,
        temperature_start, temperature_end, annealing_duration, asdict(weights), geometry_scale,
        all_tokens, target_spread, expected_scale, ema_decay, clip_norm, seed, bfloat16,
    )  # fmt: skip
    loop = ResumableLoop(
        Path(scratch) / "transformer.pt",
        steps,
        {"model": model, "optimiser": optimiser, "average": average},
        every=checkpoint_every,
        max_seconds=max_seconds,
        title="masked transformer",
        device=device,
        signature=hashlib.sha256(json.dumps(settings).encode()).hexdigest(),
    )
    batches = crops(loop.start)
    sums: dict[str, float] = {}
    count = 0
    trainable = [p for p in model.parameters() if p.requires_grad]
    for step in loop:
        model.train()
        if frozen:
            model.backbone.eval()  # stochastic depth would disturb features that cannot adapt
        rate = cosine_lr(step, steps, lr, warmup)
        if constant_lr:
            rate = min(lr, lr * (step + 1) / max(1, warmup))
        set_lr(optimiser, rate)
        temperature = annealed_temperature(
            step, steps, temperature_start, temperature_end, annealing_duration
        )
        batch = next(batches)
        # A stream for each step and process: nothing of it has to be kept in a checkpoint.
        for source in (draws, generator):
            source.manual_seed(parallel.stream(seed, step, parallel.rank()))
        mask = random_training_mask(len(batch.pose), model.transformer.num_tokens, draws, tau_max)
        mask |= ~batch.has_smpl[:, None]
        # Looked up here, a mask costs a GPU nothing: there the host would wait for all that came
        # before, several times a step.
        places = moved(mask.flatten().nonzero()[:, 0], device)
        batch, mask = batch.to(device), moved(mask, device)
        with tensor_cores(str(device), bfloat16):
            with fast_precision(str(device), bfloat16), parallel.torch_stream(seed, step):
                with torch.set_grad_enabled(not frozen):
                    grid = model.backbone(batch.images)
                loss, parts = training_losses(
                    model, model.encode_grid(grid), batch, joints_fn, mask, generator, temperature,
                    weights, geometry_scale, all_tokens, target_spread, expected_scale, places,
                )  # fmt: skip
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
        parallel.average_gradients(trainable)
        norm = torch.nn.utils.clip_grad_norm_(trainable, clip_norm)
        optimiser.step()
        average.update()
        parts |= {"loss": loss.detach(), "grad_norm": norm.detach()}
        # Sums stay on the device: reading a number here would stall a GPU at every step.
        sums = {name: sums.get(name, 0.0) + value for name, value in parts.items()}
        count += 1
        if (step + 1) % log_every == 0 or step + 1 == steps:
            loop.log(lr=rate, temperature=temperature, **_means(sums, count))
            sums, count = {}, 0
        due = (step + 1) % evaluate_every == 0 or step + 1 == steps
        if evaluate is not None and due and parallel.rank() == 0:
            loop.log(**_evaluate(model, average, evaluate))
    average.swap()
    model.eval()
    return loop.history


def _means(sums: dict[str, Tensor], count: int) -> dict[str, float]:
    return {name: float(value) / count for name, value in sums.items()}


def _evaluate(
    model: GenHMR, average: WeightAverage, evaluate: Callable[[GenHMR], dict[str, float]]
) -> dict[str, float]:
    """Numbers of the averaged model; the live weights come back afterwards."""
    average.swap()
    model.eval()
    try:
        with torch.no_grad():
            return evaluate(model)
    finally:
        average.swap()


def _groups(model: GenHMR, backbone_lr_scale: float, weight_decay: float) -> list[dict]:
    """Parameter groups: what decays and what does not; the backbone has its own rate.

    Matrices and kernels decay. Vectors do not, nor the tables of embeddings and reference points,
    nor, since it goes by the name, the kernels of the backbone's ``patch_embed`` (the convolutional
    stem and all).
    """
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        scale = backbone_lr_scale if name.startswith("backbone.") else 1.0
        decays = parameter.ndim > 1 and "embed" not in name and "reference" not in name
        groups.setdefault((scale, weight_decay if decays else 0.0), []).append(parameter)
    return [
        {"params": params, "lr_scale": scale, "weight_decay": decay}
        for (scale, decay), params in groups.items()
    ]
