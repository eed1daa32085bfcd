"""dvc.yaml as a graph of stages: what lies behind one, and what waits where one fails."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from genhmr.types import UserError

Json = dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """Paths that a stage depends on, and paths that it writes."""

    deps: tuple[str, ...]
    outs: tuple[str, ...]


def read_pipeline(path: Path) -> Json:
    """dvc.yaml; UserError where it is missing or no YAML."""
    try:
        return yaml.safe_load(Path(path).read_text())
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path} is missing or no YAML: run in the repository.") from error


def stages_of(pipeline: Json, variants: Json) -> dict[str, Stage]:
    """Every stage by its name, in the order of the file; repeated ones as ``"data@wild"``.

    Args:
        pipeline: content of dvc.yaml.
        variants: content of variants.yaml, over which the stages are repeated.
    """
    found: dict[str, Stage] = {}
    for name, stage in pipeline["stages"].items():
        if "foreach" not in stage:
            found[name] = Stage(tuple(stage["deps"]), _paths(stage["outs"]))
            continue
        for key, item in variants[stage["foreach"].strip("${}")].items():
            deps, outs = (
                tuple(_filled(path, key, item) for path in paths)
                for paths in (stage["do"]["deps"], _paths(stage["do"]["outs"]))
            )
            found[f"{name}@{key}"] = Stage(deps, outs)
    return found


def _filled(text: str, key: str, item: Any) -> str:
    text = text.replace("${key}", key)
    if isinstance(item, dict):
        for field, value in item.items():
            text = text.replace(f"${{item.{field}}}", str(value))
    return text


def _paths(outs: list) -> tuple[str, ...]:
    return tuple(next(iter(out)) if isinstance(out, dict) else out for out in outs)


def feeds(outs: Iterable[str], deps: Iterable[str]) -> bool:
    """Whether an output is one of the dependencies, lies in one, or holds one."""
    return any(
        dep == out or dep.startswith(f"{out}/") or out.startswith(f"{dep}/")
        for dep in deps
        for out in outs
    )


def stages_after(failing: Iterable[str], stages: dict[str, Stage]) -> list[str]:
    """The stages that cannot run while others fail: these first, then all that wait for them.

    Args:
        failing: names of stages.
        stages: see :func:`stages_of`.
    """
    waiting = list(failing)
    found = dict.fromkeys(waiting)
    while waiting:
        outs = stages[waiting.pop()].outs
        for name, stage in stages.items():
            if name not in found and feeds(outs, stage.deps):
                found[name] = None
                waiting.append(name)
    return sorted(found, key=list(stages).index)


def in_short(names: Iterable[str], stages: dict[str, Stage]) -> str:
    """Stages as a list of words; a repeated one that is there as a whole is ``"transformer@*"``."""
    names = list(names)
    short: dict[str, None] = {}
    for name in names:
        group, at, _ = name.partition("@")
        whole = at and all(own in names for own in stages if own.startswith(f"{group}@"))
        short[f"{group}@*" if whole else name] = None
    return ", ".join(short)
