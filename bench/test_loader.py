"""Crops a second: shards beside a plain loader in the manner of 4D-Humans.

The peer does per image what HMR2.0's training loader does: decode the whole frame, one bilinear
``cv2.warpAffine`` to the augmented crop, transpose, colour and normalise channel by channel, move
the keypoints, turn the root. (4D-Humans moves keypoints and draws numbers one by one in Python;
the peer here does it at once, which flatters it.) Ours reads the same people from a shard with
the same augmentation. Both in one thread, in turn, medians of CPU time; the shard is written
outside the timing, as it is written once.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from bench.speed.rows import row
from genhmr.data.augment import AugmentConfig, sample_augmentation
from genhmr.data.crops import IMAGE_MEAN, IMAGE_STD, boxes, make_crops
from genhmr.data.shards import ImageShard, write_image_shard
from genhmr.types import PersonFrame

ROUNDS = 7


def _frames(folder: Path, count: int, width: int, height: int, box: float) -> list[PersonFrame]:
    """Pictures with large shapes and a little grain: JPEGs of ordinary size."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    frames = []
    for i in range(count):
        shapes = rng.integers(0, 256, (9, 16, 3), dtype=np.uint8)
        picture = cv2.resize(shapes, (width, height), interpolation=cv2.INTER_CUBIC).astype(float)
        picture += rng.normal(0, 5, (height, width, 1))
        path = folder / f"{i:03d}.jpg"
        cv2.imwrite(str(path), picture.clip(0, 255).astype(np.uint8))
        center = np.array([width / 2, height / 2]) + rng.uniform(-10, 10, 2)
        keypoints = np.ones((25, 3), np.float32)
        keypoints[:, :2] = center + rng.uniform(-0.4, 0.4, (25, 2)) * box
        frames.append(
            PersonFrame(
                key=f"bench/{i}",
                image=path,
                center=center.astype(np.float32),
                box_size=box,
                intrinsics=np.full((3, 3), np.nan, np.float32),
                pose=rng.normal(0, 0.3, (24, 3)).astype(np.float32),
                betas=np.zeros(10, np.float32),
                transl=np.full(3, np.nan, np.float32),
                gender="neutral",
                keypoints_2d=keypoints,
                joints_3d=np.zeros((24, 4), np.float32),
            )
        )
    return frames


def plain_crop(frame: PersonFrame, size: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
    """One training example in the manner of 4D-Humans."""
    image = cv2.imread(str(frame.image), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    scale = 1.0 + 0.3 * np.clip(rng.standard_normal(), -1, 1)
    angle = np.deg2rad(30 * np.clip(rng.standard_normal(), -2, 2)) * (rng.random() < 0.6)
    flip, colour = rng.random() < 0.5, rng.uniform(0.8, 1.2, 3)
    center, keypoints, pose = frame.center.copy(), frame.keypoints_2d.copy(), frame.pose.copy()
    center += frame.box_size * 0.02 * np.clip(rng.standard_normal(2), -1, 1)
    if flip:
        image = image[:, ::-1]
        center[0] = image.shape[1] - center[0]
        keypoints[:, 0] = image.shape[1] - keypoints[:, 0]
        pose[:, 1:] *= -1
    zoom = size / (frame.box_size * scale)
    cosine, sine = zoom * np.cos(angle), zoom * np.sin(angle)
    matrix = np.array([[cosine, -sine, 0], [sine, cosine, 0]])
    matrix[:, 2] = size / 2 - matrix[:, :2] @ center
    patch = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR)
    patch = patch[:, :, ::-1].transpose(2, 0, 1).astype(np.float32)
    for channel in range(3):
        patch[channel] = np.clip(patch[channel] * colour[channel], 0, 255)
        patch[channel] = (patch[channel] - 255 * IMAGE_MEAN[channel]) / (255 * IMAGE_STD[channel])
    keypoints[:, :2] = (keypoints[:, :2] @ matrix[:, :2].T + matrix[:, 2]) / size - 0.5
    turn, _ = cv2.Rodrigues(np.array([0.0, 0, angle]))
    root, _ = cv2.Rodrigues(pose[0].astype(float))
    pose[0] = cv2.Rodrigues(turn @ root)[0][:, 0]
    return {
        "image": torch.from_numpy(patch),
        "keypoints_2d": torch.from_numpy(keypoints),
        "pose": torch.from_numpy(pose),
    }


CASES = {
    # name: (frame width, height, box, stored, crop, goal)
    "1080p frame -> 256 crop": (1920, 1080, 700.0, 384, 256, 2.0),
    "open world frame -> 128 crop": (256, 192, 147.0, 192, 128, None),
}


def _rows():
    peer = "decode, warpAffine, normalise (4D-Humans)"
    for name, case in CASES.items():
        marks = row(name, peer, case[-1], cpu_only="decoding and warping")
        yield pytest.param(name, marks=marks, id=name)


@pytest.mark.parametrize("name", _rows())
def test_loader(beside, tmp_path, name):
    width, height, box, stored, size, _ = CASES[name]
    count = 16 if width > 1000 else 64
    frames = _frames(tmp_path / "frames", count, width, height, box)
    write_image_shard(frames, tmp_path / "shard", stored, progress=False)
    source = ImageShard(tmp_path / "shard")
    rng = np.random.default_rng(1)
    rows, config = np.arange(count), AugmentConfig()

    def ours():
        keypoints = source.annotations["keypoints_2d"]
        drawn = sample_augmentation(rng, keypoints, *boxes(source, rows), config)
        return make_crops(source, rows, size, drawn)

    def peer():
        examples = [plain_crop(frame, size, rng) for frame in frames]
        return {key: torch.stack([e[key] for e in examples]) for key in examples[0]}

    beside(ours, peer, ROUNDS)
