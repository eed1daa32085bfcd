"""Options that few runs turn, with their defaults, and the rule by which jobs carry them.

A job carries such an option only where it differs from its default here: a job that turns none is,
byte for byte, the job that was planned before there was the option, and nothing that was made from
it is made again. What runs a job hands on the options that it finds there; where it finds none,
the default of the function that takes it stands (a test compares the two).
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

# Of a profile's `tokenizer`; 50 steps of warm-up and a cosine are ours, see docs/decisions.md.
TOKENIZER = {"warmup": 50, "constant_lr": False}
# Of a profile's `transformer`. Warm-up: null is a tenth of the steps, 200 at most.
TRANSFORMER = {
    "warmup": None,
    "constant_lr": False,
    "weight_decay": 1e-4,
    "ema_decay": 0.999,
    "clip_norm": 1.0,
    "all_tokens": False,
}
# Of a profile's `crops`, for sets of images.
CROPS = {"box_scale": 1.0}
# Of params.yaml, where an evaluation does not set them.
INFERENCE: dict[str, Json] = {
    "ugs": {"remask_decoded": False},
    "refine": {"optimiser": "adam", "camera_step_size": 0.05},
}


def carried(values: Json, defaults: Json) -> Json:
    """The values that a job carries: all but options at their default."""
    return {
        key: value
        for key, value in values.items()
        if key not in defaults or value != defaults[key]
    }


def chosen(section: Json, defaults: Json) -> Json:
    """Of a profile's section the options that it turns."""
    return carried({key: section[key] for key in defaults if key in section}, defaults)
