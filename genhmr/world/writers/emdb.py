"""EMDB's layout: ``P*/<sequence>/<P*>_<sequence>_data.pkl`` and ``images``."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..camera import Camera
from ..records import PersonRecord

_TOO_HIDDEN = 0.25


def image_path(root: Path, subject: str, sequence: str, frame: int) -> Path:
    """Where a frame's image belongs."""
    return root / subject / sequence / "images" / f"{frame:05d}.jpg"


def write_sequence(
    root: Path,
    subject: str,
    sequence: str,
    cameras: Sequence[Camera],
    records: Sequence[PersonRecord],
) -> None:
    """Write the pickle of one sequence; every sequence belongs to the EMDB-1 role.

    Args:
        root: folder of the set.
        subject: "P0" to "P9".
        sequence: its name.
        cameras: F cameras with the same intrinsics.
        records: F frames of one person.

    ``good_frames_mask`` is False, and the box invalid, where the person is hidden almost wholly
    or out of the frame.
    """
    boxes = np.stack([record.box for record in records])
    shown = np.array([record.visible >= _TOO_HIDDEN for record in records])
    valid = shown & ((boxes[:, 2:] - boxes[:, :2]).min(1) > 4)
    first = records[0]
    data = {
        "gender": first.gender,
        "name": f"{subject}_{sequence}",
        "emdb1": True,
        "emdb2": False,
        "n_frames": len(records),
        "good_frames_mask": valid,
        "camera": {
            "intrinsics": np.asarray(cameras[0].intrinsics, float),
            "extrinsics": np.stack([camera.extrinsics for camera in cameras]),
            "width": cameras[0].width,
            "height": cameras[0].height,
        },
        "smpl": {
            "poses_root": np.stack([r.pose_world[0] for r in records]).astype(float),
            "poses_body": np.stack([r.pose_world[1:].reshape(69) for r in records]).astype(float),
            "trans": np.stack([r.transl_world for r in records]).astype(float),
            "betas": first.betas.astype(float),
        },
        "kp2d": np.stack([record.joints_2d for record in records]),
        "bboxes": {"bboxes": boxes, "invalid_idxs": np.flatnonzero(~valid)},
    }
    path = root / subject / sequence / f"{subject}_{sequence}_data.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(data, protocol=4))
