"""`python -m bench score`: trusted numbers for the predictions of any method.

Predictions are joined to the ground truth by name, posed and measured under one or several named
protocols. Everything is checked before the first number is computed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from bench.matching import match_frames
from bench.predictions import Predictions, read_predictions
from genhmr.body import Bodies, axis_angle_to_matrix
from genhmr.body.joints import J24_TO_J14, SPIN24_NAMES
from genhmr.data.readers import read_images
from genhmr.metrics import (
    Protocol,
    SharedEvaluator,
    best_of,
    kind_of,
    presets_for,
    protocol_for,
    root_of,
)
from genhmr.types import BodyOutput, PersonFrame, UserError

_MARKERS = [*J24_TO_J14, SPIN24_NAMES.index("PelvisMPII")]  # what the marker protocols read
METRICS = ("mpjpe", "pa_mpjpe", "mve")
BATCH = 256
ALL = "all"


@dataclass(frozen=True)
class Truth:
    """The frames of one split of a data set.

    Attributes:
        keys: T frame keys, ``<sequence>/<frame>/<person>``.
        images: T image paths relative to the data set.
        pose: (T, 24, 3) float32 axis-angle.
        betas: (T, 10) float32.
        genders: T words.
        joints_3d: (T, 24, 4) float32, SPIN's ``S``.
        has_smpl: (T,) bool.
    """

    keys: list[str]
    images: list[str]
    pose: np.ndarray
    betas: np.ndarray
    genders: list[str]
    joints_3d: np.ndarray
    has_smpl: np.ndarray


def read_truth(kind: str, root: Path, split: str, bodies: Bodies) -> Truth:
    """Reads the ground truth; no image is opened.

    Raises:
        UserError: the data set is missing, damaged or empty.
    """
    if kind not in ("3dpw", "emdb", "h36m"):
        raise UserError(f"'{kind}' has no images to predict from: choose 3dpw, emdb or h36m.")
    if not root.is_dir():
        role = {"3dpw": "wild", "emdb": "extreme", "h36m": "lab"}[kind]
        remedy = (
            f"generate it with `python -m bench plan && python -m bench data {role}`"
            if root.name.startswith("open-")
            else "unpack the release there (see datasets/raw/README.md)"
        )
        raise UserError(f"{root} is missing: {remedy}.")
    frames: list[PersonFrame] = list(read_images(kind, root, split, bodies))
    if not frames:
        raise UserError(f"{root} has no frames in the split '{split}'.")
    pose = np.stack([frame.pose for frame in frames])
    betas = np.stack([frame.betas for frame in frames])
    known = np.isfinite(pose).all((1, 2)) & np.isfinite(betas).all(1)
    return Truth(
        keys=[frame.key for frame in frames],
        images=[frame.image.relative_to(root).as_posix() for frame in frames],
        pose=np.nan_to_num(pose),
        betas=np.nan_to_num(betas),
        genders=[frame.gender for frame in frames],
        joints_3d=np.stack([frame.joints_3d for frame in frames]),
        has_smpl=known,
    )


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
) -> dict[str, dict[str, np.ndarray]]:
    """Metrics (T, K) of every protocol, for K hypotheses of T frames."""
    evaluator = SharedEvaluator(protocols, bodies)
    errors = {p: {m: np.full(rows.shape, np.nan) for m in METRICS} for p in protocols}
    bar = tqdm(total=rows.size, desc="score", unit="frame", mininterval=2, delay=2)
    for start in range(0, len(frames), BATCH):
        chunk = slice(start, start + BATCH)
        at = frames[chunk]
        posed = None
        if truth.has_smpl.all():
            pose = axis_angle_to_matrix(torch.from_numpy(truth.pose[at]))
            genders = [truth.genders[i] for i in at]
            posed = evaluator.pose_truth(pose, torch.from_numpy(truth.betas[at]), genders)
        markers = torch.from_numpy(truth.joints_3d[at])
        for k in range(rows.shape[1]):
            own = rows[chunk, k]
            if found.joints is not None:
                joints = torch.from_numpy(found.joints[own])
                measured = evaluator.measure_joints(joints, found.joint_set, posed, markers)
            elif found.pose is not None:
                body = evaluator.poser.pose(found.rotations(own), found.betas[own])
                measured = evaluator.measure(body, posed, markers)
            else:
                vertices = torch.from_numpy(found.vertices[own])
                body = BodyOutput(vertices, vertices.new_full((len(own), 24, 3), torch.nan))
                measured = evaluator.measure(body, posed, markers)
            for protocol, metrics in measured.items():
                for name, values in metrics.items():
                    errors[protocol][name][chunk, k] = values
            bar.update(len(own))
    bar.close()
    return errors


@dataclass(frozen=True)
class Scores:
    """The result of one file of predictions.

    Attributes:
        frames: one line a frame and protocol: ``protocol, key, sequence, mpjpe, pa_mpjpe, mve``
            in millimetres; of several hypotheses the best, metric by metric.
        protocols: what was measured.
        left_out: protocol to the reason why it could not be.
        total: frames of the ground truth, by protocol.
        missing: keys without a prediction, by protocol.
        unknown: names of predictions that no frame has.
        hypotheses: K.
    """

    frames: pd.DataFrame
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
) -> Scores:
    """Scores a file of predictions under one or several protocols.

    Args:
        path: ``.npz`` or ``.parquet``, see docs/predictions.md.
        dataset: a kind ("3dpw", "emdb", "h36m") or the open set in its role.
        names: presets, or "all".
        root: folder of the data set.
        bodies: body models.
        joint_set: of the column ``joints``.

    Raises:
        UserError: unknown names, bad files, no common frame, or no protocol that fits the file.
    """
    protocols = choose_protocols(dataset, names)
    found = read_predictions(path, joint_set, len(bodies.neutral.v_template))
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
        errors = _measure(group, found, truth, match.frames, match.rows, bodies)
        keys = [truth.keys[frame] for frame in match.frames]
        for name, metrics in errors.items():
            best = {metric: best_of(values) for metric, values in metrics.items()}
            lines = {"protocol": name, "key": keys, "sequence": [sequence_of(k) for k in keys]}
            tables.append(pd.DataFrame({**lines, **best}))
            total[name], missing[name] = len(truth.keys), match.missing
        used |= group
    if not used:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise UserError(f"{path} cannot be scored under any protocol asked for ({reasons}).")
    if ALL not in names and left_out:
        name, reason = next(iter(left_out.items()))
        raise UserError(f"{path} cannot be scored under protocol '{name}': {reason}.")
    frames = pd.concat(tables, ignore_index=True)
    return Scores(frames, used, left_out, total, missing, unknown, hypotheses)


def sequence_of(key: str) -> str:
    """The video a frame belongs to, seen by one camera or by several.

    ``downtown/00017/0`` is of ``downtown``; the npz sets name their images
    ``images/S9_Walk.60457274_000123.jpg/17``, which is of ``S9_Walk`` whatever the camera.
    """
    folder, name, _ = key.rsplit("/", 2)
    subject = re.match(r"^(S\d+_[^.]*)\.", name)
    return subject.group(1) if subject else folder
