"""Write a data set of the open world in the official format whose role it plays.

========================  ==========================  ==================================
data set                  role                        splits, unit of ``counts``
========================  ==========================  ==================================
``open-lab``              Human3.6M (SPIN's npz)      train, val, test; images
``open-photo``            COCO (SPIN's npz)           train; images
``open-wild``             3DPW                        train, val, test; frames
``open-extreme``          EMDB                        test; frames
``open-mocap``            AMASS                       train; recombined clips
``open-yoga``             MOYO                        train, val; sequences
========================  ==========================  ==================================

The same seed gives the same bytes with any number of processes. A set is written to a folder
beside its place and moved there when it is complete.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from genhmr.body import Bodies
from genhmr.types import UserError

from .blocks import run_blocks
from .lab import LAB_CAMERAS, lab_block, lab_blocks
from .mocap_sets import write_open_mocap, write_open_yoga
from .motion import load_split
from .photo import PHOTOS_PER_BLOCK, photo_block
from .sequences import extreme_block, sequence_lengths, wild_block
from .studio import open_studio
from .writers.spin_npz import write_spin_npz

SPLITS = {
    "open-lab": ("train", "val", "test"),
    "open-photo": ("train",),
    "open-wild": ("train", "val", "test"),
    "open-extreme": ("test",),
    "open-mocap": ("train",),
    "open-yoga": ("train", "val"),
}
FRAME_SIZE = 192
_LAB_FILES = {
    "train": "h36m_mosh_train.npz", "val": "h36m_val.npz", "test": "h36m_valid_protocol1.npz"
}  # fmt: skip
_PHOTO_FILE = "coco_2014_train.npz"


def generate(
    dataset: str,
    root: Path,
    bodies: Bodies,
    motion: Path,
    counts: Mapping[str, int],
    seed: int = 0,
    frame_size: int = FRAME_SIZE,
    workers: int = 2,
) -> None:
    """Write one data set.

    Args:
        dataset: a key of `SPLITS`.
        root: folder of the set; an existing one is replaced when the new one is complete.
        bodies: the three bodies.
        motion: folder of the motion clips and their split.
        counts: split to number, in the unit of the table above. ``open-lab`` is rounded up to a
            multiple of four (its cameras). An absent split is not written.
        seed: of everything.
        frame_size: longer side of a frame in pixels; people are a third to two thirds of it.
        workers: processes.

    Raises:
        UserError: unknown data set or split, motion files missing or broken, or nothing asked for.
    """
    if dataset not in SPLITS:
        raise UserError(f"'{dataset}' is no open-world set: choose {', '.join(SPLITS)}.")
    for split, count in counts.items():
        if split not in SPLITS[dataset] or count < 1:
            raise UserError(
                f"{dataset} cannot have {count} of '{split}': it has {', '.join(SPLITS[dataset])}, "
                "at least 1 each."
            )
    if not counts:
        raise UserError(f"{dataset}: no split was asked for; give at least one count.")
    partial = root.with_name(root.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        if dataset == "open-mocap":
            write_open_mocap(partial, motion, seed, counts["train"], progress=True)
        elif dataset == "open-yoga":
            write_open_yoga(partial, seed, dict(counts), progress=True)
        else:
            studio_args = (bodies, motion, seed)
            for split in (s for s in SPLITS[dataset] if s in counts):
                _WRITE[dataset](partial, split, counts[split], studio_args, frame_size, workers)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(root, ignore_errors=True)
    partial.rename(root)


def _write_lab(root, split, count, studio_args, frame_size, workers):
    (root / "images").mkdir(exist_ok=True)
    keys = load_split(studio_args[1])[split]
    clips = len(keys["open-lab"] if split == "test" else keys)
    plan = lab_blocks(split, count, clips)
    blocks = [(root, split, block, poses, frame_size) for block, poses in plan]
    sizes = [poses * len(LAB_CAMERAS) for _, poses in plan]
    rows = run_blocks(lab_block, blocks, sizes, open_studio, studio_args, workers,
                      f"open-lab {split}")
    write_spin_npz(root / _LAB_FILES[split], [row for block in rows for row in block])


def _write_photo(root, split, count, studio_args, frame_size, workers):
    (root / "train2014").mkdir(exist_ok=True)
    starts = range(0, count, PHOTOS_PER_BLOCK)
    sizes = [min(PHOTOS_PER_BLOCK, count - start) for start in starts]
    blocks = [(root, split, i, size, frame_size) for i, size in enumerate(sizes)]
    rows = run_blocks(photo_block, blocks, sizes, open_studio, studio_args, workers,
                      f"open-photo {split}")
    write_spin_npz(root / _PHOTO_FILE, [row for block in rows for row in block])


def _write_films(work, label):
    def write(root, split, count, studio_args, frame_size, workers):
        sizes = sequence_lengths(count)
        blocks = [(root, split, i, size, frame_size) for i, size in enumerate(sizes)]
        for _ in run_blocks(work, blocks, sizes, open_studio, studio_args, workers,
                            f"{label} {split}"):
            pass

    return write


_WRITE = {
    "open-lab": _write_lab,
    "open-photo": _write_photo,
    "open-wild": _write_films(wild_block, "open-wild"),
    "open-extreme": _write_films(extreme_block, "open-extreme"),
}
