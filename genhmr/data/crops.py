"""From shards to batches of square crops, plain for evaluation or augmented for training.

:func:`make_crops` is the pure part: rows of a shard and an :class:`Augmentation` give a
:class:`~genhmr.types.CropBatch`. :func:`iterate_crops` decides which rows come when; every batch
is a function of the seed and its step alone, so a training that resumes at step n gets the
batches it would have got.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from genhmr.data.augment import (
    Augmentation,
    AugmentConfig,
    augment_joints_3d,
    augment_keypoints,
    augment_pose,
    crop_matrices,
    no_augmentation,
    sample_augmentation,
)
from genhmr.data.order import batches_per_epoch, epoch_rows, mixed_rows
from genhmr.data.shards import ImageShard
from genhmr.data.warp import warp_square
from genhmr.types import CropBatch

# ImageNet statistics, RGB in [0, 1]: what ViT, ViTPose and HMR2.0 were trained with.
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


def normalise(pixels: np.ndarray, colour: np.ndarray) -> torch.Tensor:
    """Multiplies the channels, clips at white and applies ImageNet's statistics.

    Args:
        pixels: (B, S, S, 3) uint8 RGB.
        colour: (B, 3) factors.

    Returns:
        (B, 3, S, S) float32, contiguous.
    """
    # Transposing bytes before they become floats moves a quarter of the memory.
    planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    images = torch.from_numpy(planes).to(torch.float32)
    if (colour != 1.0).any():
        factors = torch.from_numpy(colour.astype(np.float32))
        images.mul_(factors[:, :, None, None]).clamp_(max=255.0)
    mean = torch.tensor(IMAGE_MEAN).view(3, 1, 1)
    std = torch.tensor(IMAGE_STD).view(3, 1, 1)
    return images.mul_(1.0 / (255.0 * std)).sub_(mean / std)


def boxes(source: ImageShard, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres (B, 2) and sides (B,) of the persons' boxes in stored pixels: always the same."""
    center = np.full((len(rows), 2), source.crop_resolution / 2)
    return center, np.full(len(rows), source.crop_resolution / source.margin)


def make_crops(
    source: ImageShard,
    rows: np.ndarray,
    size: int,
    augmentation: Augmentation | None = None,
) -> CropBatch:
    """The crops of some rows of a shard.

    Args:
        source: a shard.
        rows: (B,) int rows of its annotations.
        size: side of the crops in pixels.
        augmentation: what to do to each; None for the plain boxes.

    Returns:
        CropBatch, targets in the augmented crop's own camera.

    Raises:
        UserError: a stored image does not match its checksum.
    """
    rows = np.asarray(rows, np.int64)
    columns = source.annotations
    done = augmentation or no_augmentation(*boxes(source, rows))
    pixels = np.empty((len(rows), size, size, 3), np.uint8)
    matrices = crop_matrices(done, size)

    for i, row in enumerate(rows):
        warp_square(source.image(int(row)), matrices[i], size, pixels[i])
        left, top, right, bottom = np.round(done.occluder[i] * size).astype(int)
        pixels[i, top:bottom, left:right] = done.occluder_colour[i]
    pose = augment_pose(done, columns["pose"][rows])
    has_smpl = torch.from_numpy(columns["has_smpl"][rows])
    pose[~has_smpl] = torch.eye(3)
    return CropBatch(
        images=normalise(pixels, done.colour),
        keypoints_2d=torch.from_numpy(augment_keypoints(done, columns["keypoints_2d"][rows])),
        pose=pose,
        betas=torch.from_numpy(columns["betas"][rows]),
        has_smpl=has_smpl,
        joints_3d=torch.from_numpy(augment_joints_3d(done, columns["joints_3d"][rows])),
        index=torch.from_numpy(rows.copy()),
    )


def _concatenate(parts: list[CropBatch]) -> CropBatch:
    if len(parts) == 1:
        return parts[0]
    names = CropBatch.__dataclass_fields__
    return CropBatch(**{n: torch.cat([getattr(part, n) for part in parts]) for n in names})


def _batch(
    sources: Sequence[ImageShard],
    which: np.ndarray,
    rows: np.ndarray,
    size: int,
    augment: AugmentConfig | None,
    rng: np.random.Generator,
) -> CropBatch:
    """One batch from several shards, grouped by shard; ``index`` counts over all shards."""
    firsts = np.concatenate([[0], np.cumsum([len(source) for source in sources])])
    parts = []
    for number in np.unique(which):
        source, own = sources[number], rows[which == number]
        augmentation = None
        if augment is not None:
            keypoints = source.annotations["keypoints_2d"][own]
            augmentation = sample_augmentation(rng, keypoints, *boxes(source, own), augment)
        crops = make_crops(source, own, size, augmentation)
        crops.index.add_(int(firsts[number]))
        parts.append(crops)
    return _concatenate(parts)


def iterate_crops(
    shards: ImageShard | Sequence[ImageShard],
    batch_size: int,
    size: int,
    augment: AugmentConfig | None = None,
    rng: np.random.Generator | None = None,
    shuffle: bool = False,
    epochs: int | None = 1,
    drop_last: bool = False,
    weights: Sequence[float] | None = None,
    start_step: int = 0,
    every: int = 1,
) -> Iterator[CropBatch]:
    """Batches of crops, for evaluation (the defaults) or for training.

    Args:
        shards: one shard or several. Several without ``weights`` are taken as one long shard, one
            after the other.
        batch_size: B.
        size: side of the crops in pixels.
        augment: strengths of the augmentation; None for plain crops.
        rng: explicit generator, needed for ``shuffle``, ``augment`` and ``weights``. One number is
            drawn from it; all batches follow from that number and their step.
        shuffle: a new order every epoch.
        epochs: how often each record comes; None for ever.
        drop_last: leave out an epoch's last batch where it is smaller than ``batch_size``.
        weights: share of each shard in the crops. Mixing goes on for ever: each shard is
            reshuffled when it is used up, so ``epochs`` must be None or left at 1.
        start_step: first step to yield, for a training that resumes.
        every: yield the batch of each so many-th step alone, from ``start_step`` on: the share of
            one of several processes that make the batches between them.

    Yields:
        CropBatch; ``index`` counts through all the shards in the order given. In a mixed batch
        the crops are grouped by shard.

    Raises:
        ValueError: randomness is asked for without ``rng``, or the arguments contradict.
        UserError: a stored image does not match its checksum.
    """
    sources = list(shards) if isinstance(shards, Sequence) else [shards]
    random = shuffle or augment is not None or weights is not None
    if random and rng is None:
        raise ValueError("shuffle, augment and weights need an explicit rng")
    if weights is not None and len(weights) != len(sources):
        raise ValueError(f"{len(weights)} weights for {len(sources)} shards")
    seed = int(rng.integers(2**62)) if rng is not None else 0
    lengths = [len(source) for source in sources]
    if weights is None:
        per_epoch = batches_per_epoch(sum(lengths), batch_size, drop_last)
        last = None if epochs is None else epochs * per_epoch
        if per_epoch == 0:
            raise ValueError(f"{sum(lengths)} records give no batch of {batch_size}")
        plan = epoch_rows(lengths, batch_size, drop_last, seed if shuffle else None, start_step)
    else:
        last, plan = None, mixed_rows(lengths, weights, batch_size, seed, start_step)

    for step, (which, rows) in enumerate(plan, start_step):
        if last is not None and step >= last:
            return
        if (step - start_step) % every == 0:
            step_rng = np.random.default_rng([seed, step])
            yield _batch(sources, which, rows, size, augment, step_rng)
