"""Errors of body estimates: pure functions, streaming accumulators, named protocols."""

from genhmr.metrics.accumulators import MeanAccumulator
from genhmr.metrics.evaluator import Evaluator
from genhmr.metrics.functional import (
    mpjpe,
    mve,
    pa_mpjpe,
    pa_mve,
    similarity_align,
    similarity_transform,
)
from genhmr.metrics.protocols import (
    GENHMR,
    PEERS,
    Protocol,
    evaluate_batch,
    protocol_for,
    regressor_for,
)

__all__ = [
    "GENHMR",
    "PEERS",
    "Evaluator",
    "MeanAccumulator",
    "Protocol",
    "evaluate_batch",
    "mpjpe",
    "mve",
    "pa_mpjpe",
    "pa_mve",
    "protocol_for",
    "regressor_for",
    "similarity_align",
    "similarity_transform",
]
