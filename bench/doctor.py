"""`python -m bench doctor`: what is here, what is missing, what that blocks, where to get it.

Nothing is loaded but names: a file that is there may still be damaged, which its reader tells.
"""

from __future__ import annotations

import importlib.util
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.provenance import PACKAGES

NEEDED = (*PACKAGES, "torchvision", "pyarrow", "safetensors", "dvc", "smplx")
REPORTED = Path(__file__).with_name("reported")
FREE_GIGABYTES = 12  # an environment of 6.4 GB, its download cache, and the default run


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        part: "here", "open world" or "licensed data".
        name: what was looked for.
        state: "ok", "missing" (nothing works without it) or "absent" (some things do not).
        note: version or place; or what it blocks and where to get it.
    """

    part: str
    name: str
    state: str
    note: str


def _environment() -> Iterator[Finding]:
    python = platform.python_version()
    good = sys.version_info >= (3, 11)
    yield Finding("here", "python", "ok" if good else "missing", f"{python}; 3.11 is needed")
    for name in NEEDED:
        try:
            yield Finding("here", name, "ok", metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Finding("here", name, "missing", "run `make .venv/.installed`")
    for name, extra in (("pytest_benchmark", "bench"), ("transformers", "bench"),
                        ("vector_quantize_pytorch", "bench"), ("roma", "test"), ("anny", "build")):
        if importlib.util.find_spec(name) is None:
            yield Finding("here", name, "absent", f'pip install -e ".[{extra}]"')
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    state = "ok" if free >= FREE_GIGABYTES else "absent"
    yield Finding("here", "disk", state, f"{free:.0f} GB free; {FREE_GIGABYTES} are enough")
    torch = sys.modules.get("torch")
    if torch is None and importlib.util.find_spec("torch") is not None:
        import torch
    if torch is not None:
        there = torch.cuda.is_available()
        note = torch.cuda.get_device_name() if there else "profiles open and paper take longer"
        yield Finding("here", "CUDA device", "ok" if there else "absent", note)


def _open_world(root: Path) -> Iterator[Finding]:
    files = {
        "body": ("neutral.npz", "male.npz", "female.npz", "regressors.npz"),
        "motion": ("split.yaml",),
        "weights": ("backbone.safetensors", "tokenizer.safetensors", "genhmr.safetensors"),
    }
    for folder, names in files.items():
        gone = [name for name in names if not (root / "open" / folder / name).exists()]
        note = f"git checkout datasets/open/{folder}" if gone else f"datasets/open/{folder}"
        state = "missing" if gone else "ok"
        yield Finding("open world", ", ".join(gone) or folder, state, note)


_BODY_FILES = (
    (r"(?i)(smpl_neutral|basicmodel_neutral|basicmodel_n_).*\.(pkl|npz)", "SMPL_NEUTRAL.pkl",
     "everything licensed", "smpl.is.tue.mpg.de"),
    (r"(?i)(smpl_male|basicmodel_m).*\.(pkl|npz)", "SMPL_MALE.pkl",
     "ground truth with a gender: 3DPW, EMDB, Human3.6M", "smpl.is.tue.mpg.de"),
    (r"(?i)(smpl_female|basicmodel_f).*\.(pkl|npz)", "SMPL_FEMALE.pkl",
     "ground truth with a gender: 3DPW, EMDB, Human3.6M", "smpl.is.tue.mpg.de"),
    (r"J_regressor_h36m\.npy", "J_regressor_h36m.npy", "all protocols of 14 and 17 joints",
     "SPIN's data archive"),
    (r"SMPL_to_J19\.pkl", "SMPL_to_J19.pkl", "the protocols hmr2 and tokenhmr",
     "4D-Humans' data archive"),
    (r"vitpose-h\.pth", "vitpose-h.pth", "profile paper", "ViTPose's model zoo"),
)  # fmt: skip
_RELEASES = {
    "h36m": ("*.npz", "Human3.6M, prepared as in SPIN"),
    "coco": ("*.npz", "COCO 2014 with pseudo ground truth, prepared as in SPIN or HMR2.0"),
    "itw": ("*.npz", "HMR2.0's InstaVariety, AVA and AI Challenger as npz and images"),
    "bedlam": ("training_labels/*/*.npz", "BEDLAM with its SMPL labels, bedlam.is.tue.mpg.de"),
    "3dpw": ("sequenceFiles/*/*.pkl", "3DPW, virtualhumans.mpi-inf.mpg.de/3DPW"),
    "emdb": ("P*/*/*_data.pkl", "EMDB, eth-ait.github.io/emdb"),
    "amass": ("*/*/*_poses.npz", "AMASS (SMPL-H), amass.is.tue.mpg.de"),
    "moyo": ("mosh_smpl/*/*.pkl", "MOYO, moyo.is.tue.mpg.de"),
}


def _licensed(root: Path, variants: dict[str, Any]) -> Iterator[Finding]:
    bodies = [path.name for path in (root / "body").glob("*")]
    for pattern, name, blocks, source in _BODY_FILES:
        found = [own for own in bodies if re.fullmatch(pattern, own)]
        if found:
            yield Finding("licensed data", name, "ok", f"datasets/body/{found[0]}")
        else:
            yield Finding("licensed data", name, "absent", f"blocks {blocks}; from {source}")
    used = _tables_by_role(variants)
    for role, entry in variants["datasets"].items():
        pattern, source = _RELEASES[entry["kind"]]
        folder = root / "raw" / entry["kind"]
        if folder.is_dir() and next(folder.glob(pattern), None) is not None:
            yield Finding("licensed data", entry["licensed"], "ok", f"datasets/raw/{folder.name}")
            continue
        tables = ", ".join(used.get(role, ()))
        blocks = f"its columns of tables {tables}" if tables else "training on it"
        note = f"blocks {blocks}; put {source} into datasets/raw/{folder.name}"
        yield Finding("licensed data", entry["licensed"], "absent", note)


def _tables_by_role(variants: dict[str, Any]) -> dict[str, list[str]]:
    """The tables whose columns each role fills."""
    used: dict[str, list[str]] = {}
    for number in sorted(variants["tables"]):
        # The head of the file alone: pandas may be what is missing.
        with (REPORTED / f"table{number}.csv").open() as lines:
            kinds = {name.partition("_")[0] for name in next(lines).split(",")}
        for role, entry in variants["datasets"].items():
            if entry["kind"] in kinds:
                used.setdefault(role, []).append(str(int(number)))
    return used


def examine(root: Path, variants: dict[str, Any]) -> list[Finding]:
    """Everything that was looked for.

    Args:
        root: the folder ``datasets``.
        variants: content of variants.yaml.
    """
    return [*_environment(), *_open_world(root), *_licensed(root, variants)]


def report(findings: list[Finding]) -> tuple[str, bool]:
    """The text of the command, and whether the default run is possible."""
    lines, part = [], None
    for finding in findings:
        if finding.part != part:
            part = finding.part
            lines.append(f"{part}:")
        lines.append(f"  {finding.state:8s} {finding.name:28s} {finding.note}")
    gone = [finding.name for finding in findings if finding.state == "missing"]
    lines.append(
        f"`dvc repro` cannot run: {', '.join(gone)} missing." if gone else
        "`dvc repro` can run in the open world; no licence is needed for it."
    )  # fmt: skip
    return "\n".join(lines), not gone
