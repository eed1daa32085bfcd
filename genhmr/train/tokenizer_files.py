"""A pose tokenizer on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genhmr.tokenizer.model import PoseTokenizer
from genhmr.train.checkpoint import load_weights, save_weights
from genhmr.types import UserError


def save_tokenizer(path: Path, tokenizer: PoseTokenizer, about: dict[str, Any]) -> None:
    """Exports a tokenizer as safetensors, in half precision.

    Args:
        path: target file.
        tokenizer: trained.
        about: JSON-serialisable facts of the training, kept with the architecture.
    """
    config = {"model": tokenizer.config, "about": about}
    save_weights(path, tokenizer.export(), config, half=True)


def load_tokenizer(path: Path) -> PoseTokenizer:
    """Reads an exported tokenizer, frozen and in evaluation mode.

    Raises:
        UserError: missing, damaged, or weights of something else.
    """
    tensors, config = load_weights(path)
    try:
        return PoseTokenizer.from_export(tensors, config["model"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise UserError(
            f"{path} does not hold a pose tokenizer of this suite ({type(error).__name__}): "
            "train or fetch it again."
        ) from error
