"""The mean of a cell with its interval, and what may be concluded from it beside the paper's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from bench.intervals import bootstrap
from bench.keys import clip_of, sequence_of

Json = dict[str, Any]
METRICS = ("pa_mpjpe", "mpjpe", "mve")
NOT_RUN = "not run"
TOO_SHORT, SMOKE = "training too short to rank", "smoke run"  # reasons of a status
# What a summary compares, of the settings and baselines of an evaluation.
METHODS = {"mean-pose": "mean pose", "lifted": "lifted keypoints", "default": "sampling",
           "headline": "+ refinement"}  # fmt: skip
# Who judges a claim, by the column of the verdicts.
JUDGES = {"paper": "the paper's own tables", "open_run": "the committed open run",
          "rerun": "this rerun"}  # fmt: skip
SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided"
# Whether the paper says a claim, or we say it of what the paper does.
STATED, DERIVED = "stated", "derived"
# What a rerun was asked: the claim, or of a size that the paper states its sign.
WHOLE, DIRECTION = "whole", "direction"


def in_direction(line: Json, verdict: str) -> bool:
    """Whether a verdict of a rerun confirms the sign of a size, and not the size."""
    return line["judged"] == DIRECTION and verdict == SUPPORTED


def claims_of_paper(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Verdicts of what the paper says; our own checks of what it does are none of its claims."""
    return verdicts[verdicts["origin"] != DERIVED] if len(verdicts) else verdicts


@dataclass(frozen=True)
class Mean:
    """What a rerun says of one cell.

    Attributes:
        rerun: mean over images and seeds; millimetres, or seconds of a time.
        low, high: ends of its 95 % interval over sequences, and over seeds if there are several.
        n: images or poses.
        seeds: trainings.
    """

    rerun: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    n: int = 0
    seeds: int = 0


def mean_of(frame: pd.DataFrame | None, metric: str) -> Mean:
    """Mean over images (and seeds) of a setting.

    Args:
        frame: columns ``key``, the metric, ``setting`` of an image model, and ``seed`` if it was
            trained with several; None or empty where nothing ran.
        metric: a column.
    """
    if frame is None or frame.empty:
        return Mean()
    group = sequence_of if "setting" in frame else clip_of
    if "seed" in frame:
        values = frame.pivot(index="key", columns="seed", values=metric)
    else:
        values = frame.set_index("key")[[metric]]
    seeds = values.shape[1]
    # A diverged image is NaN and must be seen: pandas would leave it out and still count it.
    if values.isna().any(axis=None):
        return Mean(n=len(values), seeds=seeds)
    own = bootstrap(values.to_numpy(), np.array([group(key) for key in values.index]))
    return Mean(own.mean, own.low, own.high, len(values), seeds)


@dataclass(frozen=True)
class Chance:
    """What another seed changes in the mean of a training.

    Attributes:
        deviation: standard deviation over trainings that differ in their seed alone, millimetres.
        seeds: how many there were.
    """

    deviation: float
    seeds: int

    def width(self, variance: float, level: float = 0.05) -> float:
        """Half the width of the interval that holds a sum of means but for chance.

        Args:
            variance: of the sum, in those of one training: 2 for the difference of two.
            level: share of the sums that lie outside (Student's t).
        """
        freedom = self.seeds - 1
        return float(student.ppf(1 - level / 2, freedom) * self.deviation * np.sqrt(variance))

    def spread(self, pairs: bool = False) -> float:
        """How far one training's mean may lie from that of others.

        Args:
            pairs: of the difference of two single trainings, instead of one training and the mean
                of those seeds.

        Returns:
            Half the width of the 95 % prediction interval.
        """
        return self.width(2 if pairs else 1 + 1 / self.seeds)


def chance_of(
    alike: pd.DataFrame | None, setting: str = "default", step: int = 0
) -> dict[tuple[str, str], Chance]:
    """What seeds change, by set and metric.

    Args:
        alike: metrics of a model with several seeds (:func:`trained_alike`), or None.
        setting, step: of the inference, of a transformer.

    Returns:
        Empty for one seed and for a setting that these were not scored with; without the sets on
        which one diverged.
    """
    if alike is None or "seed" not in alike or alike["seed"].nunique() < 2:
        return {}
    own = alike
    if "setting" in alike:
        own = alike[(alike["setting"] == setting) & (alike["step"] == step)]
    means = own.groupby(["role", "seed"])[list(METRICS)].mean()
    lost = own[list(METRICS)].isna().groupby([own["role"], own["seed"]]).any()
    means = means.mask(lost)  # a diverged image is no number, whatever the others are
    deviation = means.groupby("role").std(ddof=1)
    deviation = deviation.mask(means.isna().groupby("role").any())
    seeds = alike["seed"].nunique()
    return {key: Chance(float(v), seeds) for key, v in deviation.stack().dropna().items()}


def trained_alike(
    images: dict[str, pd.DataFrame], poses: dict[str, pd.DataFrame], model: str
) -> pd.DataFrame | None:
    """Whose seeds tell what chance does to a model: trainings as long as its own, if there are any.

    Args:
        images: per-image metrics by transformer.
        poses: per-pose metrics by tokenizer.
        model: "transformer/<name>" or "tokenizer/<name>".

    Returns:
        Of a tokenizer the one that was trained with several seeds, if any (all are trained for as
        many steps). Of a variant ``ablation``, where that was; else the base.
    """
    if model.startswith("tokenizer/"):
        return next((frame for frame in poses.values() if "seed" in frame), None)
    short = images.get("ablation")
    if model != "transformer/base" and short is not None and short["seed"].nunique() > 1:
        return short
    return images.get("base")


def models_left_out(job: Json) -> list[str]:
    """The tokenizers and transformers whose rows do not run, as ``"tokenizer/t48"``.

    Those that are another model under a second name are not among them.

    Args:
        job: ``build/plan/tables.json``.
    """
    return [
        name for name in job.get("skipped", {})
        if name.startswith(("transformer/", "tokenizer/")) and name not in job.get("same", {})
    ]  # fmt: skip


def judge(
    job: Json,
    model: str,
    found: Mean,
    reported: float,
    rounding: float,
    spread: float | None,
    refined: bool = False,
    not_read: Sequence[str] = (),
) -> str:
    """``not run``, ``not comparable: why``, ``reproduced``, ``off`` or ``off: why it may be``.

    A number is reproduced where it differs from the reported one by no more than the paper's
    rounding and what another seed changes (the test images are the same, so their sampling does
    not count); nothing else counts as close.

    Args:
        job: ``build/plan/tables.json``.
        model: "tokenizer/<name>" or "transformer/<name>".
        found: the rerun's mean.
        reported: the paper's number.
        rounding: half of its last digit, see :func:`bench.ledger.half_unit`.
        spread: see :meth:`Chance.spread`; None where it was not measured.
        refined: whether the poses were refined towards 2D detections.
        not_read: training sets of the paper's transformers that the suite's do not see: what is
            off need not be the method's fault.
    """
    if found.n == 0:
        return NOT_RUN
    reasons = []
    if job["source"] == "open":
        reasons.append("open world")
    elif model in job["shipped"]:
        reasons.append("weights of the open world")
    if set(job["scale"].values()) != {1}:
        reasons.append("sizes scaled down")
    if model in job["short"]:
        reasons.append(TOO_SHORT)
    if job["profile"] == "smoke":
        reasons.append(SMOKE)
    if refined and job["detections"] == "simulated" and job["source"] != "open":
        reasons.append("2D detections simulated from the ground truth")
    if job["turned"] and model.startswith("transformer/"):
        reasons.append(", ".join(job["turned"]))
    if spread is None and not reasons:
        reasons.append("no spread over seeds was measured")
    if np.isnan(found.rerun):
        reasons.append("an image diverged")
    if reasons:
        return f"not comparable: {', '.join(reasons)}"
    if abs(found.rerun - reported) <= rounding + spread:
        return "reproduced"
    if not_read and model.startswith("transformer/"):
        return f"off: trained without {' and '.join(not_read)}"
    return "off"


def may_rank(status: str) -> bool:
    """Whether a number with this status may be called better or worse than its neighbours."""
    return TOO_SHORT not in status and SMOKE not in status
