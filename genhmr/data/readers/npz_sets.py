"""Human3.6M, COCO and pictures from the web as npz and images: which file is which split.

The file is looked for under the names that SPIN and 4D-Humans gave it, then under
``<kind>_<split>.npz``, in the set's folder and its ``dataset_extras``; its columns tell whether it
is SPIN's layout or HMR2's. ``imgname`` is relative to the set's folder.

Human3.6M is split by subject (S1, S5, S6, S7, S8 train; S9, S11 test), whatever the file is
called. Its two protocols are two splits here: "test" is protocol 1, all cameras; "test-p2" is
protocol 2, the frontal camera 60457274 only. Every fifth frame was taken when the npz was made.

HMR2.0's in-the-wild data (InstaVariety, AVA, AI Challenger) are for training only: every npz in
the folder is read, whatever it is called. Their pose and shape are fits to 2D keypoints.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from genhmr.body.model_files import Bodies
from genhmr.data.readers import hmr2_npz, spin_npz
from genhmr.data.readers.checks import Absent, require_folder
from genhmr.types import PersonFrame, UserError

H36M_FILES = {
    "train": ("h36m_mosh_train.npz", "h36m_train.npz"),
    "val": ("h36m_val.npz",),
    "test": ("h36m_valid_protocol1.npz", "h36m_test.npz"),
    "test-p2": (
        "h36m_valid_protocol2.npz",
        "h36m_val_p2.npz",
        "h36m_valid_protocol1.npz",
        "h36m_test.npz",
    ),
}
H36M_SUBJECTS = {
    "train": ("S1", "S5", "S6", "S7", "S8"),
    "val": ("S1", "S5", "S6", "S7", "S8"),  # no official set: a part of the training subjects
    "test": ("S9", "S11"),
    "test-p2": ("S9", "S11"),
}
H36M_FRONTAL_CAMERA = "60457274"
COCO_FILES = {
    "train": ("coco_2014_train.npz", "coco_train_2014_openpose.npz", "coco_train.npz"),
    "val": ("coco_val.npz",),
    "test": ("coco_test.npz",),
}
_H36M_NAME = re.compile(r"^(S\d+)_.*\.(\d+)_\d+\.\w+$")


def _find(root: Path, names: tuple[str, ...]) -> Path:
    require_folder(root, "put the npz and its images there, or generate the open world")
    for name in names:
        for folder in (root, root / "dataset_extras"):
            if (folder / name).is_file():
                return folder / name
    raise Absent(f"{root} holds none of {', '.join(names)}", "put the npz of this split there")


def h36m_file(root: Path, split: str) -> Path:
    """The npz that a split of Human3.6M is read from.

    Raises:
        UserError: an unknown split; ``Absent``: no folder, or no npz in it.
    """
    if split not in H36M_FILES:
        raise UserError(f"Human3.6M has no split '{split}': choose {', '.join(H36M_FILES)}.")
    return _find(Path(root), H36M_FILES[split])


def coco_file(root: Path, split: str) -> Path:
    """The npz that a split of COCO is read from; errors as of :func:`h36m_file`."""
    if split not in COCO_FILES:
        raise UserError(f"COCO has no split '{split}': choose {', '.join(COCO_FILES)}.")
    return _find(Path(root), COCO_FILES[split])


def itw_files(root: Path, split: str) -> list[Path]:
    """The npz of all sources, sorted.

    Raises:
        UserError: another split than "train"; ``Absent``: no folder, or no npz in it.
    """
    if split != "train":
        raise UserError(f"In-the-wild data have no split '{split}': they are for 'train' only.")
    root = require_folder(Path(root), "put the npz and their images there")
    paths = sorted(root.glob("*.npz"))
    if not paths:
        raise Absent(f"{root} holds no npz", "put one a source there (insta.npz, ava.npz, ...)")
    return paths


def _load(path: Path) -> spin_npz.Rows:
    return hmr2_npz.load_rows(path) if hmr2_npz.is_hmr2(path) else spin_npz.load_rows(path)


def h36m_filter(split: str, path: Path) -> Callable[[str], bool]:
    """Says for an image name whether it belongs to the split, by subject and camera.

    Args:
        split: a key of ``H36M_SUBJECTS``.
        path: npz named in a complaint.
    """

    def keep(name: str) -> bool:
        match = _H36M_NAME.match(Path(name).name)
        if match is None:
            raise UserError(
                f"{path}: image '{name}' is not named <subject>_<action>.<camera>_<frame>.jpg, "
                "as Human3.6M's are: fetch the npz again."
            )
        subject, camera = match.groups()
        frontal = split != "test-p2" or camera == H36M_FRONTAL_CAMERA
        return subject in H36M_SUBJECTS[split] and frontal

    return keep


def read_h36m(root: Path, split: str, bodies: Bodies) -> Iterator[PersonFrame]:
    """Human3.6M (or what plays its role): "train", "val", "test" (protocol 1) or "test-p2".

    Raises:
        UserError: unknown split, missing npz, or an npz that is not what it should be.
    """
    path = h36m_file(root, split)
    yield from spin_npz.person_frames(_load(path), Path(root), h36m_filter(split, path))


def read_coco(root: Path, split: str, bodies: Bodies) -> Iterator[PersonFrame]:
    """COCO with fitted bodies (or what plays its role): "train", and "val" or "test" if made.

    Raises:
        UserError: unknown split, missing npz, or an npz that is not what it should be.
    """
    yield from spin_npz.person_frames(_load(coco_file(root, split)), Path(root))


def read_itw(root: Path, split: str, bodies: Bodies) -> Iterator[PersonFrame]:
    """HMR2.0's in-the-wild data (or what plays their role), keys like ``"ava/<imgname>/000007"``.

    Args:
        root: folder with one or several npz, in SPIN's or HMR2's layout, and the images.
        split: "train" only.
        bodies: not used.

    Raises:
        UserError: another split, no npz, or an npz that is not what it should be.
    """
    for path in itw_files(root, split):
        yield from spin_npz.person_frames(_load(path), Path(root), prefix=f"{path.stem}/")
