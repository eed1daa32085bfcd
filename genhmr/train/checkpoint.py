"""Checkpoints that survive a crash, and weights that are safe to ship.

Two kinds of file, never mixed:

* a *checkpoint* (``.pt``) holds everything a training needs to go on; it lives in a scratch
  folder and is read back with ``weights_only=True``;
* *weights* (``.safetensors``) are the exported model: tensors and the JSON configuration that
  rebuilds it. The bytes depend on the content alone, so DVC sees no change where there is none.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from genhmr.types import UserError, restore

# The three weight files that make a model, side by side in one folder.
BACKBONE_FILE = "backbone.safetensors"
TOKENIZER_FILE = "tokenizer.safetensors"
GENHMR_FILE = "genhmr.safetensors"
# What the guide of every new model starts with; a trained model has its own, moved on.
LIFTER_FILE = "lifter.safetensors"


def _write_atomic(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes a training state so that a crash leaves the old file or the new one, whole.

    Args:
        path: target ``.pt`` file; its folder is made.
        state: tensors, numbers, strings and containers of them (what ``weights_only`` can read).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    torch.save(state, temporary)
    os.replace(temporary, path)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Reads a training state, or returns None where there is none yet.

    Raises:
        UserError: the file exists and cannot be read.
    """
    path = Path(path)
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a zoo of types on a damaged archive
        raise UserError(
            f"{path} is not a readable checkpoint ({type(error).__name__}): "
            "delete it and the training starts again from the beginning."
        ) from error


def save_weights(
    path: Path, tensors: dict[str, Tensor], config: dict[str, Any], half: bool = True
) -> None:
    """Exports a model as safetensors with its configuration as metadata.

    Args:
        path: target ``.safetensors`` file, replaced atomically.
        tensors: name to tensor; saved in sorted order.
        config: JSON-serialisable description that rebuilds the module.
        half: store floating tensors as float16 (half the download, relative error 5e-4).
    """
    stored = {
        name: (t.half() if half and t.is_floating_point() else t).detach().cpu().contiguous()
        for name, t in sorted(tensors.items())
    }
    # One metadata key only: the writer keeps metadata in a hash map, so the order of two keys
    # would change from run to run and so would the file's hash.
    data = save(stored, metadata={"config": json.dumps(config, sort_keys=True)})
    _write_atomic(Path(path), data)


def load_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads exported weights back as float32 tensors with their configuration.

    Raises:
        UserError: the file is missing, damaged or has no configuration.
    """
    path = Path(path)
    if not path.exists():
        remedy = restore(path, "run the stage that trains it, or fetch it")
        raise UserError(f"{path} does not exist: {remedy}.")
    try:
        with safe_open(path, framework="pt") as handle:
            config = json.loads((handle.metadata() or {})["config"])
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise UserError(
            f"{path} is not a weights file of this suite ({error}): "
            f"{restore(path, 'export it again')}."
        ) from error
    return {k: t.float() if t.is_floating_point() else t for k, t in tensors.items()}, config
