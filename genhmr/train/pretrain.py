"""Pre-training of the backbone on rendered people: the role that ViTPose plays in the paper.

The recipe: dense targets (``genhmr.image.dense_head``), AdamW with warm-up and cosine, a moving
average of the weights, mirroring, colour jitter and covering boxes. It ends in one safetensors
file with the tensors ``backbone.*``, ``pyramid.*`` and ``head.*``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genhmr.image.dense_head import (
    HEAD_SCALE,
    DenseHead,
    DenseModel,
    DenseTargets,
    dense_loss,
)
from genhmr.image.pyramid import FeaturePyramid
from genhmr.image.vit import ViTBackbone, ViTConfig
from genhmr.precision import fast_precision
from genhmr.train import parallel
from genhmr.train.averaging import WeightAverage
from genhmr.train.checkpoint import load_weights, save_weights
from genhmr.train.dense_data import DenseSet, augment_batch, batch_rows, normalise_images
from genhmr.train.dense_scores import batch_targets, evaluate_dense
from genhmr.train.loop import ResumableLoop, cosine_lr, set_lr
from genhmr.train.prefetch import loader_processes, prefetch
from genhmr.types import UserError, moved


def build_dense_model(
    backbone: ViTConfig, pyramid_dim: int, seed: int, scales: tuple[int, ...] = (1, HEAD_SCALE)
) -> DenseModel:
    """A fresh model; the same seed gives the same weights, the global generator is untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DenseModel(
            ViTBackbone.from_config(backbone),
            FeaturePyramid(backbone.dim, pyramid_dim, scales),
            DenseHead(pyramid_dim),
        )


def pretrain_backbone(
    dense_folder: Path,
    scratch: Path,
    out: Path,
    backbone: ViTConfig,
    *,
    pyramid_dim: int = 64,
    steps: int,
    batch_size: int = 64,
    lr: float = 1e-3,
    weight_decay: float = 0.05,
    warmup: int = 200,
    clip_norm: float = 1.0,
    average_decay: float = 0.998,
    held_out: float = 0.05,
    evaluate_every: int = 500,
    seed: int = 0,
    device: str = "cpu",
    threads: int | None = None,
    bf16: bool = True,
    max_seconds: float | None = None,
    start_from: Path | None = None,
) -> list[dict[str, float]]:
    """Trains a backbone and exports it.

    Called again after a stop it goes on from ``scratch / "pretrain.pt"``, batch by batch as if
    it had never stopped. With ``bf16`` the results depend on the machine's rounding.

    Args:
        dense_folder: the dense set, crops as large as the backbone's.
        scratch: folder of the checkpoint, of ``history.json`` and of ``latest.safetensors``,
            the export as of the last evaluation.
        out: the ``.safetensors`` file to write, half precision.
        backbone: the numbers of the backbone.
        pyramid_dim: channels of the pyramid's levels; equal to that of the masked transformer,
            the pyramid's first steps can be taken over too.
        steps: length of the training and of the learning rate's cosine.
        batch_size: crops a step.
        lr: peak rate of AdamW.
        weight_decay: of matrices; vectors and positions have none.
        warmup: steps of linear warm-up.
        clip_norm: largest norm of the gradient.
        average_decay: of the moving average that is evaluated and exported.
        held_out: fraction of the rows, the last ones, that are for evaluation only.
        evaluate_every: steps between two evaluations (on 512 held-out crops; all at the end).
        seed: of initial weights, order and augmentation.
        device: "cpu" or "cuda".
        threads: CPU threads of torch, or None to leave them.
        bf16: bfloat16 autocast; 1.6x faster than float32 on a CPU with AVX512-BF16. Without it a
            GPU's products are TF32.
        max_seconds: end after this much training time, all runs together.
        start_from: an earlier export of the same sizes to begin with, instead of from scratch.

    Returns:
        The history: a dict for each logged step, with losses, and scores where evaluated.

    Raises:
        UserError: the set is missing, broken, too small, or of another size than the backbone's.
    """
    data = DenseSet(dense_folder)
    if data.size != backbone.image_size[0]:
        raise UserError(
            f"{dense_folder} holds crops of {data.size} pixels and the backbone takes "
            f"{backbone.image_size[0]}: render the set at that size."
        )
    count = len(data) - max(1, round(held_out * len(data)))
    if count < batch_size:
        raise UserError(f"{dense_folder} has {count} training crops: fewer than a batch.")
    parallel.share(batch_size)  # refuses a batch that cannot be divided
    if threads is not None:
        torch.set_num_threads(threads)
    model = build_dense_model(backbone, pyramid_dim, seed)
    if start_from is not None:
        model.load_state_dict(load_weights(Path(start_from))[0])
    model = model.to(device)
    optimiser = torch.optim.AdamW(_groups(model, weight_decay), lr=lr, fused=device == "cuda")
    average = WeightAverage(model, average_decay)
    settings = {
        "backbone": model.backbone.to_dict(), "pyramid_dim": pyramid_dim, "steps": steps,
        "batch_size": batch_size, "lr": lr, "weight_decay": weight_decay, "warmup": warmup,
        "clip_norm": clip_norm, "average_decay": average_decay, "held_out": held_out,
        "seed": seed, "bf16": bf16, "crops": len(data),
        "start_from": str(start_from) if start_from else None,
    }  # fmt: skip
    loop = ResumableLoop(
        Path(scratch) / "pretrain.pt",
        steps,
        {"model": model, "optimiser": optimiser, "average": average},
        every=250,
        max_seconds=max_seconds,
        title="pre-train backbone",
        device=device,
        signature=json.dumps(settings, sort_keys=True),
    )

    def labelled(first: int, every: int) -> Iterator[tuple[Tensor, Tensor, DenseTargets]]:
        for at in range(first, steps, every):
            rng = np.random.default_rng([seed, 1, at, parallel.rank()])
            rows = batch_rows(at, count, batch_size, seed)[parallel.rank() :: parallel.size()]
            batch, gain = augment_batch(data.batch(rows), rng)
            yield (
                torch.from_numpy(batch.images),
                torch.from_numpy(gain),
                batch_targets(batch, backbone),
            )

    batches = prefetch(labelled, loop.start, loader_processes(device))
    step = loop.start - 1
    for step in loop:
        set_lr(optimiser, cosine_lr(step, steps, lr, warmup))
        images, gain, targets = next(batches)
        with fast_precision(device, bf16), parallel.torch_stream(seed, step):
            images, gain = (moved(part, device) for part in (images, gain))
            prediction = model(normalise_images(images, gain))
            losses = dense_loss(prediction, targets.to(device))
            losses["total"].backward()
        parallel.average_gradients(model.parameters())
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        average.update()
        if (step + 1) % 20 == 0:
            loop.log(**{name: value.item() for name, value in losses.items()})
        if (step + 1) % evaluate_every == 0 and step + 1 < steps and parallel.rank() == 0:
            rows = np.arange(count, min(len(data), count + 512))
            average.swap()
            scores = evaluate_dense(model, data, rows, batch_size, device, bf16)
            _export(Path(scratch) / "latest.safetensors", model, settings, step + 1, scores)
            average.swap()
            loop.log(**scores)
            _write_history(Path(scratch), loop.history)
    if parallel.rank() > 0:
        return loop.history
    average.swap()
    scores = evaluate_dense(model, data, np.arange(count, len(data)), batch_size, device, bf16)
    _export(Path(out), model, settings, step + 1, scores)
    average.swap()
    history = [*loop.history, {"step": step, **scores}]
    _write_history(Path(scratch), history)
    return history


def _export(
    out: Path, model: DenseModel, settings: dict[str, Any], steps: int, scores: dict[str, float]
) -> None:
    """Weights with what rebuilds them, how they were made, and what they reach."""
    config = {
        "kind": "backbone",
        "backbone": model.backbone.to_dict(),
        "pyramid": model.pyramid.to_dict(),
        "recipe": settings,
        "steps_done": steps,  # fewer than the recipe's if time ran out
        "scores": {name: round(value, 4) for name, value in scores.items()},
    }
    save_weights(out, model.state_dict(), config)


def _groups(model: DenseModel, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices and kernels decay; vectors (norms, biases) and positions do not."""
    decay, keep = [], []
    for name, parameter in model.named_parameters():
        plain = parameter.ndim < 2 or name.endswith("pos_embed")
        (keep if plain else decay).append(parameter)
    return [{"params": decay, "weight_decay": weight_decay}, {"params": keep, "weight_decay": 0.0}]


def _write_history(scratch: Path, history: list[dict[str, float]]) -> None:
    scratch.mkdir(parents=True, exist_ok=True)
    finite = [{k: v for k, v in row.items() if math.isfinite(v)} for row in history]
    (scratch / "history.json").write_text(json.dumps(finite, indent=0) + "\n")
