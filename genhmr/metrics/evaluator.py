"""From SMPL parameters to errors: poses both bodies as a protocol asks, then measures them."""

from __future__ import annotations

from typing import Sequence

import numpy as np
import torch
from torch import Tensor

from genhmr.body import SMPL, Bodies
from genhmr.metrics.protocols import Protocol, evaluate_batch, regressor_for
from genhmr.types import BodyOutput


class Evaluator:
    """Poses prediction and ground truth as a protocol asks and measures them.

    Args:
        protocol: the choices.
        bodies: the three bodies and the regressor.
        device: where the bodies are posed.
    """

    def __init__(
        self, protocol: Protocol, bodies: Bodies, device: torch.device | str = "cpu"
    ) -> None:
        self.protocol = protocol
        self.device = torch.device(device)
        self._bodies = bodies
        self._layers: dict[str, SMPL] = {}
        regressor = regressor_for(protocol, bodies)
        self._regressor = (
            None if regressor is None else torch.from_numpy(regressor).float().to(self.device)
        )

    @torch.no_grad()
    def __call__(
        self,
        pred_pose: Tensor,
        pred_betas: Tensor,
        gt_pose: Tensor | None,
        gt_betas: Tensor | None,
        genders: Sequence[str],
        joints_3d: Tensor | None = None,
    ) -> dict[str, np.ndarray]:
        """Measure a batch.

        Args:
            pred_pose: (B, 24, 3, 3).
            pred_betas: (B, 10).
            gt_pose: (B, 24, 3, 3) or None where the set has only marker joints.
            gt_betas: (B, 10) or None likewise.
            genders: B words, "neutral", "male" or "female".
            joints_3d: (B, 24, 4), see :func:`evaluate_batch`.

        Returns:
            See :func:`evaluate_batch`.
        """
        truth = None
        if gt_pose is not None and gt_betas is not None:
            truth = self.pose_truth(gt_pose, gt_betas, genders)
        return self.measure(pred_pose, pred_betas, truth, joints_3d)

    @torch.no_grad()
    def pose_truth(self, pose: Tensor, betas: Tensor, genders: Sequence[str]) -> BodyOutput:
        """The protocol's ground-truth bodies; posed once, they serve many predictions.

        Args:
            pose: (B, 24, 3, 3).
            betas: (B, 10).
            genders: B words, "neutral", "male" or "female".
        """
        if self.protocol.truth_body == "neutral":
            genders = ["neutral"] * len(pose)
        return self._pose_gendered(pose, betas, list(genders))

    @torch.no_grad()
    def measure(
        self,
        pred_pose: Tensor,
        pred_betas: Tensor,
        truth: BodyOutput | None,
        joints_3d: Tensor | None = None,
    ) -> dict[str, np.ndarray]:
        """Measure predictions (B, 24, 3, 3), (B, 10) against :meth:`pose_truth`'s bodies."""
        prediction = self._pose("neutral", pred_pose, pred_betas)
        if joints_3d is not None:
            joints_3d = joints_3d.to(self.device)
        return evaluate_batch(self.protocol, prediction, truth, self._regressor, joints_3d)

    def _pose(self, gender: str, pose: Tensor, betas: Tensor) -> BodyOutput:
        if gender not in self._layers:  # a layer takes 20 MB; many sets need only one
            self._layers[gender] = SMPL(self._bodies.get(gender)).to(self.device)
        return self._layers[gender](pose.to(self.device), betas.to(self.device))

    def _pose_gendered(self, pose: Tensor, betas: Tensor, genders: list[str]) -> BodyOutput:
        if len(genders) != len(pose):
            raise ValueError(f"{len(genders)} genders for {len(pose)} poses")
        kinds = sorted(set(genders))
        if len(kinds) == 1:
            return self._pose(kinds[0], pose, betas)
        parts, rows = [], []
        for gender in kinds:
            chosen = [row for row, value in enumerate(genders) if value == gender]
            rows += chosen
            parts.append(self._pose(gender, pose[chosen], betas[chosen]))
        back = torch.from_numpy(np.argsort(rows)).to(self.device)
        return BodyOutput(
            vertices=torch.cat([part.vertices for part in parts])[back],
            joints=torch.cat([part.joints for part in parts])[back],
        )
