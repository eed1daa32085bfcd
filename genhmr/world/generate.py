"""Write a data set of the open world in the official format whose role it plays.

========================  ==========================  ==================================
data set                  role                        splits, unit of ``counts``
========================  ==========================  ==================================
``open-lab``              Human3.6M (SPIN's npz)      train, val, test; images
``open-photo``            COCO (SPIN's npz)           train; images
``open-web``              HMR2.0's ITW (SPIN's npz)   train; images
``open-synth``            BEDLAM                      train; images of 1 to 4 people
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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from genhmr.body import Bodies
from genhmr.cores import usable_cores
from genhmr.types import UserError

from .blocks import run_blocks
from .lab import LAB_CAMERAS, lab_block, lab_blocks
from .mocap_sets import write_open_mocap, write_open_yoga
from .motion import load_split
from .photo import PHOTOS_PER_BLOCK, photo_block
from .sequences import extreme_block, sequence_lengths, wild_block
from .studio import open_studio
from .synth import synth_block
from .web import web_block
from .writers.spin_npz import write_spin_npz

SPLITS = {
    "open-lab": ("train", "val", "test"),
    "open-photo": ("train",),
    "open-web": ("train",),
    "open-synth": ("train",),
    "open-wild": ("train", "val", "test"),
    "open-extreme": ("test",),
    "open-mocap": ("train",),
    "open-yoga": ("train", "val"),
}
FRAME_SIZE = 192


def generate(
    dataset: str,
    root: Path,
    bodies: Bodies,
    motion: Path,
    counts: Mapping[str, int],
    seed: int = 0,
    frame_size: int = FRAME_SIZE,
    workers: int | None = None,
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
        workers: processes; None for one a core.

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
            shared = (bodies, motion, seed, _RECIPES[dataset].genders)
            processes = workers or usable_cores()
            _photograph(_RECIPES[dataset], partial, counts, shared, frame_size, processes)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(root, ignore_errors=True)
    partial.rename(root)


@dataclass(frozen=True)
class _Recipe:
    """How a set of pictures is made.

    Attributes:
        work: makes one block, ``work(studio, root, split, block, amount, frame_size)``.
        plan: ``plan(motion, split, count)`` to (block, amount, images) triples.
        genders: of the bodies that appear.
        tables: split to the npz that the rows of its blocks go to; none where a block writes
            its own annotations.
    """

    work: Callable[..., list[dict] | None]
    plan: Callable[[Path, str, int], list[tuple[int, int, int]]]
    genders: tuple[str, ...]
    tables: Mapping[str, str]


def _photograph(recipe, root, counts, shared, frame_size, workers):
    plan = [(split, *step) for split, count in counts.items()
            for step in recipe.plan(shared[1], split, count)]
    blocks = [(root, split, block, amount, frame_size) for split, block, amount, _ in plan]
    sizes = [images for *_, images in plan]
    rows: dict[str, list[dict]] = {split: [] for split in counts}
    # One pool for all splits: starting a process costs as much as hundreds of pictures.
    results = run_blocks(recipe.work, blocks, sizes, open_studio, shared, workers,
                         root.name.removesuffix(".partial"))
    for (split, *_), result in zip(plan, results):
        rows[split] += result or []
    for split in counts:
        if split in recipe.tables:
            write_spin_npz(root / recipe.tables[split], rows[split])


def _plan_lab(motion, split, count):
    keys = load_split(motion)[split]
    clips = len(keys["open-lab"] if split == "test" else keys)
    return [(block, poses, poses * len(LAB_CAMERAS))
            for block, poses in lab_blocks(split, count, clips)]


def _plan_photo(motion, split, count):
    starts = range(0, count, PHOTOS_PER_BLOCK)
    sizes = [min(PHOTOS_PER_BLOCK, count - start) for start in starts]
    return [(block, size, size) for block, size in enumerate(sizes)]


def _plan_film(motion, split, count):
    return [(block, size, size) for block, size in enumerate(sequence_lengths(count))]


_RECIPES = {
    "open-lab": _Recipe(lab_block, _plan_lab, ("neutral",), {
        "train": "h36m_mosh_train.npz", "val": "h36m_val.npz", "test": "h36m_valid_protocol1.npz",
    }),
    # Neutral, as the bodies are that the field has fitted to COCO and to the web, and as BEDLAM's
    # labels: what a training item is asked for, pose and betas of the neutral body, is then what
    # the picture shows (or, for the web, what a fit makes of it).
    "open-photo": _Recipe(photo_block, _plan_photo, ("neutral",), {"train": "coco_2014_train.npz"}),
    "open-web": _Recipe(web_block, _plan_photo, ("neutral",), {"train": "itw_train.npz"}),
    "open-synth": _Recipe(synth_block, _plan_photo, ("neutral",), {}),
    "open-wild": _Recipe(wild_block, _plan_film, ("male", "female"), {}),
    "open-extreme": _Recipe(extreme_block, _plan_film, ("male", "female"), {}),
}  # fmt: skip
