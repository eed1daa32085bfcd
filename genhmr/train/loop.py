"""What every training loop shares: the learning rate, the progress bar, and going on after a stop.

A loop of this suite is a plain ``for`` statement::

    loop = ResumableLoop(scratch / "last.pt", steps, {"model": model, "opt": optimiser}, every=200)
    for step in loop:
        loss = ...
        loop.log(loss=loss.item())
    history = loop.history

Interrupted at any time and called again, it continues from its last checkpoint; the data
iterator is told the step to start from by ``loop.start``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from tqdm import tqdm

from genhmr.train import parallel
from genhmr.train.checkpoint import load_checkpoint, save_checkpoint
from genhmr.types import UserError


class Stateful(Protocol):
    """Anything with a state: modules, optimisers, averages."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> Any: ...


def cosine_lr(
    step: int, steps: int, base_lr: float, warmup: int = 0, floor: float = 0.0
) -> float:
    """Learning rate at ``step``: linear warm-up, then half a cosine down to ``floor``.

    Args:
        step: 0-based step.
        steps: length of the whole schedule.
        base_lr: rate at the end of the warm-up.
        warmup: steps of linear warm-up.
        floor: rate at the last step.
    """
    if step < warmup:
        return base_lr * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return floor + 0.5 * (base_lr - floor) * (1.0 + math.cos(math.pi * min(1.0, progress)))


def set_lr(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Sets the learning rate of every group, times the group's own ``lr_scale`` if it has one."""
    for group in optimiser.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)


class ResumableLoop:
    """Counts steps, shows progress with ETA, saves checkpoints and resumes from them.

    Args:
        checkpoint: the ``.pt`` file of this training, in a scratch folder.
        steps: number of steps of the whole training.
        parts: what has a state (modules, optimiser, averages), by name.
        generators: explicit random generators whose state must survive, by name.
        every: save after this many steps (and always at the end).
        max_seconds: stop early after this much training time, all runs together; a later run
            with more time goes on.
        title: text of the progress bar.
        device: where the training runs; processes exchange tensors there.
        signature: what identifies this training; a checkpoint of another one is refused.

    Attributes:
        start: the first step of this run (0, or where the last run stopped).
        history: one dict a logged step, earlier runs included.
        stopped_early: True once ``max_seconds`` ended the loop before ``steps``.
    """

    def __init__(
        self,
        checkpoint: Path,
        steps: int,
        parts: dict[str, Stateful],
        generators: dict[str, torch.Generator] | None = None,
        every: int = 500,
        max_seconds: float | None = None,
        title: str = "training",
        signature: str = "",
        device: torch.device | str = "cpu",
    ) -> None:
        self._path = Path(checkpoint)
        self._steps = steps
        self._parts = parts
        self._generators = generators or {}
        self._every = every
        self._max_seconds = max_seconds
        self._title = title
        self._signature = signature
        self._device = device
        self._seconds = 0.0
        self._pending: dict[str, float] = {}
        self.start = 0
        self.history: list[dict[str, float]] = []
        self.stopped_early = False
        self._resume()

    def _resume(self) -> None:
        state = load_checkpoint(self._path)
        if state is None:
            return
        if state["signature"] != self._signature:
            raise UserError(
                f"{self._path} belongs to a training with other settings: "
                "delete that file to start afresh."
            )
        for name, part in self._parts.items():
            part.load_state_dict(state["parts"][name])
        for name, generator in self._generators.items():
            generator.set_state(state["generators"][name])
        self.start = state["step"]
        self._seconds = state["seconds"]
        self.history = state["history"]
        self.stopped_early = self.start < self._steps and self._out_of_time()

    def _save(self, step: int) -> None:
        if parallel.rank() > 0:
            return
        save_checkpoint(
            self._path,
            {
                "signature": self._signature,
                "step": step,
                "seconds": self._seconds,
                "history": self.history,
                "parts": {name: part.state_dict() for name, part in self._parts.items()},
                "generators": {n: g.get_state() for n, g in self._generators.items()},
            },
        )

    def _out_of_time(self) -> bool:
        return self._max_seconds is not None and self._seconds >= self._max_seconds

    def _stop_now(self) -> bool:
        """Whether the time is over; several processes ask the first one's clock."""
        return self._max_seconds is not None and parallel.agree(self._out_of_time(), self._device)

    @property
    def seconds(self) -> float:
        """Training time so far, all runs together."""
        return self._seconds

    def log(self, **values: float) -> None:
        """Records numbers of the current step in ``history`` and shows them in the bar."""
        self._pending.update({name: float(value) for name, value in values.items()})

    def __iter__(self) -> Iterator[int]:
        if self.stopped_early or self.start >= self._steps:
            return
        bar = tqdm(
            total=self._steps,
            initial=self.start,
            desc=self._title,
            mininterval=2.0,
            smoothing=0.05,
            disable=parallel.rank() > 0,
        )
        with bar:
            for step in range(self.start, self._steps):
                began = time.monotonic()
                yield step
                self._seconds += time.monotonic() - began
                if self._pending:
                    self.history.append({"step": step, **self._pending})
                    bar.set_postfix({k: f"{v:.4g}" for k, v in self._pending.items()})
                    self._pending = {}
                bar.update()
                self.stopped_early = step + 1 < self._steps and self._stop_now()
                if (step + 1) % self._every == 0 or step + 1 == self._steps or self.stopped_early:
                    self._save(step + 1)
                if self.stopped_early:
                    return
