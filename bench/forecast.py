"""`python -m bench plan --profile paper`: stages, hours and disk of a profile before it starts.

An estimate, and the printout says of what kind. On a CPU the seconds of the default profile's
jobs, as measured, are scaled by the operations of a job over those of the measured one. On a GPU
the operations are divided by a rate that is assumed, with a floor for the launching of kernels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

# Seconds on one process of a 2-core AMD EPYC (results/provenance of profile mini, and the card of
# the weights): a step of 64 crops, of 64 poses, of 128 poses, of 32 crops; an image of a test set
# under one setting of 5 sampling iterations, an iteration of refinement, an image to generate.
STEP = {"backbone": 0.67, "tokenizer": 0.066, "lifter": 0.047, "transformer": 0.9}
SAMPLED, REFINED, RENDERED, START = 0.009, 0.0012, 0.0085, 6.0
GPU_RATE = 3.5e14  # operations a second in bfloat16: a third of an H100's peak, assumed
GPU_FLOOR = 0.02  # seconds a training step takes however small it is, assumed
TRAINING = 3  # forward and backward over forward
CROP_BYTES = 0.2  # of a stored JPEG, per pixel; measured on the open world's shards
# Images of the licensed releases as this field trains and tests on them, rounded.
LICENSED = {"lab": 312_000, "photo": 75_000, "web": 400_000, "synth": 750_000, "wild": 35_500,
            "extreme": 25_000}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One kind of stage: how many run, their seconds together, bytes they leave."""

    kind: str
    count: int
    seconds: float
    size: float


def vit_operations(job: Json) -> float:
    """Of one image through the backbone of a backbone job."""
    sizes = job["model"]
    height, width = job["image_size"]
    tokens = height * width // sizes["patch"] ** 2
    block = 24 * tokens * sizes["dim"] ** 2 + 4 * tokens**2 * sizes["dim"]
    return float(sizes["depth"] * block)


def head_operations(model: Json, tokenizer: Json) -> float:
    """Of one image through the masked transformer once."""
    tokens, width = tokenizer["num_tokens"], model["width"]
    layer = 28 * tokens * width**2 + 4 * tokens**2 * width
    return float(model["layers"] * layer + 2 * tokens * width * tokenizer["num_codes"])


def tokenizer_operations(model: Json) -> float:
    """Of one pose through encoder and decoder."""
    return float(60 * model["num_tokens"] * model["width"] ** 2)


def _images(jobs: dict[str, Json], role: str, split: str) -> int:
    job = jobs[f"data/{role}.json"]
    asked = job["counts"].get(split, 0)
    if asked:
        return asked
    return LICENSED.get(role, 0) if job["source"] == "licensed" else 0


def _work(jobs: dict[str, Json], reference: dict[str, Json], gpu: bool) -> Iterator[Line]:
    """One line a job."""

    def train(kind: str, own: float, then: float, batch: int, usual: int, steps: int) -> float:
        if gpu:
            return steps * max(GPU_FLOOR, TRAINING * own * batch / GPU_RATE)
        return steps * STEP[kind] * (own * batch) / (then * usual)

    backbone, before = jobs["backbone/base.json"], reference["backbone/base.json"]
    vit, old_vit = vit_operations(backbone), vit_operations(before)
    for name, job in jobs.items():
        kind = name.partition("/")[0]
        if "skip" in job or kind == "tables.json":
            continue
        seconds, size = START, 0.0
        own = job.get("train", {})
        if kind == "data":
            images = sum(_images(jobs, job["role"], split) for split in job["counts"])
            if job["kind"] not in ("amass", "moyo"):
                seconds += RENDERED * images
                size = CROP_BYTES * job["stored"] ** 2 * images
        elif kind == "backbone":
            size = 2.0 * 12 * job["model"]["depth"] * job["model"]["dim"] ** 2
            if not job["weights"] and not job["import"]:
                seconds += train(kind, vit, old_vit, own["batch"], 64, own["steps"])
        elif kind == "lifter" and not job["weights"]:
            seconds += own["steps"] * (GPU_FLOOR if gpu else STEP[kind] * own["batch"] / 128)
        elif kind == "tokenizer" and not job["weights"]:
            usual = tokenizer_operations(reference[name]["model"] | {"num_tokens": 48})
            work = tokenizer_operations(job["model"])
            seeds = len(job.get("seeds", [job["seed"]]))
            seconds += train(kind, work, usual, own["batch_size"], 64, own["steps"] * seeds)
            size = 4e6 * seeds
        elif kind == "transformer":
            size = 2.0 * 12 * backbone["model"]["depth"] * backbone["model"]["dim"] ** 2
            size *= len(job["seeds"])
            if not job["weights"]:
                tokenizer = jobs[f"tokenizer/{job['tokenizer']}.json"]["model"]
                usual = reference["tokenizer/base.json"]["model"]
                work = vit + head_operations(job["model"], tokenizer)
                measured = reference["transformer/base.json"]["model"]
                then = old_vit + head_operations(measured, usual)
                steps = own["steps"] * len(job["seeds"])
                seconds += train(kind, work, then, own["batch"], 32, steps)
        elif kind == "evaluate":
            scale = 0.05 if gpu else vit / old_vit
            for setting in job["settings"].values():
                images = sum(
                    min(_images(jobs, role, "test"), job["images"] or 1 << 40)
                    for role in setting["sets"]
                )
                one = SAMPLED * setting["ugs"]["iters"] / 5 + REFINED * setting["refine"]["iters"]
                seconds += images * one * scale * job["models"]
        yield Line(kind, 1, seconds, size)


def forecast(jobs: dict[str, Json], reference: dict[str, Json], gpu: bool) -> list[Line]:
    """Sums the jobs of a profile by kind of stage.

    Args:
        jobs: of the profile, see :func:`bench.plan.build_jobs`.
        reference: jobs of profile mini, whose seconds were measured.
        gpu: for one H100 instead of one process on a CPU.
    """
    kinds: dict[str, Line] = {}
    for line in _work(jobs, reference, gpu):
        old = kinds.get(line.kind, Line(line.kind, 0, 0.0, 0.0))
        kinds[line.kind] = Line(
            line.kind, old.count + 1, old.seconds + line.seconds, old.size + line.size
        )
    return list(kinds.values())


def describe_forecast(lines: list[Line], gpu: bool) -> str:
    """The lines as a table, with their sum and what the estimate rests on."""
    rows = [f"{'stage':22s} {'jobs':>5s} {'hours':>9s} {'disk':>9s}"]
    total = Line("together", *(sum(getattr(line, field) for line in lines)
                               for field in ("count", "seconds", "size")))  # fmt: skip
    for line in [*lines, total]:
        rows.append(
            f"{line.kind:22s} {line.count:5d} {line.seconds / 3600:9.2f} {line.size / 1e9:6.2f} GB"
        )
    basis = (
        "estimated from operation counts at a third of an H100's peak, one GPU, one job after "
        "another; never measured" if gpu else
        "estimated from seconds measured on one process of a 2-core AMD EPYC; torchrun with two "
        "processes takes about half for trainings"
    )  # fmt: skip
    return "\n".join([*rows, f"({basis})"])
