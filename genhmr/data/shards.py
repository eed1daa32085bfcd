"""Image shards: one format for every image data set, pre-cropped, checksummed, seekable.

A shard is a folder:

* ``images-00000.tar``, ``images-00001.tar``, ...: plain tar files of JPEGs, one a record, each the
  square around the person with ``margin`` (1.5) times the side of the box, ``crop_resolution``
  pixels wide, black beyond the frame. Shrinking is area-averaged.
* ``annotations.npz``: one row a record. ``key``; ``image`` (sequence and file name, by which
  detections are found); ``tar``, ``image_offset``, ``image_length``,
  ``image_crc32`` locate and check the JPEG; ``center`` and ``box_size`` are in pixels of the
  original frame; ``keypoints_2d`` and ``intrinsics`` in pixels of the stored image; ``pose``,
  ``betas`` (zero where ``has_smpl`` is False), ``transl`` (NaN where unknown), ``gender``,
  ``joints_3d`` as in :class:`genhmr.types.PersonFrame`.
* ``manifest.json``: format version, data set, split, count, resolution, margin, and size and
  SHA-256 of every other file.

In a stored image the box is centred and ``crop_resolution / margin`` pixels wide, always. The
bytes depend on the content alone. Records are read by offset in any order (``shard.jpeg(i)``) or
one after the other; ``tar xf`` unpacks a shard without this code. See docs/shards.md.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from genhmr.data.digest import sha256_of
from genhmr.data.shard_writer import ANNOTATIONS, FORMAT, MANIFEST, VERSION, write_image_shard
from genhmr.data.warp import decode_image
from genhmr.types import UserError

__all__ = ["ImageShard", "write_image_shard"]


class ImageShard:
    """A shard on disk, open for reading.

    Args:
        path: the folder.

    Attributes:
        path: the folder.
        dataset, split: names given by the writer.
        crop_resolution: side of a stored image in pixels.
        margin: side of a stored image in units of the person's box.
        annotations: column arrays, N rows each; see the module's docstring.

    Raises:
        UserError: the folder is missing, incomplete, of another version, or its annotations
            do not match their checksum.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        manifest = _read_manifest(self.path)
        self._files: dict[str, dict[str, Any]] = manifest["files"]
        self.dataset: str = manifest["dataset"]
        self.split: str = manifest["split"]
        self.crop_resolution: int = manifest["crop_resolution"]
        self.margin: float = manifest["margin"]
        for name, entry in self._files.items():
            file = self.path / name
            if not file.is_file() or file.stat().st_size != entry["bytes"]:
                raise UserError(f"{file} is missing or truncated: write the shard again.")
        self._check(ANNOTATIONS)
        try:
            with np.load(self.path / ANNOTATIONS, allow_pickle=False) as columns:
                self.annotations = {name: columns[name] for name in columns.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise _damaged(self.path / ANNOTATIONS) from error
        tars = sorted(name for name in self._files if name.endswith(".tar"))
        self._tars = [np.memmap(self.path / name, np.uint8, mode="r") for name in tars]
        self._tar_names = tars

    def __len__(self) -> int:
        return len(self.annotations["key"])

    def _check(self, name: str) -> None:
        if sha256_of(self.path / name) != self._files[name]["sha256"]:
            raise _damaged(self.path / name)

    def has_bodies(self) -> bool:
        """Whether its records have SMPL ground truth: of a test set, where all do or none does.

        Raises:
            UserError: some have it. Bodies are measured by one protocol and markers by another,
                and neither would be that of the whole set.
        """
        known = self.annotations["has_smpl"]
        if known.any() and not known.all():
            raise UserError(
                f"{self.path} has SMPL ground truth in {known.sum()} of {len(known)} records, and "
                "a test set is measured against bodies or against markers: give all records of "
                "its source files pose and shape, or none (has_smpl), and run the data stage again."
            )
        return bool(known.any())

    def verify(self) -> None:
        """Reads every file and compares its SHA-256 with the manifest.

        Raises:
            UserError: naming the first file that differs.
        """
        for name in self._files:
            self._check(name)

    def jpeg(self, index: int) -> np.ndarray:
        """The bytes of one stored image, (length,) uint8.

        Raises:
            UserError: the bytes do not match their CRC-32.
        """
        columns = self.annotations
        tar = int(columns["tar"][index])
        start = int(columns["image_offset"][index])
        data = self._tars[tar][start : start + int(columns["image_length"][index])]
        if zlib.crc32(data) != columns["image_crc32"][index]:
            raise _damaged(self.path / self._tar_names[tar], columns["key"][index])
        return data

    def image(self, index: int) -> np.ndarray:
        """One stored image, (R, R, 3) uint8 RGB.

        Raises:
            UserError: the bytes do not match their CRC-32.
        """
        return decode_image(self.jpeg(index), f"{self.path} record {index}")

    def images(self) -> Iterator[np.ndarray]:
        """The stored images in order: reads each tar once, front to back."""
        for index in range(len(self)):
            yield self.image(index)


def _damaged(file: Path, record: str | None = None) -> UserError:
    where = f" at record '{record}'" if record is not None else ""
    return UserError(f"{file} does not match its checksum{where}: write the shard again.")


def _read_manifest(path: Path) -> dict[str, Any]:
    file = path / MANIFEST
    try:
        manifest = json.loads(file.read_text())
    except FileNotFoundError as error:
        raise UserError(f"{file} is missing: write the shard first (stage 'data').") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is not readable JSON: write the shard again.") from error
    known = isinstance(manifest, dict) and manifest.get("format") == FORMAT
    if not known or manifest.get("version") != VERSION:
        raise UserError(
            f"{file} is not a {FORMAT} of version {VERSION}: write the shard again with this code."
        )
    missing = {"files", "dataset", "split", "crop_resolution", "margin", "count"} - set(manifest)
    if missing or ANNOTATIONS not in manifest["files"]:
        raise UserError(f"{file} is incomplete: write the shard again.")
    return manifest
