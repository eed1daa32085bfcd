"""Metrics whose means are known, of every model of variants.yaml, for the tests of the tables."""

import json
import shutil
from pathlib import Path

import pandas as pd

from bench.params import read_yaml
from bench.plan import build_jobs
from bench.tables import write_tables

ROOT = Path(__file__).parents[2]
REPORTED = ROOT / "bench" / "reported"
# What the made-up open run has not trained yet.
NOT_KEPT = ("transformer/mask-0.3", "transformer/loss-3d", "transformer/scales-1",
            "transformer/layers-8", "transformer/sd-itw", "tokenizer/t384")  # fmt: skip


def tables_job(variants):
    return build_jobs(read_yaml(ROOT / "params.yaml"), variants)["tables.json"]


def image_rows(variants, images=4):
    """Per-image rows whose mean is known: the row's rank plus an offset per image."""
    rows = []
    settings = ["mean-pose", *variants["evaluations"]["base"]["settings"]]
    for rank, setting in enumerate(settings):
        steps = [0, 1, 3, 5, 10, 20] if setting == "refinement" else [0]
        for step in steps:
            for role in ("lab", "wild", "extreme"):
                for image in range(images):
                    value = 100.0 + rank - step + image
                    key = f"video/{image:05d}/0"
                    rows.append((setting, step, role, 0, key, value, value / 2, value + 10))
    columns = ["setting", "step", "role", "seed", "key", "mpjpe", "pa_mpjpe", "mve"]
    return pd.DataFrame(rows, columns=columns)


def write_metrics(folder):
    """What the evaluations of every model would leave in ``folder``."""
    variants = read_yaml(ROOT / "variants.yaml")
    images = image_rows(variants)
    for offset, name in enumerate(variants["transformers"]):
        _write_images(folder, name, images.assign(mpjpe=images["mpjpe"] + 100 * offset))
    _write_timing(folder, 1, rounds=10)
    for index, name in enumerate(variants["tokenizers"]):
        rows = [
            (r, f"p{i}", 20.0 + index + i, 9.0, 25.0) for r in ("mocap", "yoga") for i in (0, 2)
        ]
        columns = ["role", "key", "mpjpe", "pa_mpjpe", "mve"]
        _write_poses(folder, name, pd.DataFrame(rows, columns=columns))


def write_open_run(build, results):
    """``results/open`` of a run of profile open without the models ``NOT_KEPT``.

    Six images a set, in the reverse order of :func:`write_metrics`: the MPJPE of a row is 690 mm
    less a tenth of its rank and ten for each model before its own, the MVE 100 mm more, the
    PA-MPJPE two fifths; one tokenizer has three seeds.
    """
    variants = read_yaml(ROOT / "variants.yaml")
    images = image_rows(variants, 6)
    lower = (images["mpjpe"] - 2.5) / 10  # 2.5 is the mean over the images of what they add
    for offset, name in enumerate(variants["transformers"]):
        if f"transformer/{name}" not in NOT_KEPT:
            mpjpe = 700 - lower - 10 * offset
            own = images.assign(mpjpe=mpjpe, pa_mpjpe=mpjpe * 0.4, mve=mpjpe + 100)
            _write_images(build, name, own)
    _write_timing(build, 3)
    for index, name in enumerate(variants["tokenizers"]):
        seeds = 3 if name == "c2048x256" else 1
        rows = [
            (r, seed, f"p{i}", 60.0 - index + i + seed, 9.0 - index / 10, 80.0 - index)
            for r in ("mocap", "yoga") for seed in range(seeds) for i in (0, 2, 4)
        ]  # fmt: skip
        columns = ["role", "seed", "key", "mpjpe", "pa_mpjpe", "mve"]
        frame = pd.DataFrame(rows, columns=columns)
        if f"tokenizer/{name}" not in NOT_KEPT:
            _write_poses(build, name, frame if seeds > 1 else frame.drop(columns="seed"))
    params = {"profile": "open", "weights": "shipped", "seeds": 3}
    job = build_jobs(read_yaml(ROOT / "params.yaml") | params, variants)["tables.json"]
    job["skipped"] = job["skipped"] | dict.fromkeys(NOT_KEPT, "not in results/open yet")
    write_tables(variants, job, build, REPORTED, results / "open")
    shutil.rmtree(results / "open" / "tables")  # as `bench keep` leaves it


def _write_images(folder, name, own):
    (folder / "evaluate" / name).mkdir(parents=True)
    own.to_parquet(folder / "evaluate" / name / "per_image.parquet")


def _write_timing(folder, factor, rounds=0):
    """Rounds of 2 % between one another, as many of them; 0 for none, as before they were kept."""
    aiti = {f"cosine-{t}/0": factor * t / 1000 for t in (1, 3, 5, 10, 15, 20)}
    aiti |= {f"refinement/{p}": factor * p / 500 for p in (0, 1, 3, 5, 10, 20)}
    timing = {"aiti": aiti}
    if rounds:
        timing["rounds"] = {
            place: [seconds * (1 + (2 * i + 1 - rounds) / 100) for i in range(rounds)]
            for place, seconds in aiti.items()
        }
    (folder / "evaluate" / "base" / "timing.json").write_text(json.dumps(timing))


def _write_poses(folder, name, frame):
    (folder / "evaluate-tokenizer" / name).mkdir(parents=True)
    frame.to_parquet(folder / "evaluate-tokenizer" / name / "per_pose.parquet")
