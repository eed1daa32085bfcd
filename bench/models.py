"""Stages `backbone` and `transformer@`: train a model, or export the shipped one.

Each stage ends in a folder of safetensors beside ``history.json``; resumable checkpoints live in
the scratch folder, which DVC does not know.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.stage import (
    export_shipped,
    fast_bfloat16,
    fresh_folder,
    pick_device,
    scratch_folder,
    write_history,
)
from genhmr.body.joints import body25
from genhmr.body.model_files import load_bodies
from genhmr.body.smpl import SMPLJoints
from genhmr.data.augment import AugmentConfig
from genhmr.data.crops import iterate_crops
from genhmr.data.decoded import DecodedShard
from genhmr.data.shards import ImageShard
from genhmr.image.pretrained import backbone_from_weights, warm_start_pyramid
from genhmr.image.vit import ViTConfig
from genhmr.train import parallel
from genhmr.train.checkpoint import (
    BACKBONE_FILE,
    GENHMR_FILE,
    TOKENIZER_FILE,
    load_weights,
)
from genhmr.train.model_files import (
    build_genhmr,
    load_genhmr,
    save_genhmr,
)
from genhmr.train.pretrain import pretrain_backbone
from genhmr.train.tokenizer import load_tokenizer
from genhmr.train.transformer import train_transformer
from genhmr.transformer.genhmr import GenHMR
from genhmr.transformer.losses import LossWeights
from genhmr.types import CropBatch

Json = dict[str, Any]


def make_backbone(job: Json, out: Path, scratch: Path) -> None:
    """Pre-trains the backbone on rendered people, or exports the shipped one.

    Args:
        job: ``build/plan/backbone/base.json``.
        out: folder of ``backbone.safetensors``.
        scratch: dense set and checkpoint.
    """
    if job["weights"]:
        export_shipped(job["weights"], fresh_folder(out), BACKBONE_FILE)
        return
    from genhmr.world.dense import dense_dataset

    device = pick_device(job["device"])
    parallel.join(device)
    out = fresh_folder(out)
    sizes, train = job["model"], job["train"]
    config = ViTConfig(
        tuple(job["image_size"]),
        sizes["patch"],
        sizes["dim"],
        sizes["depth"],
        sizes["heads"],
        stem=sizes["stem"],
    )
    with scratch_folder(scratch, job, []) as folder:
        with parallel.leader_first():
            if not (folder / "dense").exists():  # it appears only when it is complete
                dense_dataset(folder / "dense", train["images"], job["image_size"][0], job["seed"])
        history = pretrain_backbone(
            folder / "dense",
            folder / "backbone",
            out / BACKBONE_FILE,
            config,
            steps=train["steps"],
            batch_size=train["batch"],
            lr=train["lr"],
            warmup=min(200, train["steps"] // 10),
            seed=job["seed"],
            device=device,
            bf16=fast_bfloat16(device),
        )
    if parallel.rank() == 0:
        write_history(out, history)


def make_transformer(job: Json, build: Path, out: Path, scratch: Path) -> None:
    """Trains one masked transformer, or exports the shipped one.

    Args:
        job: ``build/plan/transformer/<name>.json``.
        build: folder of shards and of the earlier models.
        out: folder of the three weight files that make a model.
        scratch: checkpoint and decoded images.
    """
    device = pick_device(job["device"])
    if not job["weights"]:
        parallel.join(device)
    tokenizer = build / "models" / "tokenizer" / job["tokenizer"]
    with parallel.leader_first():
        if parallel.rank() == 0:
            fresh_folder(out)
            shutil.copyfile(build / "models" / "backbone" / BACKBONE_FILE, out / BACKBONE_FILE)
            shutil.copyfile(tokenizer / TOKENIZER_FILE, out / TOKENIZER_FILE)
    if job["weights"]:
        export_shipped(job["weights"], out, GENHMR_FILE)
        load_genhmr(out)
        return
    pretrained, config = load_weights(out / BACKBONE_FILE)
    backbone = backbone_from_weights(pretrained, config)
    generator = torch.Generator().manual_seed(job["seed"])
    model = build_genhmr(backbone, load_tokenizer(out / TOKENIZER_FILE), job["model"], generator)
    warm_start_pyramid(model.pyramid, pretrained)
    if model.guide is not None:
        model.guide.warm_start(pretrained)
    folders = [build / "data" / role / "train" for role in job["train_on"]]
    inputs = [folder / "manifest.json" for folder in folders]
    with scratch_folder(
        scratch, job, [*inputs, out / BACKBONE_FILE, out / TOKENIZER_FILE]
    ) as own_scratch:
        history = _train_transformer(job, model, folders, own_scratch, device)
    if parallel.rank() > 0:
        return
    save_genhmr(out, model, job["model"], {k: job[k] for k in ("train", "train_on", "losses")})
    write_history(out, history)


def _train_transformer(
    job: Json, model: GenHMR, folders: list[Path], scratch: Path, device: str
) -> list[dict[str, float]]:
    """Trains ``model`` in place on the shards in ``folders``; returns the history."""
    train = job["train"]
    with parallel.leader_first():
        shards = [DecodedShard(ImageShard(folder), scratch / "decoded") for folder in folders]

    def crops(start: int) -> Iterator[CropBatch]:
        return iterate_crops(
            shards,
            parallel.share(train["batch"]),
            job["crop"],
            AugmentConfig(),
            np.random.default_rng([job["seed"], parallel.rank()]),
            epochs=None,
            weights=list(job["train_on"].values()),
            start_step=start,
        )

    neutral = load_bodies(Path(job["bodies"])).neutral
    gumbel, losses = job["gumbel"], job["losses"]
    return train_transformer(
        model,
        crops,
        SMPLJoints(neutral, body25()).to(device),
        scratch,
        train["steps"],
        train["lr"],
        warmup=min(200, train["steps"] // 10),
        backbone_lr_scale=train["backbone_lr_scale"],
        tau_max=job["mask_tau"],
        temperature_start=gumbel["tau_start"],
        temperature_end=gumbel["tau_end"],
        annealing_duration=gumbel["duration"],
        weights=LossWeights(
            losses["mask"],
            losses["pose"],
            losses["betas"],
            losses["joints_3d"],
            losses["joints_2d"],
            train["heatmap_weight"],
        ),
        geometry_scale=train["geometry_scale"],
        target_spread=train["target_spread"],
        expected_scale=train["expected_scale"],
        bfloat16=fast_bfloat16(device),
        seed=job["seed"],
        device=device,
    )
