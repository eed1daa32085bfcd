"""``open-wild`` (role of 3DPW) and ``open-extreme`` (role of EMDB): filmed sequences."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .camera_paths import EXTREME_STYLE, WILD_STYLE, handheld_path
from .lighting import sample_development
from .people import sample_betas
from .props import sample_occluder
from .records import photograph, write_jpeg
from .scene import clear_view, sample_stage
from .studio import EXTREME, SPLIT_NUMBER, WILD, Studio
from .takes import perform, sample_segment
from .writers import emdb, threedpw

FPS = 10.0
STRIDE = 3  # of the recordings, which have 30 frames a second
FRAMES_PER_SEQUENCE = 24
FLIGHT = 7  # frames a body may be off the floor, 0.7 s


def sequence_lengths(count: int) -> list[int]:
    """Cut ``count`` frames into sequences of nearly equal length."""
    sequences = max(-(-count // FRAMES_PER_SEQUENCE), 1)
    return [count // sequences + (i < count % sequences) for i in range(sequences)]


@dataclass(frozen=True)
class _Film:
    """What distinguishes the two roles besides the camera."""

    role: str
    place: int
    company: float  # chance of a second person
    occluders: tuple[float, ...]  # chance of none, one, two ...
    indoor: float
    harshness: tuple[float, float]


_WILD = _Film("open-wild", WILD, 0.4, (0.4, 0.45, 0.15), 0.3, (0.1, 0.9))
_EXTREME = _Film("open-extreme", EXTREME, 0.0, (0.75, 0.25), 0.35, (0.2, 1.0))


def wild_block(
    studio: Studio, root: Path, split: str, block: int, frames: int, frame_size: int
) -> None:
    """Film and write one sequence of ``open-wild``.

    One or two people of either gender in the street or indoors, a hand-held camera, things and
    people that get in the way, people who leave the frame.

    Args:
        studio: bodies, motion and textures.
        root: folder of the set.
        split: "train", "val" or "test".
        block: number of the sequence in the split.
        frames: its length.
        frame_size: longer side of the frame, pixels.
    """
    name, cameras, images, records = _film(studio, _WILD, WILD_STYLE, split, block, frames,
                                           frame_size)
    sequence = f"{name}_{split}_{block:03d}"
    for i, image in enumerate(images):
        write_jpeg(threedpw.image_path(root, sequence, i), image, 92)
    threedpw.write_sequence(root, split, sequence, cameras, records)


def extreme_block(
    studio: Studio, root: Path, split: str, block: int, frames: int, frame_size: int
) -> None:
    """Film and write one sequence of ``open-extreme``: unusual poses, a camera that moves a lot.

    Args:
        studio: bodies, motion and textures.
        root: folder of the set.
        split: "test" only, as EMDB.
        block: number of the sequence.
        frames: its length.
        frame_size: longer side of the frame, pixels.
    """
    name, cameras, images, records = _film(studio, _EXTREME, EXTREME_STYLE, split, block, frames,
                                           frame_size)
    subject, sequence = f"P{block % 10}", f"{block:02d}_{name}"
    for i, image in enumerate(images):
        write_jpeg(emdb.image_path(root, subject, sequence, i), image, 92)
    emdb.write_sequence(root, subject, sequence, cameras, [people[0] for people in records])


def _film(studio, film, style, split, block, frames, frame_size):
    """Name of the sequence, F cameras, F images, F lists of records."""
    rng = studio.generator(film.place, SPLIT_NUMBER[split], block)
    indoor = bool(rng.random() < film.indoor)
    stage = sample_stage(rng, len(studio.textures), indoor, clear=2.5)
    clips = studio.clips_of(film.role, split)
    segments = []
    for person in range(1 + int(rng.random() < film.company)):
        # The first walks through the clips in turn, so that a small test set has them all.
        choice = [clips[block % len(clips)]] if person == 0 else clips
        segments.append(sample_segment(choice, frames, STRIDE, rng, mirror=split == "train"))
    takes = _perform(studio, segments, frames, rng)

    middles = takes[0].people.joints.mean(1)
    if len(takes) > 1:
        middles = 0.7 * middles + 0.3 * takes[1].people.joints.mean(1)
    extent = float(np.median(np.ptp(takes[0].people.keypoints, axis=1).max(1)))
    cameras = handheld_path(middles, extent, FPS, stage.place.half_size, style, frame_size, rng)
    for camera, joints in zip(cameras, takes[0].people.joints):
        stage = clear_view(stage, camera, joints)
    occluders = []
    for _ in range(rng.choice(len(film.occluders), p=film.occluders)):
        at = int(rng.integers(frames))
        position = -cameras[at].rotation.T @ cameras[at].translation
        occluders.append(sample_occluder(rng, position, takes[0].people.joints[at]))
    settings = sample_development(rng, rng.uniform(*film.harshness))
    images, records = [], []
    for i, camera in enumerate(cameras):
        image, people = photograph(takes, i, stage, occluders, camera, settings, studio.textures,
                                   rng)
        images.append(image)
        records.append(people)
    name = f"{'indoors' if indoor else 'outdoors'}_{segments[0].name}"
    return name, cameras, images, records


def _perform(studio, segments, frames, rng):
    """Put the people of a sequence beside each other, each for all frames."""
    takes = []
    away = rng.uniform(0, 2 * np.pi)
    for number, segment in enumerate(segments):
        wardrobe = studio.wardrobes[("male", "female")[rng.integers(2)]]
        # A clip that is shorter than the sequence is played forwards and backwards.
        last = max(len(segment.poses) - 1, 1)
        index = last - np.abs(last - np.arange(frames) % (2 * last))
        index = np.minimum(index, len(segment.poses) - 1)
        offset = number * rng.uniform(0.7, 1.6) * np.array([np.cos(away), 0.0, np.sin(away)])
        takes.append(perform(wardrobe, wardrobe.sample_appearance(rng), sample_betas(1, rng)[0],
                             segment.poses[index], segment.pelvis[index] + offset, FLIGHT))
    return takes
