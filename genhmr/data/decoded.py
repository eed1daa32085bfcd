"""A shard with its images decoded once: for sets that fit into memory and are read very often.

The stages read the JPEGs: beside a training step a decoding is short, and a decoded set takes ten
times the room. `pytest bench/test_loader.py --benchmark-only` times both.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from genhmr.data.shards import ImageShard


class DecodedShard:
    """The images of a shard as one uint8 array in memory or in a memory-mapped file.

    Stands in for :class:`ImageShard` wherever crops are made.

    Args:
        shard: the shard to decode.
        cache: folder for the memory-mapped file, which is reused as long as the shard is the
            same; None keeps the images in memory (27 MiB for 1000 images of 96 pixels).

    Attributes:
        annotations, crop_resolution, margin, dataset, split: those of the shard.
        pixels: (N, R, R, 3) uint8 RGB.

    Raises:
        UserError: a stored image does not match its checksum.
    """

    def __init__(self, shard: ImageShard, cache: Path | None = None) -> None:
        self.annotations = shard.annotations
        self.crop_resolution = shard.crop_resolution
        self.margin = shard.margin
        self.dataset = shard.dataset
        self.split = shard.split
        shape = (len(shard), shard.crop_resolution, shard.crop_resolution, 3)
        if cache is None:
            self.pixels = np.empty(shape, np.uint8)
            _decode(shard, self.pixels)
            return
        file = Path(cache) / f"{shard.fingerprint[:32]}.npy"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(".part")
            target = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
            _decode(shard, target)
            target.flush()
            part.rename(file)
        self.pixels = np.load(file, mmap_mode="r")

    def __len__(self) -> int:
        return len(self.pixels)

    def image(self, index: int) -> np.ndarray:
        """One stored image, (R, R, 3) uint8 RGB."""
        return self.pixels[index]


def _decode(shard: ImageShard, target: np.ndarray) -> None:
    title = f"decoding {shard.dataset} {shard.split}".strip()
    for i, image in enumerate(tqdm(shard.images(), title, total=len(shard), delay=5.0)):
        target[i] = image
