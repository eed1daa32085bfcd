"""From SMPL parameters to errors: poses both bodies as protocols ask, then measures them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from genhmr.body import SMPL, Bodies
from genhmr.metrics.functional import pa_mve
from genhmr.metrics.protocols import (
    Protocol,
    Regressor,
    evaluate_batch,
    evaluate_joints,
    regressor_for,
)
from genhmr.types import BodyOutput


class BodyPoser:
    """Poses the three bodies; a layer is made when its gender first appears.

    Args:
        bodies: the three bodies.
        device: where they are posed.
    """

    def __init__(self, bodies: Bodies, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self._bodies = bodies
        self._layers: dict[str, SMPL] = {}

    @torch.no_grad()
    def pose(self, pose: Tensor, betas: Tensor, gender: str = "neutral") -> BodyOutput:
        """Bodies of one gender; pose (B, 24, 3, 3), betas (B, 10)."""
        if gender not in self._layers:  # a layer takes 20 MB; many sets need only one
            self._layers[gender] = SMPL(self._bodies.get(gender)).to(self.device)
        return self._layers[gender](pose.to(self.device), betas.to(self.device))

    @torch.no_grad()
    def pose_gendered(self, pose: Tensor, betas: Tensor, genders: Sequence[str]) -> BodyOutput:
        """Each item with the body of its gender ("neutral", "male" or "female")."""
        genders = list(genders)
        if len(genders) != len(pose):
            raise ValueError(f"{len(genders)} genders for {len(pose)} poses")
        kinds = sorted(set(genders))
        if len(kinds) == 1:
            return self.pose(pose, betas, kinds[0])
        parts, rows = [], []
        for gender in kinds:
            chosen = [row for row, value in enumerate(genders) if value == gender]
            rows += chosen
            parts.append(self.pose(pose[chosen], betas[chosen], gender))
        back = torch.from_numpy(np.argsort(rows)).to(self.device)
        return BodyOutput(
            vertices=torch.cat([part.vertices for part in parts])[back],
            joints=torch.cat([part.joints for part in parts])[back],
        )


class SharedEvaluator:
    """Measures the same predictions under several protocols; every body is posed once.

    Args:
        protocols: name to choices.
        bodies: the three bodies and the regressors.
        device: where the bodies are posed.
        with_pa_mve: also measure ``pa_mve``, the error of the vertices after their own alignment.
        with_gap: also return what errors of motion are made of, see
            :func:`genhmr.metrics.protocols.evaluate_batch`.

    Raises:
        UserError: a protocol's regressor is not among the body files.
    """

    def __init__(
        self,
        protocols: Mapping[str, Protocol],
        bodies: Bodies,
        device: torch.device | str = "cpu",
        with_pa_mve: bool = False,
        with_gap: bool = False,
    ) -> None:
        self.protocols = dict(protocols)
        self._wanted = {protocol.truth_body for protocol in self.protocols.values()}
        self._with_pa_mve, self._with_gap = with_pa_mve, with_gap
        self.poser = BodyPoser(bodies, device)
        self.device = self.poser.device
        shared: dict[str, Regressor | None] = {}
        for protocol in self.protocols.values():
            if protocol.joints not in shared:
                matrix = regressor_for(protocol, bodies)
                shared[protocol.joints] = None if matrix is None else Regressor(matrix, device)
        self._regressors = shared

    def __call__(
        self,
        pred_pose: Tensor,
        pred_betas: Tensor,
        gt_pose: Tensor | None,
        gt_betas: Tensor | None,
        genders: Sequence[str],
        joints_3d: Tensor | None = None,
    ) -> dict[str, dict[str, np.ndarray]]:
        """Measure a batch.

        Args:
            pred_pose: (B, 24, 3, 3).
            pred_betas: (B, 10).
            gt_pose: (B, 24, 3, 3) or None where the set has only marker joints.
            gt_betas: (B, 10) or None likewise.
            genders: B words, "neutral", "male" or "female".
            joints_3d: (B, 24, 4), see :func:`genhmr.metrics.protocols.evaluate_batch`.

        Returns:
            Protocol to metrics, see :func:`genhmr.metrics.protocols.evaluate_batch`.
        """
        if gt_pose is None or gt_betas is None:
            return self.measure(self.poser.pose(pred_pose, pred_betas), None, joints_3d)
        posed = self.pose_both((pred_pose, pred_betas), (gt_pose, gt_betas), genders)
        return self.measure(*posed, joints_3d)

    def pose_both(
        self, pred: tuple[Tensor, Tensor], truth: tuple[Tensor, Tensor], genders: Sequence[str]
    ) -> tuple[BodyOutput, dict[str, BodyOutput]]:
        """The predicted and the true bodies.

        Where the truth is wanted with the neutral body, as predictions are, both take one product
        with the blend shapes, which is faster than one for each.

        Args:
            pred: pose (B, 24, 3, 3) and betas (B, 10).
            truth: likewise.
            genders: B words, "neutral", "male" or "female".

        Returns:
            What :meth:`measure` takes.

        Raises:
            ValueError: of different lengths.
        """
        count = len(pred[0])
        if not count == len(truth[0]) == len(genders):
            raise ValueError(f"{count} predictions, {len(truth[0])} truths, {len(genders)} genders")
        share = "neutral" in self._wanted or set(genders) == {"neutral"}
        if not share:
            return self.poser.pose(*pred), self.pose_truth(*truth, genders)
        both = self.poser.pose(
            *(torch.cat([part.to(self.device) for part in parts]) for parts in zip(pred, truth))
        )
        prediction, neutral = (
            BodyOutput(vertices=both.vertices[half], joints=both.joints[half])
            for half in (slice(count), slice(count, None))
        )
        return prediction, self.pose_truth(*truth, genders, neutral)

    def pose_truth(
        self,
        pose: Tensor,
        betas: Tensor,
        genders: Sequence[str],
        neutral: BodyOutput | None = None,
    ) -> dict[str, BodyOutput]:
        """The ground-truth bodies that the protocols need, by ``truth_body``.

        Posed once, they serve many predictions.

        Args:
            pose: (B, 24, 3, 3).
            betas: (B, 10).
            genders: B words, "neutral", "male" or "female".
            neutral: the same parameters with the neutral body, where it has been posed already.
        """
        truth = {}
        if "gendered" in self._wanted:
            if neutral is not None and set(genders) == {"neutral"}:
                truth["gendered"] = neutral
            else:
                truth["gendered"] = self.poser.pose_gendered(pose, betas, genders)
        if "neutral" in self._wanted:
            if neutral is None and truth and set(genders) == {"neutral"}:
                neutral = truth["gendered"]
            truth["neutral"] = self.poser.pose(pose, betas) if neutral is None else neutral
        return truth

    @torch.no_grad()
    def measure(
        self,
        prediction: BodyOutput,
        truth: Mapping[str, BodyOutput] | None,
        joints_3d: Tensor | None = None,
    ) -> dict[str, dict[str, np.ndarray]]:
        """Measure a posed prediction against :meth:`pose_truth`'s bodies."""
        if joints_3d is not None:
            joints_3d = joints_3d.to(self.device)
        measured = {
            name: evaluate_batch(
                protocol,
                prediction,
                None if truth is None else truth[protocol.truth_body],
                self._regressors[protocol.joints],
                joints_3d,
                self._with_gap,
            )
            for name, protocol in self.protocols.items()
        }
        if self._with_pa_mve:
            self._add_pa_mve(measured, prediction, truth)
        return measured

    def _add_pa_mve(
        self,
        measured: dict[str, dict[str, np.ndarray]],
        prediction: BodyOutput,
        truth: Mapping[str, BodyOutput] | None,
    ) -> None:
        """Once for each ground-truth body: it depends on no other choice of a protocol."""
        found = {
            name: pa_mve(prediction.vertices, body.vertices).cpu().numpy()
            for name, body in (truth or {}).items()
        }
        nothing = np.full(len(prediction.vertices), np.nan)
        for name, protocol in self.protocols.items():
            measured[name]["pa_mve"] = found.get(protocol.truth_body, nothing)

    @torch.no_grad()
    def measure_joints(
        self,
        joints: Tensor,
        joint_set: str,
        truth: Mapping[str, BodyOutput] | None,
        joints_3d: Tensor | None = None,
    ) -> dict[str, dict[str, np.ndarray]]:
        """Measure predicted joints; see ``genhmr.metrics.protocols.evaluate_joints``."""
        return {
            name: evaluate_joints(
                protocol,
                joints.to(self.device),
                joint_set,
                None if truth is None else truth[protocol.truth_body],
                self._regressors[protocol.joints],
                joints_3d,
                self._with_gap,
            )
            for name, protocol in self.protocols.items()
        }


class Evaluator:
    """``SharedEvaluator`` for one protocol.

    Args:
        protocol: the choices.
        bodies: the three bodies and the regressors.
        device: where the bodies are posed.
    """

    def __init__(
        self, protocol: Protocol, bodies: Bodies, device: torch.device | str = "cpu"
    ) -> None:
        self.protocol = protocol
        self._shared = SharedEvaluator({"": protocol}, bodies, device)

    def __call__(
        self,
        pred_pose: Tensor,
        pred_betas: Tensor,
        gt_pose: Tensor | None,
        gt_betas: Tensor | None,
        genders: Sequence[str],
        joints_3d: Tensor | None = None,
    ) -> dict[str, np.ndarray]:
        """See :class:`SharedEvaluator`."""
        return self._shared(pred_pose, pred_betas, gt_pose, gt_betas, genders, joints_3d)[""]

    def pose_truth(
        self, pose: Tensor, betas: Tensor, genders: Sequence[str]
    ) -> dict[str, BodyOutput]:
        """See :meth:`SharedEvaluator.pose_truth`."""
        return self._shared.pose_truth(pose, betas, genders)

    def measure(
        self,
        pred_pose: Tensor,
        pred_betas: Tensor,
        truth: Mapping[str, BodyOutput] | None,
        joints_3d: Tensor | None = None,
    ) -> dict[str, np.ndarray]:
        """Measure predictions (B, 24, 3, 3), (B, 10) against :meth:`pose_truth`'s bodies."""
        prediction = self._shared.poser.pose(pred_pose, pred_betas)
        return self._shared.measure(prediction, truth, joints_3d)[""]
