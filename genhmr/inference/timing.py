"""Average inference time per image (AITI), per stage, and the line it follows.

The paper's AITI is cumulative: the time of T sampling (or P refinement) iterations including what
comes before. Here each stage is timed on its own at batch 1, warmed up and synchronised, and the
cost of an iteration is read off a fitted line ``a + b T`` with its interval.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch


def time_callable(
    function: Callable[[], object],
    repeats: int = 10,
    warmup: int = 3,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """Wall-clock seconds of each of ``repeats`` calls after ``warmup`` untimed ones.

    On a CUDA device the queue is drained before and after every call.

    Raises:
        ValueError: ``repeats`` below 1.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    cuda = torch.device(device).type == "cuda"
    seconds = np.empty(repeats)
    for i in range(-warmup, repeats):
        if cuda:
            torch.cuda.synchronize(device)
        began = time.perf_counter()
        function()
        if cuda:
            torch.cuda.synchronize(device)
        if i >= 0:
            seconds[i] = time.perf_counter() - began
    return seconds


def time_interleaved(
    functions: Mapping[str, Callable[[], object]],
    repeats: int = 10,
    warmup: int = 3,
    device: torch.device | str = "cpu",
    after_round: Callable[[], object] = lambda: None,
) -> dict[str, np.ndarray]:
    """``time_callable`` of several functions in turn, so that a slow spell hits all of them.

    ``after_round`` is called, untimed, after each of the ``repeats`` rounds.
    """
    for function in functions.values():
        time_callable(function, 1, max(0, warmup - 1), device)
    rounds = []
    for _ in range(repeats):
        rounds.append({name: time_callable(f, 1, 0, device)[0] for name, f in functions.items()})
        after_round()
    return {name: np.array([r[name] for r in rounds]) for name in functions}


@dataclass(frozen=True)
class LineFit:
    """Least-squares line ``intercept + slope * x`` with 95 % intervals (Student t).

    Attributes:
        intercept, slope: of the line.
        intercept_interval, slope_interval: (low, high).
        residual: root mean square of what the line leaves, in the unit of y.
    """

    intercept: float
    slope: float
    intercept_interval: tuple[float, float]
    slope_interval: tuple[float, float]
    residual: float


def fit_line(x: Sequence[float], y: Sequence[float], confidence: float = 0.95) -> LineFit:
    """Fits ``y = a + b x`` and the t-intervals of a and b.

    Raises:
        ValueError: fewer than three points, or all x equal: no interval can be given.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.shape != y.shape or len(x) < 3 or np.ptp(x) == 0:
        raise ValueError("a line with intervals needs three points and two different x")
    from scipy import stats  # half a second to load, and few processes fit a line

    line = stats.linregress(x, y)
    t = stats.t.ppf(0.5 + confidence / 2, len(x) - 2)
    a, b = float(line.intercept), float(line.slope)
    da, db = t * float(line.intercept_stderr), t * float(line.stderr)
    residual = float(np.sqrt(np.mean((y - a - b * x) ** 2)))
    return LineFit(a, b, (a - da, a + da), (b - db, b + db), residual)


@dataclass(frozen=True)
class StageTimes:
    """AITI of one stage.

    Attributes:
        iterations: the T (or P) that were timed.
        seconds: median seconds per image of each.
        line: ``a + b T`` through all single timings.
        rounds: (len(iterations), repeats) the single timings, seconds; a column was timed in turn.
    """

    iterations: tuple[int, ...]
    seconds: tuple[float, ...]
    line: LineFit
    rounds: np.ndarray


def time_stage(
    run: Callable[[int], object],
    iterations: Sequence[int],
    repeats: int = 10,
    warmup: int = 3,
    device: torch.device | str = "cpu",
    after_round: Callable[[], object] = lambda: None,
) -> StageTimes:
    """Times a stage that takes a number of iterations; rounds interleaved over all numbers.

    Args:
        run: e.g. ``lambda t: sample_pose(model, features, t)`` on one image.
        iterations: numbers to try, at least two different ones.
        repeats: rounds.
        warmup: untimed calls of each first.
        device: where the stage runs.
        after_round: called after each round, outside of what is timed.
    """
    functions = {str(n): (lambda n=n: run(n)) for n in iterations}
    times = time_interleaved(functions, repeats, warmup, device, after_round)
    rounds = np.stack([times[str(n)] for n in iterations])
    medians = tuple(np.median(rounds, axis=1).tolist())
    x = np.repeat(np.asarray(iterations, float), repeats)
    return StageTimes(tuple(iterations), medians, fit_line(x, rounds.ravel()), rounds)


def measure_aiti(
    encode: Callable[[], object],
    sample: Callable[[int], object],
    refine: Callable[[int], object],
    sampling_iterations: Sequence[int] = (1, 3, 5, 10, 15, 20),
    refinement_steps: Sequence[int] = (1, 3, 5, 10, 20),
    repeats: int = 10,
    warmup: int = 3,
    device: torch.device | str = "cpu",
    after_round: Callable[[], object] = lambda: None,
) -> tuple[np.ndarray, StageTimes, StageTimes]:
    """AITI of the three stages of inference on one image.

    Args:
        encode: runs the image side (backbone, pyramid, heads).
        sample: T -> runs sampling on encoded features.
        refine: P -> runs refinement on a prediction.
        sampling_iterations: T of Table 2.
        refinement_steps: P of Table 3.
        repeats: rounds.
        warmup: untimed rounds.
        device: where it runs.
        after_round: called after each round of each stage, ``3 * repeats`` times, outside of what
            is timed.

    Returns:
        (repeats,) seconds of ``encode``; times of sampling; times of refinement.
    """
    encoded = time_interleaved({"encode": encode}, repeats, warmup, device, after_round)["encode"]
    sampling = time_stage(sample, sampling_iterations, repeats, warmup, device, after_round)
    refinement = time_stage(refine, refinement_steps, repeats, warmup, device, after_round)
    return encoded, sampling, refinement
