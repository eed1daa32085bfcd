"""How large the licensed releases are, for forecasts alone: nothing else knows before it reads.

Rounded counts of what this field trains and tests on. Where a set's own paper prints the number,
the comment says so; the others are this suite's estimates and say that.
"""

from __future__ import annotations

# Person crops by kind of data set and split.
IMAGES = {
    ("h36m", "train"): 312_000,  # SPIN's npz: 312,188 of five subjects
    ("h36m", "test"): 27_500,  # SPIN's npz of protocol 2: one camera
    ("coco", "train"): 75_000,  # COCO 2014 with EFT's or HMR2.0's pseudo ground truth
    # HMR2.0's tars: InstaVariety by far the most, AI Challenger and AVA; an estimate from their
    # number (about 4,000 of up to a thousand crops each).
    ("itw", "train"): 3_000_000,
    ("bedlam", "train"): 750_000,  # the paper's 380,000 frames at 6 fps show about two people each
    ("3dpw", "test"): 35_500,  # 35,515 frames of 24 sequences
    ("emdb", "test"): 24_000,  # the 17 sequences of EMDB-1
}
# Poses likewise.
POSES = {
    ("amass", "train"): 16_000_000,  # the paper's 40 hours, at 110 frames a second on average
    ("amass", "test"): 115_000,  # Transitions and SSM: the paper's 17 minutes
    ("moyo", "train"): 400_000,  # the paper's 1.75 million pictures of 8 cameras at 30 fps, ...
    ("moyo", "val"): 40_000,  # ... coded at 60 fps; how they are split is an estimate
}
# Poses of the open world where a job asks for all (count 0), profile open; a forecast of minutes.
OPEN_POSES = 5_000
MOTION = ("amass", "moyo")

# Bytes on disk. A crop is a square JPEG of quality 95: per pixel, of rendered pictures as measured
# on the open world's shards, of photographs assumed. An annotation was measured, a pose is 24 x 3
# float32 with its clip and frame.
RENDERED_PIXEL, PHOTOGRAPHED_PIXEL = 0.2, 0.4
ANNOTATION, POSE = 1_200, 24 * 3 * 4 + 8


def count_of(job: dict, split: str) -> int:
    """Records of one split of a data job: as many as it asks for, else all there are.

    Args:
        job: ``build/plan/data/<role>.json``.
        split: one of its own.
    """
    if asked := job["counts"].get(split, 0):
        return asked
    if job["source"] == "licensed":
        return {**IMAGES, **POSES}.get((job["kind"], split), 0)
    return OPEN_POSES if job["kind"] in MOTION else 0


def bytes_of(job: dict) -> float:
    """What the shards of a data job take on disk."""
    records = sum(count_of(job, split) for split in job["counts"])
    if job["kind"] in MOTION:
        return float(POSE * records)
    pixel = PHOTOGRAPHED_PIXEL if job["source"] == "licensed" else RENDERED_PIXEL
    return float((pixel * job["stored"] ** 2 + ANNOTATION) * records)
