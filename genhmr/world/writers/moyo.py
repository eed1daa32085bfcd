"""Sequences on disk in the layout of MOYO's SMPL fits.

``<root>/mosh_smpl/{train,val}/<name>_stageii_smpl.pkl``: a dictionary of ``global_orient``
(F, 3), ``body_pose`` (F, 69), ``transl`` (F, 3) and ``betas`` (F, 10), z-up, 60 frames/s.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np

from genhmr.types import NUM_JOINTS, MotionClip


def write_moyo_sequence(clip: MotionClip, root: Path, split: str) -> Path:
    """Write one sequence, atomically and byte for byte repeatable.

    Args:
        clip: z-up; its key is the name of the sequence.
        root: folder of the data set.
        split: "train" or "val".

    Returns:
        The file written.

    Raises:
        ValueError: the clip is y-up, has another number of joints, or the split is unknown.
    """
    if clip.up != "z" or clip.poses.shape[1:] != (NUM_JOINTS, 3):
        raise ValueError(f"{clip.key}: MOYO wants z-up clips of {NUM_JOINTS} joints")
    if split not in ("train", "val"):
        raise ValueError(f"MOYO has no split {split!r}")
    frames = len(clip.poses)
    poses = np.ascontiguousarray(clip.poses, dtype=np.float32)
    record = {
        "global_orient": poses[:, 0].copy(),
        "body_pose": poses[:, 1:].reshape(frames, -1).copy(),
        "transl": np.array(clip.trans, dtype=np.float32),
        "betas": np.tile(clip.betas.astype(np.float32), (frames, 1)),
        "gender": clip.gender,
    }
    path = root / "mosh_smpl" / split / f"{clip.key}_stageii_smpl.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        pickle.dump(record, file, protocol=4)
    os.replace(temporary, path)
    return path
