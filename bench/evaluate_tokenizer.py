"""Stage `evaluate-tokenizer@`: a tokenizer's reconstruction errors, and how it uses its codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from bench.codebook import CountingTokenizer, codebook_use
from bench.stage import pick_device, seed_folder, whole_folder
from genhmr.body.model_files import load_bodies
from genhmr.data.motion_shards import MotionShard
from genhmr.train.checkpoint import TOKENIZER_FILE
from genhmr.train.tokenizer_files import load_tokenizer
from genhmr.train.tokenizer_score import evaluate_tokenizer

Json = dict[str, Any]


def score_tokenizer(job: Json, model: Path, data: Path, out: Path) -> None:
    """Reconstruction errors of one tokenizer, every seed of it, pose by pose; use of its codes.

    Args:
        job: ``build/plan/evaluate-tokenizer/<name>.json``.
        model: folder of the tokenizer.
        data: folder of the shards.
        out: folder of ``per_pose.parquet`` (columns ``role, key, mpjpe, pa_mpjpe, mve``, and
            ``seed``, from 0, where there are several) and ``codebook.json``: by role one entry
            a seed (:func:`bench.codebook.codebook_use`) on the same poses.
    """
    device = pick_device(job["device"])
    count = job.get("models", 1)
    tokenizers = [
        load_tokenizer(seed_folder(model, index) / TOKENIZER_FILE).to(device)
        for index in range(count)
    ]
    body = load_bodies(Path(job["bodies"])).neutral
    frames, used = [], {}
    for role, split in job["sets"].items():
        shard = MotionShard(data / role / split)
        keys = [f"{shard.keys[c]}/{f}" for c, f in zip(shard.clips, shard.frames)]
        for seed, tokenizer in enumerate(tokenizers):
            counted = CountingTokenizer(tokenizer)
            errors = evaluate_tokenizer(counted, shard.poses, body, device=device)
            about = {"role": role, "key": keys} | ({"seed": seed} if count > 1 else {})
            frames.append(pd.DataFrame(about | errors))
            used.setdefault(role, []).append(codebook_use(counted.counts))
    with whole_folder(out) as part:
        pd.concat(frames, ignore_index=True).to_parquet(part / "per_pose.parquet")
        (part / "codebook.json").write_text(json.dumps(used, indent=1) + "\n")
