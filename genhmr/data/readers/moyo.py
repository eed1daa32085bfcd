"""Reader of MOYO's SMPL fits (Tripathi et al., CVPR 2023): pickles, z-up, 60 frames/s.

``<root>/mosh_smpl/{train,val}/*.pkl``, or the same below the release's two capture folders.
As with AMASS, the root and 21 body joints are used and the two hand joints stay at rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from genhmr.body.safe_pickle import load_pickle
from genhmr.data.readers.checks import (
    Absent,
    column,
    gender_name,
    require_finite,
    require_folder,
    require_mapping,
)
from genhmr.types import NUM_BETAS, NUM_JOINTS, MotionClip, UserError

FPS = 60.0
BODY_NUMBERS = 63
# MOYO has one subject, a woman, and its pickles do not say so.
SUBJECT_GENDER = "female"
REMEDY = "put MOYO's mosh_smpl folder there or generate the open world"


def motion_files(root: Path, split: str) -> list[Path]:
    """The motion files of one split, sorted.

    Args:
        root: folder that holds ``mosh_smpl`` or the release's capture folders.
        split: "train" or "val".

    Raises:
        UserError: an unknown split; ``Absent``: no folder, or no motion of that split in it.
    """
    if split not in ("train", "val"):
        raise UserError(f"{root}: MOYO has no split '{split}', choose train or val.")
    require_folder(root, REMEDY)
    patterns = (f"mosh_smpl/{split}/*.pkl", f"*/mosh_smpl/{split}/*.pkl")
    files = sorted(path for pattern in patterns for path in root.glob(pattern))
    if not files:
        raise Absent(f"{root} holds no mosh_smpl/{split}/*.pkl", REMEDY)
    return files


def read_clip(path: Path, key: str) -> MotionClip:
    """Read one sequence.

    Args:
        path: a pickle of ``global_orient`` (F, 3), ``body_pose`` (F, >= 63), ``transl`` (F, 3)
            and ``betas`` (>= 10) or (F, >= 10).
        key: the name that the clip gets.

    Raises:
        UserError: truncated, a forbidden class, NaN poses, or arrays of other shapes.
    """
    data = require_mapping(load_pickle(path), path)
    flat = {}
    for name in ("global_orient", "body_pose", "transl"):  # some are (F, 1, 3) or (F, 23, 3)
        array = np.asarray(data.get(name, ()))
        if array.ndim > 1 and len(array):
            flat[name] = array.reshape(len(array), -1)
    root = column(flat, "global_orient", (None, 3), path)
    frames = len(root)
    body = column(flat, "body_pose", (frames, None), path)
    trans = column(flat, "transl", (frames, 3), path)
    betas = np.atleast_2d(column(data, "betas", np.shape(data.get("betas")), path))[0, :NUM_BETAS]
    if body.shape[1] < BODY_NUMBERS or betas.shape != (NUM_BETAS,):
        raise UserError(
            f"{path}: {body.shape[1]} numbers of body pose and {len(betas)} betas, expected at "
            f"least {BODY_NUMBERS} and {NUM_BETAS}; fetch it again."
        )
    smpl = np.zeros((frames, NUM_JOINTS * 3), np.float32)
    smpl[:, :3] = root
    smpl[:, 3 : 3 + BODY_NUMBERS] = body[:, :BODY_NUMBERS]
    for name, rows in (("poses", smpl), ("transl", trans), ("betas", betas)):
        require_finite(rows, name, path)
    return MotionClip(
        key=key,
        poses=smpl.reshape(frames, NUM_JOINTS, 3),
        trans=trans.astype(np.float32),
        betas=betas.astype(np.float32),
        gender=gender_name(data.get("gender", SUBJECT_GENDER), path),
        fps=FPS,
        up="z",
    )


def read(root: Path, split: str) -> Iterator[MotionClip]:
    """Read the sequences of one split, in the order of their paths.

    Args:
        root: folder that holds ``mosh_smpl`` or the release's capture folders.
        split: "train" or "val"; MOYO's test poses are not public.

    Yields:
        Clips in MOYO's z-up world; key is the path without its suffix.

    Raises:
        UserError: unknown split, missing folder, or a broken file.
    """
    for path in motion_files(root, split):
        yield read_clip(path, path.relative_to(root).with_suffix("").as_posix())
