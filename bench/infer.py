"""Inference as a resolved setting of the plan asks for it (keys ``ugs.*`` and ``refine.*``)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.plan_options import INFERENCE
from genhmr.body.smpl import SMPLJoints
from genhmr.inference.predict import Prediction, sample_pose
from genhmr.inference.refinement import refine_pose
from genhmr.transformer.genhmr import GenHMR
from genhmr.types import RefinementTrace

Json = dict[str, Any]


def sample(model: GenHMR, features: Any, setting: Json, rows: np.ndarray, seed: int) -> Prediction:
    """Samples a batch under a setting; an image draws the same whatever batch it comes in."""
    ugs = setting["ugs"]
    generators = None
    if ugs["top_k"] > 1:
        generators = [torch.Generator().manual_seed(seed * 1_000_003 + int(row)) for row in rows]
    return sample_pose(
        model,
        features,
        ugs["iters"],
        ugs["schedule"],
        ugs["top_k"],
        ugs["temperature"],
        generators,
        **_options("ugs", ugs),
    )


def refine(
    model: GenHMR, joints: SMPLJoints, sampled: Prediction, points: Tensor, knobs: Json
) -> RefinementTrace:
    """Refines a sampled batch towards 2D points with the knobs of ``refine.*``."""
    return refine_pose(
        model.tokenizer.decode,
        joints,
        sampled.latents,
        sampled.betas,
        sampled.cam,
        points,
        steps=knobs["iters"],
        step_size=knobs["step_size"],
        pose_weight=knobs["pose_weight"],
        refine_camera=knobs["camera"],
        **_options("refine", knobs),
    )


def _options(group: str, knobs: Json) -> Json:
    """The options that a job carries, which it does where they are not at their default."""
    return {name: knobs[name] for name in INFERENCE[group] if name in knobs}
