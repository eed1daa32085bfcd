"""Stage `evaluate@`: per-image metrics to parquet.

A model is scored under all its inference settings, each set in a process of its own where there
are cores: images are encoded once a batch, and settings that resolve to the same values run once.
Beside the metrics an evaluation leaves its timings (AITI, batch 1) and what the figures need
(``bench.evaluate_extras``); nothing after it loads a model.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from bench.evaluate_extras import write_timing, write_trace
from bench.evaluate_spans import MeasuredSpans
from bench.infer import refine, sample
from bench.stage import pick_device, scratch_folder, seed_folder, spread, whole_folder
from genhmr.baselines.mean_pose import MeanPose, fit_mean_pose
from genhmr.body.joints import body25
from genhmr.body.model_files import Bodies, load_bodies
from genhmr.body.rotations import axis_angle_to_matrix
from genhmr.body.smpl import SMPLJoints
from genhmr.data.crops import iterate_crops
from genhmr.data.detections import openpose_detections, simulate_detections
from genhmr.data.shards import ImageShard
from genhmr.inference.predict import Prediction
from genhmr.metrics import Evaluator, protocol_for
from genhmr.metrics.presets import REFERENCE
from genhmr.train.model_files import load_genhmr
from genhmr.transformer.genhmr import GenHMR
from genhmr.types import CropBatch
from genhmr.workers import end_with_parent

Json = dict[str, Any]


def _detections(
    job: Json, shard: ImageShard, rows: np.ndarray, batch: CropBatch, raw: Path
) -> Tensor:
    """(B, 25, 3) keypoints in crop units from the named source, the same at every call."""
    if job["detections"] == "openpose":
        columns = shard.annotations
        found = openpose_detections(
            raw / "openpose",
            columns["image"][rows],
            columns["center"][rows],
            columns["box_size"][rows],
        )
        return torch.from_numpy(found)
    found = [
        # A generator a record: a detection does not change with the batch it comes in.
        simulate_detections(keypoints[None], np.random.default_rng([job["seed"], int(row)]))[0]
        for keypoints, row in zip(batch.keypoints_2d.numpy(), rows)
    ]
    return torch.from_numpy(np.stack(found)).float()


def _unique(settings: Json) -> dict[str, list[str]]:
    """Resolved setting (as JSON) -> the names that ask for it, in order."""
    groups: dict[str, list[str]] = {}
    for name, setting in settings.items():
        # Without refinement its knobs do not matter.
        refine = setting["refine"] if setting["refine"]["iters"] else {"iters": 0}
        key = json.dumps({**setting, "refine": refine, "sets": None}, sort_keys=True)
        groups.setdefault(key, []).append(name)
    return groups


def score_model(
    job: Json, trained: Json, build: Path, out: Path, scratch: Path, made_from: Json
) -> None:
    """Scores one model, every seed of it, under all its settings.

    An evaluation that was stopped goes on from what it had measured, see
    :mod:`bench.evaluate_spans`.

    Args:
        job: ``build/plan/evaluate/<name>.json``.
        trained: ``build/plan/transformer/<name>.json``; its training sets give the mean pose.
        build: folder of shards and models.
        out: folder of ``per_image.parquet`` (``setting, step, role, seed, key, mpjpe, pa_mpjpe,
            mve``; a setting that reports one step has step 0, seeds count from 0; beside the
            job's settings ``mean-pose`` and, of a model with a guide, ``lifted``); of a model
            with a setting ``headline`` also ``timing.json``, ``trace.npz`` and, of that
            setting and the first seed, ``gallery-``, ``failures-`` and ``predictions-<role>.npz``.
        scratch: what is measured so far; removed at the end.
        made_from: all that decides the numbers, device and weights aside; what a stopped run had
            measured is taken where this is the same. Given, and not found out here: what notes
            the code of an evaluation is none of it.
    """
    device = pick_device(job["device"])
    made_from = made_from | {
        "device": torch.cuda.get_device_name() if device == "cuda" else device
    }
    folder = build / "models" / "transformer" / job["model"]
    weights = sorted(folder.rglob("*.safetensors"))
    with scratch_folder(scratch, made_from, weights) as measured, whole_folder(out) as part:
        models = [load_genhmr(seed_folder(folder, i), device) for i in range(job["models"])]
        _score_into(part, measured, job, trained, build, device, models)


@dataclass(frozen=True)
class _Work:
    """What the sets of one evaluation share."""

    job: Json
    build: Path
    out: Path
    measured: Path
    device: str
    models: list[GenHMR]
    bodies: Bodies
    joints: SMPLJoints
    mean: MeanPose


def _score_into(
    part: Path,
    measured: Path,
    job: Json,
    trained: Json,
    build: Path,
    device: str,
    models: list[GenHMR],
) -> None:
    bodies = load_bodies(Path(job["bodies"]))
    work = _Work(
        job,
        build,
        part,
        measured,
        device,
        models,
        bodies,
        SMPLJoints(bodies.neutral, body25()).to(device),
        _mean_pose([build / "data" / role / "train" for role in trained["train_on"]]),
    )
    table = pd.concat(_every_set(work), ignore_index=True)
    order = ["role", "setting", "step", "seed", "key"]
    table.sort_values(order, kind="stable", ignore_index=True).to_parquet(
        part / "per_image.parquet"
    )
    if "headline" in job["settings"]:  # timed when nothing else runs any more
        shard = ImageShard(build / "data" / next(iter(job["sets"])) / "test")
        first = next(iter(iterate_crops(shard, 1, job["crop"])))
        write_trace(work.models[0], first.images.to(device), part)
        write_timing(job, work.models[0], work.joints, first, device, part)


def _every_set(work: _Work) -> list[pd.DataFrame]:
    """The sets side by side, a process each, where that is safe and there are cores; else in turn.

    Forked processes share the models. They must not follow threads, neither of OpenMP nor of
    autograd, which has some where there is a GPU.
    """
    roles = list(work.job["sets"])
    processes = min(len(roles), os.cpu_count() or 1)
    alone = torch.get_num_threads() == 1 and not torch.cuda.is_available()
    if processes == 1 or not alone or not sys.platform.startswith("linux"):
        return [_score_set(work, role) for role in roles]
    # The set with the most to do first, so that no process is left with it at the end.
    settings = work.job["settings"].values()
    roles.sort(key=lambda role: -sum(role in setting["sets"] for setting in settings))
    context = multiprocessing.get_context("fork")
    _SHARED.append(work)
    try:
        with ProcessPoolExecutor(processes, context, end_with_parent) as pool:
            return list(pool.map(_score_shared, roles))
    finally:
        _SHARED.clear()


_SHARED: list[_Work] = []  # what a forked process finds instead of a copy through a pipe


def _score_shared(role: str) -> pd.DataFrame:
    return _score_set(_SHARED[0], role)


def _score_set(work: _Work, role: str) -> pd.DataFrame:
    """Scores one set under all settings, and writes its gallery and predictions."""
    job, dataset = work.job, work.job["sets"][role]
    shard = ImageShard(work.build / "data" / role / "test")
    # SPIN's Human3.6M files may hold markers only: then SPIN's own evaluator is the protocol.
    marked = not shard.has_bodies()
    protocol = protocol_for(dataset["kind"], "spin" if marked else REFERENCE)
    groups = _unique({n: s for n, s in job["settings"].items() if role in s["sets"]})
    scored = _Set(role, shard, groups, marked, Evaluator(protocol, work.bodies, work.device))
    spans = MeasuredSpans(work.measured, role, len(shard))
    begin, count = spans.begin, -(-len(shard) // job["batch"])
    chosen = set(spread(range(len(shard)), job["images"]))
    bar = tqdm(
        iterate_crops(shard, job["batch"], job["crop"], start_step=begin),
        f"evaluate {dataset['name']}",
        total=count,
        initial=begin,
        mininterval=2,
        position=list(job["sets"]).index(role) if _SHARED else 0,
    )
    for number, batch in enumerate(bar, begin):
        batch = _only(batch, chosen)
        if len(batch.index):
            _score_batch(work, scored, batch, spans)
        spans.end_batch(number)
    return spans.join(count, work.out)


@dataclass(frozen=True)
class _Set:
    """One set and how it is scored; ``settings`` see :func:`_unique`."""

    role: str
    shard: ImageShard
    settings: dict[str, list[str]]
    marked: bool
    scorer: Evaluator


def _score_batch(work: _Work, of: _Set, batch: CropBatch, spans: MeasuredSpans) -> None:
    """Adds the errors of a batch under all settings to the span, and what the figures need."""
    job, device, tables, scorer = work.job, work.device, spans.tables, of.scorer
    rows = batch.index.numpy()
    keys, genders = of.shard.annotations["key"][rows], of.shard.annotations["gender"][rows]
    truth = None if of.marked else scorer.pose_truth(batch.pose, batch.betas, genders)

    def score(pose: Tensor, betas: Tensor) -> dict[str, np.ndarray]:
        return scorer.measure(pose, betas, truth, batch.joints_3d)

    about = {"role": of.role, "key": keys}
    raw = Path(job["sets"][of.role]["raw"])
    points = _detections(job, of.shard, rows, batch, raw).to(device)
    mean_bodies = [torch.from_numpy(a) for a in work.mean.predict(len(rows))]
    errors = score(*mean_bodies)
    for seed, model in enumerate(work.models):
        with torch.no_grad():
            features = model.encode_image(batch.images.to(device))
        tables.append(_frame(["mean-pose"], 0, seed, about, errors))
        others = {"mean pose": (mean_bodies[0], errors["mpjpe"])}
        if features.guide is not None:  # what sampling starts from, regressed in one go
            lifted = score(features.guide.pose, features.betas)
            tables.append(_frame(["lifted"], 0, seed, about, lifted))
            others["lifted keypoints"] = (features.guide.pose, lifted["mpjpe"])
        samples: dict[str, Prediction] = {}  # settings that differ in refinement share one
        for key, names in of.settings.items():
            setting = json.loads(key)
            ugs = json.dumps(setting["ugs"])
            if ugs not in samples:
                samples[ugs] = sample(model, features, setting, rows, job["seed"])
            sampled = samples[ugs]
            path, cams = [sampled.pose], [sampled.cam]
            if setting["refine"]["iters"]:
                trace = refine(model, work.joints, sampled, points, setting["refine"])
                path, cams = list(trace.pose), list(trace.cam)
            single = len(setting["report"]) == 1
            for step in setting["report"]:
                own = score(path[step], sampled.betas)
                tables.append(_frame(names, 0 if single else step, seed, about, own))
            if "headline" in names and seed == 0:
                spans.extras.add(batch, keys, points, sampled, path, cams, others, score)


def _only(batch: CropBatch, chosen: set[int]) -> CropBatch:
    """The items of a batch whose index is among the chosen."""
    keep = torch.tensor([index in chosen for index in batch.index.tolist()])
    if keep.all():
        return batch
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    return replace(batch, **{name: value[keep] for name, value in values.items()})


def _frame(names: list[str], step: int, seed: int, about: Json, errors: Json) -> pd.DataFrame:
    """One line an image and setting, for settings that share their numbers."""
    return pd.concat(
        pd.DataFrame({"setting": name, "step": step, "seed": seed, **about, **errors})
        for name in names
    )


def _mean_pose(folders: list[Path]):
    """Mean body over the training records with SMPL ground truth."""
    poses, betas = [], []
    for folder in folders:
        columns = ImageShard(folder).annotations
        known = columns["has_smpl"]
        poses.append(columns["pose"][known])
        betas.append(columns["betas"][known])
    rotations = axis_angle_to_matrix(torch.from_numpy(np.concatenate(poses)))
    return fit_mean_pose(rotations.numpy(), np.concatenate(betas))
