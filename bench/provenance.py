"""Where a result comes from: one small JSON for each stage that ran, beside the results.

Nothing depends on these files and none of them lies inside an output of DVC, so that times and
commits cannot make an unchanged result look changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.runs import begin_run, end_runs, noted_runs, write_whole

# What decides a number, from the root of the repository.
COMPUTES = ("genhmr", "bench", "datasets/open", "dvc.yaml", "variants.yaml", "params.yaml")
CHANGED = "uncommitted_changes"
PACKAGES = ("torch", "timm", "numpy", "scipy", "numba", "pandas", "opencv-python-headless")


def _git(*arguments: str) -> str | None:
    """Output of a git command, None where there is no repository or no git."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.rstrip("\n")


def _changed_paths() -> list[str] | None:
    """What of the code and the settings differs from the commit, sorted; None without git.

    The paths and not whether there are any: `params.yaml` is edited by every run but the default's,
    and its values are in the job's SHA-256, so that a record which names it alone still leads to
    the code of its commit.
    """
    listed = _git("status", "--porcelain", "-z", "--no-renames", "--", *COMPUTES)
    if listed is None:
        return None
    # "XY path" each; -z leaves file names unquoted.
    return sorted(entry[3:] for entry in listed.split("\0") if entry)


def edits(record: dict[str, Any]) -> str:
    """What a record says of uncommitted changes, as the end of a phrase; "" for none.

    Args:
        record: of a stage or a kept seed; records from before the paths were noted hold a bool.
    """
    changed = record.get(CHANGED)
    if not changed:
        return ""
    if changed is True:
        return " with uncommitted changes"
    return f" with uncommitted {', '.join(changed)}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _gpu() -> str | None:
    """Name of the GPU that torch, if it was loaded at all, could have used."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return torch.cuda.get_device_name()


def _peak_megabytes() -> int:
    """Largest resident memory of this process or of a worker; KiB on Linux, bytes on macOS."""
    peak = max(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return peak // (1 << 20 if sys.platform == "darwin" else 1 << 10)


def describe() -> dict[str, Any]:
    """The code and the machine, as far as they are known from inside."""
    return _code() | _machine()


def _code() -> dict[str, Any]:
    return {"commit": _git("rev-parse", "HEAD"), CHANGED: _changed_paths()}


def _machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "gpu": _gpu(),
    }


def record_name(kind: str, name: str = "") -> str:
    """Stem of the record of a job: "tokenizer", "t48" -> "train-tokenizer-t48"."""
    trainings = {"tokenizer": "train-tokenizer", "transformer": "train-transformer",
                 "backbone": "pretrain", "lifter": "train-lifter"}  # fmt: skip
    stage = trainings.get(kind, kind)
    return f"{stage}-{name}" if name else stage


def record_of(job: str) -> str:
    """Stem of the record of a job by its key in the plan: "lifter/base" -> "train-lifter"."""
    kind, _, name = job.partition("/")
    return record_name(kind, "" if kind in ("backbone", "lifter") else name)  # one of each


def job_digest(job: dict[str, Any]) -> str:
    """SHA-256 of a job of the plan."""
    return hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()


def _follows() -> bool:
    """Whether this is not the first of the processes that torchrun started."""
    return int(os.environ.get("RANK", "0")) > 0


@contextmanager
def recorded(
    folder: Path,
    stage: str,
    job: dict[str, Any],
    name: str | None = None,
    scratch: Path | None = None,
) -> Iterator[dict[str, Any]]:
    """Writes ``<folder>/<stage>[-<name>].json`` once the block has ended without an error.

    The block gets a dict for what else it wants to say.

    Args:
        folder: ``results/provenance``.
        stage: the command, for example ``"evaluate"``.
        job: its JSON of the plan; its SHA-256 is recorded.
        name: of the variant or data set.
        scratch: of a training, where its checkpoints lie: the record of one that went on from them
            names the earlier runs (``went_on_from``), whose code may have a part in it; ``seconds``
            are those of the last.
    """
    started, clock = datetime.now(timezone.utc), time.monotonic()
    # Of the code that was loaded, and not of what is committed while it runs.
    run = {"started": started.isoformat(timespec="seconds"), **_code()}
    own = {"job_sha256": job_digest(job)}
    if scratch is not None and not _follows():
        begin_run(scratch, run | own)
    also: dict[str, Any] = {}
    yield also
    if _follows():
        return
    before = noted_runs(scratch)[:-1] if scratch is not None else []
    before = [{key: earlier.get(key) for key in run}
              for earlier in before if earlier.get("job_sha256") == own["job_sha256"]]  # fmt: skip
    record = {
        "command": f"python -m bench {stage}" + (f" {name}" if name else ""),
        **own,
        **run,
        "seconds": round(time.monotonic() - clock, 1),
        "peak_memory_mb": _peak_megabytes(),
        **_machine(),
        **({"went_on_from": before} if before else {}),
        **also,
    }
    # Whole or not at all: the report and `keep` read every record that is there.
    write_whole(folder / (f"{stage}-{name}.json" if name else f"{stage}.json"), record)
    if scratch is not None:
        end_runs(scratch)
