"""BEDLAM's layout: one npz of SMPL labels a scene, pictures under ``training_images``.

Columns, one row a person: ``imgname`` (relative to the scene's ``png`` folder), ``center`` (N, 2),
``scale`` (N, pixels / 200), ``pose_cam`` and ``pose_world`` (N, 72), ``shape`` (N, 10),
``trans_cam`` and ``trans_world`` (N, 3), ``gtkps`` (N, 45, 3: the 24 kinematic joints and smplx's
21 landmarks in pixels, and a 1), ``cam_int`` (N, 3, 3), ``cam_ext`` (N, 4, 4), ``gender``, ``sub``.
BEDLAM's ``motion_info`` has no counterpart here; ``proj_verts`` only its SMPL-X labels have.

BEDLAM's frames: the world has y down; ``R @ smpl(pose_world, trans_world) =
smpl(pose_cam, trans_cam)`` with ``R`` of ``cam_ext``, whose ``t`` is **not** in ``trans_cam``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from genhmr.body.joints import SMPLX_VERTEX_IDS

from ..camera import Camera
from ..records import PersonRecord
from ..takes import Take
from .spin_npz import write_spin_npz

_LANDMARKS = list(SMPLX_VERTEX_IDS.values())
_BODY_JOINTS = 22  # all but the hands decide on the box, as in BEDLAM's processing
_BOX_MARGIN, _PIXELS_PER_SCALE = 1.2, 200.0
_FEWEST_JOINTS = 8  # BEDLAM leaves out who has fewer inside the frame
_TOO_HIDDEN = 0.3  # BEDLAM keeps them; a crop of the person in front teaches nothing true
_Y_DOWN = Rotation.from_rotvec([np.pi, 0.0, 0.0])


def image_name(sequence: int, frame: int) -> str:
    """``imgname`` of a frame."""
    return f"seq_{sequence:06d}/seq_{sequence:06d}_{frame:04d}.jpg"


def image_folder(root: Path, scene: str) -> Path:
    """Where the pictures of a scene belong; ``png`` is BEDLAM's name, whatever is in it."""
    return root / "training_images" / scene / "png"


def bedlam_row(
    name: str, subject: str, take: Take, record: PersonRecord, camera: Camera
) -> dict | None:
    """The row of one person, or None for who is out of the frame or hidden.

    Args:
        name: from `image_name`.
        subject: whose body it is.
        take: one frame of the person.
        record: the truth about it.
        camera: that took the picture.
    """
    points = np.concatenate([take.people.joints[0], take.people.vertices[0, _LANDMARKS]])
    pixels = camera.project(points)
    body = pixels[:_BODY_JOINTS]
    inside = body[((body >= 0) & (body <= [camera.width, camera.height])).all(1)]
    if len(inside) < _FEWEST_JOINTS or record.visible < _TOO_HIDDEN:
        return None
    low, high = inside.min(0), inside.max(0)
    pelvis = take.wardrobe.rest_pelvis(record.betas)
    pose_world = record.pose_world.copy()
    pose_world[0] = (_Y_DOWN * Rotation.from_rotvec(pose_world[0])).as_rotvec()
    extrinsics = camera.extrinsics
    extrinsics[:3, :3] = extrinsics[:3, :3] @ _Y_DOWN.as_matrix().T
    return {
        "imgname": name,
        "center": (low + high) / 2,
        "scale": _BOX_MARGIN * (high - low).max() / _PIXELS_PER_SCALE,
        "pose_cam": record.pose_camera.reshape(72),
        "pose_world": pose_world.reshape(72),
        "shape": record.betas,
        "trans_cam": record.transl_camera - camera.translation,
        "trans_world": _Y_DOWN.apply(pelvis + record.transl_world) - pelvis,
        "gtkps": np.concatenate([pixels, np.ones((len(pixels), 1))], 1),
        "cam_int": camera.intrinsics,
        "cam_ext": extrinsics,
        "gender": record.gender,
        "sub": subject,
    }


def write_scene(root: Path, scene: str, rows: Sequence[dict]) -> None:
    """Write the labels of one scene from `bedlam_row`; the same rows give the same bytes."""
    folder = root / "training_labels" / "all_npz_12_smpl_training"
    folder.mkdir(parents=True, exist_ok=True)
    write_spin_npz(folder / f"{scene}.npz", rows)
