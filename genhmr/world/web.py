"""``open-web``, in the role of HMR2.0's in-the-wild data: frames of videos that people put online.

InstaVariety, AVA and AI Challenger show everyday motion, filmed by hand, cut off by the frame,
behind things and among others, and compressed twice: by the phone and by the site. Their bodies
are fits to 2D keypoints, see `genhmr.world.pseudo`; the keypoints themselves are right, since the
fits were made to them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from .lighting import Development, develop, sample_development
from .props import sample_occluder
from .pseudo import fit_error
from .records import observe, write_jpeg
from .scene import clear_view, photograph_view, sample_stage
from .stills import PHOTO_FRAMING, Framing, beside, frame_points, sample_stills
from .studio import SPLIT_NUMBER, WEB, Studio
from .writers.spin_npz import spin_row

# Telephones and films: narrow upright, wide, or square; nearer than a photographer stands.
WEB_FRAMING = Framing((9 / 16, 0.75, 1.0), 0.6, (0.7, 1.6), (0.33, 0.85), 0.2, 0.08, 0.09)
_HALF_LENGTH = 0.3  # share of frames that aim at head, trunk and arms, as films and selfies do
_UPPER_BODY = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 18]  # of BODY_25
_COMPANY = (0.35, 0.45, 0.2)  # chance of nobody else, one, two
_OCCLUDERS = (0.3, 0.45, 0.25)
_SHAKE, _SHAKE_LENGTH = 0.3, 0.01  # share of frames moved, by this share of the longer side
_SOURCE_QUALITY = (20, 65)  # JPEG quality of what was uploaded
_SITE_QUALITY = 75  # and of what the site makes of it
_SEEN, _SEEN_KEYPOINTS = 0.35, 7  # less, and no fit would have been kept


def web_block(
    studio: Studio, root: Path, split: str, block: int, count: int, frame_size: int
) -> list[dict]:
    """Frames of different videos: everyday motion, company, occlusion, truncation, compression.

    Args:
        studio: bodies, motion and textures.
        root: folder of the set; images go to ``images``.
        split: "train" only.
        block: number of the block.
        count: number of images.
        frame_size: longer side of the frame, pixels.

    Returns:
        One row per image for `genhmr.world.writers.spin_npz.write_spin_npz`. ``pose`` and
        ``shape`` are pseudo ground truth. ``S`` has confidence 0 and there is no camera: nobody
        annotated joints in 3D, and who wants them gets them from ``pose`` and ``shape``, so that
        all 3D in a row is the same body's.
    """
    rng = studio.generator(WEB, SPLIT_NUMBER[split], block)
    fits = studio.generator(WEB, SPLIT_NUMBER[split], block, 1)  # leaves the pictures alone
    takes = sample_stills(studio, "open-web", split, count, rng)
    films = []
    for i in range(count):
        camera, image, record = _film(studio, takes, i, frame_size, rng)
        name = f"images/web_{block:06d}_{i:06d}.jpg"
        write_jpeg(root / name, image, _SITE_QUALITY)
        row = spin_row(name, record, camera.intrinsics, image.shape[1::-1])
        films.append((row, record, camera.to_camera(record.joints_world)))
    poses, shapes = fit_error(np.stack([record.pose_camera for _, record, _ in films]),
                              np.stack([record.betas for _, record, _ in films]),
                              np.stack([joints for _, _, joints in films]),
                              takes[0].wardrobe.parents, fits)
    for (row, _, _), pose, betas in zip(films, poses, shapes):
        row |= {"pose": pose.reshape(72), "shape": betas, "S": np.zeros((24, 4))}
        del row["cam_int"], row["trans_cam"]
    return [row for row, _, _ in films]


def _film(studio, takes, i, frame_size, rng):
    """Camera, image and truth of take ``i`` among others."""
    take = takes[i]
    joints, keypoints = take.people.joints[0], take.people.keypoints[0]
    place = sample_stage(rng, len(studio.textures), bool(rng.random() < 0.5), clear=1.5)
    aim = keypoints[_UPPER_BODY] if rng.random() < _HALF_LENGTH else keypoints
    camera = frame_points(aim, WEB_FRAMING, frame_size, rng)
    position = -camera.rotation.T @ camera.translation
    occluders = [sample_occluder(rng, position, joints)
                 for _ in range(rng.choice(len(_OCCLUDERS), p=_OCCLUDERS))]
    others = min(int(rng.choice(len(_COMPANY), p=_COMPANY)), len(takes) - 1)
    company = [beside(takes[(i + k) % len(takes)], rng) for k in range(1, others + 1)]
    settings = _upload(sample_development(rng, rng.uniform(0.4, 1.0)), frame_size, rng)

    # Until enough is seen of the person: as it is, without what stands in front, and at last the
    # whole person alone.
    for attempt in range(3):
        if attempt == 1:
            occluders = []
        elif attempt == 2:
            company, camera = [], frame_points(keypoints, PHOTO_FRAMING, frame_size, rng)
        stage = clear_view(place, camera, joints)
        view, (record,) = observe([take, *company], 0, stage, occluders, camera, known=1)
        if _fitted(record):
            break
    picture = photograph_view(view, studio.textures)
    return camera, develop(picture.image, settings, rng), record


def _fitted(record):
    """Whether enough is seen of a person for somebody to have fitted a body."""
    seen = (record.keypoints[:, 2] == 1).sum()
    return record.visible >= _SEEN and seen >= _SEEN_KEYPOINTS


def _upload(settings: Development, frame_size: int, rng: np.random.Generator) -> Development:
    """A hand-held camera's settings, with more shake and the first compression."""
    motion = settings.motion
    if rng.random() < _SHAKE:
        x, y = rng.normal(0, _SHAKE_LENGTH * frame_size, 2)
        motion = (float(x), float(y))
    return replace(settings, motion=motion, quality=int(rng.integers(*_SOURCE_QUALITY)))
