"""Stage `tokenizer@`: train a pose tokenizer, or export the shipped one.

It stands apart from the image models so that these fourteen processes need not load them.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from bench.stage import (
    FinishedSeeds,
    export_shipped,
    pick_device,
    scratch_folder,
    seed_folder,
    whole_folder,
    write_history,
)
from genhmr.body.model_files import load_bodies
from genhmr.data.motion_shards import MotionShard
from genhmr.precision import fast_bfloat16
from genhmr.train.checkpoint import TOKENIZER_FILE
from genhmr.train.tokenizer import train_tokenizer
from genhmr.train.tokenizer_files import save_tokenizer

Json = dict[str, Any]


def make_tokenizer(
    job: Json, build: Path, out: Path, scratch: Path, kept: FinishedSeeds | None = None
) -> None:
    """Trains one tokenizer with every seed of the job, or exports the shipped one.

    Args:
        job: ``build/plan/tokenizer/<name>.json``.
        build: folder of the shards.
        out: folder of ``tokenizer.safetensors``; further seeds in ``seed-1``, ...
        scratch: checkpoint.
        kept: finished seeds of earlier runs, and where this run's go.
    """
    if job["weights"]:
        with whole_folder(out) as part:
            export_shipped(job["weights"], part / TOKENIZER_FILE, job["model"], "model")
        return
    device = pick_device(job["device"])
    body = load_bodies(Path(job["bodies"])).neutral
    folders = [build / "data" / role / "train" for role in job["train_on"]]
    shards = [MotionShard(folder) for folder in folders]
    manifests = [folder / "manifest.json" for folder in folders]
    with whole_folder(out) as part, scratch_folder(scratch, job, manifests) as folder:
        if kept:
            kept.watch(folder)
        for index, seed in enumerate(job.get("seeds", [job["seed"]])):
            target = seed_folder(part, index)
            if kept and kept.take(seed, target):
                continue
            began = time.monotonic()
            target.mkdir(exist_ok=True)
            # A seed that was finished before an interruption ends at once, at its checkpoint.
            tokenizer, history = train_tokenizer(
                [shard.poses for shard in shards],
                body,
                seed_folder(folder, index),
                **job["model"],
                **job["train"],
                shares=list(job["train_on"].values()),
                mixed_precision=fast_bfloat16(device, job["model"]["width"]),
                seed=seed,
                device=device,
            )
            about = {"train": job["train"], "data": job["train_on"]}
            save_tokenizer(target / TOKENIZER_FILE, tokenizer, about)
            write_history(target, history)
            if kept:
                kept.put(seed, target, time.monotonic() - began)
