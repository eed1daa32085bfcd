"""EMDB (Kaufmann et al. 2023) as released: ``P*/<sequence>/*_data.pkl`` and ``images``.

The test set of the field is EMDB-1: the sequences with the flag ``emdb1``, frames with
``good_frames_mask``, SMPL moved to the camera by ``camera.extrinsics``. Boxes are the given
``bboxes`` times 1.2. Keypoints are the ground-truth body projected in the BODY_25 layout (the
given ``kp2d`` hold the 24 kinematic joints only), with confidence 1 inside the picture: EMDB says
nothing about occlusion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from genhmr.body.model_files import Bodies
from genhmr.body.safe_pickle import load_pickle
from genhmr.data.readers.checks import (
    Absent,
    column,
    gender_name,
    require_finite,
    require_folder,
    require_mapping,
)
from genhmr.data.readers.placement import (
    inside_image,
    project_body25,
    rest_pelvis,
    to_camera_frame,
)
from genhmr.types import PersonFrame, UserError

SPLIT_FLAGS = {"test": "emdb1", "emdb1": "emdb1", "emdb2": "emdb2"}
BOX_MARGIN = 1.2


def _part(data: Mapping[str, Any], key: str, path: Path) -> Mapping[str, Any]:
    if key not in data:
        raise UserError(f"{path} has no '{key}': it is not the official file, fetch it again.")
    return require_mapping(data[key], path)


def sequence_files(root: Path, split: str) -> list[Path]:
    """The sequences of EMDB-1 and EMDB-2, sorted: the flags in them tell which is which.

    Raises:
        UserError: an unknown split; ``Absent``: no folder, or no sequence in it.
    """
    if split not in SPLIT_FLAGS:
        raise UserError(f"EMDB has no split '{split}': choose test (EMDB-1) or emdb2.")
    require_folder(Path(root), "unpack EMDB there, or generate the open world")
    files = sorted(Path(root).glob("P*/*/*_data.pkl"))
    if not files:
        raise Absent(f"{root} holds no P*/*/*_data.pkl", "unpack EMDB there")
    return files


def sequence_name(file: Path) -> str:
    """The name of a sequence by that of its file."""
    return file.stem.removesuffix("_data")


def picture_folder(file: Path) -> Path:
    """Where the pictures of a sequence lie."""
    return file.parent / "images"


def _sequence(data: Mapping[str, Any], path: Path, bodies: Bodies) -> Iterator[PersonFrame]:
    camera, smpl = _part(data, "camera", path), _part(data, "smpl", path)
    root = column(smpl, "poses_root", (None, 3), path)
    count = len(root)
    poses_body = column(smpl, "poses_body", (count, 69), path)
    trans = column(smpl, "trans", (count, 3), path)
    betas = column(smpl, "betas", (10,), path)
    extrinsics = column(camera, "extrinsics", (count, 4, 4), path)
    intrinsics = column(camera, "intrinsics", (3, 3), path)
    width = float(column(camera, "width", (), path))
    height = float(column(camera, "height", (), path))
    good = column(data, "good_frames_mask", (count,), path).astype(bool)
    boxes = column(_part(data, "bboxes", path), "bboxes", (count, 4), path)
    gender = gender_name(data.get("gender", "missing"), path)

    extent = boxes[:, 2:] - boxes[:, :2]
    kept = np.flatnonzero(good & (extent > 0).all(axis=1))  # NaN compares false
    if len(kept) == 0:
        return
    pose = np.concatenate([root, poses_body], axis=1)[kept]
    require_finite(pose, "smpl.poses_root and smpl.poses_body", path)
    require_finite(trans[kept], "smpl.trans", path)
    require_finite(extrinsics[kept], "camera.extrinsics", path)
    body = bodies.get(gender)
    root, transl = to_camera_frame(
        pose[:, :3], trans[kept], extrinsics[kept], rest_pelvis(body, betas)
    )
    pose = np.concatenate([root, pose[:, 3:]], axis=1).reshape(-1, 24, 3)
    points, in_front = project_body25(body, pose, betas, transl, intrinsics)
    seen = in_front & inside_image(points, width, height)
    keypoints = np.concatenate([points, seen[..., None]], axis=-1).astype(np.float32)
    name = str(data.get("name", sequence_name(path)))
    for row, frame in enumerate(kept):
        yield PersonFrame(
            key=f"{name}/{frame:05d}/0",
            image=picture_folder(path) / f"{frame:05d}.jpg",
            center=((boxes[frame, :2] + boxes[frame, 2:]) / 2).astype(np.float32),
            box_size=float(BOX_MARGIN * extent[frame].max()),
            intrinsics=intrinsics.astype(np.float32),
            pose=pose[row].astype(np.float32),
            betas=betas.astype(np.float32),
            transl=transl[row].astype(np.float32),
            gender=gender,
            keypoints_2d=keypoints[row],
            joints_3d=np.zeros((24, 4), np.float32),
        )


def read(root: Path, split: str, bodies: Bodies) -> Iterator[PersonFrame]:
    """All person frames of EMDB-1 (split "test" or "emdb1") or EMDB-2 ("emdb2").

    Args:
        root: folder with ``P0`` .. ``P9``.
        split: "test", "emdb1" or "emdb2".
        bodies: body models; the gendered ones place the pelvis and the keypoints.

    Yields:
        PersonFrame, ``joints_3d`` unknown, keys like ``"P1_14_outdoor_climb/00017/0"``.

    Raises:
        UserError: unknown split, missing folder, or a sequence file that is not the official one.
    """
    files = sequence_files(root, split)
    flag, found = SPLIT_FLAGS[split], False
    for path in files:
        data = require_mapping(load_pickle(path), path)
        if flag not in data:
            raise UserError(f"{path} has no '{flag}': it is not the official file, fetch it again.")
        if bool(data[flag]):
            found = True
            yield from _sequence(data, path, bodies)
    if not found:
        raise UserError(f"{root} holds no sequence flagged '{flag}': unpack all of EMDB there.")
