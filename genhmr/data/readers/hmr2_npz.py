"""The npz layout of ProHMR and HMR2.0 (4D-Humans): SPIN's idea with other names and units.

Columns: ``imgname``, ``center`` (N, 2), ``scale`` (N,) or (N, 2) **in pixels**, ``body_pose``
(N, 72) with the root first, ``betas`` (N, 10), ``has_body_pose`` and ``has_betas`` (N,),
``body_keypoints_2d`` (N, 25, 3) BODY_25, ``extra_keypoints_2d`` (N, 19, 3),
``body_keypoints_3d`` (N, 25, 4), ``extra_keypoints_3d`` (N, 19, 4), ``gender``. The extra 19 are
the first 19 of SPIN's 24 joints; the five of the face come from BODY_25.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from genhmr.data.readers.checks import (
    column,
    gender_name,
    load_npz,
    require_finite,
    require_fits,
)
from genhmr.data.readers.spin_npz import Rows, body25_from_spin24, merge_keypoints
from genhmr.types import UserError

# SPIN24 joints 19..23 (nose, eyes, ears; left first) in BODY_25.
_FACE = (0, 16, 15, 18, 17)


def is_hmr2(path: Path) -> bool:
    """True where the npz names its poses as HMR2 does (``body_pose``), not as SPIN (``pose``)."""
    with load_npz(path) as data:
        return any(key in data for key in ("body_pose", "body_keypoints_2d", "body_keypoints_3d"))


def load_rows(path: Path) -> Rows:
    """Reads one HMR2 npz.

    Args:
        path: the npz file.

    Raises:
        UserError: the file is damaged, a column is missing or misshapen, a fitted pose is not
            finite, or the scales are not pixels (SPIN's unit under HMR2's names).
    """
    with load_npz(path) as data:
        names = column(data, "imgname", (None,), path, dtype=None)
        count = len(names)

        def optional(key: str, shape: tuple[int, ...], missing: float) -> np.ndarray:
            if key not in data:
                return np.full((count, *shape), missing)
            return column(data, key, (count, *shape), path)

        center = column(data, "center", (count, 2), path)
        scale = column(data, "scale", None, path)
        pose, betas = optional("body_pose", (72,), np.nan), optional("betas", (10,), np.nan)
        has_pose = optional("has_body_pose", (), float("body_pose" in data)) > 0
        has_betas = optional("has_betas", (), float("betas" in data)) > 0
        fitted = has_pose & has_betas
        require_fits(data, ("body_pose", "betas"), fitted, "has_body_pose", path)
        body_2d = optional("body_keypoints_2d", (25, 3), 0.0)
        extra_2d = optional("extra_keypoints_2d", (19, 3), 0.0)
        body_3d = optional("body_keypoints_3d", (25, 4), 0.0)
        extra_3d = optional("extra_keypoints_3d", (19, 4), 0.0)
        if "gender" in data:
            genders = column(data, "gender", (count,), path, dtype=None)
            genders = [gender_name(value, path) for value in genders]
        else:
            genders = ["neutral"] * count
    if scale.shape not in ((count,), (count, 1), (count, 2)):
        raise UserError(f"{path}: 'scale' has shape {scale.shape}, one or two a row are needed.")
    box_size = scale.reshape(count, -1).max(axis=1, initial=0.0)
    if count and np.median(box_size) < 10.0:
        raise UserError(
            f"{path}: 'scale' is too small for pixels, the unit of the HMR2 layout: "
            "multiply it by 200, or name the columns as SPIN does."
        )
    has_smpl = fitted[:, None]
    require_finite(center, "center", path)
    require_finite(box_size, "scale", path)
    require_finite(np.where(has_smpl, pose, 0.0), "body_pose", path)
    require_finite(np.where(has_smpl, betas, 0.0), "betas", path)
    face_2d, face_3d = body_2d[:, _FACE], body_3d[:, _FACE]
    annotated = body25_from_spin24(np.concatenate([extra_2d, face_2d], axis=1))
    return Rows(
        imgname=[str(name) for name in names],
        center=center,
        box_size=box_size,
        intrinsics=np.full((count, 3, 3), np.nan),
        pose=np.where(has_smpl, pose, np.nan),
        betas=np.where(has_smpl, betas, np.nan),
        transl=np.full((count, 3), np.nan),
        gender=genders,
        keypoints_2d=merge_keypoints(body_2d, annotated),
        joints_3d=np.concatenate([extra_3d, face_3d], axis=1),
    )
