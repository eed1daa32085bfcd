"""What variants.yaml may hold, entry by entry: the key, the values it takes, and words for them.

The numbers that are limits of the code (joints, scales, vertices) stand here again, so that a plan
loads none of it; a test compares them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any

from bench.params import text_hint
from genhmr.types import UserError

Json = dict[str, Any]

SCALES = (1, 4, 8, 16)  # of the feature pyramid
VERTICES = 6890
LEAST_CODE_DIM = 8  # a code holds a rotation
IMAGE_KINDS = ("3dpw", "emdb", "h36m", "coco", "itw", "bedlam")
MOTION_KINDS = ("amass", "moyo")
REFERENCES = ("learned", "keypoints")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Rule:
    """Which values are right, and the words that follow a wrong one."""

    fits: Callable[[Any], bool]
    words: str


@dataclass(frozen=True)
class Each:
    """A mapping whose keys are names, each with a value as ``inner`` says."""

    inner: Any


@dataclass(frozen=True)
class OrNull:
    """Nothing (null), or what ``inner`` says."""

    inner: Any


def is_number(value: Any) -> bool:
    """A finite int or float; True and False are none."""
    right = isinstance(value, (int, float)) and not isinstance(value, bool)
    return right and math.isfinite(value)


def is_name(value: Any) -> bool:
    """What can be the name of a model, of its stages and of its folder."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _whole(least: int, most: float = math.inf) -> Rule:
    words = f"it must be a whole number of {least} or more"
    if most < math.inf:
        words = f"it must be a whole number from {least} to {most}"
    return Rule(lambda v: is_number(v) and isinstance(v, int) and least <= v <= most, words)


def _choice(*values: str) -> Rule:
    words = f"choose one of {', '.join(values)}"
    return Rule(lambda v: isinstance(v, str) and v in values, words)


def _names(words: str, known: Container[str] | None = None) -> Rule:
    def fits(value: Any) -> bool:
        whole = isinstance(value, list) and value and len(value) == len(set(map(str, value)))
        return bool(whole) and all(is_name(v) and (known is None or v in known) for v in value)

    return Rule(fits, f"it must be a list of {words}, each once")


def _increasing(value: Any) -> bool:
    whole = isinstance(value, list) and value and all(type(v) is int for v in value)
    return bool(whole) and value == sorted(set(value))


WHOLE, COUNT = _whole(1), _whole(0)
POSITIVE = Rule(lambda v: is_number(v) and v > 0, "it must be a number greater than 0")
NOT_NEGATIVE = Rule(lambda v: is_number(v) and v >= 0, "it must be a number of 0 or more")
TEXT = Rule(lambda v: isinstance(v, str) and v.strip() != "", "it must be a text")
NAME = Rule(is_name, "it must be a name")
SHARE = Rule(lambda v: is_number(v) and 0 <= v < 1, "it must be a number from 0 to below 1")
SWITCH = Rule(lambda v: isinstance(v, bool), "it must be true or false")
SHARES = Rule(
    lambda v: isinstance(v, dict) and v and all(is_number(n) and n > 0 for n in v.values()),
    "it must name data sets and their shares, numbers greater than 0, as {mocap: 0.7, yoga: 0.3}",
)

DATASET = {
    "kind": _choice(*IMAGE_KINDS, *MOTION_KINDS),
    "open": TEXT,
    "licensed": TEXT,
    "splits": _names("train, val and test", ("train", "val", "test")),
    "licensed_splits?": Each(TEXT),
}
TOKENIZER = {
    "tokens": WHOLE,
    "codes": WHOLE,
    "code_dim": WHOLE,
    "train_on": SHARES,
    "seeds?": WHOLE,
}
TRANSFORMER = {
    "tokenizer": NAME,
    "evaluation": NAME,
    "scales": Rule(
        lambda v: _increasing(v) and set(v) <= set(SCALES),
        f"it must be a list out of {', '.join(map(str, SCALES))} in this order, as [1, 4, 8]",
    ),
    "layers": WHOLE,
    "mask_tau": Rule(
        lambda v: is_number(v) and 0 < v <= 1, "it must be a number above 0 and at most 1"
    ),
    "gumbel": {"tau_start": POSITIVE, "tau_end": POSITIVE, "duration": POSITIVE},
    "losses": dict.fromkeys(("mask", "pose", "betas", "joints_3d", "joints_2d"), NOT_NEGATIVE),
    "train_on": SHARES,
}
# What a transformer other than the base must say: dvc.yaml and the tables read it.
NOT_INHERITED = ("tokenizer", "evaluation")
EVALUATION = {
    "sets": _names("data sets"),
    # What `ugs` and `refine` hold is checked like params.yaml.
    "settings": Each(
        {
            "ugs?": Each(Rule(lambda _: True, "")),
            "refine?": Each(Rule(lambda _: True, "")),
            "report?": Rule(
                lambda v: _increasing(v) and v[0] >= 0,
                "it must be an increasing list of refinement steps, as [0, 1, 3]",
            ),
            "sets?": _names("data sets"),
        }
    ),
}
TABLE = {
    "transformer?": NAME,
    "rows": Rule(
        lambda v: isinstance(v, list) and all(isinstance(row, dict) for row in v),
        "it must be a list of rows, as - {tokens: 48, tokenizer: t48}",
    ),
}
_LENGTH = {"steps": WHOLE, "batch": WHOLE}
# Keys that end in `?` here and below may be absent; bench/plan_options.py has their defaults.
_RATE = {"warmup?": COUNT, "constant_lr?": SWITCH}
PROFILE = {
    "about": TEXT,
    "minutes?": POSITIVE,
    "weights": _choice("trained", "shipped"),
    "seeds": WHOLE,
    "ablation_seeds?": WHOLE,
    "only?": {"tokenizer?": _names("tokenizers"), "transformer?": _names("transformers")},
    "scale": {"tokens": WHOLE, "codes": WHOLE, "code_dim": WHOLE},
    "images": Each(Each(COUNT)),
    "poses": Each(Each(COUNT)),
    "clips": Each(Each(COUNT)),
    "crops": {
        "size": WHOLE,
        "stored": WHOLE,
        "frame": COUNT,
        "box_scale?": Rule(lambda v: is_number(v) and v >= 1, "it must be a number of 1 or more"),
    },
    "backbone": {
        **{key: WHOLE for key in ("patch", "dim", "depth", "heads")},
        "stem": _choice("patch", "conv"),
        "drop_path?": SHARE,
        "patch_padding?": COUNT,
        "import?": TEXT,
        **{key: WHOLE for key in ("steps?", "batch?", "images?")},
        "lr?": POSITIVE,
    },
    "tokenizer": {
        "width": WHOLE,
        "vertices": _whole(1, VERTICES),
        "joint_noise": NOT_NEGATIVE,
        **_LENGTH,
        "lr": POSITIVE,
        **_RATE,
        "short": SWITCH,
    },
    "transformer": {
        **{key: WHOLE for key in ("width", "heads", "points", "features")},
        "reference": _choice(*REFERENCES),
        "lifter": OrNull({"width": WHOLE, **_LENGTH, "weight": NOT_NEGATIVE}),
        **{
            key: NOT_NEGATIVE
            for key in ("heatmap_weight", "backbone_lr_scale", "geometry_scale", "expected_scale",
                        "target_spread")
        },
        **_LENGTH,
        "ablation_steps": WHOLE,
        "ablation_batch": WHOLE,
        "base_gumbel?": {"tau_start?": POSITIVE, "tau_end?": POSITIVE, "duration?": POSITIVE},
        "lr": POSITIVE,
        **_RATE,
        "warmup?": Rule(
            lambda v: v is None or COUNT.fits(v), "it must be a whole number of 0 or more, or null"
        ),
        "weight_decay?": NOT_NEGATIVE,
        "ema_decay?": SHARE,
        "clip_norm?": POSITIVE,
        "all_tokens?": SWITCH,
        "short": SWITCH,
    },
    "evaluation": {"batch": WHOLE, "timing": WHOLE, "ablation_images": COUNT},
}  # fmt: skip


def refuse(sentence: str) -> UserError:
    """The error of a plan that cannot be."""
    return UserError(f"variants.yaml: {sentence}.")


def check(
    what: str, value: Any, rule: Any, need: Container[str] | None = None, at: str = ""
) -> None:
    """Refuses a value that is not as a rule says.

    Args:
        what: whose value, as "transformer 'base'".
        value: as it stands in the file.
        rule: a Rule; a mapping of keys to rules, where one that ends in ``?`` may be absent; an
            Each or an OrNull.
        need: keys of the outermost mapping that must be there; None for all but those with ``?``.
        at: where in the entry, with dots.

    Raises:
        UserError: the first thing that is wrong, in one sentence.
    """
    if isinstance(rule, OrNull):
        if value is None:
            return
        rule = rule.inner
    if isinstance(rule, Rule):
        if not rule.fits(value):
            shown = repr(value) if len(repr(value)) < 60 else f"{repr(value)[:56]} ..."
            raise refuse(f"{what} has {at} {shown}; {rule.words}{text_hint(value)}")
        return
    if not isinstance(value, dict):
        named = f"{at} of {what}" if at else what
        raise refuse(f"{named} is {value!r}; it must be a mapping of names to values")
    inside = f"{at}." if at else ""
    if isinstance(rule, Each):
        for key, own in value.items():
            if not is_name(key):
                raise refuse(f"{what} has the key {inside}{key!r}, which is no name")
            check(what, own, rule.inner, at=f"{inside}{key}")
        return
    _check_mapping(what, value, rule, need, inside)


def _check_mapping(
    what: str, value: Json, table: Mapping[str, Any], need: Container[str] | None, inside: str
) -> None:
    rules = {key.removesuffix("?"): rule for key, rule in table.items()}
    for key in value:
        if key not in rules:
            raise refuse(
                f"{what} has the unknown key '{inside}{key}'; the keys are {', '.join(rules)}"
            )
    for key, rule in rules.items():
        if key in value:
            below = None if need is None else ()
            check(what, value[key], rule, below, f"{inside}{key}")
        elif key in table if need is None else key in need:
            raise refuse(f"{what} lacks '{inside}{key}'")
