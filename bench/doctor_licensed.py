"""What `python -m bench doctor` says of licensed data: what is missing, stops what, comes whence.

What a missing file stops is read off dvc.yaml: a data set without which all can do leaves a note
in place of its shards, every other fails its stage, and with it all that waits for that stage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.doctor_findings import Finding
from bench.pipeline import Stage, in_short, stages_after, stages_of
from bench.plan import is_optional

Json = dict[str, Any]
LICENSED = "licensed data"
MEANWHILE = "what can run on it now, with data.source: licensed in params.yaml"

# Pattern of the name, the name, where from. Every stage that reads a licensed body reads these.
_BODY = (
    (r"(?i)(smpl_neutral|basicmodel_neutral|basicmodel_n_).*\.(pkl|npz)", "SMPL_NEUTRAL.pkl",
     "SMPL 1.1.0 for Python users, https://smpl.is.tue.mpg.de"),
    (r"(?i)(smpl_male|basicmodel_m).*\.(pkl|npz)", "SMPL_MALE.pkl",
     "SMPL 1.1.0 for Python users, https://smpl.is.tue.mpg.de"),
    (r"(?i)(smpl_female|basicmodel_f).*\.(pkl|npz)", "SMPL_FEMALE.pkl",
     "SMPL 1.1.0 for Python users, https://smpl.is.tue.mpg.de"),
    (r"J_regressor_h36m\.npy", "J_regressor_h36m.npy",
     "SPIN's data archive, which fetch_data.sh of https://github.com/nkolot/SPIN gets"),
)  # fmt: skip
_EXTRA19 = "SMPL_to_J19.pkl"
_VITPOSE = "vitpose-h.pth"
# What a release looks like in its folder, and where it is from.
_RELEASES = {
    "h36m": ("*.npz", "Human3.6M, http://vision.imar.ro/human3.6m, prepared as in SPIN "
             "(https://github.com/nkolot/SPIN)"),
    "coco": ("*.npz", "COCO 2014, https://cocodataset.org, with the pseudo ground truth of SPIN or "
             "of HMR2.0 (https://github.com/shubham-goel/4D-Humans)"),
    "itw": ("*.npz", "HMR2.0's InstaVariety, AVA and AI Challenger as npz and images, from the "
            "training data that https://github.com/shubham-goel/4D-Humans links"),
    "bedlam": ("training_labels/*/*.npz", "BEDLAM with its SMPL labels, "
               "https://bedlam.is.tue.mpg.de"),
    "3dpw": ("sequenceFiles/*/*.pkl", "3DPW, https://virtualhumans.mpi-inf.mpg.de/3DPW"),
    "emdb": ("P*/*/*_data.pkl", "EMDB, https://eth-ait.github.io/emdb"),
    "amass": ("*/*/*_poses.npz", "AMASS (SMPL-H), https://amass.is.tue.mpg.de"),
    "moyo": ("mosh_smpl/*/*.pkl", "MOYO, https://moyo.is.tue.mpg.de"),
}  # fmt: skip
_SCORED = ("3dpw", "emdb", "h36m")  # kinds that `score --dataset` knows


@dataclass(frozen=True)
class _Thing:
    """Something that has to be there.

    Attributes:
        finding: its line of the report.
        fails: the stages that fail without it; empty where it is there or all can do without.
    """

    finding: Finding
    fails: tuple[str, ...] = ()


def licensed(root: Path, variants: Json, pipeline: Json) -> Iterator[Finding]:
    """The lines on licensed data, then those on what can run with what is there.

    Args:
        root: the folder ``datasets``.
        variants: content of variants.yaml.
        pipeline: content of dvc.yaml.
    """
    stages = stages_of(pipeline, variants)
    things = [*_bodies(root, variants, stages), *_releases(root, variants, stages)]
    for thing in things:
        yield thing.finding
    yield _detections(root, variants)
    yield from _meanwhile(things, variants, stages)


def _stops(fails: tuple[str, ...], stages: dict[str, Stage]) -> str:
    """What does not run, as words; the stages that fail themselves first."""
    behind = [name for name in stages_after(fails, stages) if name not in fails]
    return f"stops {in_short(fails, stages)} and behind it {in_short(behind, stages)}"


def _bodies(root: Path, variants: Json, stages: dict[str, Stage]) -> Iterator[_Thing]:
    there = [path.name for path in (root / "body").glob("*")]
    everything = tuple(f"data@{role}" for role in variants["datasets"])
    for pattern, name, source in _BODY:
        found = [own for own in there if re.fullmatch(pattern, own)]
        if found:
            yield _Thing(Finding(LICENSED, name, "ok", f"datasets/body/{found[0]}"))
            continue
        note = (
            f"stops everything licensed, `score` too: all data sets are read with all bodies; "
            f"from {source}"
        )
        yield _Thing(Finding(LICENSED, name, "absent", note), everything)
    note = f"datasets/body/{_EXTRA19}"
    state = "ok" if _EXTRA19 in there else "absent"
    if state == "absent":
        note = (
            "stops no stage; `score` leaves out the protocols hmr2 and tokenhmr; from the data "
            "archive that https://github.com/shubham-goel/4D-Humans links"
        )
    yield _Thing(Finding(LICENSED, _EXTRA19, state, note))
    if _VITPOSE in there:
        yield _Thing(Finding(LICENSED, _VITPOSE, "ok", f"datasets/body/{_VITPOSE}"))
        return
    note = (
        f"profile paper: {_stops(('backbone',), stages)}; from the model zoo of "
        "https://github.com/ViTAE-Transformer/ViTPose (ViTPose-H, COCO)"
    )
    yield _Thing(Finding(LICENSED, _VITPOSE, "absent", note), ("backbone",))


def _releases(root: Path, variants: Json, stages: dict[str, Stage]) -> Iterator[_Thing]:
    for role, entry in variants["datasets"].items():
        pattern, source = _RELEASES[entry["kind"]]
        folder = root / "raw" / entry["kind"]
        place = f"datasets/raw/{folder.name}"
        if folder.is_dir() and next(folder.glob(pattern), None) is not None:
            yield _Thing(Finding(LICENSED, entry["licensed"], "ok", place))
            continue
        fails: tuple[str, ...] = ()
        if is_optional(role, variants):
            trained = [n for n, own in variants["transformers"].items()
                       if role in own.get("train_on", ())]  # fmt: skip
            what = f"leaves out {', '.join(trained)} alone"
            if folder.is_dir():  # the stage takes a folder for a release, and finds nothing in it
                fails = (f"data@{role}",)
                what = f"{place} is there and holds none: {_stops(fails, stages)} (remove it)"
        else:
            fails = (f"data@{role}",)
            what = _stops(fails, stages)
        note = f"{what}; put {source}, into {place}"
        yield _Thing(Finding(LICENSED, entry["licensed"], "absent", note), fails)


def _detections(root: Path, variants: Json) -> Finding:
    """2D detections of the test sets, which `detections.source: openpose` reads."""
    roles = {role for own in variants["evaluations"].values() for role in own["sets"]}
    kinds = [entry["kind"] for role, entry in variants["datasets"].items() if role in roles]
    gone = [
        f"datasets/raw/{kind}/openpose"
        for kind in kinds
        if next((root / "raw" / kind / "openpose").rglob("*_keypoints.json"), None) is None
    ]
    name = "OpenPose detections"
    if not gone:
        places = ", ".join(f"datasets/raw/{kind}/openpose" for kind in kinds)
        return Finding(LICENSED, name, "ok", f"{places}; for detections.source: openpose")
    return Finding(
        LICENSED, name, "absent",
        "stops evaluate@* with detections.source: openpose; simulated ones come from the ground "
        "truth, and numbers after refinement are then not comparable; run "
        "https://github.com/CMU-Perceptual-Computing-Lab/openpose (BODY_25, --write_json) into "
        f"{', '.join(gone)}",
    )  # fmt: skip


def _meanwhile(
    things: list[_Thing], variants: Json, stages: dict[str, Stage]
) -> Iterator[Finding]:
    """For each part of the work the command, and what it waits for."""

    body = [name for _, name, _ in _BODY]
    state = {thing.finding.name: thing.finding.state for thing in things}

    def said(names: list[str]) -> list[str]:
        """The four files of the body in two words where all are missing."""
        if set(body) <= set(names):
            names = ["the body files", *(name for name in names if name not in body)]
        return [f"{name} (profile paper)" if name == _VITPOSE else name for name in names]

    def waits(goals: list[str]) -> list[str]:
        return [
            thing.finding.name
            for thing in things
            if thing.fails and set(goals) & set(stages_after(thing.fails, stages))
        ]

    def group(kind: str) -> list[str]:
        return [name for name in stages if name.startswith(f"{kind}@")]

    sets = {f"data@{role}": entry["licensed"] for role, entry in variants["datasets"].items()}
    able = [name for name, release in sets.items() if state[release] == "ok" and not waits([name])]
    lines = [
        (f"dvc repro {' '.join(able or ['data'])}", "shards of data sets",
         [] if able else waits(list(sets))),
        ("dvc repro evaluate-tokenizer", "every tokenizer trained and scored (the numbers in "
         "build/evaluate-tokenizer; Tables 5 and 6 are written with all others)",
         waits(group("evaluate-tokenizer"))),
        ("dvc repro evaluate", "every transformer trained and scored", waits(group("evaluate"))),
        ("dvc repro", "everything", waits(list(stages))),
    ]  # fmt: skip
    # No stage: it reads the release itself, and the bodies.
    for entry in variants["datasets"].values():
        if entry["kind"] in _SCORED:
            gone = [name for name in (*body, entry["licensed"]) if state[name] != "ok"]
            command = f"python -m bench score FILE --dataset {entry['kind']}"
            lines.append((command, f"predictions of any method on {entry['licensed']}", gone))
    for command, what, gone in lines:
        note = f"{what}; waits for {', '.join(said(gone))}" if gone else what
        yield Finding(MEANWHILE, command, "absent" if gone else "ok", note)
