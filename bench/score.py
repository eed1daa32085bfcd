"""`python -m bench score`: trusted numbers for the predictions of any method.

Predictions are joined to the ground truth by name, posed and measured under one or several named
protocols. Everything is checked before the first number is computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from bench.keys import sequence_of
from bench.matching import Match, NoOverlap, match_frames
from bench.measuring import PCK_THRESHOLDS, exchanged_legs, measure
from bench.predictions import JOINT_NAMES, Predictions, read_predictions
from bench.truth import SCORED, Truth, read_truth
from genhmr.body import Bodies
from genhmr.body.joints import J24_TO_J14, SPIN24_NAMES
from genhmr.metrics import (
    Protocol,
    best_of,
    frames_of,
    kind_of,
    presets_for,
    protocol_for,
    root_of,
)
from genhmr.metrics.presets import STAND_INS
from genhmr.metrics.protocols import FULL_SETS
from genhmr.types import UserError

_MARKERS = [*J24_TO_J14, SPIN24_NAMES.index("PelvisMPII")]  # what the marker protocols read
NAMES = ("protocol", "key", "sequence")  # columns of a result, before its metrics
METRICS = ("mpjpe", "pa_mpjpe", "mve")
ALL = "all"


def choose_protocols(dataset: str, names: tuple[str, ...]) -> dict[str, Protocol]:
    """The named protocols of a data set; "all" stands for every one that covers it.

    Raises:
        UserError: a data set that is unknown or has no images to predict from, or a protocol that
            does not cover it.
    """
    if STAND_INS.get(dataset, dataset) not in SCORED:
        open_sets = [name for name, kind in STAND_INS.items() if kind in SCORED]
        raise UserError(
            f"'{dataset}' is no data set whose images are scored: choose one of "
            f"{', '.join((*SCORED, *open_sets))} with --dataset."
        )
    wanted = presets_for(dataset) if ALL in names else dict.fromkeys(names)
    return {name: protocol_for(dataset, name) for name in wanted}


def _unfit(protocol: Protocol, joint_set: str, dataset: str) -> str:
    """Why joints of a set cannot be scored under a protocol, and what could be."""
    root = protocol.root.replace("_", " ")
    reason = f"it measures {protocol.joints} from the {root}, and the file has {joint_set}"
    # Its own joints are there, of which the root is none.
    if joint_set == protocol.joints or protocol.joints in FULL_SETS.get(joint_set, ()):
        reason += f", whose {len(JOINT_NAMES[joint_set])} joints lack the {root}"
    able = [own for own in JOINT_NAMES if root_of(protocol, own) is not None]
    advice = f"write {' or '.join(able)}" if able else "write vertices, or pose and betas"
    others = presets_for(dataset).items()
    if fit := [name for name, own in others if root_of(own, joint_set) is not None]:
        advice += f", or use --protocol {fit[0]}"
    return f"{reason}: {advice}"


def _usable(
    dataset: str,
    protocols: dict[str, Protocol],
    found: Predictions,
    truth: Truth,
    bodies: Bodies,
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
            why[name] = _unfit(protocol, found.joint_set, dataset)
        elif found.vertices is not None and protocol.joints == "smpl24":
            why[name] = "kinematic joints need pose and betas, the file has vertices"
        elif protocol.joints == "extra14" and bodies.regressor_extra19 is None:
            why[name] = "datasets/body has no SMPL_to_J19.pkl"
        else:
            good[name] = protocol
    return good, why


@dataclass(frozen=True)
class Scores:
    """The result of one file of predictions.

    Attributes:
        dataset: that was scored.
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
        warning: what is strange about the predictions, or nothing.
    """

    dataset: str
    frames: pd.DataFrame
    metrics: tuple[str, ...]
    protocols: dict[str, Protocol]
    left_out: dict[str, str]
    total: dict[str, int]
    missing: dict[str, list[str]]
    unknown: list[str]
    hypotheses: int
    warning: str = ""


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
        extras: of ``bench.measuring.EXTRAS``.

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
    matches: list[Match] = []
    nowhere: NoOverlap | None = None
    warning = ""
    splits = list(dict.fromkeys(protocol.frames for protocol in protocols.values()))
    for split in splits:
        group = {n: p for n, p in protocols.items() if p.frames == split}
        markers = any(p.truth_joints == "spin24" for p in group.values())
        truth = read_truth(kind_of(dataset), root, split, bodies, markers, "pck" in extras)
        group, why = _usable(dataset, group, found, truth, bodies)
        left_out |= why
        if not group:
            continue
        boxes = truth.center, truth.box_size
        try:
            match = match_frames(
                found, truth.keys, truth.images, kind_of(dataset) != "h36m", boxes
            )
        except NoOverlap as error:  # with this split; another may have the frames
            nowhere = nowhere or error
            frames = frames_of(dataset, next(iter(group.values())))
            left_out |= dict.fromkeys(group, f"no prediction is of the frames {frames}")
            continue
        matches.append(match)
        if split == splits[-1]:
            found = replace(found, names=found.names[:0].copy())  # 10 MB of paths
        errors = measure(group, found, truth, match.frames, match.rows, bodies, extras)
        if found.joints is not None:
            warning = warning or exchanged_legs(group, found, truth, match, errors, bodies)
        used |= group
        total |= dict.fromkeys(group, len(truth.keys))
        missing |= dict.fromkeys(group, match.missing)
        keys = [truth.keys[frame] for frame in match.frames]
        del truth  # tens of megabytes, and so are the tables
        tables += _tables(errors, keys)
    if nowhere and not used:
        raise nowhere
    del found
    if not used:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise UserError(f"{path} cannot be scored under any protocol asked for ({reasons}).")
    if ALL not in names and left_out:
        name, reason = next(iter(left_out.items()))
        raise UserError(f"{path} cannot be scored under protocol '{name}': {reason}.")
    metrics = tuple(name for name in tables[0] if name not in NAMES)
    # Column by column: all tables twice are 20 MB.
    frames = pd.DataFrame(
        {metric: np.concatenate([table.pop(metric) for table in tables]) for metric in metrics}
    )
    for i, column in enumerate(NAMES):
        frames.insert(i, column, union_categoricals([table[column] for table in tables]))
    # A prediction is unknown where no split has it.
    everywhere = set(matches[0].unknown).intersection(*(match.unknown for match in matches[1:]))
    unknown = [name for name in matches[0].unknown if name in everywhere]
    hypotheses = max(match.rows.shape[1] for match in matches)
    return Scores(
        dataset, frames, metrics, used, left_out, total, missing, unknown, hypotheses, warning
    )


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
