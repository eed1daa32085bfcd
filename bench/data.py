"""Stage `data@<role>`: raw data set (generated or licensed) -> shards.

The generator writes an official on-disk format; from there on nobody can tell the open world
from a licensed release: the same readers read both.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from bench.stage import growing_folder, spread
from genhmr.body.model_files import Bodies, load_bodies
from genhmr.data.motion_shards import write_motion_shard
from genhmr.data.readers import MOTION_KINDS, read_images, read_motion
from genhmr.data.shard_writer import write_image_shard
from genhmr.types import UserError
from genhmr.world.generate import generate

MOTION = Path("datasets/open/motion")


def prepare(job: dict[str, Any], out: Path) -> None:
    """Writes one shard a split under ``out``.

    A run that was stopped while it read pictures goes on from the tars that it had finished
    (:mod:`genhmr.data.shard_journal`).

    Args:
        job: ``build/plan/data/<role>.json``.
        out: folder of the shards; replaced.

    Raises:
        UserError: raw data or body files are missing or damaged.
    """
    raw, bodies = Path(job["raw"]), load_bodies(Path(job["bodies"]))
    if job["source"] == "open":
        click.echo(f"{job['name']}: generating {raw}")
        generate(job["name"], raw, bodies, MOTION, job["generate"], job["seed"], job["frame"])
    elif not raw.is_dir():
        raise UserError(
            f"{raw} is missing: unpack {job['name']} there (see datasets/raw/README.md), "
            "or set data.source to open."
        )
    with growing_folder(out) as begun:
        for path in (begun / "shards").iterdir():  # of a run with other splits
            if path.name.removesuffix(".part") not in job["counts"]:
                shutil.rmtree(path)
        for split, count in job["counts"].items():
            written, found = _write_shard(job, raw, bodies, split, count, begun)
            what = "poses" if job["kind"] in MOTION_KINDS else f"of {found} person crops"
            click.echo(f"{job['name']} {split}: {written} {what}")


def _write_shard(
    job: dict[str, Any], raw: Path, bodies: Bodies, split: str, count: int, begun: Path
) -> tuple[int, int]:
    """One shard; how many records it has, and how many the data set has."""
    target = begun / "shards" / split
    source = job["splits"][split]
    if job["kind"] in MOTION_KINDS:
        clips, stride = list(read_motion(job["kind"], raw, source)), 1
        poses = sum(len(clip.poses) for clip in clips)
        if count:
            stride = max(1, poses // count)
        return write_motion_shard(clips, target, job["name"], split, stride), poses
    frames = list(read_images(job["kind"], raw, source, bodies))
    chosen = list(spread(frames, count))
    if scale := job.get("box_scale"):
        # Here and nowhere else: all that follows knows the box from the shard.
        chosen = [replace(frame, box_size=scale * frame.box_size) for frame in chosen]
    notes = begun / "notes" / split
    written = write_image_shard(
        chosen, target, job["stored"], job["name"], split, total=len(chosen), journal=notes
    )
    return written, len(frames)
