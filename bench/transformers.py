"""Stage `transformer@`: train a masked transformer, or export the shipped one.

It ends in a folder of safetensors beside ``history.json``; resumable checkpoints live in
the scratch folder, which DVC does not know.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.plan_options import TRANSFORMER
from bench.stage import (
    FinishedSeeds,
    export_shipped,
    pick_device,
    require_made,
    scratch_folder,
    seed_folder,
    whole_folder,
    write_history,
)
from genhmr.body.joints import body25
from genhmr.body.model_files import load_bodies
from genhmr.body.smpl import SMPLJoints
from genhmr.data.augment import AugmentConfig
from genhmr.data.crops import iterate_crops
from genhmr.data.shards import ImageShard
from genhmr.image.pretrained import backbone_from_weights, warm_start_pyramid
from genhmr.precision import fast_bfloat16
from genhmr.train import parallel
from genhmr.train.checkpoint import (
    BACKBONE_FILE,
    GENHMR_FILE,
    LIFTER_FILE,
    TOKENIZER_FILE,
    load_weights,
)
from genhmr.train.lifter import load_lifter
from genhmr.train.model_files import (
    build_genhmr,
    load_genhmr,
    save_genhmr,
)
from genhmr.train.prefetch import loader_processes, prefetch
from genhmr.train.tokenizer_files import load_tokenizer
from genhmr.train.transformer import train_transformer
from genhmr.transformer.genhmr import GenHMR
from genhmr.transformer.losses import LossWeights
from genhmr.types import CropBatch, UserError

Json = dict[str, Any]


def make_transformer(
    job: Json, build: Path, out: Path, scratch: Path, kept: FinishedSeeds | None = None
) -> None:
    """Trains one masked transformer with every seed of the job, or exports the shipped one.

    Args:
        job: ``build/plan/transformer/<name>.json``.
        build: folder of shards and of the earlier models.
        out: folder of the three weight files that make a model; further seeds in ``seed-1``, ...
        scratch: checkpoints.
        kept: finished seeds of earlier runs, and where this run's go.

    Raises:
        UserError: shipped weights are missing, of other sizes, or do not fit one another; or what
            an earlier stage makes is not there.
    """
    device = pick_device(job["device"])
    if not job["weights"]:
        parallel.join(device)
    models = build / "models"
    parts = [
        models / "backbone" / BACKBONE_FILE,
        models / "tokenizer" / job["tokenizer"] / TOKENIZER_FILE,
    ]
    require_made(parts)
    with whole_folder(out) as part:
        if job["weights"]:
            _copy(parts, part)
            export_shipped(job["weights"], part / GENHMR_FILE, job["model"], "sizes")
            load_genhmr(part)
            return
        folders = [build / "data" / role / "train" for role in job["train_on"]]
        inputs = [*(folder / "manifest.json" for folder in folders), *parts]
        if job["model"]["lifter"]:
            inputs.append(models / "lifter" / LIFTER_FILE)
        with scratch_folder(scratch, job, inputs) as own:
            if kept:
                kept.watch(own)
            for index, seed in enumerate(job["seeds"]):
                target = seed_folder(part, index)
                if kept and kept.take(seed, target):
                    continue
                began = time.monotonic()
                with parallel.leader_first():
                    if parallel.rank() == 0:
                        _copy(parts, target)
                model = _fresh_model(job, seed, target, models / "lifter" / LIFTER_FILE)
                # A seed that was finished before an interruption ends at once, at its checkpoint.
                history = _train_transformer(
                    job, seed, model, folders, seed_folder(own, index), device
                )
                if parallel.rank() == 0:
                    about = {k: job[k] for k in ("train", "train_on", "losses")} | {"seed": seed}
                    save_genhmr(target, model, job["model"], about)
                    write_history(target, history)
                    if kept:
                        kept.put(seed, target, time.monotonic() - began)
    parallel.leave()


def _copy(files: list[Path], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in files:
        shutil.copyfile(path, folder / path.name)


def _fresh_model(job: Json, seed: int, folder: Path, lifter: Path) -> GenHMR:
    """A model to train, around the backbone and the tokenizer in ``folder``."""
    pretrained, config = load_weights(folder / BACKBONE_FILE)
    backbone = backbone_from_weights(pretrained, config)
    generator = torch.Generator().manual_seed(seed)
    model = build_genhmr(
        backbone, load_tokenizer(folder / TOKENIZER_FILE), job["model"], generator
    )
    warm_start_pyramid(model.pyramid, pretrained)
    if model.guide is not None and not model.guide.warm_start(pretrained):
        raise UserError(
            f"{folder / BACKBONE_FILE} has no keypoint head of {job['model']['features']} channels "
            "to start the guide with: pre-train with that width, or set reference to learned."
        )
    if model.guide is not None:
        load_lifter(lifter, model.guide.lifter)
    return model


def _train_transformer(
    job: Json,
    seed: int,
    model: GenHMR,
    folders: list[Path],
    scratch: Path,
    device: str,
) -> list[dict[str, float]]:
    """Trains ``model`` in place on the shards in ``folders``; returns the history."""
    train = job["train"]
    shards = [ImageShard(folder) for folder in folders]

    def crops(start: int, every: int) -> Iterator[CropBatch]:
        return iterate_crops(
            shards,
            parallel.share(train["batch"]),
            job["crop"],
            AugmentConfig(),
            np.random.default_rng([seed, parallel.rank()]),
            epochs=None,
            weights=list(job["train_on"].values()),
            start_step=start,
            every=every,
        )

    neutral = load_bodies(Path(job["bodies"])).neutral
    gumbel, losses = job["gumbel"], job["losses"]
    options = {key: train[key] for key in TRANSFORMER if key in train}
    options.setdefault("warmup", min(200, train["steps"] // 10))
    return train_transformer(
        model,
        lambda start: prefetch(crops, start, loader_processes(device)),
        SMPLJoints(neutral, body25()).to(device),
        scratch,
        train["steps"],
        train["lr"],
        **options,
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
            train["lifted_weight"],
        ),
        geometry_scale=train["geometry_scale"],
        target_spread=train["target_spread"],
        expected_scale=train["expected_scale"],
        bfloat16=fast_bfloat16(device, job["model"]["width"]),
        seed=seed,
        device=device,
    )
