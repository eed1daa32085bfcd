"""What no single entry of variants.yaml can tell: names that must be known, sizes that must fit.

Everything is checked before the first job is written, so that nothing is found out after hours of
training. Each complaint is one sentence that says what is allowed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.params import read_yaml
from bench.plan_rules import (
    DATASET,
    EVALUATION,
    LEAST_CODE_DIM,
    MOTION_KINDS,
    NOT_INHERITED,
    PROFILE,
    TABLE,
    TOKENIZER,
    TRANSFORMER,
    check,
    is_name,
    refuse,
)
from genhmr.types import NUM_JOINTS

Json = dict[str, Any]

SECTIONS = {
    "datasets": "data set",
    "tokenizers": "tokenizer",
    "transformers": "transformer",
    "evaluations": "evaluation",
    "tables": "table",
    "profiles": "profile",
}
TABLES = tuple(f"{number:02d}" for number in range(1, 17))
# Stages of dvc.yaml that are no variants: what they are made from must be there.
ALWAYS = {"datasets": ("lab", "mocap", "yoga"), "tokenizers": ("base",), "transformers": ("base",)}
# Every evaluation has these beside its settings.
METHODS = ("mean-pose", "lifted")
# Of a tokenizer's sizes after division by the profile's scale: a multiple of what, and at least.
SIZES = {"tokens": (NUM_JOINTS, NUM_JOINTS), "codes": (1, 2), "code_dim": (1, LEAST_CODE_DIM)}


def pick(table: Json, name: Any, what: str, where: str = "") -> Any:
    """An entry of ``table``; UserError where there is none of that name."""
    if not isinstance(name, str) or name not in table:
        known = ", ".join(map(str, table))
        raise refuse(f"{where}unknown {what} {_shown(name)}; known are {known}")
    return table[name]


def _shown(name: Any) -> str:
    return f"'{name}'" if isinstance(name, str) else repr(name)


def read_variants(path: Path) -> Json:
    """variants.yaml, checked but for what depends on the profile that runs.

    Raises:
        UserError: the file cannot be read, or an entry cannot be.
    """
    variants = read_yaml(path)
    check_variants(variants)
    return variants


def check_variants(variants: Json) -> None:
    """Refuses entries with unknown keys, wrong values or names that are nowhere.

    Raises:
        UserError: the first thing that is wrong, in one sentence.
    """
    _check_sections(variants)
    for name, entry in variants["datasets"].items():
        check(f"data set '{name}'", entry, DATASET)
    for name, entry in variants["tokenizers"].items():
        what = f"tokenizer '{name}'"
        check(what, entry, TOKENIZER)
        _check_sets(what, entry["train_on"], variants["datasets"], "train", motion=True)
    for name, entry in variants["evaluations"].items():
        check(f"evaluation '{name}'", entry, EVALUATION)
        _check_sets(f"evaluation '{name}'", entry["sets"], variants["datasets"], "test")
    for name, entry in variants["transformers"].items():
        _check_transformer(name, entry, variants)
    for name, entry in variants["profiles"].items():
        check(f"profile '{name}'", entry, PROFILE)
        _check_counts(name, entry, variants["datasets"])
        _check_only(name, entry, variants)
        check_guide(name, entry["transformer"])
        _check_sizes(name, entry)
    for number, spec in variants["tables"].items():
        _check_table(number, spec, variants)


def _check_sections(variants: Json) -> None:
    for section in variants:
        if section not in SECTIONS:
            raise refuse(f"unknown section {_shown(section)}; there are {', '.join(SECTIONS)}")
    for section, what in SECTIONS.items():
        entries = variants.get(section)
        if not isinstance(entries, dict) or not entries:
            raise refuse(f"the section '{section}' must be a mapping of names to entries")
        for name in entries:
            if section != "tables" and not is_name(name):
                raise refuse(
                    f"{what} {_shown(name)} has no name that a stage can have: letters, digits, "
                    "dots, hyphens and underscores, in quotes where all are digits"
                )
        for name in ALWAYS.get(section, ()):
            if name not in entries:
                raise refuse(f"the section '{section}' lacks '{name}', from which stages are made")


def _check_sets(
    what: str, roles: Iterable[Any], datasets: Json, split: str, motion: bool = False
) -> None:
    """Data sets that a model is trained on or scored on: known, of its kind, with that split."""
    for role in roles:
        entry = pick(datasets, role, "data set", f"{what} names the ")
        if (entry["kind"] in MOTION_KINDS) != motion:
            kind = "motion" if motion else "images"
            raise refuse(f"{what} needs {kind} and names the data set '{role}', of other content")
        if split not in entry["splits"]:
            raise refuse(f"{what} names the data set '{role}', which has no split '{split}'")


def _check_transformer(name: str, entry: Any, variants: Json) -> None:
    what = f"transformer '{name}'"
    check(what, entry, TRANSFORMER, None if name == "base" else NOT_INHERITED)
    pick(variants["tokenizers"], entry["tokenizer"], "tokenizer", f"{what} names the ")
    pick(variants["evaluations"], entry["evaluation"], "evaluation", f"{what} names the ")
    _check_sets(what, entry.get("train_on", ()), variants["datasets"], "train")
    losses = variants["transformers"]["base"]["losses"] | entry.get("losses", {})
    if not any(losses.values()):
        raise refuse(f"{what} has every loss at 0 and would learn nothing; give one a weight")


def _check_counts(name: str, profile: Json, datasets: Json) -> None:
    """How many images, poses and clips a profile takes of each data set."""
    for role, entry in datasets.items():
        motion = entry["kind"] in MOTION_KINDS
        wanted = {"poses" if motion else "images": entry["splits"]}
        if motion:
            wanted["clips"] = ["train"]
        for key, splits in wanted.items():
            counts = profile[key].get(role, {})
            for split in splits:
                if split not in counts:
                    raise refuse(f"profile '{name}' lacks '{key}.{role}.{split}'")
    for key in ("images", "poses", "clips"):
        for role in profile[key]:
            pick(datasets, role, "data set", f"profile '{name}' has under '{key}' the ")


def _check_only(name: str, profile: Json, variants: Json) -> None:
    for kind, names in profile.get("only", {}).items():
        for model in names:
            pick(variants[f"{kind}s"], model, kind, f"profile '{name}' has under 'only' the ")


def check_guide(name: str, sizes: Json) -> None:
    """Refuses a profile whose reference points and losses contradict each other."""
    if sizes["reference"] == "keypoints" and not sizes["lifter"]:
        raise refuse(
            f"profile '{name}' has reference keypoints and no lifter; give it "
            "{width: 512, steps: 20000, batch: 128, weight: 0.1} or set reference to learned"
        )
    if sizes["reference"] == "learned" and sizes["heatmap_weight"]:
        raise refuse(
            f"profile '{name}' has heatmap_weight {sizes['heatmap_weight']} and no keypoints "
            "(reference: learned); set heatmap_weight to 0"
        )


def _check_sizes(name: str, profile: Json) -> None:
    """Sizes of a profile's networks that must divide one another."""
    backbone, size = profile["backbone"], profile["crops"]["size"]
    what, patch = f"profile '{name}'", backbone["patch"]
    if size % patch or size % 8 or size * 3 // 4 % patch:
        raise refuse(
            f"{what} has crops.size {size}; take a multiple of {math.lcm(4 * patch, 8)}, so that "
            f"patches of {patch} pixels fill the crop and the middle 3/4 that the backbone sees"
        )
    if backbone["stem"] == "conv" and (patch < 2 or patch & (patch - 1)):
        raise refuse(f"{what} has backbone.patch {patch}; with stem conv it must be a power of 2")
    for width, heads, by in (
        ("backbone.dim", "backbone.heads", backbone["heads"]),
        ("backbone.dim", "the number of parts of a position", 4),
        ("transformer.width", "transformer.heads", profile["transformer"]["heads"]),
    ):
        section, _, key = width.partition(".")
        if (own := profile[section][key]) % by:
            raise refuse(f"{what} has {width} {own}; {heads}, {by}, must divide it")
    missing = [key for key in ("steps", "batch", "lr", "images") if key not in backbone]
    if missing and "import" not in backbone:
        raise refuse(
            f"{what} lacks 'backbone.{missing[0]}', without which only a backbone with 'import' is "
            "made"
        )


def check_tokenizer_sizes(name: str, entry: Json, profile_name: str, scale: Json) -> None:
    """Refuses a tokenizer that cannot be built in the scale of a profile.

    Raises:
        UserError: naming the sizes that can.
    """
    for key, (unit, lowest) in SIZES.items():
        step, least = unit * scale[key], lowest * scale[key]
        if entry[key] % step or entry[key] < least:
            some = ", ".join(str(least + i * step) for i in range(4))
            why = f"{NUM_JOINTS} joints, " if key == "tokens" else ""
            raise refuse(
                f"tokenizer '{name}' has {key} {entry[key]}; profile '{profile_name}' takes "
                f"{some} and so on ({why}scale {scale[key]})"
            )


def _check_table(number: Any, spec: Any, variants: Json) -> None:
    if number not in TABLES:
        raise refuse(f"unknown table {_shown(number)}; in quotes, known are {', '.join(TABLES)}")
    what = f"table {number}"
    check(what, spec, TABLE)
    if "transformer" in spec:
        pick(variants["transformers"], spec["transformer"], "transformer", f"{what} names the ")
    for row in spec["rows"]:
        _check_row(what, row, spec, variants)


def _check_row(what: str, row: Json, spec: Json, variants: Json) -> None:
    """The model of a row, its setting and its step are among those that run."""
    shown = ", ".join(f"{key}: {value}" for key, value in row.items())
    where = f"{what}, row {{{shown}}}: "
    if "tokenizer" in row:
        pick(variants["tokenizers"], row["tokenizer"], "tokenizer", where)
        return
    if "transformer" not in row and "transformer" not in spec:
        raise refuse(f"{where}it names no transformer and no tokenizer")
    name = row.get("transformer", spec.get("transformer"))
    entry = pick(variants["transformers"], name, "transformer", where)
    settings = variants["evaluations"][entry["evaluation"]]["settings"]
    if "setting" not in row:
        raise refuse(f"{where}it names no setting; known are {', '.join(settings)}")
    known = settings | dict.fromkeys(METHODS, {})
    setting = pick(known, row["setting"], "setting", f"{where}transformer '{name}' has the ")
    report, step = setting.get("report", []), row.get("step", 0)
    steps = report if len(report) > 1 else [0]
    if step not in steps or isinstance(step, bool):
        scored = f"the steps {', '.join(map(str, steps))}" if len(steps) > 1 else "one step only"
        say = "give one of them" if len(steps) > 1 else "leave step out"
        raise refuse(f"{where}setting '{row['setting']}' scores {scored}; {say}")
