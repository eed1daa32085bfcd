"""A photographed frame and what is known about each person in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from genhmr.types import UserError

from .camera import Camera, project_points
from .lighting import Development, develop
from .render import Mesh
from .scene import Stage, View, keypoint_visibility, photograph_view, view_of
from .takes import Take


@dataclass(frozen=True)
class PersonRecord:
    """The truth about one person in one frame; pixels of the frame, metres, radians.

    Attributes:
        gender: of the body.
        betas: (10,).
        pose_world: (24, 3) axis-angle, root in the world.
        transl_world: (3,).
        joints_world: (24, 3).
        pose_camera: (24, 3) axis-angle, root in the camera frame.
        transl_camera: (3,) SMPL's translation in the camera frame.
        keypoints: (25, 3) BODY_25 pixels; 1 visible, 0.5 hidden, 0 outside the frame.
        joints_2d: (24, 2) kinematic joints, pixels.
        spin_2d: (24, 2) SPIN's joints, pixels.
        spin_3d: (24, 3) SPIN's joints, camera frame.
        box: (4,) left, top, right, bottom of the body inside the frame; no extent if outside.
        visible: share of the body inside the frame that nothing hides.
    """

    gender: str
    betas: np.ndarray
    pose_world: np.ndarray
    transl_world: np.ndarray
    joints_world: np.ndarray
    pose_camera: np.ndarray
    transl_camera: np.ndarray
    keypoints: np.ndarray
    joints_2d: np.ndarray
    spin_2d: np.ndarray
    spin_3d: np.ndarray
    box: np.ndarray
    visible: float


def photograph(
    takes: Sequence[Take],
    frame: int,
    stage: Stage,
    occluders: Sequence[Mesh],
    camera: Camera,
    settings: Development,
    textures: np.ndarray,
    rng: np.random.Generator,
    known: int | None = None,
) -> tuple[np.ndarray, list[PersonRecord]]:
    """Photograph one frame.

    Args:
        takes: the people.
        frame: which frame of the takes.
        stage: where.
        occluders: meshes in front of the people, world frame.
        camera: from where.
        settings: of the camera.
        textures: the texture bank.
        rng: of the noise.
        known: how many of the people, from the first on, are recorded; None: all.

    Returns:
        (H, W, 3) uint8 RGB and one record per person.
    """
    view, records = observe(takes, frame, stage, occluders, camera, known)
    return develop(photograph_view(view, textures).image, settings, rng), records


def observe(
    takes: Sequence[Take],
    frame: int,
    stage: Stage,
    occluders: Sequence[Mesh],
    camera: Camera,
    known: int | None = None,
) -> tuple[View, list[PersonRecord]]:
    """What a photograph would show of whom, before it is taken; see :func:`photograph`."""
    actors = [take.actor(frame) for take in takes]
    view = view_of(actors, stage, occluders, camera, camera.intrinsics, camera.width, camera.height)
    records = [_record(take, frame, camera, view.cover.depth, visible)
               for take, visible in zip(takes[:known], view.visible)]
    return view, records


def _record(take, frame, camera, depth, visible):
    pose, transl = take.poses[frame], take.transl[frame].astype(np.float64)
    betas = take.betas[frame]
    people = take.people
    # SMPL turns about its pelvis, so the pelvis' rest position takes part in the change of frame.
    pivot = take.wardrobe.rest_pelvis(betas)
    root = Rotation.from_matrix(camera.rotation) * Rotation.from_rotvec(pose[0])
    pose_camera = pose.copy()
    pose_camera[0] = root.as_rotvec()
    points = camera.to_camera(people.keypoints[frame])
    pixels = project_points(points, camera.intrinsics)
    keypoints = np.concatenate(
        [pixels, keypoint_visibility(points, pixels, depth)[:, None]], axis=1)
    spin = camera.to_camera(people.spin[frame])
    outline = camera.project(people.vertices[frame, ::3])
    limit = np.array([camera.width, camera.height], float)
    low, high = outline.min(0).clip(0, limit), outline.max(0).clip(0, limit)
    return PersonRecord(
        gender=take.wardrobe.gender,
        betas=betas,
        pose_world=pose,
        transl_world=transl,
        joints_world=people.joints[frame],
        pose_camera=pose_camera,
        transl_camera=camera.to_camera(pivot + transl) - pivot,
        keypoints=keypoints.astype(np.float32),
        joints_2d=camera.project(people.joints[frame]),
        spin_2d=project_points(spin, camera.intrinsics),
        spin_3d=spin,
        box=np.concatenate([low, high]),
        visible=float(visible),
    )


def write_jpeg(path: Path, image: np.ndarray, quality: int) -> None:
    """Write (H, W, 3) uint8 RGB, making the folder if there is none.

    Raises:
        UserError: the file cannot be written.
    """
    import cv2

    done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    try:
        if not done:
            raise OSError("encoding failed")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error}); free some disk space.") from error
