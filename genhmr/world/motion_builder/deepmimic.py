"""DeepMimic motion files (``humanoid3d_*.txt``) to SMPL rotations.

The clips are the ones Peng et al. published with "DeepMimic" (SIGGRAPH 2018); the pybullet
wheel redistributes them under the zlib licence. A frame is 44 numbers: its duration, the
root position, and quaternions (w, x, y, z) or hinge angles of 13 joints.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from genhmr.types import NUM_JOINTS, UserError
from genhmr.world.motion_builder.retarget import share_arm, share_equally

FRAME_NUMBERS = 44
# Column of the first number of each joint (quaternions are 4 wide, hinges 1).
ROOT_POSITION, ROOT, CHEST, NECK = 1, 4, 8, 12
RIGHT = {"hip": 16, "knee": 20, "ankle": 21, "shoulder": 25, "elbow": 29}
LEFT = {"hip": 30, "knee": 34, "ankle": 35, "shoulder": 39, "elbow": 43}
# DeepMimic has x forward, y up, z right; SMPL has x left, y up, z forward.
TO_SMPL_AXES = np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])


def resample(
    times: np.ndarray, rotations: np.ndarray, positions: np.ndarray, fps: float
) -> tuple[np.ndarray, np.ndarray]:
    """Resample a clip at a constant rate: spherical and linear interpolation.

    Args:
        times: (F,) seconds, increasing.
        rotations: (F, 24, 3, 3) local rotation matrices.
        positions: (F, 3) metres.
        fps: frames per second wanted.

    Returns:
        Axis-angle (G, 24, 3) and positions (G, 3).
    """
    wanted = np.arange(0.0, times[-1] + 1e-9, 1.0 / fps)
    poses = np.stack(
        [
            Slerp(times, Rotation.from_matrix(rotations[:, j]))(wanted).as_rotvec()
            for j in range(rotations.shape[1])
        ],
        axis=1,
    )
    trans = np.stack([np.interp(wanted, times, positions[:, k]) for k in range(3)], axis=1)
    return poses, trans


def read_deepmimic(path: Path, fps: float = 30.0) -> tuple[np.ndarray, np.ndarray]:
    """Read one DeepMimic clip as SMPL pose.

    The chest rotation is shared by the three spine joints and the neck rotation by neck and
    head; the rest pose is turned from hanging arms to SMPL's T-pose; wrists and toes, which
    DeepMimic does not record, stay at rest.

    Args:
        path: a ``humanoid3d_*.txt`` file.
        fps: frame rate of the result.

    Returns:
        (F, 24, 3) axis-angle with the root in a y-up world, and the pelvis (F, 3) in metres.

    Raises:
        UserError: the file is not a DeepMimic humanoid clip.
    """
    try:
        frames = np.array(json.loads(path.read_text())["Frames"], dtype=np.float64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a DeepMimic motion file ({error}).") from error
    if frames.ndim != 2 or frames.shape[1] != FRAME_NUMBERS or not np.isfinite(frames).all():
        raise UserError(f"{path}: expected finite frames of {FRAME_NUMBERS} numbers.")

    def in_smpl_axes(rotation: Rotation) -> np.ndarray:
        return TO_SMPL_AXES @ rotation.as_matrix() @ TO_SMPL_AXES.T

    def ball(column: int) -> np.ndarray:
        w, *xyz = range(column, column + 4)
        return in_smpl_axes(Rotation.from_quat(frames[:, [*xyz, w]]))

    def hinge(column: int) -> np.ndarray:
        return in_smpl_axes(Rotation.from_rotvec(frames[:, column, None] * [0.0, 0.0, 1.0]))

    local = np.tile(np.eye(3), (len(frames), NUM_JOINTS, 1, 1))
    local[:, 0] = ball(ROOT)
    local[:, [3, 6, 9]] = share_equally(ball(CHEST), 3)[:, None]
    local[:, [12, 15]] = share_equally(ball(NECK), 2)[:, None]
    for hip, knee, ankle, side in ((1, 4, 7, LEFT), (2, 5, 8, RIGHT)):
        local[:, hip] = ball(side["hip"])
        local[:, knee] = hinge(side["knee"])
        local[:, ankle] = ball(side["ankle"])
    # `down` turns SMPL's T-pose arm to the hanging arm of DeepMimic's rest pose.
    for collar, shoulder, elbow, side, outward in ((13, 16, 18, LEFT, 1), (14, 17, 19, RIGHT, -1)):
        down = Rotation.from_euler("z", -90.0 * outward, degrees=True).as_matrix()
        arm = ball(side["shoulder"]) @ down
        local[:, collar], local[:, shoulder] = share_arm(arm, outward)
        local[:, elbow] = down.T @ hinge(side["elbow"]) @ down
    times = np.concatenate([[0.0], np.cumsum(frames[:-1, 0])])
    positions = frames[:, ROOT_POSITION : ROOT_POSITION + 3] @ TO_SMPL_AXES.T
    return resample(times, local, positions, fps)
