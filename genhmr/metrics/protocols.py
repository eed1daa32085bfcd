"""An evaluation protocol: which joints, which root, whose body, which frames.

The field's evaluators disagree in small choices that move MPJPE by several millimetres, which is
why published numbers do not reproduce. Here every choice is data; ``genhmr.metrics.presets`` names
the combinations in use.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genhmr.body import Bodies
from genhmr.body.joints import (
    EXTRA19_NAMES,
    EXTRA19_TO_14,
    H36M17_NAMES,
    H36M_TO_14,
    J24_TO_J14,
    LSP14_NAMES,
    SPIN24_NAMES,
)
from genhmr.metrics import functional
from genhmr.types import BodyOutput, UserError

JOINTS = ("h36m14", "h36m17", "extra14", "smpl24", "smpl24_regressed")
ROOTS = ("pelvis", "mean_of_hips", "vertex_centroid")
AGGREGATES = ("frames", "sequences")
REGRESSORS = {
    "h36m14": "J_regressor_h36m on posed vertices",
    "h36m17": "J_regressor_h36m on posed vertices",
    "extra14": "SMPL_to_J19 on posed vertices",
    "smpl24": "kinematic, no regressor",
    "smpl24_regressed": "the neutral J_regressor on posed vertices",
}


@dataclass(frozen=True)
class Protocol:
    """One way to turn two bodies into MPJPE, PA-MPJPE and MVE.

    Attributes:
        joints: "h36m14" or "h36m17", regressed from posed vertices with J_regressor_h36m;
            "extra14", 14 of the 19 that SMPL_to_J19 regresses; "smpl24", the kinematic joints;
            "smpl24_regressed", posed vertices through the neutral body's J_regressor.
        root: "pelvis" (joint 0 of the 17 or 24, PelvisMPII of the 19), "mean_of_hips", or
            "vertex_centroid".
        truth_body: "gendered" (the record's own body) or "neutral".
        truth_joints: "body" (from the posed ground-truth mesh) or "spin24" (the markers that
            SPIN's npz files carry; 14 joints only).
        align_vertices: whether MVE is taken relative to the root.
        frames: the split of the data set's reader, which holds the frame filter: 3DPW keeps
            ``campose_valid``, EMDB ``good_frames_mask``, Human3.6M the cameras of P1 or P2.
        aggregate: what the printed mean is over: "frames", or "sequences" (mean of their means).

    The prediction is always posed with the neutral body.
    """

    joints: str
    root: str
    truth_body: str = "gendered"
    truth_joints: str = "body"
    align_vertices: bool = True
    frames: str = "test"
    aggregate: str = "frames"

    def __post_init__(self) -> None:
        choices = (
            (self.joints, JOINTS),
            (self.root, ROOTS),
            (self.truth_body, ("gendered", "neutral")),
            (self.truth_joints, ("body", "spin24")),
            (self.aggregate, AGGREGATES),
        )
        for value, allowed in choices:
            if value not in allowed:
                raise ValueError(f"{value!r} is not one of {allowed}")
        fourteen = self.joints in ("h36m14", "extra14")
        if self.truth_joints == "spin24" and (not fourteen or self.root == "vertex_centroid"):
            raise ValueError("spin24 ground truth needs 14 joints and a root among them")

    @property
    def regressor(self) -> str:
        """What makes the joints out of a posed body, in words."""
        return REGRESSORS[self.joints]

    def describe(self, frames: str = "") -> str:
        """Every choice in one line.

        Args:
            frames: the frame filter in words, see :func:`genhmr.metrics.presets.frames_of`.
        """
        return (
            f"joints {self.joints} ({self.regressor}), root {self.root}, "
            f"ground-truth body {self.truth_body}, ground-truth joints {self.truth_joints}, "
            "PA a similarity without reflection a frame, "
            f"MVE {'root-aligned' if self.align_vertices else 'not aligned'}, "
            f"frames {frames or self.frames}, mean over {self.aggregate}"
        )


# Of each joint set: the pelvis, the two hips and the joints that count, as rows of the full set.
_H36M_HIPS = (H36M17_NAMES.index("LHip"), H36M17_NAMES.index("RHip"))
_EXTRA_HIPS = (EXTRA19_NAMES.index("LHip"), EXTRA19_NAMES.index("RHip"))
_PLACES = {
    "h36m14": (0, _H36M_HIPS, H36M_TO_14),
    "h36m17": (0, _H36M_HIPS, tuple(range(17))),
    "extra14": (EXTRA19_NAMES.index("PelvisMPII"), _EXTRA_HIPS, EXTRA19_TO_14),
    "smpl24": (0, (1, 2), tuple(range(24))),
    "smpl24_regressed": (0, (1, 2), tuple(range(24))),
}


def regressor_for(protocol: Protocol, bodies: Bodies) -> np.ndarray | None:
    """The matrix that the protocol applies to posed vertices, (17 or 19 or 24, V), or None.

    Raises:
        UserError: the protocol's regressor is not among the body files.
    """
    if protocol.joints == "smpl24":
        return None
    if protocol.joints == "extra14":
        if bodies.regressor_extra19 is None:
            raise UserError(
                "datasets/body has no SMPL_to_J19.pkl, which the protocols of HMR2.0 and TokenHMR "
                "need: take it from 4D-Humans' data bundle, or choose another protocol."
            )
        return bodies.regressor_extra19
    if protocol.joints == "smpl24_regressed":
        return bodies.neutral.J_regressor
    return bodies.regressor_h36m


class Regressor:
    """Joints out of posed vertices, reading only the few vertices that have a weight.

    Those of Human3.6M name 360 of 6890: the full product takes longer than all metrics together.

    Args:
        matrix: (J, V), see :func:`regressor_for`.
        device: of the vertices, which are float32.
    """

    def __init__(self, matrix: np.ndarray, device: torch.device | str = "cpu") -> None:
        used = np.flatnonzero(matrix.any(0))
        self._used = torch.from_numpy(used).to(device)
        self._matrix = torch.from_numpy(matrix[:, used]).float().to(device)

    def __call__(self, vertices: Tensor) -> Tensor:
        """(B, V, 3) to (B, J, 3)."""
        return self._matrix @ vertices[:, self._used]


def evaluate_batch(
    protocol: Protocol,
    prediction: BodyOutput,
    truth: BodyOutput | None,
    regressor: Regressor | None,
    joints_3d: Tensor | None = None,
    with_gap: bool = False,
) -> dict[str, np.ndarray]:
    """Measure posed bodies.

    Args:
        protocol: the choices.
        prediction: the neutral body, posed with the prediction.
        truth: the protocol's ground-truth body; None where a set has only marker joints.
        regressor: of the protocol's joints; None for kinematic joints.
        joints_3d: (B, 24, 4) SPIN's ``S``; needed where ``truth_joints`` is "spin24".
        with_gap: add what errors of motion are made of.

    Returns:
        ``mpjpe``, ``pa_mpjpe`` and ``mve``, each (B,) float64 millimetres; ``mve`` is NaN where
        ``truth`` is None. On request ``gap`` (B, J, 3) float32 metres, root-relative prediction
        minus root-relative truth.
    """
    pred_joints, pred_root = joints_and_root(protocol, prediction, regressor)
    if truth is not None:
        gt_joints, gt_root = joints_and_root(protocol, truth, regressor)
        roots = (pred_root, gt_root) if protocol.align_vertices else (None, None)
        mve = functional.mve(prediction.vertices, truth.vertices, *roots)
    else:
        mve = torch.full((len(pred_joints),), torch.nan, dtype=torch.float64)
    if protocol.truth_joints == "spin24":
        if joints_3d is None:
            raise ValueError("this protocol needs joints_3d")
        gt_joints, gt_root = spin_joints_and_root(protocol, joints_3d)
    elif truth is None:
        raise ValueError("this protocol needs a ground-truth body")
    pred, gt = pred_joints - pred_root, gt_joints - gt_root
    errors = {
        "mpjpe": functional.mpjpe(pred, gt),
        "pa_mpjpe": functional.pa_mpjpe(pred_joints, gt_joints),
        "mve": mve,
    }
    if with_gap:
        errors["gap"] = pred - gt
    return {name: values.cpu().numpy() for name, values in errors.items()}


def joints_and_root(
    protocol: Protocol, body: BodyOutput, regressor: Regressor | None
) -> tuple[Tensor, Tensor]:
    """The evaluated joints (B, J, 3) and the root (B, 1, 3) of one body."""
    full = body.joints if protocol.joints == "smpl24" else regressor(body.vertices)
    pelvis, hips, chosen = _PLACES[protocol.joints]
    if protocol.root == "pelvis":
        root = full[:, [pelvis]]
    elif protocol.root == "mean_of_hips":
        root = full[:, list(hips)].mean(1, keepdim=True)
    else:
        root = body.vertices.mean(1, keepdim=True)
    return full[:, list(chosen)], root


def spin_joints_and_root(protocol: Protocol, joints_3d: Tensor) -> tuple[Tensor, Tensor]:
    """The same of SPIN's 24 ground-truth joints."""
    joints = joints_3d[:, list(J24_TO_J14), :3]
    if protocol.root == "pelvis":
        root = joints_3d[:, [SPIN24_NAMES.index("PelvisMPII")], :3]
    else:
        hips = [LSP14_NAMES.index("LHip"), LSP14_NAMES.index("RHip")]
        root = joints[:, hips].mean(1, keepdim=True)
    return joints, root


# Joint files: which full set a protocol's joints can be picked from, beside the joints themselves.
FULL_SETS = {"h36m17": ("h36m14", "h36m17"), "extra19": ("extra14",)}


def evaluate_joints(
    protocol: Protocol,
    joints: Tensor,
    joint_set: str,
    truth: BodyOutput | None,
    regressor: Regressor | None,
    joints_3d: Tensor | None = None,
    with_gap: bool = False,
) -> dict[str, np.ndarray]:
    """``evaluate_batch`` for a method that predicts joints and no body.

    Args:
        protocol: the choices; ``root_of`` must know its root in this set.
        joints: (B, J, 3) metres.
        joint_set: the protocol's own set, or a full set of ``FULL_SETS`` that holds it.
        truth, regressor, joints_3d, with_gap: as :func:`evaluate_batch`.

    Returns:
        As :func:`evaluate_batch`; ``mve`` is NaN.
    """
    if protocol.truth_joints == "spin24":
        gt_joints, gt_root = spin_joints_and_root(protocol, joints_3d)
    else:
        gt_joints, gt_root = joints_and_root(protocol, truth, regressor)
    places = root_of(protocol, joint_set)
    if places is None:
        raise ValueError(f"the root {protocol.root} is not among the joints {joint_set}")
    root = joints[:, list(places)].mean(1, keepdim=True)
    if joint_set in FULL_SETS:
        joints = joints[:, list(_PLACES[protocol.joints][2])]
    pred, gt = joints - root, gt_joints - gt_root
    errors = {
        "mpjpe": functional.mpjpe(pred, gt).cpu().numpy(),
        "pa_mpjpe": functional.pa_mpjpe(joints, gt_joints).cpu().numpy(),
        "mve": np.full(len(joints), np.nan),
    }
    if with_gap:
        errors["gap"] = (pred - gt).cpu().numpy()
    return errors


def root_of(protocol: Protocol, joint_set: str) -> tuple[int, ...] | None:
    """The joints of a file whose mean is the protocol's root.

    Returns:
        Their places in the file's set; None where the set lacks the root or the joints.
    """
    full = protocol.joints in FULL_SETS.get(joint_set, ())
    if not full and joint_set != protocol.joints:
        return None
    pelvis, hips, chosen = _PLACES[protocol.joints]
    wanted = {"pelvis": (pelvis,), "mean_of_hips": hips}.get(protocol.root)
    if wanted is None or full:
        return wanted
    if not set(wanted) <= set(chosen):
        return None
    return tuple(chosen.index(joint) for joint in wanted)
