"""`python -m bench doctor`: what is here, what is missing, what that stops, where to get it.

Nothing is loaded but names: a file that is there may still be damaged, which its reader tells.
"""

from __future__ import annotations

import importlib.util
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.doctor_findings import Finding
from bench.doctor_licensed import licensed

# The dependencies of pyproject.toml.
NEEDED = (
    "torch", "torchvision", "timm", "smplx", "numpy", "scipy", "pandas", "pyarrow", "matplotlib",
    "click", "PyYAML", "Jinja2", "numba", "opencv-python-headless", "pillow", "safetensors", "tqdm",
    "dvc", "ruamel.yaml.clib",
)  # fmt: skip
# What further work needs: the module, the extra that has it, and what is so without it.
EXTRAS = (
    ("pytest", "test", "stops `make test` and `pytest bench/ --benchmark-only`"),
    ("xdist", "test", "stops `make test`"),
    ("hypothesis", "test", "stops the tests of metrics and rotations"),
    ("roma", "test", "stops tests/body/test_body_rotations.py"),
    ("pytest_benchmark", "bench", "stops `pytest bench/ --benchmark-only`"),
    ("transformers", "bench", "bench/test_attention.py is skipped"),
    ("vector_quantize_pytorch", "bench", "one peer of bench/test_quantizer.py is skipped"),
    ("anny", "build", "stops building the open body anew, which is shipped"),
)
FREE_GIGABYTES = 12  # an environment of 6.4 GB, its download cache, and the default run


def _environment() -> Iterator[Finding]:
    python = platform.python_version()
    good = sys.version_info >= (3, 11)
    yield Finding("here", "python", "ok" if good else "missing", f"{python}; 3.11 is needed")
    for name in NEEDED:
        try:
            yield Finding("here", name, "ok", metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Finding("here", name, "missing", "run `make .venv/.installed`")
    for name, extra, blocked in EXTRAS:
        if importlib.util.find_spec(name) is None:
            note = f'{blocked}; pip install -e ".[{extra}]"'
            yield Finding("here", name, "absent", note)
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


def examine(root: Path, variants: dict[str, Any], pipeline: dict[str, Any]) -> list[Finding]:
    """Everything that was looked for.

    Args:
        root: the folder ``datasets``.
        variants: content of variants.yaml.
        pipeline: content of dvc.yaml.
    """
    return [*_environment(), *_open_world(root), *licensed(root, variants, pipeline)]


def report(findings: list[Finding]) -> tuple[str, bool]:
    """The text of the command, and whether the default run is possible."""
    lines, part = [], None
    for finding in findings:
        if finding.part != part:
            part = finding.part
            lines.append(f"{part}:")
        lines.append(f"  {finding.state:8s} {finding.name:28s}  {finding.note}")
    gone = [finding.name for finding in findings if finding.state == "missing"]
    lines.append(
        f"`dvc repro` cannot run: {', '.join(gone)} missing." if gone else
        "`dvc repro` can run in the open world; no licence is needed for it."
    )  # fmt: skip
    return "\n".join(lines), not gone
