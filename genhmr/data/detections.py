"""2D detections for pose-guided refinement: simulated from the ground truth, or OpenPose's.

Both come as (N, 25, 3) BODY_25 in crop units (origin at the box's centre, one unit its side),
like ``CropBatch.keypoints_2d`` of a plain crop. The source of a result is always named:
"simulated" for :func:`simulate_detections`, "openpose" for :func:`openpose_detections`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genhmr.types import NUM_KEYPOINTS, UserError

# How far a detector's idea of a joint spreads, relative to a wrist: COCO's keypoint sigmas
# (nose .026, eyes .025, ears .035, shoulders .079, elbows .072, wrists .062, hips .107,
# knees .087, ankles .089) over the wrist's, square-rooted since COCO's are of human annotators
# and a detector is more even; neck as a shoulder, middle of the hips as a hip, feet as an ankle.
_COCO_SIGMAS = np.array(
    [.026, .079, .079, .072, .062, .079, .072, .062, .107, .107, .087, .089, .107, .087, .089,
     .025, .025, .035, .035, .089, .089, .089, .089, .089, .089]
)  # fmt: skip
JOINT_SPREAD = np.sqrt(_COCO_SIGMAS / 0.062)


@dataclass(frozen=True)
class DetectorModel:
    """The noise of the simulated detector. Lengths are shares of the person's size.

    Attributes:
        sigma: standard deviation of each coordinate of a visible wrist; other joints times
            ``JOINT_SPREAD``. 0.015 is a median error of 1.9 % of the person's size, between
            a good top-down detector and the 2.9 % to 4.6 % of a light one on hard pictures.
        occluded_factor: how much wider the errors of occluded joints are.
        occluded_confidence: ground-truth confidence up to which a joint counts as occluded.
        outlier_probability: share of joints with a gross error, ``outlier_factor`` times sigma.
        outlier_factor: see above.
        miss_probability: share of visible joints that are not reported.
        occluded_miss_probability: the same of occluded joints.
        false_probability: share of joints outside the picture that are reported nevertheless,
            at its edge and with a low confidence.
        confidence_noise: standard deviation of the logarithm of the confidence.
    """

    sigma: float = 0.015
    occluded_factor: float = 2.0
    occluded_confidence: float = 0.5
    outlier_probability: float = 0.02
    outlier_factor: float = 8.0
    miss_probability: float = 0.02
    occluded_miss_probability: float = 0.3
    false_probability: float = 0.1
    confidence_noise: float = 0.15


def person_sizes(keypoints: np.ndarray) -> np.ndarray:
    """Longer side of the box around the known keypoints, (N,), from (N, K, 3).

    1 (a whole crop) where fewer than two keypoints are known.
    """
    known = keypoints[..., 2:] > 0
    low = np.where(known, keypoints[..., :2], np.inf).min(axis=1)
    high = np.where(known, keypoints[..., :2], -np.inf).max(axis=1)
    enough = known[..., 0].sum(axis=1) >= 2
    extent = np.where(enough[:, None], high, 1.0) - np.where(enough[:, None], low, 0.0)
    return extent.max(axis=1)


def simulate_detections(
    keypoints_2d: np.ndarray, rng: np.random.Generator, model: DetectorModel = DetectorModel()
) -> np.ndarray:
    """What a 2D detector might have seen: ground truth, noise and drop-out. Always "simulated".

    Per joint: a normal error with the joint's own spread, wider where the ground truth says
    occluded, and rarely a gross one; then drop-out, which is likelier for occluded joints. Joints
    without ground truth stay unknown; joints outside the crop are lost, or seldom reported at its
    edge. The confidence falls with the error that was made, ``exp(-(e / 4 s)^2 / 2)`` with s the
    nominal spread, times log-normal noise, so it is informative but not an oracle.

    Args:
        keypoints_2d: (N, 25, 3) BODY_25 ground truth in crop units with a confidence.
        rng: explicit generator.
        model: the strengths.

    Returns:
        (N, 25, 3) float32; confidence 0 where nothing is reported.
    """
    keypoints = np.asarray(keypoints_2d, np.float64)
    shape = keypoints.shape[:2]
    truth, confidence = keypoints[..., :2], keypoints[..., 2]
    known, occluded = confidence > 0, confidence <= model.occluded_confidence
    nominal = model.sigma * person_sizes(keypoints)[:, None] * JOINT_SPREAD[: shape[1]]
    spread = nominal * np.where(occluded, model.occluded_factor, 1.0)
    spread *= np.where(rng.random(shape) < model.outlier_probability, model.outlier_factor, 1.0)
    error = spread[..., None] * rng.standard_normal((*shape, 2))
    points = truth + error

    missed = np.where(occluded, model.occluded_miss_probability, model.miss_probability)
    reported = known & (rng.random(shape) >= missed)
    outside = (np.abs(truth) > 0.5).any(axis=-1)
    invented = outside & (rng.random(shape) < model.false_probability)
    reported &= ~outside | invented

    relative = np.linalg.norm(error, axis=-1) / np.maximum(4.0 * nominal, 1e-9)
    score = np.exp(-0.5 * relative**2) * np.where(occluded, 0.6, 0.95)
    score *= np.exp(model.confidence_noise * rng.standard_normal(shape))
    score = np.where(invented, 0.3 * score, score).clip(0.05, 1.0)
    points = np.where(invented[..., None], points.clip(-0.5, 0.5), points)
    result = np.concatenate([points, score[..., None]], axis=-1)
    return np.where(reported[..., None], result, 0.0).astype(np.float32)


def read_openpose(path: Path) -> np.ndarray:
    """All people in one OpenPose JSON file, (P, 25, 3) float32: pixels and confidence.

    Raises:
        UserError: the file is missing, no JSON, or not in the BODY_25 layout.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise UserError(
            f"{path} is missing: run OpenPose with --write_json into that folder."
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not readable JSON: run OpenPose again.") from error
    people = content.get("people") if isinstance(content, dict) else None
    if not isinstance(people, list):
        raise UserError(f"{path} has no list 'people': it is not OpenPose's output.")
    points = np.zeros((len(people), NUM_KEYPOINTS, 3), np.float32)
    for number, person in enumerate(people):
        try:
            flat = np.asarray(person["pose_keypoints_2d"], np.float32)
            points[number] = flat.reshape(NUM_KEYPOINTS, 3)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path}: person {number} has no 25 x 3 'pose_keypoints_2d', "
                "run OpenPose with --model_pose BODY_25."
            ) from error
    if not np.isfinite(points).all():
        raise UserError(f"{path} holds numbers that are not finite: run OpenPose again.")
    return points


def choose_person(people: np.ndarray, center: np.ndarray, box_size: float) -> np.ndarray:
    """The person whose extent overlaps a box most (intersection over union).

    Args:
        people: (P, 25, 3) pixels and confidence.
        center: (2,) centre of the box in the same pixels.
        box_size: its side.

    Returns:
        (25, 3); zeros (nothing detected) where nobody touches the box.
    """
    best, chosen = 0.0, np.zeros((NUM_KEYPOINTS, 3), np.float32)
    low, high = center - box_size / 2, center + box_size / 2
    for person in people:
        seen = person[person[:, 2] > 0, :2]
        if len(seen) < 2:
            continue
        person_low, person_high = seen.min(axis=0), seen.max(axis=0)
        shared = (np.minimum(high, person_high) - np.maximum(low, person_low)).clip(0).prod()
        union = (high - low).prod() + (person_high - person_low).prod() - shared
        if shared / union > best:
            best, chosen = shared / union, person
    return chosen


def openpose_detections(
    folder: Path, images: np.ndarray, centers: np.ndarray, box_sizes: np.ndarray
) -> np.ndarray:
    """OpenPose's detections of the persons of a shard, in crop units.

    Args:
        folder: what ``--write_json`` wrote: one ``<image>_keypoints.json`` an image, in one
            sub-folder a sequence, or all together where file names are unique.
        images: (N,) the shard's column ``image``, such as ``"downtown_walk_00/image_00017.jpg"``.
        centers: (N, 2) the shard's column ``center``, pixels of the original frame.
        box_sizes: (N,) the shard's column ``box_size``.

    Returns:
        (N, 25, 3) float32; zeros where nobody was detected in the box.

    Raises:
        UserError: the folder or a file is missing or is not OpenPose's.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: run OpenPose with --write_json into it.")
    # EMDB calls the first image of every sequence 00000.jpg: only unique names may lie together.
    together = len({Path(str(image)).name for image in images}) == len(set(map(str, images)))
    result = np.zeros((len(images), NUM_KEYPOINTS, 3), np.float32)
    for row, (image, center, side) in enumerate(zip(images, centers, box_sizes)):
        name = Path(str(image)).with_suffix("")
        file = folder / name.parent / f"{name.name}_keypoints.json"
        if together and not file.exists():
            file = folder / file.name
        person = choose_person(read_openpose(file), center, side)
        seen = person[:, 2] > 0
        result[row, seen, :2] = (person[seen, :2] - center) / side
        result[row, seen, 2] = person[seen, 2].clip(0.0, 1.0)
    return result
