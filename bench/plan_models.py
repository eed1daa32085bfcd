"""The models' part of the plan: how an entry of variants.yaml and a profile become a job."""

from __future__ import annotations

from fnmatch import fnmatch
from typing import Any

from bench.params import PARAMS, check_params
from bench.plan_checks import check_tokenizer_sizes
from bench.plan_options import INFERENCE, TOKENIZER, TRANSFORMER, carried, chosen
from genhmr.types import UserError

Json = dict[str, Any]

# Trained as briefly as the variants are, for the tables that compare trainings.
ABLATION = "ablation"
SAME_AS_BASE = "the base itself, which is trained as long"
SHIPPED = "datasets/open/weights"


def tokenizer_job(name: str, entry: Json, profile: Json, params: Json) -> Json:
    """Sizes of one tokenizer in the profile's scale, and how it is trained.

    Raises:
        UserError: sizes that the profile's scale does not divide, or that no tokenizer has.
    """
    scale, sizes = profile["scale"], profile["tokenizer"]
    check_tokenizer_sizes(name, entry, params["profile"], scale)
    shipped = name == "base" and profile["weights"] == "shipped"
    asked = _seeds_asked(profile, params)
    least = entry.get("seeds", 1)
    several = asked > 1 and "seeds" in entry and not shipped
    turned = chosen(sizes, TOKENIZER)
    if "warmup" in turned:
        turned["warm_up"] = turned.pop("warmup")  # as its training calls it
    return {
        "model": {
            "num_tokens": entry["tokens"] // scale["tokens"],
            "num_codes": entry["codes"] // scale["codes"],
            "code_dim": entry["code_dim"] // scale["code_dim"],
            "width": sizes["width"],
        },
        "train_on": entry["train_on"],
        "train": {
            "steps": sizes["steps"],
            "batch_size": sizes["batch"],
            "lr": sizes["lr"],
            "num_vertices": sizes["vertices"],
            "joint_noise": sizes["joint_noise"],
            **turned,
        },
        "weights": "datasets/open/weights/tokenizer.safetensors" if shipped else None,
        "short": bool(sizes["short"]) and not shipped,
        "bodies": "datasets/open/body" if params["data"]["source"] == "open" else "datasets/body",
        "seed": params["seed"],
        **({"seeds": _from(params["seed"], max(asked, least))} if several else {}),
        "device": params["device"],
    }


def _seeds_asked(profile: Json, params: Json) -> int:
    return params["seeds"] or profile["seeds"]


def _from(first: int, count: int) -> list[int]:
    return [first + index for index in range(count)]


def settings(entry: Json, params: Json) -> Json:
    """The inference settings of an evaluation, what they leave out taken from params.yaml.

    Raises:
        UserError: an unknown set or key, a value that params.yaml could not hold, or a step to
            report that refinement does not reach.
    """
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
            "ugs": carried(merged["ugs"], INFERENCE["ugs"]),
            "refine": carried(refine, INFERENCE["refine"]),
            "report": setting.get("report", [refine["iters"]]),
            "sets": setting.get("sets", entry["sets"]),
        }
    return resolved


def lifter_job(sizes: Json, tokenizer: Json, shipped: bool, common: Json) -> Json:
    """The guide's lifter is trained once, on the motion that the base's tokenizer learns from."""
    if sizes["reference"] == "learned":
        return {"skip": "this profile learns its reference points and lifts nothing"}
    return {
        "width": sizes["lifter"]["width"],
        "train": {key: sizes["lifter"][key] for key in ("steps", "batch")},
        "train_on": tokenizer["train_on"],
        "weights": f"{SHIPPED}/genhmr.safetensors" if shipped else None,
        **common,
    }


def variant(name: str, variants: Json) -> Json:
    """A transformer with what it leaves out taken from the base."""
    base, own = variants["transformers"]["base"], variants["transformers"][name]
    groups = {key: base[key] | own.get(key, {}) for key in ("gumbel", "losses")}
    return {**base, **own, **groups}


def seeds_of(name: str, profile: Json, params: Json) -> list[int]:
    """The seeds that a transformer is trained with: several for the two bases, if asked for.

    The seeds of the base tell what a training of its length leaves to chance, those of ``ablation``
    what one as short as the variants' does.

    Raises:
        UserError: more than one seed where the profile takes shipped weights.
    """
    shipped = profile["weights"] == "shipped"
    if params["seeds"] > 1 and shipped and params["weights"] == "profile":
        raise UserError(
            f"params.yaml: seeds is {params['seeds']}, and profile '{params['profile']}' takes the "
            "shipped base, of which there is one: choose profile open, which trains it."
        )
    if name not in ("base", ABLATION) or (name == "base" and shipped):
        return [params["seed"]]
    own = not params["seeds"] and name == ABLATION and profile.get("ablation_seeds")
    return _from(params["seed"], own or _seeds_asked(profile, params))


def transformer_job(
    name: str, entry: Json, profile: Json, params: Json, bodies: str
) -> Json:
    """Sizes of one transformer, its losses and how it is trained; ``entry`` is whole."""
    sizes = profile["transformer"]
    if sizes["reference"] == "learned":
        sizes = sizes | {"lifter": None}  # nothing to lift without keypoints
    shipped = profile["weights"] == "shipped" and name == "base"
    length = "" if name == "base" else "ablation_"
    return {
        **{key: entry[key] for key in ("tokenizer", "mask_tau", "losses", "train_on")},
        "gumbel": entry["gumbel"] | (sizes.get("base_gumbel", {}) if name == "base" else {}),
        "model": {
            "scales": entry["scales"],
            "layers": entry["layers"],
            **{key: sizes[key] for key in ("width", "heads", "points", "features", "reference")},
            "lifter": (sizes["lifter"] or {}).get("width"),
        },
        "train": {
            "steps": sizes[f"{length}steps"],
            "batch": sizes[f"{length}batch"],
            "lifted_weight": (sizes["lifter"] or {}).get("weight", 0),
            **{
                key: sizes[key]
                for key in (
                    "lr", "backbone_lr_scale", "geometry_scale", "expected_scale",
                    "target_spread", "heatmap_weight",
                )
            },
            **chosen(sizes, TRANSFORMER),
        },
        "weights": f"{SHIPPED}/genhmr.safetensors" if shipped else None,
        "short": bool(sizes["short"]) and not shipped,
        "crop": profile["crops"]["size"],
        "bodies": bodies,
        "seeds": seeds_of(name, profile, params),
        "device": params["device"],
    }  # fmt: skip


def _wanted(
    patterns: list[str], variants: Json, only: Json, several: bool
) -> dict[str, set[str]]:
    """The tokenizers and transformers that ``models`` of params.yaml asks for.

    With the base, with the tokenizer below each transformer, and where one that is compared with
    others is asked for, with what says how much chance does: ``ablation``, and the tokenizer that
    has several seeds.

    Args:
        patterns: shell patterns of names.
        variants: content of variants.yaml.
        only: what the profile restricts itself to, by kind; empty for nothing.
        several: whether models are trained with several seeds.

    Raises:
        UserError: a pattern that no name of the profile matches.
    """
    known = {
        kind: {n: e for n, e in variants[f"{kind}s"].items() if n in only.get(kind, (n,))}
        for kind in ("tokenizer", "transformer")
    }
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for names in known.values() for name in names):
            raise UserError(
                f"params.yaml: models names '{pattern}', which no tokenizer or transformer of this "
                "profile matches (variants.yaml)."
            )
    found = {
        kind: {n for n in names if any(fnmatch(n, pattern) for pattern in patterns)}
        for kind, names in known.items()
    }
    if several and found["tokenizer"] - {"base"}:
        found["tokenizer"] |= {n for n, e in known["tokenizer"].items() if "seeds" in e}
    if found["transformer"] - {"base"}:
        found["transformer"].add(ABLATION)
    found["transformer"].add("base")
    for name in found["transformer"] & set(known["transformer"]):
        found["tokenizer"].add(known["transformer"][name]["tokenizer"])
    return found


def left_out(variants: Json, profile: Json, params: Json) -> dict[str, str]:
    """Why a model of variants.yaml is not part of this run, by ``"transformer/<name>"``."""
    reasons: dict[str, str] = {}
    if params["models"]:
        several = _seeds_asked(profile, params) > 1
        only = profile.get("only", {})
        for kind, names in _wanted(params["models"], variants, only, several).items():
            for name in set(variants[f"{kind}s"]) - names:
                reasons[f"{kind}/{name}"] = "left out of this run by `models` of params.yaml"
    for kind, wanted in profile.get("only", {}).items():
        known = variants[f"{kind}s"]
        for name in known:
            if name not in wanted:
                reasons[f"{kind}/{name}"] = "left out of this profile"
    sizes = profile["transformer"]
    same = (
        profile["weights"] != "shipped"
        and "base_gumbel" not in sizes
        and all(sizes[f"ablation_{key}"] == sizes[key] for key in ("steps", "batch"))
    )
    if same and ABLATION in variants["transformers"]:
        reasons[f"transformer/{ABLATION}"] = SAME_AS_BASE
    for name, entry in variants["transformers"].items():
        below = f"tokenizer/{entry['tokenizer']}"
        if f"transformer/{name}" not in reasons and below in reasons:
            raise UserError(
                f"variants.yaml: profile leaves {below} out, on which transformer '{name}' "
                "builds: name both under `only`, or neither."
            )
    return reasons
