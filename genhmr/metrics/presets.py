"""The evaluators of the field as data: which protocol a project uses on which data set.

A new one is one entry here. ``genhmr`` is the reference of this suite's tables; why, stands in
docs/decisions.md; what each does to the same predictions, in docs/protocols.md. A data set of the
open world has the protocols of the set whose role it plays.
"""

from __future__ import annotations

from collections.abc import Mapping

from genhmr.metrics.protocols import Protocol
from genhmr.types import UserError

REFERENCE = "genhmr"
KINDS = ("3dpw", "emdb", "h36m", "amass", "moyo")
# The open world's sets, by the kind whose format and role they have.
STAND_INS: Mapping[str, str] = {
    "open-lab": "h36m",
    "open-wild": "3dpw",
    "open-extreme": "emdb",
    "open-mocap": "amass",
    "open-yoga": "moyo",
}

_SPIN_3DPW = Protocol("h36m14", "pelvis")
_HMR2_3DPW = Protocol("extra14", "pelvis")
_HIPS_3DPW = Protocol("h36m14", "mean_of_hips")
_CENTROID_3DPW = Protocol("h36m17", "vertex_centroid")
_EMDB = Protocol("smpl24", "mean_of_hips")
_EMDB_REGRESSED = Protocol("smpl24_regressed", "mean_of_hips")
_MARKERS_P1 = Protocol("h36m14", "pelvis", truth_joints="spin24", frames="test")
_MARKERS_P2 = Protocol("h36m14", "pelvis", truth_joints="spin24", frames="test-p2")
_MOCAP = Protocol("smpl24", "pelvis", truth_body="neutral")

PRESETS: Mapping[str, Mapping[str, Protocol]] = {
    REFERENCE: {
        "3dpw": _SPIN_3DPW,
        "emdb": _EMDB,
        "h36m": Protocol("h36m14", "pelvis", frames="test-p2"),
        "amass": _MOCAP,
        "moyo": _MOCAP,
    },
    "spin": {"3dpw": _SPIN_3DPW, "h36m": _MARKERS_P2},
    # ProHMR and ScoreHMR too.
    "hmr2": {
        "3dpw": _HMR2_3DPW,
        "h36m": Protocol("extra14", "pelvis", truth_joints="spin24", frames="test-p2"),
    },
    "tokenhmr": {"3dpw": _HMR2_3DPW, "emdb": _EMDB_REGRESSED},
    "pare": {"3dpw": Protocol("h36m14", "pelvis", truth_body="neutral", align_vertices=False)},
    "fastmetro": {"3dpw": Protocol("h36m14", "pelvis", truth_body="neutral")},
    "bedlam": {
        "3dpw": _SPIN_3DPW,
        "h36m": Protocol("h36m14", "mean_of_hips", truth_joints="spin24", frames="test"),
    },
    "camerahmr": {"3dpw": _SPIN_3DPW, "emdb": _EMDB_REGRESSED},
    "wham": {"3dpw": _HIPS_3DPW, "emdb": _EMDB},
    # PromptHMR too.
    "gvhmr": {"3dpw": _HIPS_3DPW, "emdb": _EMDB_REGRESSED},
    "vqhps": {"3dpw": _CENTROID_3DPW},
    "mega": {"3dpw": _CENTROID_3DPW},
    "emdb-official": {"emdb": _EMDB},
    "h36m-p1": {"h36m": _MARKERS_P1},
    "h36m-p2": {"h36m": _MARKERS_P2},
}


def kind_of(dataset: str) -> str:
    """The kind of a data set: itself, or the kind whose role it plays.

    Raises:
        UserError: no protocol is known for it.
    """
    kind = STAND_INS.get(dataset, dataset)
    if kind not in KINDS:
        raise UserError(
            f"'{dataset}' has no evaluation protocol; choose one of "
            f"{', '.join((*KINDS, *STAND_INS))}."
        )
    return kind


# Which frames a split of a reader holds (genhmr.data.readers).
_FRAMES = {
    ("3dpw", "test"): "of the test split with campose_valid",
    ("emdb", "test"): "of EMDB-1 with good_frames_mask",
    ("h36m", "test"): "of P1 (S9 and S11, all cameras)",
    ("h36m", "test-p2"): "of P2 (S9 and S11, the frontal camera)",
}


def frames_of(dataset: str, protocol: Protocol) -> str:
    """The frames that a protocol counts on a data set, in words; the split where none are known."""
    words = _FRAMES.get((kind_of(dataset), protocol.frames), protocol.frames)
    return f"that stand in for those {words}" if dataset in STAND_INS else words


def presets_for(dataset: str) -> dict[str, Protocol]:
    """Every preset that says how to evaluate on a data set, by its name."""
    kind = kind_of(dataset)
    return {name: kinds[kind] for name, kinds in PRESETS.items() if kind in kinds}


def protocol_for(dataset: str, preset: str = REFERENCE) -> Protocol:
    """One protocol.

    Raises:
        UserError: an unknown data set or preset, or a preset that does not cover the data set.
    """
    found = presets_for(dataset)
    if preset not in found:
        raise UserError(
            f"protocol '{preset}' is not defined on {dataset}; choose {', '.join(found)}."
        )
    return found[preset]
