"""Stage `evaluate@`: per-image metrics to parquet.

One process scores a model under all its inference settings: images are encoded once a batch, and
settings that resolve to the same values run once. Beside the metrics an evaluation leaves its
timings (AITI, batch 1) and what the figures need; nothing after it loads a model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from bench.stage import pick_device, whole_folder
from genhmr.baselines.mean_pose import fit_mean_pose
from genhmr.body.joints import body25
from genhmr.body.model_files import load_bodies
from genhmr.body.rotations import axis_angle_to_matrix
from genhmr.body.smpl import SMPLJoints
from genhmr.data.crops import IMAGE_MEAN, IMAGE_STD, iterate_crops
from genhmr.data.detections import openpose_detections, simulate_detections
from genhmr.data.shards import ImageShard
from genhmr.inference.predict import Prediction, sample_pose
from genhmr.inference.refinement import refine_pose
from genhmr.inference.timing import measure_aiti
from genhmr.metrics import Evaluator, protocol_for
from genhmr.metrics.presets import REFERENCE
from genhmr.train.model_files import load_genhmr
from genhmr.transformer.genhmr import GenHMR
from genhmr.types import CropBatch

Json = dict[str, Any]
GALLERY_ROWS = 6
TRACE_ITERATIONS = 10  # the paper's Figures 5 and 6 show ten


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


def _sample(model: GenHMR, features: Any, setting: Json, rows: np.ndarray, seed: int) -> Prediction:
    ugs = setting["ugs"]
    generators = None
    if ugs["top_k"] > 1:
        generators = [torch.Generator().manual_seed(seed * 1_000_003 + int(row)) for row in rows]
    return sample_pose(
        model, features, ugs["iters"], ugs["schedule"], ugs["top_k"], ugs["temperature"], generators
    )


def _refine(model: GenHMR, joints: SMPLJoints, sampled: Prediction, points: Tensor, refine: Json):
    return refine_pose(
        model.tokenizer.decode,
        joints,
        sampled.latents,
        sampled.betas,
        sampled.cam,
        points,
        steps=refine["iters"],
        step_size=refine["step_size"],
        pose_weight=refine["pose_weight"],
        refine_camera=refine["camera"],
    )


def _unique(settings: Json) -> dict[str, list[str]]:
    """Resolved setting (as JSON) -> the names that ask for it, in order."""
    groups: dict[str, list[str]] = {}
    for name, setting in settings.items():
        # Without refinement its knobs do not matter.
        refine = setting["refine"] if setting["refine"]["iters"] else {"iters": 0}
        key = json.dumps({**setting, "refine": refine, "sets": None}, sort_keys=True)
        groups.setdefault(key, []).append(name)
    return groups


def _rows(names: list[str], step: int, role: str, keys: np.ndarray, errors: Json) -> Iterator[Any]:
    for name in names:
        yield pd.DataFrame({"setting": name, "step": step, "role": role, "key": keys, **errors})


def score_model(job: Json, trained: Json, build: Path, out: Path) -> None:
    """Scores one model under all its settings.

    Args:
        job: ``build/plan/evaluate/<name>.json``.
        trained: ``build/plan/transformer/<name>.json``; its training sets give the mean pose.
        build: folder of shards and models.
        out: folder of ``per_image.parquet`` (``setting, step, role, key, mpjpe, pa_mpjpe, mve``;
            a setting without refinement has step 0), ``timing.json``, ``gallery-<role>.npz``,
            ``predictions-<role>.npz`` (of the headline setting) and ``trace.npz``.
    """
    with whole_folder(out) as part:
        _score_into(part, job, trained, build)


def _score_into(part: Path, job: Json, trained: Json, build: Path) -> None:
    device = pick_device(job["device"])
    model = load_genhmr(build / "models" / "transformer" / job["model"], device)
    bodies = load_bodies(Path(job["bodies"]))
    joints = SMPLJoints(bodies.neutral, body25()).to(device)
    mean = _mean_pose([build / "data" / role / "train" for role in trained["train_on"]])
    tables: list[pd.DataFrame] = []
    for role, dataset in job["sets"].items():
        shard = ImageShard(build / "data" / role / "test")
        groups = _unique({n: s for n, s in job["settings"].items() if role in s["sets"]})
        # SPIN's Human3.6M files may hold markers only: then SPIN's own evaluator is the protocol.
        marked = not shard.annotations["has_smpl"].all()
        protocol = protocol_for(dataset["kind"], "spin" if marked else REFERENCE)
        scorer = Evaluator(protocol, bodies, device)
        chosen = {i * len(shard) // GALLERY_ROWS for i in range(GALLERY_ROWS)}
        gallery: list[Json] = []
        predicted: list[Json] = []
        batches = iterate_crops(shard, job["batch"], job["crop"])
        count = -(-len(shard) // job["batch"])
        for batch in tqdm(batches, total=count, desc=f"evaluate {dataset['name']}", mininterval=2):
            rows = batch.index.numpy()
            genders, keys = shard.annotations["gender"][rows], shard.annotations["key"][rows]
            truth = None if marked else scorer.pose_truth(batch.pose, batch.betas, genders)

            def score(pose: Tensor, betas: Tensor) -> dict[str, np.ndarray]:
                return scorer.measure(pose, betas, truth, batch.joints_3d)  # noqa: B023

            points = _detections(job, shard, rows, batch, Path(dataset["raw"])).to(device)
            with torch.no_grad():
                features = model.encode_image(batch.images.to(device))
            errors = score(*(torch.from_numpy(a) for a in mean.predict(len(rows))))
            tables += _rows(["mean-pose"], 0, role, keys, errors)
            samples: dict[str, Prediction] = {}  # settings that differ in refinement share one
            for key, names in groups.items():
                setting = json.loads(key)
                ugs = json.dumps(setting["ugs"])
                if ugs not in samples:
                    samples[ugs] = _sample(model, features, setting, rows, job["seed"])
                sampled = samples[ugs]
                path = [sampled.pose]
                if setting["refine"]["iters"]:
                    trace = _refine(model, joints, sampled, points, setting["refine"])
                    path = list(trace.pose)
                single = len(setting["report"]) == 1
                for step in setting["report"]:
                    errors = score(path[step], sampled.betas)
                    tables += _rows(names, 0 if single else step, role, keys, errors)
                if "headline" in names:
                    predicted.append(
                        {
                            "key": keys.astype(str),
                            "pose": path[-1].cpu().numpy(),
                            "betas": sampled.betas.cpu().numpy(),
                        }
                    )
                    gallery += _gallery(
                        batch, rows, chosen, score, sampled, path, trace.cam[-1]
                        if setting["refine"]["iters"] else sampled.cam, points,
                    )  # fmt: skip
        np.savez_compressed(
            part / f"gallery-{role}.npz",
            **{name: np.stack([g[name] for g in gallery]) for name in gallery[0]},
        )
        # For `python -m bench score`: the same numbers, and those of every other protocol.
        np.savez(
            part / f"predictions-{role}.npz",
            **{name: np.concatenate([p[name] for p in predicted]) for name in predicted[0]},
        )
        if role == next(iter(job["sets"])):
            first = next(iter(iterate_crops(shard, 1, job["crop"])))
            _write_trace(model, first.images.to(device), part)
            timing = _time(job, model, joints, first, device)
    table = pd.concat(tables, ignore_index=True)
    order = ["role", "setting", "step", "key"]
    table.sort_values(order, kind="stable", ignore_index=True).to_parquet(
        part / "per_image.parquet"
    )
    (part / "timing.json").write_text(json.dumps(timing, indent=1, sort_keys=True) + "\n")


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


def _gallery(
    batch: CropBatch,
    rows: np.ndarray,
    chosen: set[int],
    score: Callable[[Tensor, Tensor], dict[str, np.ndarray]],
    sampled: Prediction,
    path: list[Tensor],
    cam: Tensor,
    points: Tensor,
) -> Iterator[Json]:
    """What the gallery shows of the chosen images of a batch."""
    before = score(path[0], sampled.betas)["mpjpe"]
    after = score(path[-1], sampled.betas)["mpjpe"]
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGE_MEAN, IMAGE_STD))
    for i, row in enumerate(rows):
        if int(row) not in chosen:
            continue
        image = ((batch.images[i] * std + mean) * 255).round().clamp(0, 255)
        yield {
            "image": image.permute(1, 2, 0).to(torch.uint8).numpy(),
            "keypoints_2d": points[i].cpu().numpy(),
            "sampled_pose": path[0][i].cpu().numpy(),
            "sampled_betas": sampled.betas[i].cpu().numpy(),
            "sampled_cam": sampled.cam[i].cpu().numpy(),
            "refined_pose": path[-1][i].cpu().numpy(),
            "refined_betas": sampled.betas[i].cpu().numpy(),
            "refined_cam": cam[i].cpu().numpy(),
            "truth_pose": batch.pose[i].numpy(),
            "truth_betas": batch.betas[i].numpy(),
            "mpjpe": np.array([before[i], after[i]]),
        }


def _write_trace(model: GenHMR, image: Tensor, out: Path) -> None:
    """Masks and confidences of one image's sampling, (T, L) each."""
    with torch.no_grad():
        sampled = sample_pose(model, model.encode_image(image), TRACE_ITERATIONS)
    np.savez_compressed(
        out / "trace.npz",
        masks=sampled.trace.masks[:, 0].cpu().numpy(),
        confidences=sampled.trace.confidences[:, 0].cpu().numpy(),
    )


def _time(job: Json, model: GenHMR, joints: SMPLJoints, batch: CropBatch, device: str) -> Json:
    """AITI by stage on one image, and cumulative as the paper's Tables 2 and 3 print it."""
    image, points = batch.images.to(device), batch.keypoints_2d.to(device)
    default = job["settings"]["headline"]
    with torch.no_grad():
        features = model.encode_image(image)
    start = _sample(model, features, default, np.zeros(1, int), job["seed"])

    def encode() -> None:
        with torch.no_grad():
            model.encode_image(image)

    backbone, sampling, refinement = measure_aiti(
        encode,
        lambda t: sample_pose(model, features, t),
        lambda p: _refine(model, joints, start, points, default["refine"] | {"iters": p}),
        repeats=job["timing"],
        device=device,
    )
    fit = np.polynomial.Polynomial.fit
    t_default = default["ugs"]["iters"]
    line = fit(sampling.iterations, sampling.seconds, 1)
    base = backbone + float(line(t_default))
    aiti = {f"cosine-{t}/0": backbone + s for t, s in zip(sampling.iterations, sampling.seconds)}
    aiti |= {f"refinement/{p}": base + s for p, s in zip(refinement.iterations, refinement.seconds)}
    aiti["refinement/0"] = base
    stages = {
        name: {
            "iterations": stage.iterations,
            "seconds": stage.seconds,
            "intercept_s": stage.line.intercept,
            "per_iteration_s": stage.line.slope,
            "per_iteration_interval_s": stage.line.slope_interval,
        }
        for name, stage in (("sampling", sampling), ("refinement", refinement))
    }
    return {"aiti": aiti, "backbone_s": backbone, "device": device, **stages}
