"""Metrics whose means are known, of every model of variants.yaml, for the tests of the tables."""

import json
from pathlib import Path

import pandas as pd

from bench.params import read_yaml
from bench.plan import build_jobs

ROOT = Path(__file__).parents[2]


def tables_job(variants):
    return build_jobs(read_yaml(ROOT / "params.yaml"), variants)["tables.json"]


def image_rows(variants):
    """Per-image rows whose mean is known: the row's rank plus an offset per image."""
    rows = []
    settings = ["mean-pose", *variants["evaluations"]["base"]["settings"]]
    for rank, setting in enumerate(settings):
        steps = [0, 1, 3, 5, 10, 20] if setting == "refinement" else [0]
        for step in steps:
            for role in ("lab", "wild", "extreme"):
                for image in range(4):
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
        (folder / "evaluate" / name).mkdir(parents=True)
        own = images.assign(mpjpe=images["mpjpe"] + 100 * offset)
        own = pd.concat([own, own[own["setting"] == "headline"].assign(setting="refined-20")])
        own.to_parquet(folder / "evaluate" / name / "per_image.parquet")
    aiti = {f"cosine-{t}/0": t / 1000 for t in (1, 3, 5, 10, 15, 20)}
    aiti |= {f"refinement/{p}": p / 500 for p in (0, 1, 3, 5, 10, 20)}
    (folder / "evaluate" / "base" / "timing.json").write_text(json.dumps({"aiti": aiti}))
    for index, name in enumerate(variants["tokenizers"]):
        (folder / "evaluate-tokenizer" / name).mkdir(parents=True)
        rows = [
            (r, f"p{i}", 20.0 + index + i, 9.0, 25.0) for r in ("mocap", "yoga") for i in (0, 2)
        ]
        columns = ["role", "key", "mpjpe", "pa_mpjpe", "mve"]
        path = folder / "evaluate-tokenizer" / name / "per_pose.parquet"
        pd.DataFrame(rows, columns=columns).to_parquet(path)
