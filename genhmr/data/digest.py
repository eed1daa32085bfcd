"""SHA-256 of files, and arrays on disk whose bytes depend on their content alone."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date a zip can hold


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while piece := handle.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def save_npz(path: Path, columns: dict[str, np.ndarray]) -> None:
    """Writes an npz without time stamps, in the order given, not compressed (zlib versions differ).

    Args:
        path: target file, overwritten.
        columns: name to array; no object arrays.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in columns.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asanyarray(array), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=_EPOCH)
            archive.writestr(entry, buffer.getvalue())
