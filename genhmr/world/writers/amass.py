"""Motion clips on disk in the layout of AMASS (SMPL-H npz, z-up world).

``<root>/<Subset>/<subject>/<clip>_poses.npz`` holds ``poses`` (F, 156): root, 21 body joints
and 30 finger joints in axis-angle; ``trans`` (F, 3); ``betas`` (16,); ``dmpls`` (F, 8);
``gender``; ``mocap_framerate``.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from genhmr.types import NUM_BETAS, NUM_JOINTS, MotionClip

SMPLH_NUMBERS = 156
BODY_NUMBERS = 66  # root and 21 body joints; SMPL's hand joints 22 and 23 have no place


def write_amass_clip(clip: MotionClip, root: Path) -> Path:
    """Write one clip as ``<root>/<key>.npz``, atomically and byte for byte repeatable.

    Args:
        clip: z-up, hands at rest (SMPL-H has fingers where SMPL has hand joints).
        root: folder of the data set.

    Returns:
        The file written.

    Raises:
        ValueError: the clip is y-up, has another number of joints, or poses its hands.
    """
    if clip.up != "z" or clip.poses.shape[1:] != (NUM_JOINTS, 3):
        raise ValueError(f"{clip.key}: AMASS wants z-up clips of {NUM_JOINTS} joints")
    if np.any(clip.poses[:, 22:]):
        raise ValueError(f"{clip.key}: the hand joints of SMPL are not stored in AMASS")
    frames = len(clip.poses)
    poses = np.zeros((frames, SMPLH_NUMBERS), dtype=np.float32)
    poses[:, :BODY_NUMBERS] = clip.poses.reshape(frames, -1)[:, :BODY_NUMBERS]
    betas = np.zeros(16, dtype=np.float32)
    betas[:NUM_BETAS] = clip.betas
    path = root / f"{clip.key}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp.npz")
    np.savez_compressed(
        temporary,
        poses=poses,
        trans=clip.trans.astype(np.float32),
        betas=betas,
        dmpls=np.zeros((frames, 8), dtype=np.float32),
        gender=np.array(clip.gender),
        mocap_framerate=np.array(float(clip.fps)),
    )
    os.replace(temporary, path)
    return path
