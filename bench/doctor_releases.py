"""What `python -m bench doctor` says of the licensed releases: whether each split can be read.

The readers' own look-ups are asked, so that what is said here is what a stage will find. They look
at names: that a file can be read, and that every picture is there, the stage tells.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.doctor_findings import LICENSED, Finding, Thing, stops
from bench.pipeline import Stage
from bench.plan import is_optional
from bench.truth import SCORED
from genhmr.data.readers import IMAGE_KINDS, files_of, picture_folder, sequence_name
from genhmr.data.readers.checks import Absent
from genhmr.metrics import protocol_for

Json = dict[str, Any]
# Where a release is from.
_SOURCES = {
    "h36m": "Human3.6M, http://vision.imar.ro/human3.6m, prepared as in SPIN "
            "(https://github.com/nkolot/SPIN)",
    "coco": "COCO 2014, https://cocodataset.org, with the pseudo ground truth of SPIN or of "
            "HMR2.0 (https://github.com/shubham-goel/4D-Humans)",
    "itw": "HMR2.0's InstaVariety, AVA and AI Challenger as npz and images, from the training "
           "data that https://github.com/shubham-goel/4D-Humans links",
    "bedlam": "BEDLAM with its SMPL labels, https://bedlam.is.tue.mpg.de",
    "3dpw": "3DPW, https://virtualhumans.mpi-inf.mpg.de/3DPW",
    "emdb": "EMDB, https://eth-ait.github.io/emdb",
    "amass": "AMASS (SMPL-H), https://amass.is.tue.mpg.de",
    "moyo": "MOYO, https://moyo.is.tue.mpg.de",
}  # fmt: skip
# Whose files hold more sequences than are tested, and do not say by their names which.
_MIXED = ("emdb",)


def releases(root: Path, variants: Json, stages: dict[str, Stage]) -> Iterator[Thing]:
    """A line for every licensed data set.

    Args:
        root: the folder ``datasets``.
        variants: content of variants.yaml.
        stages: of dvc.yaml, see :func:`bench.pipeline.stages_of`.
    """
    for role, entry in variants["datasets"].items():
        folder = root / "raw" / entry["kind"]
        place = f"datasets/raw/{folder.name}"
        gone = [] if folder.is_dir() else [f"{place} is missing"]
        gone = gone or _missing(entry, folder)
        if not gone:
            yield Thing(Finding(LICENSED, entry["licensed"], "ok", place))
            continue
        what = "; ".join(gone)
        fails = (f"data@{role}",)
        if not is_optional(role, variants):
            what = f"{what}; {stops(fails, stages)}"
        elif folder.is_dir():  # the stage takes a folder for a release, and finds nothing in it
            what = f"{what}; {stops(fails, stages)} (or remove {place})"
        else:
            trained = [n for n, own in variants["transformers"].items()
                       if role in own.get("train_on", ())]  # fmt: skip
            what, fails = f"leaves out {', '.join(trained)} alone", ()
        note = f"{what}; put {_SOURCES[entry['kind']]}, into {place}"
        yield Thing(Finding(LICENSED, entry["licensed"], "absent", note), fails)


def _splits(entry: Json) -> list[str]:
    """What its splits are called by its reader, as :mod:`bench.plan` has it."""
    return [entry.get("licensed_splits", {}).get(split, split) for split in entry["splits"]]


def _missing(entry: Json, folder: Path) -> list[str]:
    """What the splits of a release lack, a sentence each."""
    kind, gone = entry["kind"], []
    for split in _splits(entry):
        try:
            files = files_of(kind, folder, split)
        except Absent as error:
            gone.append(error.what)
            continue
        if kind in IMAGE_KINDS:
            places = [place for file in files if (place := picture_folder(kind, folder, file))]
            empty = [place for place in places if not place.is_dir()]
            if empty:
                gone.append(
                    f"{len(empty)} of {len(places)} folders of pictures are missing, first "
                    f"{empty[0]}"
                )
    return gone


def can_be_scored(entry: Json, root: Path) -> bool:
    """Whether `python -m bench score` finds the ground truth of its default protocol.

    Args:
        entry: a data set of variants.yaml, of a kind that is scored.
        root: the folder ``datasets``.
    """
    kind = entry["kind"]
    try:
        files_of(kind, root / "raw" / kind, protocol_for(kind).frames)
    except Absent:
        return False
    return True


def scored_sets(variants: Json) -> list[Json]:
    """The data sets that `python -m bench score` knows."""
    return [entry for entry in variants["datasets"].values() if entry["kind"] in SCORED]


def detections(root: Path, variants: Json) -> Finding:
    """2D detections of the test sets, which `detections.source: openpose` reads."""
    roles = {role for own in variants["evaluations"].values() for role in own["sets"]}
    there, gone = [], []
    for role, entry in variants["datasets"].items():
        if role in roles:
            good, said = _detected(entry, root / "raw" / entry["kind"])
            (there if good else gone).append(f"datasets/raw/{entry['kind']}/openpose{said}")
    name = "OpenPose detections"
    if not gone:
        note = f"{', '.join(there)}; for detections.source: openpose"
        return Finding(LICENSED, name, "ok", note)
    return Finding(
        LICENSED, name, "absent",
        "stops evaluate@* with detections.source: openpose; simulated ones come from the ground "
        "truth, and numbers after refinement are then not comparable; run "
        "https://github.com/CMU-Perceptual-Computing-Lab/openpose (BODY_25, --write_json), a "
        f"folder a sequence as datasets/raw/README.md has it, into {', '.join(gone)}",
    )  # fmt: skip


def _detected(entry: Json, folder: Path) -> tuple[bool, str]:
    """Whether every sequence of a test set has at least one file; and what to add to its place."""
    kind, detected = entry["kind"], folder / "openpose"
    try:
        files = files_of(kind, folder, _splits(entry)[-1])
    except Absent:
        files = []
    names = [name for file in files if (name := sequence_name(kind, file))]
    if len(names) < 2:  # all may lie together
        return next(detected.rglob("*_keypoints.json"), None) is not None, ""
    lacking = [name for name in names
               if next((detected / name).glob("*_keypoints.json"), None) is None]  # fmt: skip
    if len(lacking) == len(names):
        return False, ""
    if kind in _MIXED:
        return True, f" ({len(names) - len(lacking)} of {len(names)} sequences)"
    if not lacking:
        return True, ""
    return False, f" ({len(lacking)} of {len(names)} sequences have none, first {lacking[0]})"
