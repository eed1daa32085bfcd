"""Errors of body estimates: pure functions, streaming accumulators, named protocols."""

from genhmr.metrics.accumulators import MeanAccumulator
from genhmr.metrics.evaluator import BodyPoser, Evaluator, SharedEvaluator
from genhmr.metrics.functional import (
    mpjpe,
    mve,
    pa_mpjpe,
    pa_mve,
    similarity_align,
    similarity_transform,
)
from genhmr.metrics.presets import PRESETS, kind_of, presets_for, protocol_for
from genhmr.metrics.protocols import Protocol, evaluate_batch, regressor_for

__all__ = [
    "PRESETS",
    "BodyPoser",
    "Evaluator",
    "MeanAccumulator",
    "Protocol",
    "SharedEvaluator",
    "evaluate_batch",
    "kind_of",
    "mpjpe",
    "mve",
    "pa_mpjpe",
    "pa_mve",
    "presets_for",
    "protocol_for",
    "regressor_for",
    "similarity_align",
    "similarity_transform",
]
