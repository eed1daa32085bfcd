"""Named evaluation protocols: which joints, which root, whose body.

The field's evaluators disagree in small choices that move MPJPE by several millimetres, which is
why published numbers do not reproduce. Here every choice is data. :data:`GENHMR` holds the
reference protocol of each data set; :data:`PEERS` the choices of other evaluators, so that a
number can be recomputed their way. ProHMR, HMR2.0, TokenHMR and ScoreHMR on 3DPW are not among
them: their 44 joints need a licensed regressor (SMPL_to_J19).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

import numpy as np
import torch
from torch import Tensor

from genhmr.body import Bodies
from genhmr.body.joints import H36M17_NAMES, H36M_TO_14, J24_TO_J14, LSP14_NAMES, SPIN24_NAMES
from genhmr.metrics import functional
from genhmr.types import BodyOutput, UserError

JOINTS = ("h36m14", "h36m17", "smpl24", "smpl24_regressed")
ROOTS = ("pelvis", "mean_of_hips", "vertex_centroid")


@dataclass(frozen=True)
class Protocol:
    """One way to turn two bodies into MPJPE, PA-MPJPE and MVE.

    Attributes:
        name: what is printed beside the number.
        joints: "h36m14" or "h36m17", regressed from posed vertices with J_regressor_h36m;
            "smpl24", the kinematic joints; "smpl24_regressed", posed vertices through the neutral
            body's J_regressor.
        root: "pelvis" (joint 0 of the 17 or 24), "mean_of_hips", or "vertex_centroid".
        truth_body: "gendered" (the record's own body) or "neutral".
        truth_joints: "body" (from the posed ground-truth mesh) or "spin24" (the markers that
            SPIN's npz files carry; 14 joints only).
        align_vertices: whether MVE is taken relative to the root.

    The prediction is always posed with the neutral body.
    """

    name: str
    joints: str
    root: str
    truth_body: str = "gendered"
    truth_joints: str = "body"
    align_vertices: bool = True

    def __post_init__(self) -> None:
        choices = (
            (self.joints, JOINTS),
            (self.root, ROOTS),
            (self.truth_body, ("gendered", "neutral")),
            (self.truth_joints, ("body", "spin24")),
        )
        for value, allowed in choices:
            if value not in allowed:
                raise ValueError(f"protocol {self.name}: {value!r} is not one of {allowed}")
        if self.truth_joints == "spin24":
            if self.joints != "h36m14" or self.root == "vertex_centroid":
                raise ValueError(f"protocol {self.name}: spin24 ground truth needs h36m14 joints")

    def describe(self) -> str:
        """One line for the caption of a table."""
        return (
            f"{self.name}: joints {self.joints}, root {self.root}, ground-truth body "
            f"{self.truth_body}, ground-truth joints {self.truth_joints}, "
            f"MVE {'root-aligned' if self.align_vertices else 'not aligned'}"
        )


_LAB = Protocol("genhmr-lab", "h36m14", "pelvis")
_WILD = Protocol("genhmr-wild", "h36m14", "pelvis")
_EXTREME = Protocol("genhmr-extreme", "smpl24", "mean_of_hips")
_MOCAP = Protocol("genhmr-mocap", "smpl24", "pelvis", truth_body="neutral")

# The reference protocol by data set; an open set has the protocol of the set whose role it plays.
GENHMR: Mapping[str, Protocol] = {
    "open-lab": _LAB,
    "open-wild": _WILD,
    "open-extreme": _EXTREME,
    "open-mocap": _MOCAP,
    "open-yoga": _MOCAP,
    "h36m": _LAB,
    "3dpw": _WILD,
    "emdb": _EXTREME,
    "amass": _MOCAP,
    "moyo": _MOCAP,
}

PEERS: Mapping[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol("spin-h36m", "h36m14", "pelvis", truth_joints="spin24"),
        Protocol("spin-3dpw", "h36m14", "pelvis"),
        Protocol("pare-3dpw", "h36m14", "pelvis", truth_body="neutral", align_vertices=False),
        Protocol("fastmetro-3dpw", "h36m14", "pelvis", truth_body="neutral"),
        Protocol("bedlam-3dpw", "h36m14", "pelvis"),  # CameraHMR's too
        Protocol("wham-3dpw", "h36m14", "mean_of_hips"),  # GVHMR's and PromptHMR's too
        Protocol("mega-3dpw", "h36m17", "vertex_centroid"),  # VQ-HPS's too
        Protocol("emdb-official", "smpl24", "mean_of_hips"),  # WHAM's too
        Protocol("tokenhmr-emdb", "smpl24_regressed", "mean_of_hips"),  # CameraHMR, GVHMR too
    )
}


def protocol_for(dataset: str) -> Protocol:
    """The reference protocol of a data set; UserError for a name that has none."""
    if dataset not in GENHMR:
        raise UserError(f"{dataset!r} has no evaluation protocol; use one of {sorted(GENHMR)}.")
    return GENHMR[dataset]


def regressor_for(protocol: Protocol, bodies: Bodies) -> np.ndarray | None:
    """The matrix that the protocol applies to posed vertices, (17, V) or (24, V), or None."""
    if protocol.joints == "smpl24":
        return None
    if protocol.joints == "smpl24_regressed":
        return bodies.neutral.J_regressor
    return bodies.regressor_h36m


def evaluate_batch(
    protocol: Protocol,
    prediction: BodyOutput,
    truth: BodyOutput | None,
    regressor: Tensor | None,
    joints_3d: Tensor | None = None,
) -> dict[str, np.ndarray]:
    """Measure posed bodies.

    Args:
        protocol: the choices.
        prediction: the neutral body, posed with the prediction.
        truth: the protocol's ground-truth body; None where a set has only marker joints.
        regressor: from :func:`regressor_for`, in the dtype of the vertices.
        joints_3d: (B, 24, 4) SPIN's ``S``; needed where ``truth_joints`` is "spin24".

    Returns:
        ``mpjpe``, ``pa_mpjpe`` and ``mve``, each (B,) float64 millimetres; ``mve`` is NaN where
        ``truth`` is None.
    """
    pred_joints, pred_root = _joints_and_root(protocol, prediction, regressor)
    if truth is not None:
        gt_joints, gt_root = _joints_and_root(protocol, truth, regressor)
        roots = (pred_root, gt_root) if protocol.align_vertices else (None, None)
        mve = functional.mve(prediction.vertices, truth.vertices, *roots)
    else:
        mve = torch.full((len(pred_joints),), torch.nan, dtype=torch.float64)
    if protocol.truth_joints == "spin24":
        if joints_3d is None:
            raise ValueError(f"protocol {protocol.name} needs joints_3d")
        gt_joints, gt_root = _spin_joints_and_root(protocol, joints_3d)
    elif truth is None:
        raise ValueError(f"protocol {protocol.name} needs a ground-truth body")
    errors = {
        "mpjpe": functional.mpjpe(pred_joints - pred_root, gt_joints - gt_root),
        "pa_mpjpe": functional.pa_mpjpe(pred_joints, gt_joints),
        "mve": mve,
    }
    return {name: values.cpu().numpy() for name, values in errors.items()}


def _joints_and_root(
    protocol: Protocol, body: BodyOutput, regressor: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The evaluated joints (B, J, 3) and the root (B, 1, 3) of one body."""
    full = body.joints if protocol.joints == "smpl24" else regressor @ body.vertices
    h36m = protocol.joints.startswith("h36m")
    if protocol.root == "pelvis":
        root = full[:, :1]
    elif protocol.root == "mean_of_hips":
        hips = [H36M17_NAMES.index("LHip"), H36M17_NAMES.index("RHip")] if h36m else [1, 2]
        root = full[:, hips].mean(1, keepdim=True)
    else:
        root = body.vertices.mean(1, keepdim=True)
    joints = full[:, list(H36M_TO_14)] if protocol.joints == "h36m14" else full
    return joints, root


def _spin_joints_and_root(protocol: Protocol, joints_3d: Tensor) -> tuple[Tensor, Tensor]:
    """The same of SPIN's 24 ground-truth joints."""
    joints = joints_3d[:, list(J24_TO_J14), :3]
    if protocol.root == "pelvis":
        root = joints_3d[:, [SPIN24_NAMES.index("PelvisMPII")], :3]
    else:
        hips = [LSP14_NAMES.index("LHip"), LSP14_NAMES.index("RHip")]
        root = joints[:, hips].mean(1, keepdim=True)
    return joints, root
