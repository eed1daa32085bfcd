"""3DPW's layout: ``sequenceFiles/<split>/<sequence>.pkl`` and ``imageFiles/<sequence>``."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..camera import Camera
from ..records import PersonRecord

FOLDERS = {"train": "train", "val": "validation", "test": "test"}
# COCO-18 joint i is BODY_25 joint _COCO18[i]: BODY_25 without MidHip and the feet.
_COCO18 = [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]
_TOO_HIDDEN = 0.25


def image_path(root: Path, sequence: str, frame: int) -> Path:
    """Where a frame's image belongs."""
    return root / "imageFiles" / sequence / f"image_{frame:05d}.jpg"


def write_sequence(
    root: Path,
    split: str,
    sequence: str,
    cameras: Sequence[Camera],
    records: Sequence[Sequence[PersonRecord]],
) -> None:
    """Write the pickle of one sequence.

    Args:
        root: folder of the set.
        split: "train", "val" or "test".
        sequence: its name.
        cameras: F cameras with the same intrinsics.
        records: F frames of P people each.

    ``campose_valid`` is 0 for a person who is hidden almost wholly or out of the frame;
    ``poses2d`` holds the visible keypoints with confidence 1 and zeros for all others.
    """
    people = list(zip(*records))
    poses2d = [np.stack([_detected(record) for record in person]) for person in people]
    data = {
        "sequence": sequence,
        "genders": [person[0].gender[0] for person in people],
        "betas": [person[0].betas.astype(np.float64) for person in people],
        "poses": [np.stack([r.pose_world.reshape(72) for r in p]).astype(float) for p in people],
        "trans": [np.stack([r.transl_world for r in p]).astype(float) for p in people],
        "jointPositions": [
            np.stack([r.joints_world.reshape(72) for r in p]).astype(float) for p in people
        ],
        "poses2d": poses2d,
        "campose_valid": [
            np.array([_usable(r, d) for r, d in zip(p, found)], np.uint8)
            for p, found in zip(people, poses2d)
        ],
        "cam_poses": np.stack([camera.extrinsics for camera in cameras]),
        "cam_intrinsics": np.asarray(cameras[0].intrinsics, float),
        "img_frame_ids": np.arange(len(cameras)),
        "texture_maps": [],
    }
    path = root / "sequenceFiles" / FOLDERS[split] / f"{sequence}.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(data, protocol=2))


def _detected(record):
    """(3, 18): x, y, confidence of the visible COCO-18 keypoints, zeros elsewhere."""
    points = record.keypoints[_COCO18].astype(np.float64)
    points[points[:, 2] < 1] = 0
    return points.T


def _usable(record, detected):
    return record.visible >= _TOO_HIDDEN and (detected[2] > 0).sum() >= 4
