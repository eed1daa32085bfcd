"""``open-photo``, in the role of COCO: single photographs, as varied as possible."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from .camera import Camera, intrinsics, look_at
from .lighting import sample_development
from .people import sample_betas
from .props import sample_occluder
from .records import photograph, write_jpeg
from .scene import clear_view, sample_stage
from .studio import PHOTO, SPLIT_NUMBER, Studio
from .takes import moved, perform
from .writers.spin_npz import spin_row

PHOTOS_PER_BLOCK = 64
_COMPANY = 0.25  # share of photographs with a second person


def photo_block(
    studio: Studio, root: Path, split: str, block: int, count: int, frame_size: int
) -> list[dict]:
    """Single photographs, as varied as possible: places, light, cameras, company, occlusion.

    Args:
        studio: bodies, motion and textures.
        root: folder of the set; images go to ``train2014``.
        split: "train" only.
        block: number of the block.
        count: number of images.
        frame_size: longer side of the frame, pixels.

    Returns:
        One row per image for `genhmr.world.writers.spin_npz.write_spin_npz`.
    """
    rng = studio.generator(PHOTO, SPLIT_NUMBER[split], block)
    takes = _photo_takes(studio, split, count, rng)
    rows = []
    for i, take in enumerate(takes):
        stage = sample_stage(rng, len(studio.textures), bool(rng.random() < 0.4), clear=1.5)
        camera = _photo_camera(take.people.keypoints[0], frame_size, rng)
        stage = clear_view(stage, camera, take.people.joints[0])
        position = -camera.rotation.T @ camera.translation
        number = int(rng.random() < 0.35) + int(rng.random() < 0.1)
        occluders = [sample_occluder(rng, position, take.people.joints[0]) for _ in range(number)]
        settings = sample_development(rng, float(rng.random()))
        company = [take]
        if count > 1 and rng.random() < _COMPANY:
            company.append(_companion(takes[(i + 1) % count], rng))
        image, records = photograph(company, 0, stage, occluders, camera, settings,
                                    studio.textures, rng)
        if records[0].visible < 0.35 or (records[0].keypoints[:, 2] == 1).sum() < 6:
            image, records = photograph([take], 0, stage, [], camera, settings,
                                        studio.textures, rng)
        name = f"train2014/OPEN_train2014_{block:06d}{i:06d}.jpg"
        write_jpeg(root / name, image, 92)
        rows.append(spin_row(name, records[0], camera.intrinsics, image.shape[1::-1]))
    return rows


def _photo_takes(studio, split, count, rng):
    """Stills of ``count`` different people, a take of one frame each."""
    poses = studio.poses_of("open-photo", split).sample(count, rng)
    betas = sample_betas(count, rng)
    present = tuple(studio.wardrobes)
    genders = rng.integers(0, len(present), count)
    takes = [None] * count
    for number, gender in enumerate(present):
        wardrobe = studio.wardrobes[gender]
        rows = np.flatnonzero(genders == number)
        if len(rows) == 0:
            continue
        # All bodies of a gender at once: one pass over the blend shapes instead of many.
        look = wardrobe.sample_appearance(rng)
        together = perform(wardrobe, look, betas[rows], poses[rows], np.zeros((len(rows), 3)), 1)
        for k, row in enumerate(rows):
            look = wardrobe.sample_appearance(rng)
            takes[row] = replace(together.frame(k), look=look)
    return takes


def _companion(take, rng):
    """Somebody else, half a metre to two metres away."""
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 2.0)
    return moved(take, np.array([distance * np.cos(angle), 0.0, distance * np.sin(angle)]))


def _photo_camera(keypoints, frame_size, rng):
    """Any camera from which the person is a third to two thirds of the frame's longer side."""
    aspect = rng.choice([0.75, 1.0])
    width, height = (frame_size, int(frame_size * aspect))
    if rng.random() < 0.65:
        width, height = height, width
    focal = frame_size * np.exp(rng.uniform(np.log(0.7), np.log(1.8)))
    middle = (keypoints.min(0) + keypoints.max(0)) / 2
    extent = max(np.ptp(keypoints, axis=0).max(), 0.8)
    distance = focal * extent / (frame_size * rng.uniform(0.32, 0.6))
    elevation = rng.uniform(-0.35, 1.0) if rng.random() < 0.3 else rng.normal(0.08, 0.13)
    azimuth = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(elevation), np.sin(elevation)
    position = middle + distance * np.array([c * np.cos(azimuth), s, c * np.sin(azimuth)])
    position[1] = max(position[1], 0.2)
    target = middle + rng.normal(0, 0.06 * distance * frame_size / focal, 3)
    rotation, translation = look_at(position, target, rng.normal(0, 0.06))
    return Camera(rotation, translation, intrinsics(focal, width, height), width, height)
