"""Errors of body estimates: pure functions, streaming accumulators, named protocols."""

from genhmr.metrics.accumulators import MeanAccumulator
from genhmr.metrics.evaluator import BodyPoser, Evaluator, SharedEvaluator
from genhmr.metrics.functional import (
    best_of,
    mpjpe,
    mve,
    pa_mpjpe,
    pa_mve,
    pck,
    similarity_align,
    similarity_transform,
)
from genhmr.metrics.presets import PRESETS, frames_of, kind_of, presets_for, protocol_for
from genhmr.metrics.protocols import (
    Protocol,
    evaluate_batch,
    evaluate_joints,
    regressor_for,
    root_of,
)
from genhmr.metrics.temporal import acceleration_error, track_acceleration

__all__ = [
    "PRESETS",
    "BodyPoser",
    "Evaluator",
    "MeanAccumulator",
    "Protocol",
    "SharedEvaluator",
    "acceleration_error",
    "best_of",
    "evaluate_batch",
    "evaluate_joints",
    "frames_of",
    "kind_of",
    "mpjpe",
    "mve",
    "pa_mpjpe",
    "pa_mve",
    "pck",
    "presets_for",
    "protocol_for",
    "regressor_for",
    "root_of",
    "similarity_align",
    "similarity_transform",
    "track_acceleration",
]
