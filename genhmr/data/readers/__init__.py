"""Readers of the data sets in their official on-disk formats, one file a format.

The open world writes the same formats, so nothing here knows which of the two it reads.
"""

from __future__ import annotations

from collections.abc import Iterator
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
