"""Measures matched predictions under several protocols, every body posed once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from tqdm import tqdm

from bench.keys import track_of
from bench.matching import Match
from bench.predictions import JOINT_NAMES, Predictions
from bench.stage import spread
from bench.truth import Truth
from genhmr.body import Bodies, axis_angle_to_matrix
from genhmr.metrics import Protocol, SharedEvaluator, pck, track_acceleration
from genhmr.types import BodyOutput

EXTRAS = ("pa_mve", "accel", "pck")  # measured when asked for
PCK_THRESHOLDS = {"pck05": 0.05, "pck10": 0.10}  # of the side of the person's box
BATCH = 24
_LEG = ("hip", "knee", "ankle", "foot")


def measure(
    protocols: dict[str, Protocol],
    found: Predictions,
    truth: Truth,
    frames: np.ndarray,
    rows: np.ndarray,
    bodies: Bodies,
    extras: tuple[str, ...],
) -> dict[str, dict[str, np.ndarray]]:
    """Metrics (T, K) of every protocol, for K hypotheses of T frames."""
    evaluator = SharedEvaluator(
        protocols, bodies, with_pa_mve="pa_mve" in extras, with_gap="accel" in extras
    )
    errors: dict[str, dict[str, np.ndarray]] = {name: {} for name in protocols}
    bar = tqdm(total=rows.size, desc="score", unit="frame", mininterval=2, delay=2)
    for start in range(0, len(frames), BATCH):
        chunk = slice(start, start + BATCH)
        at = frames[chunk]
        posed, parameters = None, None
        if truth.has_smpl.all():
            pose = axis_angle_to_matrix(torch.from_numpy(truth.pose[at]))
            parameters = pose, torch.from_numpy(truth.betas[at])
            genders = [truth.genders[i] for i in at]
            if found.pose is None:
                posed = evaluator.pose_truth(*parameters, genders)
        markers = None if truth.joints_3d is None else torch.from_numpy(truth.joints_3d[at])
        for k in range(rows.shape[1]):
            own = rows[chunk, k]
            if found.joints is not None:
                joints = torch.from_numpy(found.joints[own])
                measured = evaluator.measure_joints(joints, found.joint_set, posed, markers)
            elif found.pose is not None:
                own_parameters = found.rotations(own), found.betas[own]
                if posed is None and parameters is not None:  # of the first hypothesis
                    body, posed = evaluator.pose_both(own_parameters, parameters, genders)
                else:
                    body = evaluator.poser.pose(*own_parameters)
                measured = evaluator.measure(body, posed, markers)
            else:
                vertices = torch.from_numpy(found.vertices[own])
                body = BodyOutput(vertices, vertices.new_full((len(own), 24, 3), torch.nan))
                measured = evaluator.measure(body, posed, markers)
            for protocol, metrics in measured.items():
                for name, values in metrics.items():
                    if name not in errors[protocol]:
                        shape = (*rows.shape, *values.shape[1:])
                        errors[protocol][name] = np.full(shape, np.nan, values.dtype)
                    errors[protocol][name][chunk, k] = values
            bar.update(len(own))
    bar.close()
    for metrics in errors.values():
        if "pa_mve" in extras:
            metrics.setdefault("pa_mve", np.full(rows.shape, np.nan))  # joints have no surface
        if "accel" in extras:
            metrics["accel"] = _accelerations(metrics.pop("gap"), truth, frames)
        if "pck" in extras:
            metrics |= _correct_keypoints(found, truth, frames, rows)
    return errors


def _accelerations(gap: np.ndarray, truth: Truth, frames: np.ndarray) -> np.ndarray:
    """(T, K) from gaps (T, K, J, 3): hypothesis k of every frame makes one motion."""
    places = [track_of(truth.keys[frame]) for frame in frames]
    tracks = np.array([track for track, _ in places])
    numbers = np.array([number for _, number in places])
    columns = [track_acceleration(gap[:, k], tracks, numbers) for k in range(gap.shape[1])]
    return np.stack(columns, 1)


def _correct_keypoints(
    found: Predictions, truth: Truth, frames: np.ndarray, rows: np.ndarray
) -> dict[str, np.ndarray]:
    """(T, K) shares of correct keypoints, by threshold."""
    true = truth.keypoints_2d[frames]
    return {
        name: np.stack(
            [
                pck(
                    found.keypoints_2d[rows[:, k]],
                    true[..., :2],
                    true[..., 2],
                    truth.box_size[frames],
                    threshold,
                )
                for k in range(rows.shape[1])
            ],
            1,
        )
        for name, threshold in PCK_THRESHOLDS.items()
    }


def exchanged_legs(
    protocols: dict[str, Protocol],
    found: Predictions,
    truth: Truth,
    match: Match,
    errors: dict[str, dict[str, np.ndarray]],
    bodies: Bodies,
) -> str:
    """Says so where joints would fit better with the left and right leg exchanged.

    Human3.6M numbers the right leg first, SPIN's regressor the left: a file in the other order has
    the right shape, and numbers that are only too large.
    """
    names = [name.lower() for name in JOINT_NAMES[found.joint_set]]
    other_side = {"l": "r", "r": "l", "left": "right", "right": "left"}
    order = np.arange(len(names))
    for i, joint in enumerate(names):
        if any(part in joint for part in _LEG):
            side = joint.split("_")[0] if "_" in joint else joint[0]
            order[i] = names.index(other_side[side] + joint.removeprefix(side))
    some = np.array(list(spread(range(len(match.frames)), 500)))
    name = next(iter(protocols))
    turned = replace(found, joints=found.joints[:, order])
    rows = match.rows[some, :1]
    other = measure(
        {name: protocols[name]}, turned, truth, match.frames[some], rows, bodies, ()
    )[name]["mpjpe"].mean()
    given = errors[name]["mpjpe"][some, :1].mean()
    if other >= 0.95 * given:
        return ""
    return (
        f"LEGS: with the left and the right leg exchanged, MPJPE under {name} falls from "
        f"{given:.1f} to {other:.1f} mm (of {len(some)} frames): see the order of "
        f"{found.joint_set} in docs/predictions.md"
    )
