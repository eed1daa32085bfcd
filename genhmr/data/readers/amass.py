"""Reader of AMASS (Mahmood et al., ICCV 2019): SMPL-H and SMPL-X npz files, z-up.

``<root>/<sub-dataset>/<subject>/<clip>_poses.npz`` (or ``_stageii.npz``). The root and the 21
body joints are taken over as they are and SMPL's two hand joints stay at rest. That is the
short cut most of the field takes; the exact transfer between body models fits meshes (SMPL-X
"transfer_model") and can be run beforehand: files of 72 numbers are read as SMPL, hands too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from genhmr.data.readers.checks import (
    Absent,
    column,
    gender_name,
    load_npz,
    require_finite,
    require_folder,
)
from genhmr.types import NUM_BETAS, NUM_JOINTS, MotionClip, UserError

# The standard split is by sub-dataset; every other folder is training data. AMASS renamed
# some folders between releases. The Open* folders belong to open-mocap.
SPLITS = {
    "val": ("HumanEva", "HDM05", "MPI_HDM05", "SFU", "MPI_mosh", "MoSh", "OpenMotionVal"),
    "test": ("Transitions", "Transitions_mocap", "SSM", "SSM_synced", "OpenMotionTest"),
}
SMPL_NUMBERS, SMPLH_NUMBERS, SMPLX_NUMBERS = 72, 156, 165
BODY_NUMBERS = 66
REMEDY = "put the extracted AMASS sub-datasets there or generate the open world"


def split_of(subset: str) -> str:
    """The split that a sub-dataset's folder belongs to: "train", "val" or "test"."""
    for split, names in SPLITS.items():
        if subset.lower() in (name.lower() for name in names):
            return split
    return "train"


def motion_files(root: Path, split: str) -> list[Path]:
    """The motion files of one split, sorted; shape and stage-I files are left out.

    Raises:
        UserError: an unknown split; ``Absent``: no folder, or no motion of that split in it.
    """
    if split not in ("train", "val", "test"):
        raise UserError(f"{root}: AMASS has no split '{split}', choose train, val or test.")
    require_folder(root, REMEDY)
    files = [
        path
        for path in sorted(root.glob("*/**/*.npz"))
        if path.name != "shape.npz"
        and not path.stem.endswith("_stagei")
        and split_of(path.relative_to(root).parts[0]) == split
    ]
    if not files:
        folders = ", ".join(name for name in SPLITS.get(split, ()) if not name.startswith("Open"))
        of = f" ({folders})" if folders else ""
        raise Absent(f"{root} holds no AMASS motion of the {split} split{of}", REMEDY)
    return files


def read_clip(path: Path, key: str) -> MotionClip:
    """Read one motion file.

    Args:
        path: an npz in any of AMASS's layouts.
        key: the name that the clip gets.

    Raises:
        UserError: truncated, NaN poses, or arrays of other shapes.
    """
    with load_npz(path) as data:
        poses = column(data, "poses", (None, None), path)
        frames, width = poses.shape
        if width not in (SMPL_NUMBERS, SMPLH_NUMBERS, SMPLX_NUMBERS) or not frames:
            raise UserError(
                f"{path}: 'poses' has shape {poses.shape}, expected (frames, "
                f"{SMPLH_NUMBERS}); fetch it again."
            )
        require_finite(poses, "poses", path)
        trans = column(data, "trans", (frames, 3), path)
        require_finite(trans, "trans", path)
        betas = column(data, "betas", (None,), path)[:NUM_BETAS]
        require_finite(betas, "betas", path)
        rate = "mocap_framerate" if "mocap_framerate" in data else "mocap_frame_rate"
        fps = float(column(data, rate, (), path))
        gender = gender_name(column(data, "gender", (), path, dtype=None), path)
    if not fps > 0:
        raise UserError(f"{path}: a frame rate of {fps} is impossible, fetch it again.")
    used = width if width == SMPL_NUMBERS else BODY_NUMBERS
    smpl = np.zeros((frames, SMPL_NUMBERS), np.float32)
    smpl[:, :used] = poses[:, :used]
    shape = np.zeros(NUM_BETAS, np.float32)
    shape[: len(betas)] = betas
    return MotionClip(
        key=key,
        poses=smpl.reshape(frames, NUM_JOINTS, 3),
        trans=trans.astype(np.float32),
        betas=shape,
        gender=gender,
        fps=fps,
        up="z",
    )


def read(root: Path, split: str) -> Iterator[MotionClip]:
    """Read the clips of one split, in the order of their paths.

    Args:
        root: folder of the sub-datasets.
        split: "train", "val" or "test".

    Yields:
        Clips in the z-up world of AMASS; key "<sub-dataset>/<subject>/<clip>".

    Raises:
        UserError: unknown split, missing folder, or a broken file.
    """
    for path in motion_files(root, split):
        yield read_clip(path, path.relative_to(root).with_suffix("").as_posix())
