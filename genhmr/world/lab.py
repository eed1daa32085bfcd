"""``open-lab``, in the role of Human3.6M: one room, four fixed cameras, few subjects."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .background import Place
from .camera_paths import LAB_CAMERAS, lab_cameras
from .lighting import Lighting, sample_development
from .people import sample_betas
from .records import photograph, write_jpeg
from .scene import Stage, sample_stage
from .studio import LAB, SPLIT_NUMBER, Studio
from .takes import clip_name, perform, turn_about_vertical
from .writers.spin_npz import spin_row

LAB_SUBJECTS = {
    "train": ("S1", "S5", "S6", "S7", "S8"),
    "val": ("S1", "S5", "S6", "S7", "S8"),
    "test": ("S9", "S11"),
}
LAB_STRIDE = 3  # recorded at 30 frames a second, kept at 10, as Human3.6M's npz keeps 10 of 50
LAB_FLIGHT = 7  # frames a body may be off the floor, 0.7 s
POSES_PER_BLOCK = 16


def lab_blocks(split: str, count: int, clips: int) -> list[tuple[int, int]]:
    """Cut a split into blocks.

    Args:
        split: "train", "val" or "test".
        count: number of images; rounded up to a multiple of four, the number of cameras.
        clips: number of clips the split has.

    Returns:
        (block, poses) pairs; held-out splits have at least one block per subject and clip.
    """
    poses = -(-count // len(LAB_CAMERAS))
    blocks = -(-poses // POSES_PER_BLOCK)
    if split != "train":
        blocks = max(blocks, len(LAB_SUBJECTS[split]) * clips)
    shares = [poses // blocks + (i < poses % blocks) for i in range(blocks)]
    return [(block, share) for block, share in enumerate(shares) if share]


def lab_block(
    studio: Studio, root: Path, split: str, block: int, poses: int, frame_size: int
) -> list[dict]:
    """Photograph one subject in the laboratory with all four cameras.

    Everyday motion, one empty room with fixed cameras and even light, nothing in front of the
    person, the whole person inside the frame. Training blocks hold single poses, the others
    consecutive frames of one held-out clip.

    Args:
        studio: bodies, motion and textures.
        root: folder of the set; images go to ``images``.
        split: "train", "val" or "test".
        block: number of the block in the split.
        poses: number of poses, each seen by all cameras.
        frame_size: side of the frame, pixels.

    Returns:
        Rows for `genhmr.world.writers.spin_npz.write_spin_npz`.
    """
    rng = studio.generator(LAB, SPLIT_NUMBER[split], block)
    subjects = LAB_SUBJECTS[split]
    subject = subjects[block % len(subjects)]
    betas = sample_betas(1, studio.generator(LAB, 3, int(subject[1:])), 0.8)[0]
    action, rows, pelvis = _lab_motion(studio, split, block, poses, rng)
    wardrobe = studio.wardrobes["neutral"]
    flight = 1 if split == "train" else LAB_FLIGHT
    take = perform(wardrobe, wardrobe.sample_appearance(rng), betas, rows, pelvis, flight)
    stage = _laboratory(studio)
    records = []
    for number, camera in zip(LAB_CAMERAS, lab_cameras(frame_size)):
        settings = sample_development(rng, 0.0)
        for frame in range(len(rows)):
            image, (record,) = photograph([take], frame, stage, [], camera, settings,
                                          studio.textures, rng)
            name = f"images/{subject}_{action}.{number}_{frame + 1:06d}.jpg"
            write_jpeg(root / name, image, 95)
            records.append(spin_row(name, record, camera.intrinsics, image.shape[1::-1]))
    return records


def _lab_motion(studio, split, block, poses, rng):
    """Name, poses (F, 24, 3) and pelvis path (F, 3) of a laboratory block."""
    if split == "train":
        rows = studio.poses_of("open-lab", "train").sample(poses, rng)
        headings = rng.uniform(0, 2 * np.pi, poses)
        turned = [turn_about_vertical(rows[i : i + 1], np.zeros((1, 3)), headings[i])[0]
                  for i in range(poses)]
        pelvis = rng.uniform([-0.6, 0, -0.6], [0.6, 0, 0.6], (poses, 3))
        return f"Poses {block}", np.concatenate(turned), pelvis
    clips = studio.clips_of("open-lab", split)
    clip = clips[(block // len(LAB_SUBJECTS[split])) % len(clips)]
    # Evenly spread over the clip, whatever the number asked for: short sets see all of it.
    index = np.linspace(0, len(clip.poses) - 1, max(poses, 1)).round().astype(int)
    if len(clip.poses) > LAB_STRIDE * poses:
        start = int(rng.integers(0, len(clip.poses) - LAB_STRIDE * (poses - 1)))
        index = start + LAB_STRIDE * np.arange(poses)
    pelvis = clip.trans[index].astype(np.float64)
    pelvis = pelvis - np.array([1.0, 0.0, 1.0]) * (pelvis.min(0) + pelvis.max(0)) / 2
    rows, pelvis = turn_about_vertical(clip.poses[index], pelvis, rng.uniform(0, 2 * np.pi))
    return f"{clip_name(clip.key).capitalize()} {block}", rows, pelvis


def _laboratory(studio):
    """The same pale, evenly lit room for every subject, as Human3.6M has one."""
    rng = studio.generator(LAB, 4)
    stage = sample_stage(rng, len(studio.textures), indoor=True, clear=5.2)
    paint = rng.uniform([0.35] * 3, [0.55] * 3)
    colours = np.array([paint] * 4 + [paint * 0.4, paint * 1.3], np.float32)[:, None]
    colours = colours * np.float32([[[1.0], [0.75]]])
    place = Place(np.array([6.5, 6.5]), 3.2, True, stage.place.texture, stage.place.scale,
                  colours, stage.place.sky)
    lamp = np.array([0.2, 0.95, 0.25]) / np.linalg.norm([0.2, 0.95, 0.25])
    lighting = Lighting(lamp, np.full(3, 0.45), np.full(3, 0.75), np.full(3, 0.35))
    return Stage(place, lighting, stage.furniture)
