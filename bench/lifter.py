"""Stage `lifter`: train the pose lifter that every guide starts with, or take the shipped one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import torch

from bench.stage import pick_device, scratch_folder, whole_folder, write_history
from genhmr.body.joints import body25
from genhmr.body.model_files import load_bodies
from genhmr.body.smpl import SMPLJoints
from genhmr.data.motion_shards import MotionShard
from genhmr.train import parallel
from genhmr.train.checkpoint import LIFTER_FILE, load_weights
from genhmr.train.lifter import save_lifter, train_lifter
from genhmr.transformer.lifter import PoseLifter
from genhmr.types import UserError

Json = dict[str, Any]
_PREFIX = "guide.lifter."


def make_lifter(job: Json, data: Path, out: Path, scratch: Path) -> None:
    """Trains the lifter on motion, or takes it out of the shipped model.

    Args:
        job: ``build/plan/lifter/base.json``.
        data: folder of the shards.
        out: folder of ``lifter.safetensors``.
        scratch: checkpoint.

    Raises:
        UserError: the shipped model is missing, damaged or has no lifter of that width.
    """
    if job["weights"]:
        with whole_folder(out) as part:
            _export(Path(job["weights"]), job["width"], part / LIFTER_FILE)
        return
    device = pick_device(job["device"])
    parallel.join(device)
    folders = [data / role / "train" for role in job["train_on"]]
    with torch.random.fork_rng(devices=[]):  # torch.nn initialises from the global generator
        torch.manual_seed(job["seed"])
        lifter = PoseLifter(job["width"])
    train, manifests = job["train"], [folder / "manifest.json" for folder in folders]
    with whole_folder(out) as part, scratch_folder(scratch, job, manifests) as own:
        history = train_lifter(
            lifter,
            [MotionShard(folder).poses for folder in folders],
            SMPLJoints(load_bodies(Path(job["bodies"])).neutral, body25()).to(device),
            own,
            train["steps"],
            train["batch"],
            warmup=min(100, train["steps"] // 10),
            shares=list(job["train_on"].values()),
            seed=job["seed"],
            device=device,
        )
        if parallel.rank() == 0:
            save_lifter(part / LIFTER_FILE, lifter, {"train": train, "data": job["train_on"]})
            write_history(part, history)
    parallel.leave()


def _export(source: Path, width: int, target: Path) -> None:
    tensors, config = load_weights(source)
    own = {k.removeprefix(_PREFIX): t for k, t in tensors.items() if k.startswith(_PREFIX)}
    if config.get("sizes", {}).get("lifter") != width or not own:
        raise UserError(
            f"{source} has no lifter of width {width}: set weights to trained in params.yaml, or "
            "take the edit of variants.yaml back."
        )
    lifter = PoseLifter(width)
    lifter.load_state_dict(own)
    save_lifter(target, lifter, {"taken_from": str(source)})
    click.echo(f"lifter of the shipped weights {source}")
