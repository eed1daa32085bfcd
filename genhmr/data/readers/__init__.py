"""Readers of the data sets in their official on-disk formats, one file a format.

The open world writes the same formats, so nothing here knows which of the two it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from genhmr.body.model_files import Bodies
from genhmr.data.readers import amass, bedlam, emdb, moyo, npz_sets, threedpw
from genhmr.types import MotionClip, PersonFrame, UserError

IMAGE_READERS = {
    "3dpw": threedpw.read,
    "emdb": emdb.read,
    "h36m": npz_sets.read_h36m,
    "coco": npz_sets.read_coco,
    "itw": npz_sets.read_itw,
    "bedlam": bedlam.read,
}
MOTION_READERS = {"amass": amass.read, "moyo": moyo.read}
IMAGE_KINDS, MOTION_KINDS = tuple(IMAGE_READERS), tuple(MOTION_READERS)
# What the readers begin with: the files of a split; without opening one.
_FILES: dict[str, Callable[[Path, str], list[Path]]] = {
    "3dpw": threedpw.sequence_files,
    "emdb": emdb.sequence_files,
    "h36m": lambda root, split: [npz_sets.h36m_file(root, split)],
    "coco": lambda root, split: [npz_sets.coco_file(root, split)],
    "itw": npz_sets.itw_files,
    "bedlam": bedlam.label_files,
    "amass": amass.motion_files,
    "moyo": moyo.motion_files,
}


def files_of(kind: str, root: Path, split: str) -> list[Path]:
    """The files of annotations or motion that a split is read from; none is opened.

    Args:
        kind: a key of ``IMAGE_READERS`` or ``MOTION_READERS``.
        root: folder of the data set, as its release unpacks.
        split: of that reader. EMDB's files say themselves which split they belong to, so those of
            EMDB-1 and EMDB-2 are there for either.

    Returns:
        At least one path, in the order in which they are read.

    Raises:
        UserError: an unknown split; ``Absent``: the folder or the files of that split are missing.
    """
    return _FILES[kind](Path(root), split)


def picture_folder(kind: str, root: Path, file: Path) -> Path | None:
    """Where the pictures of one file of annotations lie, if its name tells; else None.

    Args:
        kind: a key of ``IMAGE_READERS``.
        root: folder of the data set.
        file: one of :func:`files_of`.
    """
    if kind == "emdb":
        return emdb.picture_folder(file)
    reader = {"3dpw": threedpw, "bedlam": bedlam}.get(kind)
    return None if reader is None else reader.picture_folder(root, file)


def sequence_name(kind: str, file: Path) -> str | None:
    """The first part of the keys of a file's frames, if its name tells (3DPW, EMDB); else None."""
    return {"3dpw": file.stem, "emdb": emdb.sequence_name(file)}.get(kind)


def read_images(kind: str, root: Path, split: str, bodies: Bodies) -> Iterator[PersonFrame]:
    """The person frames of one split of an image data set.

    Args:
        kind: "3dpw", "emdb", "h36m", "coco", "itw" or "bedlam".
        root: folder of the data set, as its release unpacks.
        split: "train", "val", "test", or a protocol of that set's reader ("test-p2", "emdb2").
        bodies: body models (world-frame annotations need the pelvis of the right gender).

    Yields:
        PersonFrame in a stable order.

    Raises:
        UserError: unknown kind or split, missing or damaged files.
    """
    if kind not in IMAGE_READERS:
        raise UserError(
            f"'{kind}' is no kind of image data set: choose {', '.join(IMAGE_READERS)}."
        )
    return IMAGE_READERS[kind](Path(root), split, bodies)


def read_motion(kind: str, root: Path, split: str) -> Iterator[MotionClip]:
    """The clips of one split of a motion-capture data set.

    Args:
        kind: "amass" or "moyo".
        root: folder of the data set, as its release unpacks.
        split: "train", "val" or "test".

    Yields:
        MotionClip in a stable order.

    Raises:
        UserError: unknown kind or split, missing or damaged files.
    """
    if kind not in MOTION_READERS:
        raise UserError(
            f"'{kind}' is no kind of motion data set: choose {', '.join(MOTION_READERS)}."
        )
    return MOTION_READERS[kind](Path(root), split)
