"""`python -m bench plan --profile paper`: stages, hours and disk of a profile before it starts.

An estimate, for two machines side by side. On the CPU the seconds that a part took, as measured at
the open world's sizes, are scaled by its operations over those of the measured one. On a GPU its
operations are divided by a rate that is assumed, with a floor for the launching of kernels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bench.releases import MOTION, bytes_of, count_of

Json = dict[str, Any]

# Seconds on a 2-core AMD EPYC that does nothing else: a training step of 64 crops, of 64 poses, of
# 128 poses, of 32 crops, by one process (results/open/provenance, the quiet ones of its records,
# and the card of the weights).
STEP = {"backbone": 0.67, "tokenizer": 0.066, "lifter": 0.047, "transformer": 1.1}
BATCH = {"backbone": 64, "tokenizer": 64, "lifter": 128, "transformer": 32}
# Of an evaluation, whose sets run side by side there: an image through the backbone, one iteration
# of sampling, one of refinement, an image or pose scored; and one of each with the image alone, as
# AITI times it (results/provenance of profile mini).
ENCODED, SAMPLED, REFINED, SCORED = 0.004, 0.0013, 0.0006, 0.0004
ENCODED_ALONE, SAMPLED_ALONE, REFINED_ALONE = 0.012, 0.005, 0.0045
TIMED_SAMPLING, TIMED_REFINEMENT = 54, 39  # iterations a repeat: 1, 3, 5, 10, 15, 20; 1 to 20
RENDERED = 0.0085  # an image generated and cropped
CROPPED = 0.02  # a crop of a 1920 x 1080 JPEG
READ = 1e-5  # a recorded pose turned and written, assumed
START = 0.7  # of a stage, most of it DVC's own
# The sizes at which these were measured: those of profiles mini and open, but for crops that had
# 64 x 48 pixels of frames of 192, in as many patches.
MEASURED_VIT = {"image_size": [128, 96], "model": {"patch": 16, "dim": 192, "depth": 6}}
MEASURED_MODEL = {"width": 128, "layers": 4}
MEASURED_TOKENIZER = {"num_tokens": 48, "num_codes": 512, "width": 128}

GPU_RATE = 3.5e14  # operations a second in bfloat16: a third of an H100's peak, assumed
# Seconds that a training step takes however small it is, most of them spent launching its kernels.
# Of backbone and transformer those of 256 crops on an H200, the latter beside ten other trainings
# (datasets/open/weights/README.md), the others assumed.
GPU_STEP = {"backbone": 0.03, "tokenizer": 0.02, "lifter": 0.02, "transformer": 0.195}
GPU_PASS = 0.005  # seconds a pass takes however small its batch is, assumed
TRAINING = 3  # forward and backward over forward

WEIGHT = 2  # bytes: models are saved in half precision
LIFTER = 1.9e6 * WEIGHT
TOKENIZER_FILE = 4e6
TRAINED = 16  # bytes a weight in a checkpoint: itself, its average, and AdamW's two moments
RESULT, PREDICTION = 25, 900  # bytes a line of metrics, and of a predicted body


@dataclass(frozen=True)
class Cost:
    """Seconds on the CPU, and on the GPU."""

    cpu: float = 0.0
    gpu: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.cpu + other.cpu, self.gpu + other.gpu)


@dataclass(frozen=True)
class Line:
    """One kind of stage: how many run, their seconds together, bytes they leave.

    Attributes:
        kind: of the jobs; "second copies" and "checkpoint" are no stages, but files beside.
        count: of jobs, without those that are left out.
        cpu: seconds on a 2-core CPU, one job after another.
        gpu: seconds on one GPU, one job after another; what has no use for one as on the CPU.
        size: bytes.
    """

    kind: str
    count: int
    cpu: float
    gpu: float
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


def _backbone_weights(job: Json) -> float:
    return 12.0 * job["model"]["depth"] * job["model"]["dim"] ** 2


def _head_weights(model: Json) -> float:
    return 14.0 * model["layers"] * model["width"] ** 2


def _training(kind: str, own: float, measured: float, train: Json, seeds: int) -> Cost:
    """Of all seeds of one model.

    Args:
        kind: a key of ``STEP``.
        own: operations of one item.
        measured: operations of one item in the measured step.
        train: of the job.
        seeds: how many.
    """
    batch = train.get("batch") or train["batch_size"]
    steps = train["steps"] * seeds
    return Cost(
        steps * STEP[kind] * (own * batch) / (measured * BATCH[kind]),
        steps * max(GPU_STEP[kind], TRAINING * own * batch / GPU_RATE),
    )


def _passes(
    count: float, seconds: float, own: float, measured: float, batch: int, times: int = 1
) -> Cost:
    """Of ``count`` images through one part of a model in batches.

    Args:
        count: images.
        seconds: of one image, as measured.
        own: operations of one image in one forward pass.
        measured: those of the measured one.
        batch: images a pass.
        times: passes forward that it costs: ``TRAINING`` where a gradient is taken.
    """
    gpu = count * times * max(own / GPU_RATE, GPU_PASS / batch)
    return Cost(count * seconds * own / measured, gpu)


def _evaluation(job: Json, jobs: dict[str, Json]) -> tuple[Cost, float]:
    """Of one trained model under all its settings; with the bytes that it leaves.

    As ``bench.evaluate`` does it: an image is encoded once for all settings, settings that agree
    in their sampling share it, and those that agree in everything run once.
    """
    trained = jobs[f"transformer/{job['model']}.json"]
    tokenizer = jobs[f"tokenizer/{trained['tokenizer']}.json"]["model"]
    # Of the own and of the measured one; the decoder is half of a tokenizer.
    vit = (vit_operations(jobs["backbone/base.json"]), vit_operations(MEASURED_VIT))
    measured = head_operations(MEASURED_MODEL, MEASURED_TOKENIZER)
    head = (head_operations(trained["model"], tokenizer), measured)
    decoder = (tokenizer_operations(tokenizer) / 2, tokenizer_operations(MEASURED_TOKENIZER) / 2)
    batch, cost, lines = job["batch"], Cost(), 0.0
    for role in job["sets"]:
        images = count_of(jobs[f"data/{role}.json"], "test")
        images = min(images, job["images"] or images)
        settings = [own for own in job["settings"].values() if role in own["sets"]]
        sampled, refined = {}, {}
        for own in settings:
            ugs = json.dumps(own["ugs"], sort_keys=True)
            sampled[ugs] = own["ugs"]["iters"]
            refine = json.dumps(own["refine"], sort_keys=True) if own["refine"]["iters"] else ""
            refined[ugs, refine] = (own["refine"]["iters"], len(own["report"]))
        scored = 2 + sum(reports for _, reports in refined.values())  # mean pose, lifted pose
        models = images * job["models"]
        cost += _passes(models, ENCODED, *vit, batch)
        cost += _passes(models * sum(sampled.values()), SAMPLED, *head, batch)
        steps = sum(steps for steps, _ in refined.values())
        cost += _passes(models * steps, REFINED, *decoder, batch, TRAINING)
        cost += Cost(models * scored * SCORED, models * scored * SCORED)
        lines += models * (2 + sum(len(own["report"]) for own in settings)) * RESULT
        lines += images * PREDICTION * ("headline" in job["settings"])
    if "headline" in job["settings"]:
        repeats = job["timing"]
        cost += _passes(repeats, ENCODED_ALONE, *vit, 1)
        cost += _passes(repeats * TIMED_SAMPLING, SAMPLED_ALONE, *head, 1)
        cost += _passes(repeats * TIMED_REFINEMENT, REFINED_ALONE, *decoder, 1, TRAINING)
    return cost, lines


def _work(jobs: dict[str, Json]) -> Iterator[tuple[str, int, Cost, float, float]]:
    """Of every job its kind, 1 if it runs, its cost, its bytes, and those beside in scratch."""
    backbone = jobs["backbone/base.json"]
    vit = vit_operations(backbone)
    for name, job in jobs.items():
        kind = name.partition("/")[0]
        if kind == "tables.json":
            continue
        cost, size = Cost(START, START), 0.0
        if "skip" in job:  # its stage leaves a note, no more, and DVC takes as long about it
            yield kind, 0, cost, size, 0.0
            continue
        seeds = len(job.get("seeds", (0,)))
        trained = not job.get("weights") and not job.get("import")
        if kind == "data":
            records = sum(count_of(job, split) for split in job["counts"])
            each = CROPPED if job["source"] == "licensed" else RENDERED
            seconds = records * (READ if job["kind"] in MOTION else each)
            cost, size = cost + Cost(seconds, seconds), bytes_of(job)
        elif kind == "backbone":
            size = WEIGHT * _backbone_weights(job)
            if trained:
                cost += _training(kind, vit, vit_operations(MEASURED_VIT), job["train"], 1)
        elif kind == "lifter":
            size = LIFTER
            if trained:
                cost += _training(kind, LIFTER, LIFTER, job["train"], 1)
        elif kind == "tokenizer":
            size = TOKENIZER_FILE * seeds
            if trained:
                own, usual = map(tokenizer_operations, (job["model"], MEASURED_TOKENIZER))
                cost += _training(kind, own, usual, job["train"], seeds)
        elif kind == "transformer":
            # The backbone as it came, as it was trained further, and what stands on it.
            weights = 2 * _backbone_weights(backbone) + _head_weights(job["model"])
            size = seeds * (WEIGHT * weights + TOKENIZER_FILE)
            size += seeds * LIFTER * bool(job["model"]["lifter"])
            if trained:
                tokenizer = jobs[f"tokenizer/{job['tokenizer']}.json"]["model"]
                own = vit + head_operations(job["model"], tokenizer)
                usual = vit_operations(MEASURED_VIT)
                usual += head_operations(MEASURED_MODEL, MEASURED_TOKENIZER)
                cost += _training(kind, own, usual, job["train"], seeds)
        elif kind == "evaluate":
            own, size = _evaluation(job, jobs)
            cost += own
        elif kind == "evaluate-tokenizer":
            poses = sum(count_of(jobs[f"data/{r}.json"], s) for r, s in job["sets"].items())
            seconds = poses * SCORED * job.get("models", 1)
            cost, size = cost + Cost(seconds, seconds), RESULT * poses
        # Finished seeds stay in build/scratch where there are several (bench.seeds).
        yield kind, 1, cost, size, size if seeds > 1 and trained else 0.0


def forecast(jobs: dict[str, Json]) -> list[Line]:
    """Sums the jobs of a plan by kind of stage.

    Args:
        jobs: of the profile, see :func:`bench.plan.build_jobs`.

    Returns:
        A line a kind; then one for the second copies of seeds, and one for the checkpoint of the
        largest training while it runs, where there are any.
    """
    kinds: dict[str, Line] = {}
    copies = 0.0
    for kind, runs, cost, size, kept in _work(jobs):
        old = kinds.get(kind, Line(kind, 0, 0.0, 0.0, 0.0))
        kinds[kind] = Line(
            kind, old.count + runs, old.cpu + cost.cpu, old.gpu + cost.gpu, old.size + size
        )
        copies += kept
    backbone = _backbone_weights(jobs["backbone/base.json"])
    running = max(
        (
            TRAINED * (backbone + _head_weights(job["model"]))
            for name, job in jobs.items()
            if name.startswith("transformer/") and "skip" not in job and not job["weights"]
        ),
        default=0.0,
    )
    beside = (("second copies", copies), ("checkpoint", running))
    return [*kinds.values(), *(Line(name, 0, 0.0, 0.0, size) for name, size in beside if size)]
