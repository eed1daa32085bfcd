"""3DPW (von Marcard et al. 2018) as released: ``sequenceFiles/*/*.pkl`` and ``imageFiles``.

The protocol of SPIN, and of all that follow it: each person is a track, frames with
``campose_valid`` are kept, the root is turned into the camera frame by ``cam_poses``, ten betas,
and the box is the extent of the visible ``poses2d`` times 1.2. A frame without a single visible
2D keypoint has no box and is left out.

``poses2d`` are detections in the COCO-18 layout. What BODY_25 has beyond them (middle of the hips
and the feet) is projected from the ground-truth body with the confidence of the hips and of the
ankle it hangs on.
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
from genhmr.data.readers.placement import project_body25, rest_pelvis, to_camera_frame
from genhmr.types import PersonFrame, UserError

SPLITS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
BOX_MARGIN = 1.2
# COCO-18 joint i is BODY_25 joint COCO18_TO_BODY25[i]; BODY_25 slips MidHip in at 8.
COCO18_TO_BODY25 = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)
# BODY_25 joints that COCO-18 lacks and the joints whose confidence they take.
HANGS_ON = {8: (9, 12), 19: (14,), 20: (14,), 21: (14,), 22: (11,), 23: (11,), 24: (11,)}


def body25_from_coco18(poses2d: np.ndarray, projected: np.ndarray) -> np.ndarray:
    """Detections in BODY_25, completed by the projected body.

    Args:
        poses2d: (F, 18, 3) x, y, confidence; confidence 0 where not detected.
        projected: (F, 25, 2) BODY_25 of the ground-truth body, pixels.

    Returns:
        (F, 25, 3) float32.
    """
    keypoints = np.zeros((len(poses2d), 25, 3), np.float32)
    keypoints[:, COCO18_TO_BODY25] = poses2d
    keypoints[..., 2] = keypoints[..., 2].clip(0.0, 1.0)
    for joint, parents in HANGS_ON.items():
        keypoints[:, joint, :2] = projected[:, joint]
        keypoints[:, joint, 2] = keypoints[:, parents, 2].min(axis=1)
    return keypoints


def _boxes(poses2d: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre (F, 2), side (F,) and whether there is a box (F,), from (F, 18, 3)."""
    visible = poses2d[..., 2] > 0
    low = np.where(visible[..., None], poses2d[..., :2], np.inf).min(axis=1)
    high = np.where(visible[..., None], poses2d[..., :2], -np.inf).max(axis=1)
    found = visible.any(axis=1) & ((high - low).max(axis=1) > 0)
    low, high = np.where(found[:, None], low, 0.0), np.where(found[:, None], high, 1.0)
    return (low + high) / 2, BOX_MARGIN * (high - low).max(axis=1), found


def _person(data: Mapping[str, Any], key: str, person: int, path: Path) -> Mapping[str, Any]:
    """``data[key][person]`` as a one-entry mapping that ``column`` can check."""
    if key not in data or not isinstance(data[key], (list, tuple, np.ndarray)):
        raise UserError(f"{path} has no list '{key}': it is not the official file, fetch it again.")
    if person >= len(data[key]):
        raise UserError(f"{path}: '{key}' has no person {person}, fetch the file again.")
    return {key: data[key][person]}


def _track(
    data: Mapping[str, Any], person: int, path: Path, images: Path, bodies: Bodies
) -> Iterator[PersonFrame]:
    pose = column(_person(data, "poses", person, path), "poses", (None, 72), path)
    count = len(pose)
    trans = column(_person(data, "trans", person, path), "trans", (count, 3), path)
    betas = np.asarray(_person(data, "betas", person, path)["betas"], np.float64).reshape(-1)[:10]
    if len(betas) < 10:
        raise UserError(f"{path}: 'betas' has {len(betas)} numbers, 10 are needed.")
    poses2d = column(_person(data, "poses2d", person, path), "poses2d", (count, 3, 18), path)
    poses2d = poses2d.transpose(0, 2, 1)
    campose_valid = _person(data, "campose_valid", person, path)
    valid = column(campose_valid, "campose_valid", (count,), path).astype(bool)
    extrinsics = column(data, "cam_poses", (count, 4, 4), path)
    intrinsics = column(data, "cam_intrinsics", (3, 3), path)
    gender = gender_name(_person(data, "genders", person, path)["genders"], path)

    center, box_size, found = _boxes(poses2d)
    kept = np.flatnonzero(valid & found)
    if len(kept) == 0:
        return
    require_finite(pose[kept], "poses", path)
    require_finite(trans[kept], "trans", path)
    require_finite(extrinsics[kept], "cam_poses", path)
    body = bodies.get(gender)
    root, transl = to_camera_frame(
        pose[kept, :3], trans[kept], extrinsics[kept], rest_pelvis(body, betas)
    )
    pose = np.concatenate([root, pose[kept, 3:]], axis=1).reshape(-1, 24, 3)
    projected, _ = project_body25(body, pose, betas, transl, intrinsics)
    keypoints = body25_from_coco18(poses2d[kept], projected)
    for row, frame in enumerate(kept):
        yield PersonFrame(
            key=f"{images.name}/{frame:05d}/{person}",
            image=images / f"image_{frame:05d}.jpg",
            center=center[frame].astype(np.float32),
            box_size=float(box_size[frame]),
            intrinsics=intrinsics.astype(np.float32),
            pose=pose[row].astype(np.float32),
            betas=betas.astype(np.float32),
            transl=transl[row].astype(np.float32),
            gender=gender,
            keypoints_2d=keypoints[row],
            joints_3d=np.zeros((24, 4), np.float32),
        )


def sequence_files(root: Path, split: str) -> list[Path]:
    """The sequences of one split, sorted: one pickle each.

    Raises:
        UserError: an unknown split; ``Absent``: no folder, or no sequence in it.
    """
    if split not in SPLITS:
        raise UserError(f"3DPW has no split '{split}': choose train, val or test.")
    folder = require_folder(
        Path(root) / "sequenceFiles" / SPLITS[split],
        "unpack 3DPW's sequenceFiles there, or generate the open world",
    )
    files = sorted(folder.glob("*.pkl"))
    if not files:
        raise Absent(f"{folder} holds no .pkl file", "unpack 3DPW's sequenceFiles there")
    return files


def picture_folder(root: Path, file: Path) -> Path:
    """Where the pictures of a sequence lie; the folder's name is the sequence's."""
    return Path(root) / "imageFiles" / file.stem


def read(root: Path, split: str, bodies: Bodies) -> Iterator[PersonFrame]:
    """All person frames of one 3DPW split, sequence by sequence, person by person.

    Args:
        root: folder with ``sequenceFiles`` and ``imageFiles``.
        split: "train", "val" or "test".
        bodies: body models; the gendered ones place the pelvis.

    Yields:
        PersonFrame, ``joints_3d`` unknown, keys like ``"downtown_walk_00/00017/0"``.

    Raises:
        UserError: unknown split, missing folder, or a sequence file that is not the official one.
    """
    for path in sequence_files(root, split):
        data = require_mapping(load_pickle(path), path)
        if "poses" not in data:
            raise UserError(f"{path} has no 'poses': it is not the official file, fetch it again.")
        images = picture_folder(root, path).with_name(str(data.get("sequence", path.stem)))
        for person in range(len(data["poses"])):
            yield from _track(data, person, path, images, bodies)
