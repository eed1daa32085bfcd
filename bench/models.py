"""Stages `backbone`, `tokenizer@` and `transformer@`: train a model, or export the shipped one.

Each stage ends in a folder of safetensors beside ``history.json``; resumable checkpoints live in
the scratch folder, which DVC does not know.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from genhmr.body.joints import body25
from genhmr.body.model_files import load_bodies
from genhmr.body.smpl import SMPLJoints
from genhmr.data.augment import AugmentConfig
from genhmr.data.crops import iterate_crops
from genhmr.data.decoded import DecodedShard
from genhmr.data.motion_shards import MotionShard
from genhmr.data.shards import ImageShard
from genhmr.image.pretrained import backbone_from_weights, warm_start_pyramid
from genhmr.image.vit import ViTConfig
from genhmr.train import parallel
from genhmr.train.checkpoint import load_weights
from genhmr.train.model_files import (
    BACKBONE_FILE,
    GENHMR_FILE,
    TOKENIZER_FILE,
    build_genhmr,
    load_genhmr,
    save_genhmr,
)
from genhmr.train.pretrain import pretrain_backbone
from genhmr.train.tokenizer import load_tokenizer, save_tokenizer, train_tokenizer
from genhmr.train.transformer import train_transformer
from genhmr.transformer.genhmr import GenHMR
from genhmr.transformer.losses import LossWeights
from genhmr.types import CropBatch, UserError

Json = dict[str, Any]


def pick_device(name: str) -> str:
    """ "auto" becomes "cuda" where there is one.

    Raises:
        UserError: "cuda" is asked for and not there.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("params.yaml: 'device' is cuda, but torch sees no GPU: use auto or cpu.")
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def fast_bfloat16(device: str) -> bool:
    """Whether bfloat16 products are faster than float32 there: on GPUs and on recent CPUs.

    A CPU without the instructions emulates them, several times slower than float32.
    """
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return device != "cpu" or bool(supported())


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


@contextmanager
def _scratch(folder: Path, job: Json, inputs: list[Path]) -> Iterator[Path]:
    """A scratch folder that a stopped run finds again, and that a finished one removes.

    Its name depends on the job and on its input files, so that a checkpoint is never continued
    on other data; without the removal a rerun would find a finished training and do nothing.
    """
    digest = hashlib.sha256(json.dumps(job, sort_keys=True).encode())
    for path in inputs:
        digest.update(path.read_bytes())
    own = folder / digest.hexdigest()[:16]
    for other in folder.glob("*"):
        if other != own:
            shutil.rmtree(other)
    own.mkdir(parents=True, exist_ok=True)
    yield own
    shutil.rmtree(folder)


def _export(source: str, folder: Path, name: str) -> None:
    """Takes shipped weights as they are; reading them first finds a damaged file."""
    load_weights(Path(source))
    shutil.copyfile(source, folder / name)
    click.echo(f"{folder}: shipped weights {source}")


def _write_history(folder: Path, history: list[dict[str, float]]) -> None:
    (folder / "history.json").write_text(json.dumps(history, indent=0) + "\n")


def make_backbone(job: Json, out: Path, scratch: Path) -> None:
    """Pre-trains the backbone on rendered people, or exports the shipped one.

    Args:
        job: ``build/plan/backbone/base.json``.
        out: folder of ``backbone.safetensors``.
        scratch: dense set and checkpoint.
    """
    out = _fresh(out)
    if job["weights"]:
        _export(job["weights"], out, BACKBONE_FILE)
        return
    from genhmr.world.dense import dense_dataset

    device = pick_device(job["device"])
    sizes, train = job["model"], job["train"]
    config = ViTConfig(
        tuple(job["image_size"]),
        sizes["patch"],
        sizes["dim"],
        sizes["depth"],
        sizes["heads"],
        stem=sizes["stem"],
    )
    with _scratch(scratch, job, []) as folder:
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
    _write_history(out, history)


def make_tokenizer(job: Json, data: Path, out: Path, scratch: Path) -> None:
    """Trains one tokenizer, or exports the shipped one.

    Args:
        job: ``build/plan/tokenizer/<name>.json``.
        data: folder of the shards.
        out: folder of ``tokenizer.safetensors``.
        scratch: checkpoint.
    """
    out = _fresh(out)
    if job["weights"]:
        _export(job["weights"], out, TOKENIZER_FILE)
        return
    device = pick_device(job["device"])
    shards = [MotionShard(data / role / "train") for role in job["train_on"]]
    manifests = [data / role / "train" / "manifest.json" for role in job["train_on"]]
    with _scratch(scratch, job, manifests) as folder:
        tokenizer, history = train_tokenizer(
            [shard.poses for shard in shards],
            load_bodies(Path(job["bodies"])).neutral,
            folder,
            **job["model"],
            **job["train"],
            shares=list(job["train_on"].values()),
            joint_noise=0.1,
            mixed_precision=fast_bfloat16(device),
            seed=job["seed"],
            device=device,
        )
    save_tokenizer(
        out / TOKENIZER_FILE, tokenizer, {"train": job["train"], "data": job["train_on"]}
    )
    _write_history(out, history)


def make_transformer(job: Json, build: Path, out: Path, scratch: Path) -> None:
    """Trains one masked transformer, or exports the shipped one.

    Args:
        job: ``build/plan/transformer/<name>.json``.
        build: folder of shards and of the earlier models.
        out: folder of the three weight files that make a model.
        scratch: checkpoint and decoded images.
    """
    out = _fresh(out)
    shutil.copyfile(build / "models" / "backbone" / BACKBONE_FILE, out / BACKBONE_FILE)
    source = build / "models" / "tokenizer" / job["tokenizer"]
    shutil.copyfile(source / TOKENIZER_FILE, out / TOKENIZER_FILE)
    if job["weights"]:
        _export(job["weights"], out, GENHMR_FILE)
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
    with _scratch(
        scratch, job, [*inputs, out / BACKBONE_FILE, out / TOKENIZER_FILE]
    ) as own_scratch:
        history = _train_transformer(job, model, folders, own_scratch)
    save_genhmr(out, model, job["model"], {k: job[k] for k in ("train", "train_on", "losses")})
    _write_history(out, history)


def _train_transformer(
    job: Json, model: GenHMR, folders: list[Path], scratch: Path
) -> list[dict[str, float]]:
    """Trains ``model`` in place on the shards in ``folders``; returns the history."""
    device, train = pick_device(job["device"]), job["train"]
    parallel.join(device)
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
        ),
        geometry_scale=train["geometry_scale"],
        target_spread=train["target_spread"],
        bfloat16=fast_bfloat16(device),
        seed=job["seed"],
        device=device,
    )
