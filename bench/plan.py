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

import yaml

from genhmr.types import UserError

Json = dict[str, Any]

# params.yaml, key by key: the type and, where there is one, the list of allowed values.
SCHEDULES = ("cosine", "cosine_half", "linear", "cubic", "square_root")
PARAMS: dict[str, tuple[type, tuple[Any, ...] | None]] = {
    "profile": (str, None),
    "seed": (int, None),
    "data.source": (str, ("open", "licensed")),
    "ugs.iters": (int, None),
    "ugs.schedule": (str, SCHEDULES),
    "ugs.top_k": (int, None),
    "ugs.temperature": (float, None),
    "refine.iters": (int, None),
    "refine.step_size": (float, None),
    "refine.pose_weight": (float, None),
    "refine.camera": (bool, None),
    "detections.source": (str, ("simulated", "openpose")),
    "device": (str, ("auto", "cpu", "cuda")),
}
REFERENCES = ("learned", "keypoints")
POSITIVE = ("ugs.iters", "ugs.top_k", "ugs.temperature", "refine.step_size")
NOT_NEGATIVE = ("seed", "refine.iters", "refine.pose_weight")


def read_yaml(path: Path) -> Json:
    """Reads a YAML mapping.

    Raises:
        UserError: the file is missing, is not YAML or is not a mapping.
    """
    try:
        content = yaml.safe_load(Path(path).read_text())
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: run from the root of the repository.") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {str(error).splitlines()[-1]}.") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold a mapping of names to values.")
    return content


def _flatten(tree: Json, prefix: str = "") -> Json:
    flat: Json = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def check_params(params: Json, where: str = "params.yaml") -> None:
    """Refuses unknown keys, wrong types and impossible values, one sentence each.

    Raises:
        UserError: naming the key, what it holds and what it may hold.
    """
    flat = _flatten(params)
    for key in sorted(set(flat) - set(PARAMS)):
        raise UserError(f"{where}: unknown key '{key}'; the keys are {', '.join(PARAMS)}.")
    for key, (kind, allowed) in PARAMS.items():
        if key not in flat:
            raise UserError(f"{where}: '{key}' is missing; add it as the shipped file has it.")
        value = flat[key]
        number = kind is float and isinstance(value, int) and not isinstance(value, bool)
        wrong = not isinstance(value, kind) or (kind is int and isinstance(value, bool))
        if wrong and not number:
            raise UserError(f"{where}: '{key}' is {value!r}; it must be of type {kind.__name__}.")
        if allowed and value not in allowed:
            raise UserError(f"{where}: '{key}' is {value!r}; choose one of {', '.join(allowed)}.")
        if key in POSITIVE and not value > 0:
            raise UserError(f"{where}: '{key}' is {value!r}; it must be greater than 0.")
        if key in NOT_NEGATIVE and not value >= 0:
            raise UserError(f"{where}: '{key}' is {value!r}; it must not be negative.")


def _pick(table: Json, name: str, what: str) -> Any:
    if name not in table:
        raise UserError(
            f"variants.yaml: unknown {what} '{name}'; known are {', '.join(map(str, table))}."
        )
    return table[name]


def _scaled(value: int, divisor: int, what: str) -> int:
    if value % divisor:
        raise UserError(f"variants.yaml: {what} {value} cannot be divided by {divisor}.")
    return value // divisor


def _data_job(role: str, entry: Json, profile: Json, params: Json) -> Json:
    source = params["data"]["source"]
    raw = entry["open"] if source == "open" else entry["kind"]
    motion = entry["kind"] in ("amass", "moyo")
    counts = _pick(profile["poses" if motion else "images"], role, "data set in the profile")
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
        "seed": params["seed"],
    }


def _tokenizer_job(name: str, entry: Json, profile: Json, params: Json) -> Json:
    scale, sizes = profile["scale"], profile["tokenizer"]
    shipped = name == "base" and profile["weights"] == "shipped"
    return {
        "model": {
            "num_tokens": _scaled(entry["tokens"], scale["tokens"], "tokens"),
            "num_codes": _scaled(entry["codes"], scale["codes"], "codes"),
            "code_dim": _scaled(entry["code_dim"], scale["code_dim"], "code_dim"),
            "width": sizes["width"],
        },
        "train_on": entry["train_on"],
        "train": {
            "steps": sizes["steps"],
            "batch_size": sizes["batch"],
            "lr": sizes["lr"],
            "num_vertices": sizes["vertices"],
            "joint_noise": sizes["joint_noise"],
        },
        "weights": "datasets/open/weights/tokenizer.safetensors" if shipped else None,
        "short": bool(sizes["short"]) and not shipped,
        "bodies": "datasets/open/body" if params["data"]["source"] == "open" else "datasets/body",
        "seed": params["seed"],
        "device": params["device"],
    }


def _settings(entry: Json, params: Json) -> Json:
    resolved: Json = {}
    for name, setting in entry["settings"].items():
        for role in setting.get("sets", []):
            if role not in entry["sets"]:
                raise UserError(
                    f"variants.yaml: setting '{name}' names the set '{role}', which its evaluation "
                    f"does not have: {', '.join(entry['sets'])}."
                )
        for group in set(setting) - {"report", "sets"}:
            for key in setting[group]:
                if f"{group}.{key}" not in PARAMS:
                    raise UserError(
                        f"variants.yaml: setting '{name}' has the unknown key '{group}.{key}'."
                    )
        refine = params["refine"] | setting.get("refine", {})
        merged = params | {"ugs": params["ugs"] | setting.get("ugs", {}), "refine": refine}
        check_params(merged, f"variants.yaml: setting '{name}'")
        if beyond := [step for step in setting.get("report", []) if step > refine["iters"]]:
            raise UserError(
                f"variants.yaml: setting '{name}' reports step {beyond[0]} and refines "
                f"{refine['iters']} steps only."
            )
        resolved[name] = {
            "ugs": merged["ugs"],
            "refine": refine,
            "report": setting.get("report", [refine["iters"]]),
            "sets": setting.get("sets", entry["sets"]),
        }
    return resolved


def _check_guide(name: str, sizes: Json) -> None:
    """Refuses a transformer whose reference points and losses contradict each other."""
    if sizes["reference"] not in REFERENCES:
        raise UserError(
            f"variants.yaml: profile '{name}' has reference {sizes['reference']!r}; "
            f"choose one of {', '.join(REFERENCES)}."
        )
    if sizes["reference"] == "keypoints" and not sizes["lifter"]:
        raise UserError(
            f"variants.yaml: profile '{name}' has reference keypoints and no lifter; give it "
            "{width: 512, steps: 20000, batch: 128, weight: 0.1} or set reference to learned."
        )
    if sizes["reference"] == "learned" and sizes["heatmap_weight"]:
        raise UserError(
            f"variants.yaml: profile '{name}' has heatmap_weight {sizes['heatmap_weight']} and no "
            "keypoints (reference: learned); set heatmap_weight to 0."
        )


def _lift_job(sizes: Json, tokenizer: Json) -> Json | None:
    """How the guide's lifter is trained: on the motion that the tokenizer learns from."""
    if sizes["reference"] == "learned":
        return None
    return {
        **{k: sizes["lifter"][k] for k in ("steps", "batch", "weight")},
        "train_on": tokenizer["train_on"],
    }


def build_jobs(params: Json, variants: Json) -> dict[str, Json]:
    """Merges the two files into all jobs.

    Args:
        params: content of params.yaml.
        variants: content of variants.yaml.

    Returns:
        Job by path, e.g. ``"tokenizer/base.json"``.

    Raises:
        UserError: an unknown key, variant, data set or profile.
    """
    check_params(params)
    profile = _pick(variants["profiles"], params["profile"], "profile")
    device, seed, crops = params["device"], params["seed"], profile["crops"]
    jobs: dict[str, Json] = {}
    for role, entry in variants["datasets"].items():
        jobs[f"data/{role}.json"] = _data_job(role, entry, profile, params)
    for name, entry in variants["tokenizers"].items():
        for role in entry["train_on"]:
            _pick(variants["datasets"], role, "data set")
        jobs[f"tokenizer/{name}.json"] = _tokenizer_job(name, entry, profile, params)
        jobs[f"evaluate-tokenizer/{name}.json"] = {
            "sets": {"mocap": "test", "yoga": "val"},
            "bodies": jobs[f"tokenizer/{name}.json"]["bodies"],
            "batch": profile["evaluation"]["batch"],
            "device": device,
        }
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
        "weights": "datasets/open/weights/backbone.safetensors" if shipped else None,
        "seed": seed,
        "device": device,
    }
    _check_guide(params["profile"], profile["transformer"])
    for name, entry in variants["transformers"].items():
        _pick(variants["tokenizers"], entry["tokenizer"], "tokenizer")
        base_shipped = shipped and name == "base"
        jobs[f"transformer/{name}.json"] = {
            **{k: entry[k] for k in ("tokenizer", "mask_tau", "gumbel", "losses", "train_on")},
            "model": {
                "scales": entry["scales"],
                "layers": entry["layers"],
                **{
                    k: profile["transformer"][k]
                    for k in ("width", "heads", "points", "features", "reference")
                },
                "lifter": (profile["transformer"]["lifter"] or {}).get("width"),
            },
            "train": {
                k: profile["transformer"][k]
                for k in (
                    "steps", "batch", "lr", "backbone_lr_scale", "geometry_scale",
                    "expected_scale", "target_spread", "heatmap_weight",
                )
            },  # fmt: skip
            "lift": _lift_job(profile["transformer"], variants["tokenizers"][entry["tokenizer"]]),
            "weights": "datasets/open/weights/genhmr.safetensors" if base_shipped else None,
            "short": bool(profile["transformer"]["short"]) and not base_shipped,
            "crop": crops["size"],
            "bodies": bodies,
            "seed": seed,
            "device": device,
        }
    for name, entry in variants["evaluations"].items():
        _pick(variants["transformers"], name, "transformer")
        for role in entry["sets"]:
            _pick(variants["datasets"], role, "data set")
        jobs[f"evaluate/{name}.json"] = {
            "model": name,
            "sets": {
                role: {key: jobs[f"data/{role}.json"][key] for key in ("name", "kind", "raw")}
                for role in entry["sets"]
            },
            "settings": _settings(entry, params),
            "detections": params["detections"]["source"],
            "crop": crops["size"],
            "bodies": bodies,
            **profile["evaluation"],
            "seed": seed,
            "device": device,
        }
    jobs["tables.json"] = {
        "profile": params["profile"],
        "source": params["data"]["source"],
        "names": {role: e[params["data"]["source"]] for role, e in variants["datasets"].items()},
        "scale": profile["scale"],
        "short": sorted(key.removesuffix(".json") for key, job in jobs.items() if job.get("short")),
        "shipped": sorted(
            key.removesuffix(".json") for key, job in jobs.items() if job.get("weights")
        ),
    }
    return jobs


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


def describe(params: Json, variants: Json, jobs: dict[str, Json]) -> str:
    """What will run and about how long, in one line."""
    profile = variants["profiles"][params["profile"]]
    count = {
        kind: sum(name.startswith(f"{kind}/") for name in jobs)
        for kind in ("data", "tokenizer", "transformer", "evaluate")
    }
    trained = sum("weights" in job and job["weights"] is None for job in jobs.values())
    minutes = profile["minutes"]
    duration = f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"
    return (
        f"profile {params['profile']} ({profile['about']}), {params['data']['source']} data: "
        f"{count['data']} data sets, {trained} models to train, "
        f"{count['tokenizer']} tokenizers and {count['evaluate']} transformer(s) to evaluate, "
        f"then the tables; about {duration} on 2 cores where everything has to run."
    )
