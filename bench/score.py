"""`python -m bench score`: trusted numbers for the predictions of any method.

Predictions are joined to the ground truth by name, posed and measured under one or several named
protocols. Everything is checked before the first number is computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pandas.api.types import union_categoricals
from tqdm import tqdm

from bench.keys import sequence_of, track_of
from bench.matching import match_frames
from bench.predictions import Predictions, read_predictions
from bench.truth import Truth, read_truth
from genhmr.body import Bodies, axis_angle_to_matrix
from genhmr.body.joints import J24_TO_J14, SPIN24_NAMES
from genhmr.metrics import (
    Protocol,
    SharedEvaluator,
    best_of,
    kind_of,
    pck,
    presets_for,
    protocol_for,
    root_of,
    track_acceleration,
)
from genhmr.types import BodyOutput, UserError

_MARKERS = [*J24_TO_J14, SPIN24_NAMES.index("PelvisMPII")]  # what the marker protocols read
NAMES = ("protocol", "key", "sequence")  # columns of a result, before its metrics
METRICS = ("mpjpe", "pa_mpjpe", "mve")
EXTRAS = ("pa_mve", "accel", "pck")  # measured when asked for
PCK_THRESHOLDS = {"pck05": 0.05, "pck10": 0.10}  # of the side of the person's box
BATCH = 32
ALL = "all"


def choose_protocols(dataset: str, names: tuple[str, ...]) -> dict[str, Protocol]:
    """The named protocols of a data set; "all" stands for every one that covers it.

    Raises:
        UserError: an unknown data set, or a protocol that does not cover it.
    """
    wanted = presets_for(dataset) if ALL in names else dict.fromkeys(names)
    return {name: protocol_for(dataset, name) for name in wanted}


def _usable(
    protocols: dict[str, Protocol], found: Predictions, truth: Truth, bodies: Bodies
) -> tuple[dict[str, Protocol], dict[str, str]]:
    """Protocols that these predictions and this ground truth allow, and why the others not."""
    good: dict[str, Protocol] = {}
    why: dict[str, str] = {}
    for name, protocol in protocols.items():
        if protocol.truth_joints == "body" and not truth.has_smpl.all():
            why[name] = "the ground truth has no SMPL parameters"
        elif protocol.truth_joints == "spin24" and not (truth.joints_3d[:, _MARKERS, 3] > 0).all():
            why[name] = "the ground truth has no marker joints"
        elif found.joints is not None and root_of(protocol, found.joint_set) is None:
            why[name] = (
                f"it needs the joints {protocol.joints} and the root {protocol.root}, the file has "
                f"{found.joint_set}"
            )
        elif found.vertices is not None and protocol.joints == "smpl24":
            why[name] = "kinematic joints need pose and betas, the file has vertices"
        elif protocol.joints == "extra14" and bodies.regressor_extra19 is None:
            why[name] = "datasets/body has no SMPL_to_J19.pkl"
        else:
            good[name] = protocol
    return good, why


def _measure(
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
        markers = torch.from_numpy(truth.joints_3d[at])
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


@dataclass(frozen=True)
class Scores:
    """The result of one file of predictions.

    Attributes:
        frames: one line a frame and protocol: ``NAMES``, categorical, then ``metrics``; of
            several hypotheses the best, metric by metric.
        metrics: ``mpjpe, pa_mpjpe, mve`` and, where asked for, ``pa_mve`` (mm), ``accel`` (mm a
            frame squared; NaN without both neighbours), ``pck05, pck10`` (shares).
        protocols: what was measured.
        left_out: protocol to the reason why it could not be.
        total: frames of the ground truth, by protocol.
        missing: keys without a prediction, by protocol.
        unknown: names of predictions that no frame has.
        hypotheses: K.
    """

    frames: pd.DataFrame
    metrics: tuple[str, ...]
    protocols: dict[str, Protocol]
    left_out: dict[str, str]
    total: dict[str, int]
    missing: dict[str, list[str]]
    unknown: list[str]
    hypotheses: int


def score(
    path: Path,
    dataset: str,
    names: tuple[str, ...],
    root: Path,
    bodies: Bodies,
    joint_set: str | None = None,
    extras: tuple[str, ...] = (),
) -> Scores:
    """Scores a file of predictions under one or several protocols.

    Args:
        path: ``.npz`` or ``.parquet``, see docs/predictions.md.
        dataset: a kind ("3dpw", "emdb", "h36m") or the open set in its role.
        names: presets, or "all".
        root: folder of the data set.
        bodies: body models.
        joint_set: of the column ``joints``.
        extras: of ``EXTRAS``.

    Raises:
        UserError: unknown names, bad files, no common frame, or no protocol that fits the file.
    """
    protocols = choose_protocols(dataset, names)
    found = read_predictions(path, joint_set, len(bodies.neutral.v_template))
    if "pck" in extras and found.keypoints_2d is None:
        raise UserError(
            f"{path} has no 'keypoints_2d', which pck measures (see docs/predictions.md)."
        )
    tables, used, left_out, total, missing = [], {}, {}, {}, {}
    unknown: list[str] = []
    hypotheses = 1
    for split in dict.fromkeys(protocol.frames for protocol in protocols.values()):
        group = {n: p for n, p in protocols.items() if p.frames == split}
        truth = read_truth(kind_of(dataset), root, split, bodies)
        group, why = _usable(group, found, truth, bodies)
        left_out |= why
        if not group:
            continue
        match = match_frames(found, truth.keys, truth.images, kind_of(dataset) != "h36m")
        unknown, hypotheses = match.unknown, match.rows.shape[1]
        errors = _measure(group, found, truth, match.frames, match.rows, bodies, extras)
        used |= group
        total |= dict.fromkeys(group, len(truth.keys))
        missing |= dict.fromkeys(group, match.missing)
        keys = [truth.keys[frame] for frame in match.frames]
        del truth  # tens of megabytes, and so are the tables
        tables += _tables(errors, keys)
    del found
    if not used:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise UserError(f"{path} cannot be scored under any protocol asked for ({reasons}).")
    if ALL not in names and left_out:
        name, reason = next(iter(left_out.items()))
        raise UserError(f"{path} cannot be scored under protocol '{name}': {reason}.")
    metrics = tuple(name for name in tables[0] if name not in NAMES)
    frames = pd.concat([table[[*metrics]] for table in tables], ignore_index=True)
    for i, column in enumerate(NAMES):
        frames.insert(i, column, union_categoricals([table[column] for table in tables]))
    return Scores(frames, metrics, used, left_out, total, missing, unknown, hypotheses)


def _tables(
    errors: dict[str, dict[str, np.ndarray]], keys: list[str]
) -> Iterator[pd.DataFrame]:
    """One line a frame, protocol by protocol; empties ``errors`` as it goes.

    Names are categorical: as strings, under all protocols, they take more memory than the bodies.
    """
    key = pd.Categorical(keys)
    sequence = pd.Categorical([sequence_of(key) for key in keys])
    for name in list(errors):
        protocol = pd.Categorical([name]).repeat(len(keys))
        names = dict(zip(NAMES, (protocol, key, sequence)))
        metrics = errors.pop(name).items()
        yield pd.DataFrame({**names, **{metric: _best(metric, of) for metric, of in metrics}})


def _best(metric: str, values: np.ndarray) -> np.ndarray:
    """The best of (T, K) hypotheses; of shares of hits the largest."""
    return -best_of(-values) if metric in PCK_THRESHOLDS else best_of(values)
