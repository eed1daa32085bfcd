"""params.yaml: what it may hold, and how any YAML of the project is read."""

from __future__ import annotations

import math
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
    "seeds": (int, None),
    "weights": (str, ("profile", "shipped", "trained")),
    "models": (list, None),
    "data.source": (str, ("open", "licensed")),
    "ugs.iters": (int, None),
    "ugs.schedule": (str, SCHEDULES),
    "ugs.top_k": (int, None),
    "ugs.temperature": (float, None),
    "ugs.remask_decoded": (bool, None),
    "refine.iters": (int, None),
    "refine.step_size": (float, None),
    "refine.pose_weight": (float, None),
    "refine.camera": (bool, None),
    "refine.camera_step_size": (float, None),
    "refine.optimiser": (str, ("adam", "gradient")),
    "detections.source": (str, ("simulated", "openpose")),
    "device": (str, ("auto", "cpu", "cuda")),
}
POSITIVE = (
    "ugs.iters",
    "ugs.top_k",
    "ugs.temperature",
    "refine.step_size",
    "refine.camera_step_size",
)
NOT_NEGATIVE = ("seed", "seeds", "refine.iters", "refine.pose_weight")


class _Loader(yaml.SafeLoader):
    """YAML's own types alone, and no key twice: the first would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Json:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # which YAML's own types refuse
            if (key.tag, key.value) in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key.value}' stands there twice", key.start_mark
                )
            seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


def _problem(error: yaml.YAMLError) -> str:
    """What the parser found and where, in one line."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return " ".join(str(error).split())
    told = f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    if error.context and error.context_mark:
        told += f" {error.context} that begins in line {error.context_mark.line + 1}"
    return told


def read_yaml(path: Path) -> Json:
    """Reads a YAML mapping.

    Raises:
        UserError: the file is missing, is not YAML, names a key twice or is not a mapping.
    """
    try:
        content = yaml.load(Path(path).read_text(), _Loader)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: run from the root of the repository.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as text: {error}.") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {_problem(error)}.") from error
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


def text_hint(value: Any) -> str:
    """How a number that YAML takes for a text becomes one."""
    try:
        number = isinstance(value, str) and math.isfinite(float(value))
    except ValueError:
        number = False
    if not number:
        return ""
    pointed = "write it with a point and a sign, as 1.0e-3"
    return f"; YAML reads a text there: {pointed if 'e' in value.lower() else 'without quotes'}"


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
            raise UserError(
                f"{where}: '{key}' is {value!r}; it must be of type "
                f"{kind.__name__}{text_hint(value)}."
            )
        if kind is list and not all(isinstance(item, str) for item in value):
            raise UserError(f"{where}: '{key}' is {value!r}; it must be a list of names.")
        if allowed and value not in allowed:
            raise UserError(f"{where}: '{key}' is {value!r}; choose one of {', '.join(allowed)}.")
        if kind is float and not math.isfinite(value):
            raise UserError(f"{where}: '{key}' is {value!r}; it must be a finite number.")
        if key in POSITIVE and not value > 0:
            raise UserError(f"{where}: '{key}' is {value!r}; it must be greater than 0.")
        if key in NOT_NEGATIVE and not value >= 0:
            raise UserError(f"{where}: '{key}' is {value!r}; it must not be negative.")
