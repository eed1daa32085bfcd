"""The npz layout of SPIN (Kolotouros et al. 2019), in which Human3.6M and COCO are passed around.

Columns: ``imgname``, ``center`` (N, 2), ``scale`` (N,) **in units of 200 pixels**, and where the
set has them ``pose`` (N, 72), ``shape`` (N, 10), ``has_smpl`` (N,), ``S`` (N, 24, 4) joints in 3D,
``part`` (N, 24, 3) annotated and ``openpose`` (N, 25, 3) detected keypoints, ``gender``. Two
columns of BEDLAM are read as well where they exist: ``cam_int`` (N, 3, 3), ``trans_cam`` (N, 3).

``openpose`` is in the layout of this suite, so its points mean what a projected body's BODY_25
points mean. ``part`` fills in where OpenPose found nothing: a hip or knee that a person clicked on
lies a little elsewhere, which is why HMR2.0 keeps the two apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genhmr.data.readers.checks import (
    column,
    gender_name,
    load_npz,
    require_finite,
    require_fits,
)
from genhmr.types import PersonFrame, UserError

PIXELS_PER_SCALE = 200.0
# SPIN24 joint -> BODY_25 joint, where both mean the same point (not neck, pelvis, head top).
SPIN24_TO_BODY25 = {
    0: 11, 1: 10, 2: 9, 3: 12, 4: 13, 5: 14, 6: 4, 7: 3, 8: 2, 9: 5, 10: 6, 11: 7,
    19: 0, 20: 16, 21: 15, 22: 18, 23: 17,
}  # fmt: skip


@dataclass(frozen=True)
class Rows:
    """An npz of single images as arrays, whichever layout it came from.

    Attributes:
        imgname: N relative image paths.
        center: (N, 2) pixels.
        box_size: (N,) pixels, margin included.
        intrinsics: (N, 3, 3), NaN where unknown.
        pose: (N, 72) axis-angle, NaN where unknown.
        betas: (N, 10), NaN where unknown.
        transl: (N, 3), NaN where unknown.
        gender: N names.
        keypoints_2d: (N, 25, 3) BODY_25.
        joints_3d: (N, 24, 4) SPIN layout.
    """

    imgname: list[str]
    center: np.ndarray
    box_size: np.ndarray
    intrinsics: np.ndarray
    pose: np.ndarray
    betas: np.ndarray
    transl: np.ndarray
    gender: list[str]
    keypoints_2d: np.ndarray
    joints_3d: np.ndarray


def merge_keypoints(preferred: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Keypoints of ``preferred`` where it has a confidence, else of ``other``; (N, 25, 3)."""
    merged = np.where(preferred[..., 2:] > 0, preferred, other)
    merged[..., 2] = merged[..., 2].clip(0.0, 1.0)
    return merged


def body25_from_spin24(joints: np.ndarray) -> np.ndarray:
    """The BODY_25 keypoints that SPIN's 24 annotated joints (N, 24, 3) contain."""
    keypoints = np.zeros((len(joints), 25, 3))
    keypoints[:, list(SPIN24_TO_BODY25.values())] = joints[:, list(SPIN24_TO_BODY25)]
    return keypoints


def load_rows(path: Path) -> Rows:
    """Reads one SPIN npz.

    Args:
        path: the npz file.

    Raises:
        UserError: the file is damaged, a column is missing or misshapen, a fitted pose is not
            finite, or the scales are pixels (the HMR2 layout under SPIN's names).
    """
    with load_npz(path) as data:
        names = column(data, "imgname", (None,), path, dtype=None)
        count = len(names)

        def optional(key: str, shape: tuple[int, ...], missing: float) -> np.ndarray:
            if key not in data:
                return np.full((count, *shape), missing)
            return column(data, key, (count, *shape), path)

        center = column(data, "center", (count, 2), path)
        scale = column(data, "scale", (count,), path)
        pose = optional("pose", (72,), np.nan)
        betas = optional("shape", (10,), np.nan)
        has_smpl = optional("has_smpl", (), float("pose" in data)) > 0
        require_fits(data, ("pose", "shape"), has_smpl, "has_smpl", path)
        part, detected = optional("part", (24, 3), 0.0), optional("openpose", (25, 3), 0.0)
        joints_3d = optional("S", (24, 4), 0.0)
        intrinsics = optional("cam_int", (3, 3), np.nan)
        transl = optional("trans_cam", (3,), np.nan)
        if "gender" in data:
            genders = column(data, "gender", (count,), path, dtype=None)
            genders = [gender_name(value, path) for value in genders]
        else:
            genders = ["neutral"] * count
    if count and np.median(scale) > 30.0:  # boxes of 6000 pixels
        raise UserError(
            f"{path}: 'scale' looks like pixels where SPIN's layout has pixels / 200: "
            "divide it, or name the columns as HMR2 does."
        )
    require_finite(center, "center", path)
    require_finite(scale, "scale", path)
    require_finite(np.where(has_smpl[:, None], pose, 0.0), "pose", path)
    require_finite(np.where(has_smpl[:, None], betas, 0.0), "shape", path)
    return Rows(
        imgname=[str(name) for name in names],
        center=center,
        box_size=scale * PIXELS_PER_SCALE,
        intrinsics=intrinsics,
        pose=np.where(has_smpl[:, None], pose, np.nan),
        betas=np.where(has_smpl[:, None], betas, np.nan),
        transl=transl,
        gender=genders,
        keypoints_2d=merge_keypoints(detected, body25_from_spin24(part)),
        joints_3d=joints_3d,
    )


def person_frames(
    rows: Rows,
    images: Path,
    keep: Callable[[str], bool] = lambda name: True,
    prefix: str = "",
) -> Iterator[PersonFrame]:
    """The rows as PersonFrames, keys like ``"train2014/COCO_train2014_000000000036/000002"``.

    Args:
        rows: an npz in arrays.
        images: the folder that ``imgname`` is relative to.
        keep: says for an ``imgname`` whether the row belongs to the split.
        prefix: what keys begin with, where a set has several npz whose names could be alike.
    """
    for i, name in enumerate(rows.imgname):
        if not keep(name):
            continue
        yield PersonFrame(
            key=f"{prefix}{Path(name).with_suffix('').as_posix()}/{i:06d}",
            image=images / name,
            center=rows.center[i].astype(np.float32),
            box_size=float(rows.box_size[i]),
            intrinsics=rows.intrinsics[i].astype(np.float32),
            pose=rows.pose[i].reshape(24, 3).astype(np.float32),
            betas=rows.betas[i].astype(np.float32),
            transl=rows.transl[i].astype(np.float32),
            gender=rows.gender[i],
            keypoints_2d=rows.keypoints_2d[i].astype(np.float32),
            joints_3d=rows.joints_3d[i].astype(np.float32),
        )
