"""What an evaluation leaves beside its metrics: gallery, predictions, trace and timings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from bench.infer import refine, sample
from bench.stage import spread
from genhmr.body.smpl import SMPLJoints
from genhmr.data.crops import IMAGE_MEAN, IMAGE_STD
from genhmr.inference.predict import Prediction, sample_pose
from genhmr.inference.timing import measure_aiti
from genhmr.transformer.genhmr import GenHMR
from genhmr.types import CropBatch

Json = dict[str, Any]
GALLERY_ROWS = 6
FAILURES = 6
STEPS = (0, 1, 3, 5, 10, 20)  # of refinement; Figure 4 of the paper shows such a path
TRACE_ITERATIONS = 10  # the paper's Figures 5 and 6 show ten


def _badness(entry: Json) -> float:
    """The error after the last step; a diverged image is the worst of all."""
    return float(np.nan_to_num(entry["mpjpe"][-1], nan=np.inf))


class Extras:
    """Gathers the headline setting's predictions of one set, and pictures of a few images.

    The gallery's images are spread evenly over the set, none chosen by its error; the failures are
    those with the largest.

    Args:
        count: images of the set.
    """

    def __init__(self, count: int) -> None:
        self._chosen = set(spread(range(count), GALLERY_ROWS))
        self._gallery: list[Json] = []
        self._worst: list[Json] = []
        self._predicted: list[Json] = []

    def add(
        self,
        batch: CropBatch,
        keys: np.ndarray,
        points: Tensor,
        sampled: Prediction,
        path: list[Tensor],
        cams: list[Tensor],
        others: dict[str, tuple[Tensor, np.ndarray]],
        score: Callable[[Tensor, Tensor], dict[str, np.ndarray]],
    ) -> None:
        """Takes one batch.

        Args:
            batch: crops and truth.
            keys: (B,) names of the records.
            points: (B, 25, 3) the 2D detections.
            sampled: what sampling gave.
            path: poses (B, 24, 3, 3) before and after each refinement step.
            cams: (B, 3) cameras likewise.
            others: other methods' poses (B, 24, 3, 3) and their errors (B,), by name.
            score: (pose, betas) -> errors.
        """
        self._predicted.append(
            {
                "key": keys.astype(str),
                "pose": path[-1].cpu().numpy(),
                "betas": sampled.betas.cpu().numpy(),
            }
        )
        steps = [step for step in STEPS if step < len(path)]
        if steps[-1] != len(path) - 1:
            steps.append(len(path) - 1)
        last = np.nan_to_num(score(path[-1], sampled.betas)["mpjpe"], nan=np.inf)
        floor = min((_badness(entry) for entry in self._worst), default=0.0)
        full = len(self._worst) == FAILURES
        bad = {int(i) for i in np.argsort(-last)[:FAILURES] if not full or last[i] > floor}
        good = {i for i, row in enumerate(batch.index.tolist()) if row in self._chosen}
        if not bad and not good:
            return
        errors = np.stack([score(path[step], sampled.betas)["mpjpe"] for step in steps], 1)
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGE_MEAN, IMAGE_STD))
        for i in sorted(bad | good):
            image = ((batch.images[i] * std + mean) * 255).round().clamp(0, 255)
            entry = {
                "image": image.permute(1, 2, 0).to(torch.uint8).numpy(),
                "keypoints_2d": points[i].cpu().numpy(),
                "betas": sampled.betas[i].cpu().numpy(),
                "step": np.array(steps),
                "pose": np.stack([path[step][i].cpu().numpy() for step in steps]),
                "cam": np.stack([cams[step][i].cpu().numpy() for step in steps]),
                "mpjpe": errors[i],
                "other_name": np.array(list(others)),
                "other_pose": np.stack([pose[i].cpu().numpy() for pose, _ in others.values()]),
                "other_mpjpe": np.array([float(mpjpe[i]) for _, mpjpe in others.values()]),
                "truth_pose": batch.pose[i].numpy(),
                "truth_betas": batch.betas[i].numpy(),
            }
            if i in good:
                self._gallery.append(entry)
            if i in bad:
                self._worst.append(entry)
        self._worst = sorted(self._worst, key=_badness, reverse=True)[:FAILURES]

    def write(self, folder: Path, role: str) -> None:
        """Writes ``gallery-``, ``failures-`` and ``predictions-<role>.npz``, each if it has any."""
        for name, entries in (("gallery", self._gallery), ("failures", self._worst)):
            if entries:
                fields = {f: np.stack([entry[f] for entry in entries]) for f in entries[0]}
                np.savez_compressed(folder / f"{name}-{role}.npz", **fields)
        if self._predicted:
            # For `python -m bench score`: the same numbers, and those of every other protocol.
            np.savez(folder / f"predictions-{role}.npz", **_joined(self._predicted))


def _joined(parts: list[Json]) -> Json:
    return {field: np.concatenate([part[field] for part in parts]) for field in parts[0]}


def join_extras(folders: list[Path], out: Path, role: str) -> None:
    """Makes the files of a whole set from those of its consecutive parts.

    Args:
        folders: what :meth:`Extras.write` was given for each part, in order; any may be empty.
        out: where to write the files of the set.
        role: of the set.
    """
    for name, save in (("gallery", np.savez_compressed), ("failures", np.savez_compressed),
                       ("predictions", np.savez)):  # fmt: skip
        parts = []
        for path in (folder / f"{name}-{role}.npz" for folder in folders):
            if path.exists():
                with np.load(path) as content:
                    parts.append(dict(content))
        if not parts:
            continue
        whole = _joined(parts)
        if name == "failures":
            last = np.nan_to_num(whole["mpjpe"][:, -1], nan=np.inf)
            worst = np.argsort(-last, kind="stable")[:FAILURES]
            whole = {field: values[worst] for field, values in whole.items()}
        save(out / f"{name}-{role}.npz", **whole)


def write_trace(model: GenHMR, image: Tensor, out: Path) -> None:
    """Masks and confidences of one image's sampling, (T, L) each."""
    with torch.no_grad():
        sampled = sample_pose(model, model.encode_image(image), TRACE_ITERATIONS)
    np.savez_compressed(
        out / "trace.npz",
        masks=sampled.trace.masks[:, 0].cpu().numpy(),
        confidences=sampled.trace.confidences[:, 0].cpu().numpy(),
    )


def write_timing(
    job: Json, model: GenHMR, joints: SMPLJoints, batch: CropBatch, device: str, out: Path
) -> None:
    """AITI by stage on one image, and cumulative as the paper's Tables 2 and 3 print it.

    ``timing.json`` has medians (``aiti``) and the single ``rounds`` that they are of, whose
    scatter is that between the rounds of one process.
    """
    image, points = batch.images.to(device), batch.keypoints_2d.to(device)
    default = job["settings"]["headline"]
    with torch.no_grad():
        features = model.encode_image(image)
    start = sample(model, features, default, np.zeros(1, int), job["seed"])

    def encode() -> None:
        with torch.no_grad():
            model.encode_image(image)

    repeats = job["timing"]
    with tqdm(
        total=3 * repeats, desc="time one image", unit="round", mininterval=2, delay=2
    ) as bar:
        encoded, sampling, refinement = measure_aiti(
            encode,
            lambda t: sample_pose(model, features, t),
            lambda p: refine(model, joints, start, points, default["refine"] | {"iters": p}),
            repeats=repeats,
            device=device,
            after_round=bar.update,
        )
    rounds = {f"cosine-{t}/0": encoded + s for t, s in zip(sampling.iterations, sampling.rounds)}
    # What comes before refinement, round by round, so that its scatter is in the times of Table 3;
    # a default T that is not timed lies on the line through the others.
    t_default = default["ugs"]["iters"]
    nearest = int(np.abs(np.subtract(sampling.iterations, t_default)).argmin())
    away = sampling.line.slope * (t_default - sampling.iterations[nearest])
    rounds["refinement/0"] = before = encoded + sampling.rounds[nearest] + away
    rounds |= {
        f"refinement/{p}": before + s for p, s in zip(refinement.iterations, refinement.rounds)
    }
    aiti = {place: float(np.median(seconds)) for place, seconds in rounds.items()}
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
    timing = {
        "aiti": aiti,
        "rounds": {place: seconds.round(9).tolist() for place, seconds in rounds.items()},
        "backbone_s": float(np.median(encoded)),
        "device": device,
        **stages,
    }
    (out / "timing.json").write_text(json.dumps(timing, indent=1, sort_keys=True) + "\n")
