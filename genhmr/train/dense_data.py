"""The dense pre-training set on disk, its batches and their augmentation.

The folder holds ``images.npy`` (N, S, S, 3) uint8, ``parts.npy`` (N, S, S) uint8, ``normals.npy``
(N, S, S, 3) int8 and ``keypoints.npy`` (N, 25, 3) float32, with the meaning of
``genhmr.types.DenseBatch``; they are memory-mapped and never read whole.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor

from genhmr.body.joints import BODY25_FLIP, SMPL24_FLIP
from genhmr.constants import table
from genhmr.types import DenseBatch, UserError

_LAYOUT = {
    "images": (np.uint8, (3,), True),
    "parts": (np.uint8, (), True),
    "normals": (np.int8, (3,), True),
    "keypoints": (np.float32, (25, 3), False),
}
# Part labels after mirroring: background stays, joint j becomes its partner.
_PART_FLIP = np.array([0, *(1 + j for j in SMPL24_FLIP)], dtype=np.uint8)
_KEYPOINT_FLIP = np.array(BODY25_FLIP)


class DenseSet:
    """Random access to a dense set.

    Args:
        folder: what ``genhmr.world.dense.dense_dataset`` wrote.

    Attributes:
        size: side of the crops in pixels.

    Raises:
        UserError: a file is missing, broken, or has another shape than the others.
    """

    def __init__(self, folder: Path) -> None:
        self._arrays: dict[str, np.ndarray] = {}
        for name, (dtype, tail, is_image) in _LAYOUT.items():
            path = Path(folder) / f"{name}.npy"
            try:
                array = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                raise UserError(
                    f"{path} is missing or broken: render the pre-training set again."
                ) from error
            # Square crops, as many and as large as the images, which are read first.
            first = self._arrays.get("images", array)
            side = first.shape[1:2] if is_image else ()
            shape = (len(first), *side, *side, *tail)
            if array.dtype != dtype or array.shape != shape:
                raise UserError(
                    f"{path} holds {array.dtype} {array.shape} where {np.dtype(dtype)} {shape} "
                    "is expected: render the pre-training set again."
                )
            self._arrays[name] = array
        self.size = int(self._arrays["images"].shape[1])

    def __len__(self) -> int:
        return len(self._arrays["images"])

    def batch(self, rows: np.ndarray) -> DenseBatch:
        """Copies of some rows; sorted first, since that is the order on disk."""
        rows = np.sort(rows)
        return DenseBatch(**{name: array[rows] for name, array in self._arrays.items()})


def batch_rows(step: int, count: int, batch_size: int, seed: int) -> np.ndarray:
    """Rows of the batch at ``step``: a new permutation every epoch, without any kept state.

    Args:
        step: 0-based step of the training.
        count: rows of the set; the last incomplete batch of an epoch is dropped.
        batch_size: at most ``count``.
        seed: of the permutations.
    """
    per_epoch = count // batch_size
    epoch, place = divmod(step, per_epoch)
    order = np.random.default_rng([seed, 0, epoch]).permutation(count)
    return order[place * batch_size : (place + 1) * batch_size]


def flip_batch(batch: DenseBatch, chosen: np.ndarray) -> DenseBatch:
    """Mirrors some crops: pixels, left and right parts, normals' x, left and right keypoints.

    Args:
        batch: of B crops.
        chosen: (B,) bool.
    """
    images, parts = batch.images.copy(), batch.parts.copy()
    normals, keypoints = batch.normals.copy(), batch.keypoints.copy()
    images[chosen] = images[chosen, :, ::-1]
    parts[chosen] = _PART_FLIP[parts[chosen, :, ::-1]]
    normals[chosen] = normals[chosen, :, ::-1] * np.array([-1, 1, 1], np.int8)
    keypoints[chosen] = keypoints[chosen][:, _KEYPOINT_FLIP]
    keypoints[chosen, :, 0] = images.shape[2] - keypoints[chosen, :, 0]
    return DenseBatch(images, parts, normals, keypoints)


def erase_batch(batch: DenseBatch, chosen: np.ndarray, rng: np.random.Generator) -> DenseBatch:
    """Covers a random box in some crops, as an occluder would.

    The box (a quarter to a half of the side) has one colour with noise; its pixels become
    background, and visible keypoints under it become occluded.

    Args:
        batch: of B crops.
        chosen: (B,) bool.
        rng: source of the boxes.
    """
    images, parts = batch.images.copy(), batch.parts.copy()
    normals, keypoints = batch.normals.copy(), batch.keypoints.copy()
    size = images.shape[1]
    for i in np.flatnonzero(chosen):
        height, width = rng.integers(size // 4, size // 2 + 1, 2)
        top, left = rng.integers(0, size - height + 1), rng.integers(0, size - width + 1)
        box = (i, slice(top, top + height), slice(left, left + width))
        colour = rng.integers(0, 256, 3)
        noise = rng.integers(-12, 13, (height, width, 3))
        images[box] = np.clip(colour + noise, 0, 255)
        parts[box] = 0
        normals[box] = 0
        x, y, visibility = keypoints[i].T  # views: the assignment below writes through
        under = (x >= left) & (x < left + width) & (y >= top) & (y < top + height)
        visibility[under & (visibility > 0.5)] = 0.5
    return DenseBatch(images, parts, normals, keypoints)


def normalise_images(images: Tensor, gain: Tensor | None = None) -> Tensor:
    """(B, S, S, 3) uint8 RGB -> (B, 3, S, S) float32, ImageNet-normalised, on the same device.

    Args:
        images: the crops.
        gain: (B, 3) factor of each colour before normalisation (colour jitter), or None.
    """
    scale = 1 / 255 if gain is None else gain[:, :, None, None] / 255
    mean, std = (
        table(values, torch.float32, images.device)[:, None, None]
        for values in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
    )
    return ((images.permute(0, 3, 1, 2).float() * scale).clamp(max=1.0) - mean) / std


def augment_batch(
    batch: DenseBatch,
    rng: np.random.Generator,
    flip: float = 0.5,
    erase: float = 0.3,
    colour: float = 0.2,
) -> tuple[DenseBatch, np.ndarray]:
    """Augmented crops with their labels, and the colour jitter that is still to be applied.

    Args:
        batch: of B crops.
        rng: the only source of chance.
        flip: probability of mirroring.
        erase: probability of a covering box.
        colour: each channel is multiplied by 1 +- this much (HMR2.0: 0.2), brightness likewise.

    Returns:
        The batch, and (B, 3) float32 gains for :func:`normalise_images`.
    """
    count = len(batch.images)
    batch = flip_batch(batch, rng.random(count) < flip)
    batch = erase_batch(batch, rng.random(count) < erase, rng)
    gain = rng.uniform(1 - colour, 1 + colour, (count, 3))
    gain = gain * rng.uniform(1 - colour, 1 + colour, (count, 1))
    return batch, gain.astype(np.float32)
