"""What `python -m bench doctor` says of licensed data: what is missing, stops what, comes whence.

What a missing file stops is read off dvc.yaml: a data set without which all can do leaves a note
in place of its shards, every other fails its stage, and with it all that waits for that stage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.doctor_findings import LICENSED, Finding, Thing, stops
from bench.pipeline import Stage, stages_after, stages_of

Json = dict[str, Any]
MEANWHILE = "what can run on it now, with data.source: licensed in params.yaml"

_SMPL = "SMPL 1.1.0 for Python users, https://smpl.is.tue.mpg.de"
# Pattern of the name, as genhmr.body.model_files has it; the name, where from. Every stage that
# reads a licensed body reads these.
_BODY = (
    (r"(?i:smpl_neutral|basicmodel_neutral_lbs_10_207_0_v1).*\.(pkl|npz)", "SMPL_NEUTRAL.pkl",
     _SMPL),
    (r"(?i:smpl_male|basicmodel_m_lbs_10_207_0_v1).*\.(pkl|npz)", "SMPL_MALE.pkl", _SMPL),
    (r"(?i:smpl_female|basicmodel_f_lbs_10_207_0_v1).*\.(pkl|npz)", "SMPL_FEMALE.pkl", _SMPL),
    (r"J_regressor_h36m\.npy", "J_regressor_h36m.npy",
     "SPIN's data archive, which fetch_data.sh of https://github.com/nkolot/SPIN gets"),
)  # fmt: skip
_EXTRA19 = "SMPL_to_J19.pkl"
_VITPOSE = "vitpose-h.pth"


def licensed(root: Path, variants: Json, pipeline: Json) -> Iterator[Finding]:
    """The lines on licensed data, then those on what can run with what is there.

    Args:
        root: the folder ``datasets``.
        variants: content of variants.yaml.
        pipeline: content of dvc.yaml.
    """
    stages = stages_of(pipeline, variants)
    things = list(_bodies(root, variants, stages))
    yield from (thing.finding for thing in things)
    try:  # the readers are asked, which need numpy and torch
        from bench.doctor_releases import can_be_scored, detections, releases, scored_sets
    except ImportError as error:
        note = f"not looked for: {error}; run `make .venv/.installed` first"
        yield Finding(LICENSED, "data sets", "absent", note)
        return
    sets = list(releases(root, variants, stages))
    yield from (thing.finding for thing in sets)
    yield detections(root, variants)
    scored = {entry["kind"]: (entry["licensed"], can_be_scored(entry, root))
              for entry in scored_sets(variants)}  # fmt: skip
    yield from _meanwhile([*things, *sets], scored, variants, stages)


def _bodies(root: Path, variants: Json, stages: dict[str, Stage]) -> Iterator[Thing]:
    there = sorted(path.name for path in (root / "body").glob("*"))
    everything = tuple(f"data@{role}" for role in variants["datasets"])
    for pattern, name, source in _BODY:
        found = [own for own in there if re.fullmatch(pattern, own)]
        if found:
            yield Thing(Finding(LICENSED, name, "ok", f"datasets/body/{found[-1]}"))
            continue
        note = (
            f"stops everything licensed, `score` too: all data sets are read with all bodies; "
            f"from {source}"
        )
        yield Thing(Finding(LICENSED, name, "absent", note), everything)
    note = f"datasets/body/{_EXTRA19}"
    state = "ok" if _EXTRA19 in there else "absent"
    if state == "absent":
        note = (
            "stops no stage; `score` leaves out the protocols hmr2 and tokenhmr; from the data "
            "archive that https://github.com/shubham-goel/4D-Humans links"
        )
    yield Thing(Finding(LICENSED, _EXTRA19, state, note))
    if _VITPOSE in there:
        yield Thing(Finding(LICENSED, _VITPOSE, "ok", f"datasets/body/{_VITPOSE}"))
        return
    note = (
        f"profile paper: {stops(('backbone',), stages)}; from the model zoo of "
        "https://github.com/ViTAE-Transformer/ViTPose (ViTPose-H, COCO)"
    )
    yield Thing(Finding(LICENSED, _VITPOSE, "absent", note), ("backbone",))


def _meanwhile(
    things: list[Thing],
    scored: dict[str, tuple[str, bool]],
    variants: Json,
    stages: dict[str, Stage],
) -> Iterator[Finding]:
    """For each part of the work the command, and what it waits for.

    Args:
        things: what has to be there.
        scored: by kind of data set its name, and whether its ground truth can be scored against.
        variants: content of variants.yaml.
        stages: of dvc.yaml.
    """

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
    for kind, (name, there) in scored.items():
        gone = [own for own in body if state[own] != "ok"] + ([] if there else [name])
        command = f"python -m bench score FILE --dataset {kind}"
        lines.append((command, f"predictions of any method on {name}", gone))
    for command, what, gone in lines:
        note = f"{what}; waits for {', '.join(said(gone))}" if gone else what
        yield Finding(MEANWHILE, command, "absent" if gone else "ok", note)
