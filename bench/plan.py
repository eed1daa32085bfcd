"""The plan: one small JSON per job, merged from params.yaml, variants.yaml and the profile.

Every later stage depends on its own JSON, so an edit reruns what it concerns and nothing else:
``-S ugs.iters=10`` changes evaluation jobs only, a new line under ``tokenizers`` adds one job.
A job holds plain values; the code that runs it never sees a profile.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from bench.params import check_params
from bench.plan_checks import check_variants, pick
from bench.plan_models import (
    ABLATION,
    SAME_AS_BASE,
    SHIPPED,
    left_out,
    lifter_job,
    settings,
    tokenizer_job,
    transformer_job,
    variant,
)
from bench.plan_options import CROPS, INFERENCE, chosen

Json = dict[str, Any]

# What the paper's tables are made with wherever they do not vary it.
PAPER_INFERENCE = {
    "ugs": {"iters": 5, "schedule": "cosine", "top_k": 1, "temperature": 1.0},
    # But for their number, of which it says nothing for the other tables, these are ours.
    "refine": {"iters": 10, "step_size": 0.05, "pose_weight": 0.1, "camera": True},
}


def _data_job(role: str, entry: Json, profile: Json, params: Json, optional: bool) -> Json:
    source = params["data"]["source"]
    raw = entry["open"] if source == "open" else entry["kind"]
    motion = entry["kind"] in ("amass", "moyo")
    counts = profile["poses" if motion else "images"][role]
    return {
        "role": role,
        "name": entry[source],
        "kind": entry["kind"],
        "source": source,
        "raw": f"datasets/raw/{raw}",
        "bodies": "datasets/open/body" if source == "open" else "datasets/body",
        "counts": {split: counts[split] for split in entry["splits"]},
        # Name of each split in the data set's reader, where a release calls it otherwise.
        "splits": {
            split: entry.get("licensed_splits", {}).get(split, split)
            if source == "licensed"
            else split
            for split in entry["splits"]
        },
        "generate": profile["clips"][role] if motion else counts,
        "frame": profile["crops"]["frame"],
        "stored": profile["crops"]["stored"],
        **({} if motion else chosen(profile["crops"], CROPS)),
        # Sets that only some variants are trained on: without them the rest can still run.
        "optional": source == "licensed" and optional,
        "seed": params["seed"],
    }


def is_optional(role: str, variants: Json) -> bool:
    """Whether only some variants are trained on a data set, and nothing is tested on it."""
    trained_on = variants["transformers"]["base"]["train_on"]
    return variants["datasets"][role]["splits"] == ["train"] and role not in trained_on


def build_jobs(params: Json, variants: Json) -> dict[str, Json]:
    """Merges the two files into all jobs.

    Args:
        params: content of params.yaml.
        variants: content of variants.yaml.

    Returns:
        Job by path, e.g. ``"tokenizer/base.json"``.

    Raises:
        UserError: an unknown key, variant, data set or profile, or a value that cannot be.
    """
    check_params(params)
    check_variants(variants)
    profile = pick(variants["profiles"], params["profile"], "profile")
    if params["weights"] != "profile":
        profile = profile | {"weights": params["weights"]}
    device, seed, crops = params["device"], params["seed"], profile["crops"]
    common = {"seed": seed, "device": device}
    jobs: dict[str, Json] = {}
    for role, entry in variants["datasets"].items():
        optional = is_optional(role, variants)
        jobs[f"data/{role}.json"] = _data_job(role, entry, profile, params, optional)
    for name, entry in variants["tokenizers"].items():
        jobs[f"tokenizer/{name}.json"] = tokenizer_job(name, entry, profile, params)
        jobs[f"evaluate-tokenizer/{name}.json"] = {
            "sets": {"mocap": "test", "yoga": "val"},
            "bodies": jobs[f"tokenizer/{name}.json"]["bodies"],
            "batch": profile["evaluation"]["batch"],
            "device": device,
        }
        if seeds := jobs[f"tokenizer/{name}.json"].get("seeds"):
            jobs[f"evaluate-tokenizer/{name}.json"]["models"] = len(seeds)
    shipped = profile["weights"] == "shipped"
    bodies = jobs["data/lab.json"]["bodies"]
    jobs["backbone/base.json"] = {
        "image_size": [crops["size"], crops["size"] * 3 // 4],
        "model": {
            **{k: profile["backbone"][k] for k in ("patch", "dim", "depth", "heads", "stem")},
            **{k: profile["backbone"].get(k, 0) for k in ("drop_path", "patch_padding")},
        },
        "train": {
            **{k: profile["backbone"].get(k) for k in ("steps", "batch", "lr", "images")},
            "features": profile["transformer"]["features"],
        },
        "import": profile["backbone"].get("import"),
        "weights": f"{SHIPPED}/backbone.safetensors" if shipped else None,
        **common,
    }
    jobs["lifter/base.json"] = lifter_job(
        profile["transformer"], variants["tokenizers"]["base"], shipped,
        {"bodies": bodies, **common},
    )  # fmt: skip
    for name in variants["transformers"]:
        entry = variant(name, variants)
        jobs[f"transformer/{name}.json"] = transformer_job(name, entry, profile, params, bodies)
        evaluation = variants["evaluations"][entry["evaluation"]]
        jobs[f"evaluate/{name}.json"] = {
            "model": name,
            "models": len(jobs[f"transformer/{name}.json"]["seeds"]),
            "sets": {
                role: {key: jobs[f"data/{role}.json"][key] for key in ("name", "kind", "raw")}
                for role in evaluation["sets"]
            },
            "settings": settings(evaluation, params),
            "detections": params["detections"]["source"],
            "crop": crops["size"],
            "bodies": bodies,
            "batch": profile["evaluation"]["batch"],
            "timing": profile["evaluation"]["timing"],
            "images": 0 if name == "base" else profile["evaluation"]["ablation_images"],
            **common,
        }
    for model, reason in left_out(variants, profile, params).items():
        kind, name = model.split("/")
        jobs[f"{model}.json"] = {"skip": reason}
        scored = "evaluate-tokenizer" if kind == "tokenizer" else "evaluate"
        jobs[f"{scored}/{name}.json"] = {"skip": reason}
    jobs["tables.json"] = _tables_job(params, variants, profile, jobs)
    return jobs


def _tables_job(params: Json, variants: Json, profile: Json, jobs: dict[str, Json]) -> Json:
    """What the tables, the claims and the figures have to know of the models."""
    source = params["data"]["source"]
    models = {
        key.removesuffix(".json"): job
        for key, job in jobs.items()
        if key.startswith(("tokenizer/", "transformer/", "backbone/", "lifter/"))
    }
    return {
        "profile": params["profile"],
        "source": source,
        "names": {role: entry[source] for role, entry in variants["datasets"].items()},
        "scale": profile["scale"],
        "detections": params["detections"]["source"],
        "turned": _turned(params),
        "short": sorted(name for name, job in models.items() if job.get("short")),
        "shipped": sorted(name for name, job in models.items() if job.get("weights")),
        "skipped": {name: job["skip"] for name, job in models.items() if "skip" in job},
        # A model that is another one, by the profile's numbers of steps.
        "same": {
            f"transformer/{ABLATION}": "transformer/base"
            for job in [models.get(f"transformer/{ABLATION}", {})]
            if job.get("skip") == SAME_AS_BASE
        },
        "steps": {
            name: job["train"]["steps"]
            for name, job in models.items()
            if name.startswith("transformer/") and "skip" not in job
        },
    }


def _turned(params: Json) -> list[str]:
    """The knobs of inference that are not as the tables are made, as ``"ugs.iters=20"``."""
    return [
        f"{group}.{key}={str(value).lower() if isinstance(value, bool) else value}"
        for group, stated in PAPER_INFERENCE.items()
        for key, usual in (stated | INFERENCE[group]).items()
        if (value := params[group][key]) != usual
    ]


def write_plan(jobs: dict[str, Json], out: Path) -> None:
    """Writes one JSON a job under ``out``, replacing what was there."""
    out = Path(out)
    fresh = out.with_name(out.name + ".part")
    shutil.rmtree(fresh, ignore_errors=True)
    for name, job in jobs.items():
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(job, indent=1, sort_keys=True) + "\n")
    shutil.rmtree(out, ignore_errors=True)
    fresh.rename(out)
