"""AITI by stages: measured call by call and as a CUDA graph, beside the bound, in a few lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.speed.bounds import Work, bound, count_flops
from bench.speed.graphs import Replay
from bench.speed.rows import seconds, size

Seconds = Callable[[Callable[[], object]], float]
_LINE = "{:40s} {:>9s} {:>10s} {:>17s} {:>8s}  {}"


@dataclass(frozen=True)
class Stage:
    """A part of the inference of one image.

    Attributes:
        name: of the stage.
        run: does it.
        reads: see :class:`bench.speed.bounds.Work`.
        look: the part of what ``run`` returns by which a replay is compared.
        aim: seconds that are aimed at on an H100; None without.
    """

    name: str
    run: Callable[[], Any]
    reads: tuple[tuple[int, int], ...]
    look: Callable[[Any], Tensor]
    aim: float | None = None


def products_in_bfloat16(*modules: nn.Module) -> None:
    """Keeps the weights of products and convolutions in bfloat16, in place.

    Autocast rounds them to that anyway, but anew at every call where they need no gradient: reading
    a float32 weight, writing and reading the other is five times the traffic of the product, and at
    batch 1 the traffic of the weights is the time. All else stays as it is.
    """
    for module in modules:
        for part in module.modules():
            if isinstance(part, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
                part.to(torch.bfloat16)


def measure(
    stages: Sequence[Stage],
    median: Seconds,
    device: str,
    capture: Callable[[Callable[[], Any]], Replay | str] | None = None,
) -> dict[str, dict[str, Any]]:
    """Times every stage.

    All stages are timed call by call before the first is captured, so that a capture that fails
    spoils nothing.

    Args:
        stages: in order.
        median: the median seconds of a call.
        device: its name, for the bound.
        capture: makes a graph of a call, or says why not; None where there are none.

    Returns:
        By stage: ``seconds``, ``graph_s`` or None, ``graph`` (why there is none), ``gap`` (largest
        difference between a replay and the call), ``weight_bytes``, ``flops``, ``bound_s`` or None,
        ``bound_by``, ``aim_s``.
    """
    measured: dict[str, dict[str, Any]] = {}
    for stage in stages:
        work = Work(stage.reads, count_flops(stage.run))
        least, by = bound(work, device) or (None, "unknown")
        measured[stage.name] = {
            "seconds": median(stage.run), "graph_s": None, "graph": "", "gap": None,
            "weight_bytes": work.weights, "flops": work.flops,
            "bound_s": least, "bound_by": by, "aim_s": stage.aim,
        }  # fmt: skip
    for stage in stages if capture else ():
        expected = stage.look(stage.run()).clone()
        replay = capture(stage.run)
        if isinstance(replay, str):
            measured[stage.name]["graph"] = replay
            continue
        replay.run()
        gap = (stage.look(replay.result) - expected).abs().max()
        measured[stage.name].update(graph_s=median(replay.run), gap=float(gap))
    return measured


def total(stages: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Several stages, one after the other, as one."""
    parts = list(stages.values())

    def summed(key: str) -> Any:
        values = [part[key] for part in parts]
        return None if None in values else sum(values)

    return {
        **{key: summed(key) for key in ("seconds", "graph_s", "weight_bytes", "flops")},
        **{key: summed(key) for key in ("bound_s", "aim_s")},
        "graph": "", "gap": None, "bound_by": "sum",
    }  # fmt: skip


def aiti_lines(info: Mapping[str, Any]) -> list[str]:
    """What is printed of ``extra_info`` with ``stages`` of :func:`measure`."""
    lines = [_LINE.format("stage", "by calls", "CUDA graph", "bound", "H100 aim", "work")]
    notes = []
    for name, stage in info["stages"].items():
        graph, least, aim = stage["graph_s"], stage["bound_s"], stage["aim_s"]
        lines.append(
            _LINE.format(
                name,
                seconds(stage["seconds"]),
                seconds(graph) if graph else "-",
                f"{seconds(least)} ({stage['bound_by']})" if least else "unknown",
                seconds(aim) if aim else "-",
                f"{stage['flops'] / 1e9:.3g} GFLOP, weights {size(stage['weight_bytes'])}",
            )
        )
        if stage["graph"]:
            notes.append(f"no CUDA graph of {name}: {stage['graph']}")
        if stage["gap"]:
            notes.append(f"a replay of {name} differs by up to {stage['gap']:.2g}")
    return lines + notes
