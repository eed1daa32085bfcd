"""`python -m bench ship`: a trained base becomes the weights that the default profile starts from.

With it the shipped weights follow from two commands, ``dvc exp run -S profile=open`` and this one.
The records of the four trainings behind them go along.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from bench.provenance import job_digest, record_of
from bench.stage import require_made
from genhmr.train.checkpoint import (
    BACKBONE_FILE,
    GENHMR_FILE,
    TOKENIZER_FILE,
    load_weights,
    save_weights,
)
from genhmr.types import UserError

Json = dict[str, Any]
_OWN = "backbone."


def ship(jobs: dict[str, Json], build: Path, provenance: Path, target: Path) -> int:
    """Exports the base of the planned run.

    The backbone that GenHMR's training moved on takes the place of the pre-trained one in the
    latter's file, so that nothing is stored twice.

    Args:
        jobs: see :func:`bench.plan.build_jobs`.
        build: folder of the models.
        provenance: folder of the records.
        target: ``datasets/open/weights``; its three weight files and its folder ``provenance`` are
            replaced.

    Returns:
        Bytes of the three files.

    Raises:
        UserError: the plan is not of profile open in the open world or trains no base, or the base
            was trained by another plan.
    """
    base, plan = jobs["transformer/base.json"], jobs["tables.json"]
    # Nothing learned from licensed data may be shipped, and no other profile is worth it.
    if plan["profile"] != "open" or plan["source"] != "open" or base["weights"]:
        raise UserError(
            f"profile {plan['profile']} on {plan['source']} data is planned, with weights that are "
            f"{'shipped' if base['weights'] else 'trained'}: only a base that profile open trained "
            "in the open world is shipped."
        )
    records = _records(jobs, base["tokenizer"], provenance)
    folder = build / "models" / "transformer" / "base"
    require_made([folder / name for name in (BACKBONE_FILE, TOKENIZER_FILE, GENHMR_FILE)])
    pretrained, about = load_weights(folder / BACKBONE_FILE)
    trained, sizes = load_weights(folder / GENHMR_FILE)
    moved = {name: tensor for name, tensor in trained.items() if name.startswith(_OWN)}
    if moved:
        about = about | {"afterwards": "trained on with GenHMR"}
    rest = {name: tensor for name, tensor in trained.items() if name not in moved}
    part = target / "provenance.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for path in records:
        shutil.copy(path, part)
    save_weights(target / BACKBONE_FILE, pretrained | moved, about)
    save_weights(target / GENHMR_FILE, rest, sizes)
    shutil.copyfile(folder / TOKENIZER_FILE, target / TOKENIZER_FILE)
    shutil.rmtree(target / "provenance", ignore_errors=True)
    part.rename(target / "provenance")
    names = (BACKBONE_FILE, TOKENIZER_FILE, GENHMR_FILE)
    return sum((target / name).stat().st_size for name in names)


def _records(jobs: dict[str, Json], tokenizer: str, provenance: Path) -> list[Path]:
    """Of the trainings that the base follows from, each of the job as it is planned."""
    found = []
    for key in ("backbone/base", "lifter/base", f"tokenizer/{tokenizer}", "transformer/base"):
        job = jobs[f"{key}.json"]
        if "skip" in job:
            continue
        path = provenance / f"{record_of(key)}.json"
        digest = json.loads(path.read_text())["job_sha256"] if path.exists() else None
        if digest != job_digest(job):
            raise UserError(
                f"{path} is not of {key} as params.yaml and variants.yaml plan it: run that stage "
                "first (dvc repro, with -f if its output came from the cache)."
            )
        found.append(path)
    return found
