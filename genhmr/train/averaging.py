"""Exponential moving average of weights, as a part that a training loop can save and resume."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """Moving average of the trainable parameters of a module.

    The decay is warmed up, ``min(decay, (1 + n) / (10 + n))`` after n updates, so that a short
    training does not average in its own initial values.

    Args:
        module: whose parameters (those with ``requires_grad``) are followed.
        decay: of the average once warm; 0 follows the weights exactly.

    Raises:
        ValueError: decay outside [0, 1).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"decay must be in [0, 1), got {decay}")
        self._live = {n: p for n, p in module.named_parameters() if p.requires_grad}
        self._mean = {n: p.detach().clone() for n, p in self._live.items()}
        self._decay, self._updates = decay, 0

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the current weights."""
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        torch._foreach_lerp_(
            list(self._mean.values()), [p.detach() for p in self._live.values()], 1.0 - decay
        )
        self._updates += 1

    @torch.no_grad()
    def swap(self) -> None:
        """Exchanges the module's weights with the average; a second call undoes it."""
        for name, live in self._live.items():
            kept = live.detach().clone()
            live.copy_(self._mean[name])
            self._mean[name].copy_(kept)

    def state_dict(self) -> dict[str, Any]:
        """The average and its age."""
        return {"mean": dict(self._mean), "updates": self._updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a saved average."""
        loaded: dict[str, Tensor] = state["mean"]
        for name, mean in self._mean.items():
            mean.copy_(loaded[name])
        self._updates = state["updates"]
