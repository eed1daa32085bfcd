"""``open-photo``, in the role of COCO: single photographs, as varied as possible."""

from __future__ import annotations

from pathlib import Path

from .lighting import sample_development
from .props import sample_occluder
from .records import photograph, write_jpeg
from .scene import clear_view, sample_stage
from .stills import PHOTO_FRAMING, beside, frame_points, sample_stills
from .studio import PHOTO, SPLIT_NUMBER, Studio
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
    takes = sample_stills(studio, "open-photo", split, count, rng)
    rows = []
    for i, take in enumerate(takes):
        stage = sample_stage(rng, len(studio.textures), bool(rng.random() < 0.4), clear=1.5)
        camera = frame_points(take.people.keypoints[0], PHOTO_FRAMING, frame_size, rng)
        stage = clear_view(stage, camera, take.people.joints[0])
        position = -camera.rotation.T @ camera.translation
        number = int(rng.random() < 0.35) + int(rng.random() < 0.1)
        occluders = [sample_occluder(rng, position, take.people.joints[0]) for _ in range(number)]
        settings = sample_development(rng, float(rng.random()))
        company = [take]
        if count > 1 and rng.random() < _COMPANY:
            company.append(beside(takes[(i + 1) % count], rng))
        image, (record,) = photograph(company, 0, stage, occluders, camera, settings,
                                      studio.textures, rng, known=1)
        if record.visible < 0.35 or (record.keypoints[:, 2] == 1).sum() < 6:
            image, (record,) = photograph([take], 0, stage, [], camera, settings,
                                          studio.textures, rng)
        name = f"train2014/OPEN_train2014_{block:06d}{i:06d}.jpg"
        write_jpeg(root / name, image, 92)
        rows.append(spin_row(name, record, camera.intrinsics, image.shape[1::-1]))
    return rows
