"""``open-synth``, in the role of BEDLAM: rendered crowds with exact labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from .lighting import sample_development, sample_panorama_lighting
from .props import sample_occluder
from .records import photograph, write_jpeg
from .scene import clear_view, sample_stage
from .stills import Framing, frame_points, sample_stills
from .studio import SPLIT_NUMBER, SYNTH, Studio
from .takes import moved
from .writers.bedlam import bedlam_row, image_folder, image_name, write_scene

# 1280 x 720 as BEDLAM, and its close-ups, which are higher than wide; cameras look from all
# round, up and down.
CROWD_FRAMING = Framing((9 / 16,), 0.0, (0.75, 2.2), (0.28, 0.46), 0.35, 0.03, 0.02)
CLOSE_UP_FRAMING = Framing((9 / 16,), 1.0, (0.75, 2.2), (0.5, 0.8), 0.25, 0.03, 0.02)
_CLOSE_UPS = 0.2  # share of pictures; of one person
_PEOPLE = (0.15, 0.35, 0.3, 0.2)  # chance of 1, 2, 3 and 4 in the others
_OCCLUDER = 0.15
_HARSHNESS = 0.3  # a render engine's camera: little noise and blur, no compression to speak of
_EXPOSED = 1.2  # what surfaces receive after automatic exposure; as a bright day's, on average
_QUALITY = 95


def synth_block(
    studio: Studio, root: Path, split: str, block: int, count: int, frame_size: int
) -> None:
    """Render and write one scene: several people in all poses under all kinds of light.

    A sequence has one frame, because training takes single frames and neighbours are alike;
    pictures are JPEGs, much smaller than BEDLAM's PNGs (``imgname`` says so to any reader), and
    close-ups stand upright, where BEDLAM stores them lying on their side. Bodies are neutral, as
    in BEDLAM's labels.

    Args:
        studio: bodies, motion and textures.
        root: folder of the set.
        split: "train" only.
        block: number of the scene.
        count: number of images.
        frame_size: longer side of the frame, pixels.
    """
    rng = studio.generator(SYNTH, SPLIT_NUMBER[split], block)
    takes = sample_stills(studio, "open-synth", split, count, rng)
    scene = f"open_1-{len(_PEOPLE)}_{count}_{block:05d}_6fps"
    rows = []
    for i in range(count):
        name = image_name(i, 0)
        image, labels = _picture(studio, takes, i, name, block, frame_size, rng)
        write_jpeg(image_folder(root, scene) / name, image, _QUALITY)
        rows += labels
    write_scene(root, scene, rows)


def _picture(studio, takes, i, name, block, frame_size, rng):
    """The image around take ``i`` and the rows of those who can be seen in it, one at least."""
    close = rng.random() < _CLOSE_UPS
    number = 1 if close else 1 + int(rng.choice(len(_PEOPLE), p=_PEOPLE))
    people = _crowd(takes, i, min(number, len(takes)), rng)
    crowded = int(rng.random() < _OCCLUDER)
    for cast, occluders in ((people, crowded), (people[:1], 0)):
        camera, image, records = _render(studio, cast, close, occluders, frame_size, rng)
        labels = [
            bedlam_row(name, f"open_{block:05d}_{(i + k) % len(takes):03d}", take, record, camera)
            for k, (take, record) in enumerate(zip(cast, records))
        ]
        rows = [row for row in labels if row is not None]
        if rows:
            break
    return image, rows


def _render(studio, people, close, occluders, frame_size, rng):
    """The camera, its image and the truth about each of the people."""
    indoor = bool(rng.random() < 0.4)
    stage = replace(sample_stage(rng, len(studio.textures), indoor, clear=2.5),
                    lighting=sample_panorama_lighting(rng))
    # Framed is the largest person's size in the middle of all: who stands aside is cut off.
    points = np.stack([take.people.keypoints[0] for take in people])
    largest = points[np.ptp(points, axis=1).max(1).argmax()]
    shift = (points.mean((0, 1)) - largest.mean(0)) * [1.0, 0.0, 1.0]
    framing = CLOSE_UP_FRAMING if close else CROWD_FRAMING
    camera = frame_points(largest + shift, framing, frame_size, rng)
    for take in people:
        stage = clear_view(stage, camera, take.people.joints[0])
    position = -camera.rotation.T @ camera.translation
    things = [sample_occluder(rng, position, people[0].people.joints[0])
              for _ in range(occluders)]
    settings = sample_development(rng, rng.uniform(0, _HARSHNESS))
    # Panoramas differ in brightness more than eyes and cameras let one see.
    settings = replace(
        settings, exposure=settings.exposure * _EXPOSED / stage.lighting.on_surfaces.mean()
    )
    image, records = photograph(people, 0, stage, things, camera, settings, studio.textures, rng)
    return camera, image, records


def _crowd(takes, i, number, rng):
    """Take ``i`` and the next ones, all round it and none in another's place."""
    start = rng.uniform(0, 2 * np.pi)
    people = [takes[i]]
    for k in range(1, number):
        angle = start + 2 * np.pi * (k + rng.uniform(-0.25, 0.25)) / max(number - 1, 1)
        distance = rng.uniform(0.8, 1.9)
        away = distance * np.array([np.cos(angle), 0.0, np.sin(angle)])
        people.append(moved(takes[(i + k) % len(takes)], away))
    return people
