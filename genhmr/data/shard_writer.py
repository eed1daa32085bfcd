"""Writes image shards; the format is described in :mod:`genhmr.data.shards`."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from genhmr.cores import usable_cores
from genhmr.data import warp
from genhmr.data.digest import save_npz, sha256_of
from genhmr.data.shard_journal import Place, TarJournal, made_from
from genhmr.data.warp import encode_jpeg, read_image, warp_square
from genhmr.types import GENDERS, PersonFrame, UserError

FORMAT = "genhmr-image-shard"
VERSION = 1
ANNOTATIONS = "annotations.npz"
MANIFEST = "manifest.json"
MARGIN = 1.5
_TAR_BYTES = 1 << 30  # a new tar is begun beyond this
_AHEAD = 64  # images in work at once


def stored_matrix(
    center: np.ndarray, box_size: float, crop_resolution: int, margin: float
) -> np.ndarray:
    """The map from the original frame to the stored image, (2, 3), continuous coordinates.

    Args:
        center: (2,) pixels of the original frame.
        box_size: side of the person's box in the original frame.
        crop_resolution: side of the stored image.
        margin: side of the stored image in units of the box.
    """
    scale = crop_resolution / (margin * float(box_size))
    offset = crop_resolution / 2 - scale * np.asarray(center, np.float64)
    return np.array([[scale, 0.0, offset[0]], [0.0, scale, offset[1]]])


def _checked(frame: PersonFrame) -> PersonFrame:
    """The frame, once its box and pose are known to be usable."""
    if not (np.isfinite(frame.center).all() and np.isfinite(frame.box_size)):
        raise UserError(f"{frame.image}: record '{frame.key}' has no finite box, leave it out.")
    if frame.box_size <= 0:
        raise UserError(f"{frame.image}: record '{frame.key}' has an empty box, leave it out.")
    numbers = np.concatenate([frame.pose.ravel(), frame.betas.ravel()])
    if np.isnan(numbers).any() and not (np.isnan(frame.pose).all() and np.isnan(frame.betas).all()):
        raise UserError(
            f"{frame.image}: record '{frame.key}' has NaN in its pose or betas: "
            "correct the annotation or set all of it to NaN (unknown)."
        )
    if not np.isfinite(frame.keypoints_2d[frame.keypoints_2d[:, 2] > 0]).all():
        raise UserError(f"{frame.image}: record '{frame.key}' has keypoints that are not finite.")
    if frame.gender not in GENDERS:
        raise UserError(f"{frame.image}: record '{frame.key}' has gender '{frame.gender}'.")
    return frame


def _row(frame: PersonFrame, crop_resolution: int, margin: float) -> dict[str, Any]:
    """One row of the annotations, without the columns that locate the image."""
    matrix = stored_matrix(frame.center, frame.box_size, crop_resolution, margin)
    known = bool(np.isfinite(frame.pose).all() and np.isfinite(frame.betas).all())
    keypoints = frame.keypoints_2d.astype(np.float64)
    keypoints[:, :2] = keypoints[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    # Where the confidence is 0 there is no position: one value, so that the bytes do not depend
    # on what a reader left there.
    keypoints[keypoints[:, 2] <= 0] = 0.0
    return {
        "key": frame.key,
        "image": f"{frame.key.split('/')[0]}/{Path(frame.image).name}",
        "center": frame.center.astype(np.float32),
        "box_size": np.float32(frame.box_size),
        "intrinsics": (np.vstack([matrix, [0, 0, 1]]) @ frame.intrinsics).astype(np.float32),
        "pose": np.where(known, frame.pose, 0.0).astype(np.float32),
        "betas": np.where(known, frame.betas, 0.0).astype(np.float32),
        "transl": frame.transl.astype(np.float32),
        "gender": frame.gender,
        "has_smpl": known,
        "keypoints_2d": keypoints.astype(np.float32),
        "joints_3d": np.where(frame.joints_3d[:, 3:] > 0, frame.joints_3d, 0).astype(np.float32),
    }


def _stored_jpeg(
    frame: PersonFrame, crop_resolution: int, margin: float, quality: int
) -> tuple[Any, bytes]:
    """The JPEG, and what the journal holds of what it was made from."""
    source = made_from(frame) if Path(frame.image).is_file() else None  # reading says what lacks
    matrix = stored_matrix(frame.center, frame.box_size, crop_resolution, margin)
    stored = warp_square(read_image(frame.image), matrix, crop_resolution)
    return source, encode_jpeg(stored, quality)


def _encoded(
    frames: Iterable[PersonFrame], crop_resolution: int, margin: float, quality: int, workers: int
) -> Iterator[tuple[PersonFrame, tuple[Any, bytes]]]:
    """Frames with their JPEG, in order; a few are in work at once (OpenCV frees the GIL)."""
    pending: deque[tuple[PersonFrame, Future[tuple[Any, bytes]]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for frame in frames:
                work = (_checked(frame), crop_resolution, margin, quality)
                pending.append((frame, pool.submit(_stored_jpeg, *work)))
                if len(pending) >= _AHEAD:
                    ready, future = pending.popleft()
                    yield ready, future.result()
            while pending:
                ready, future = pending.popleft()
                yield ready, future.result()
        finally:
            for _, future in pending:
                future.cancel()


# The columns that locate an image, and their types.
_PLACE = {"tar": np.int32, "image_offset": np.int64, "image_length": np.int64,
          "image_crc32": np.uint32}  # fmt: skip


class _TarSeries:
    """``images-00000.tar`` and so on; ``places`` says where each record went.

    Args:
        folder: of the tars.
        journal: told of each tar that is whole, if given.
    """

    def __init__(self, folder: Path, journal: TarJournal | None) -> None:
        self._folder, self._journal = folder, journal
        self._tar: tarfile.TarFile | None = None
        self._sources: list[Any] = []  # of the records in the open tar
        self.places: list[Place] = []
        self.noted = 0  # whole tars that the journal knows

    def go_on(self, frames: Sequence[PersonFrame]) -> None:
        """Takes the whole tars of a stopped writer and removes all else that it left.

        Args:
            frames: of the shard; the first ``len(places)`` of them are in those tars.
        """
        former = sorted(self._folder.glob("images-*.tar"))
        kept = self._journal.kept(former, frames) if self._journal else []
        for path in set(self._folder.iterdir()) - set(former[: len(kept)]):
            path.unlink()
        self.places = [place for places in kept for place in places]
        self.noted = len(kept)

    def add(self, source: Any, data: bytes) -> None:
        """Appends the next record's image.

        Args:
            source: for the journal, see :func:`made_from`.
            data: the JPEG.
        """
        if self._tar is not None and self._tar.offset > _TAR_BYTES:
            self.close(full=True)
        number = self.places[-1]["tar"] if self.places else -1
        if self._tar is None:
            number += 1
            name = self._folder / f"images-{number:05d}.tar"
            self._tar = tarfile.open(name, "w", format=tarfile.USTAR_FORMAT)
        entry = tarfile.TarInfo(f"{len(self.places):08d}.jpg")  # mtime 0, no owner
        entry.size = len(data)
        offset = self._tar.offset + tarfile.BLOCKSIZE
        self._tar.addfile(entry, io.BytesIO(data))
        where = (number, offset, len(data), zlib.crc32(data))
        self.places.append(dict(zip(_PLACE, where)))
        self._sources.append(source)

    def close(self, full: bool = False, stopped: bool = False) -> None:
        """Ends the tar that is open, if one is.

        Args:
            full: another will follow.
            stopped: it is not whole.
        """
        if self._tar is None:
            return
        self._tar.close()
        if self._journal and not stopped:
            own = self.places[-len(self._sources) :]
            self._journal.note(Path(self._tar.name), full, self._sources, own)
            self.noted += 1
        self._tar, self._sources = None, []


def _write_manifest(folder: Path, **facts: Any) -> None:
    files = {
        file.name: {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
        for file in sorted(folder.iterdir())
    }
    manifest = {"format": FORMAT, "version": VERSION, **facts, "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")


def write_image_shard(
    frames: Iterable[PersonFrame],
    out: Path,
    crop_resolution: int,
    dataset: str = "",
    split: str = "",
    margin: float = MARGIN,
    quality: int = 95,
    workers: int | None = None,
    total: int | None = None,
    progress: bool = True,
    journal: Path | None = None,
) -> int:
    """Writes the frames of one data set and split as a shard.

    Nothing is left half-written: the shard grows in ``<out>.part`` and is renamed at the end. With
    a journal its whole tars stay there after a stop, and the next call goes on from them.

    Args:
        frames: what a reader yields; keys must be unique.
        out: folder to make; an existing one is replaced, at the end or with a journal at once.
        crop_resolution: side of a stored image in pixels. ``margin`` times the crop size of the
            network loses nothing.
        dataset: name for the manifest, e.g. "open-wild".
        split: name for the manifest.
        margin: side of the stored square in units of the person's box.
        quality: JPEG quality.
        workers: threads that decode and encode; None for one a core.
        total: number of frames, if known, for the progress bar's ETA.
        progress: show the bar.
        journal: folder of notes, with which whole tars outlast a stop, and a whole shard that of
            what it belongs to (:mod:`genhmr.data.shard_journal`). Frames are then held in memory
            at once, and the caller removes the notes in the end.

    Returns:
        The number of records.

    Raises:
        UserError: there are no frames, two share a key, an image is missing or truncated, or an
            annotation is not finite.
    """
    out = Path(out)
    folder = out.with_name(out.name + ".part")
    notes, known = None, []
    if journal:
        code = [sha256_of(Path(file)) for file in (__file__, warp.__file__)]
        alike = [crop_resolution, margin, quality, cv2.__version__, *code]
        notes, known = TarJournal(journal, alike), list(frames)
    if notes and out.exists():  # whole, but what it belongs to was stopped
        shutil.rmtree(folder, ignore_errors=True)
        out.rename(folder)
    elif not notes:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    tars = _TarSeries(folder, notes)
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()

    def add_row(frame: PersonFrame) -> None:
        if frame.key in seen:
            raise UserError(f"{frame.image}: two records have the key '{frame.key}'.")
        seen.add(frame.key)
        rows.append(_row(frame, crop_resolution, margin))

    try:
        tars.go_on(known)
        begin = len(tars.places)
        for frame in known[:begin]:
            add_row(_checked(frame))
        waiting = known[begin:] if notes else frames
        encoded = _encoded(waiting, crop_resolution, margin, quality, workers or usable_cores())
        bar = tqdm(encoded, f"shard {dataset} {split}".strip(), total=total, initial=begin,
                   disable=not progress, mininterval=1.0)  # fmt: skip
        for frame, (source, data) in bar:
            add_row(frame)
            tars.add(source, data)
        tars.close()
        if not rows:
            raise UserError(f"{dataset} {split}: no usable person frame was found in its files.")
        columns = {name: np.stack([np.asarray(row[name]) for row in rows]) for name in rows[0]}
        for name, dtype in _PLACE.items():
            columns[name] = np.array([place[name] for place in tars.places], dtype)
        save_npz(folder / ANNOTATIONS, columns)
        _write_manifest(
            folder,
            dataset=dataset,
            split=split,
            count=len(rows),
            crop_resolution=crop_resolution,
            margin=margin,
        )
        shutil.rmtree(out, ignore_errors=True)
        folder.rename(out)
    except BaseException:
        tars.close(stopped=True)
        if not tars.noted:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return len(rows)
