"""SPIN's npz layout, in which Human3.6M and COCO are used in this field.

Columns: ``imgname``, ``center`` (N, 2), ``scale`` (N, pixels / 200), ``part`` (N, 24, 3), ``S``
(N, 24, 4), ``openpose`` (N, 25, 3), ``pose`` (N, 72), ``shape`` (N, 10), ``has_smpl``, ``gender``;
and, in BEDLAM's names, ``cam_int`` (N, 3, 3) and ``trans_cam`` (N, 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..records import PersonRecord

_BOX_MARGIN = 1.2
_PIXELS_PER_SCALE = 200.0
_PELVIS = 14
_ABSENT = (13, 15)  # HeadTop and Thorax have no counterpart in SMPL


def spin_row(
    name: str, record: PersonRecord, intrinsics: np.ndarray, size: tuple[int, int]
) -> dict:
    """One row of the npz.

    Args:
        name: image path relative to the set's folder.
        record: the truth.
        intrinsics: (3, 3) pixels.
        size: width and height of the image.

    Returns:
        Column name to value. ``S`` is relative to the pelvis, as SPIN's Human3.6M has it;
        ``part`` are annotations, confidence 1 for every joint inside the image, hidden or not;
        ``openpose`` plays a detector: confidence 1 if visible, 0.3 if hidden.
    """
    low, high = np.zeros(2), np.array(size, float)
    inside = ((record.spin_2d >= low) & (record.spin_2d < high)).all(1)
    inside[list(_ABSENT)] = False
    seen = record.keypoints[record.keypoints[:, 2] > 0, :2]
    points = np.concatenate([seen, record.spin_2d[inside]])
    left_top, right_bottom = points.min(0), points.max(0)
    known = np.ones((24, 1))
    known[list(_ABSENT)] = 0
    openpose = record.keypoints.copy()
    openpose[:, 2] = np.where(openpose[:, 2] == 0.5, 0.3, openpose[:, 2])
    openpose[openpose[:, 2] == 0] = 0
    part = np.concatenate([record.spin_2d, inside[:, None]], 1)
    part[~inside] = 0
    return {
        "imgname": name,
        "center": (left_top + right_bottom) / 2,
        "scale": _BOX_MARGIN * (right_bottom - left_top).max() / _PIXELS_PER_SCALE,
        "part": part,
        "S": np.concatenate([(record.spin_3d - record.spin_3d[_PELVIS]) * known, known], 1),
        "openpose": openpose,
        "pose": record.pose_camera.reshape(72),
        "shape": record.betas,
        "has_smpl": 1,
        "gender": record.gender[0],
        "cam_int": intrinsics,
        "trans_cam": record.transl_camera,
    }


def write_spin_npz(path: Path, rows: Sequence[dict]) -> None:
    """Write rows from `spin_row`; the same rows give the same bytes."""
    columns = {}
    for key in rows[0]:
        column = np.array([row[key] for row in rows])
        columns[key] = column.astype(np.float32) if column.dtype == np.float64 else column
    np.savez(path, **columns)
