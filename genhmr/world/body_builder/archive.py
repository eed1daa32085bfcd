"""Byte-deterministic npz archives."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from pathlib import Path

import numpy as np


def write_all(out: Path, files: dict[str, dict[str, np.ndarray]]) -> dict[str, str]:
    """Write every archive beside its place, then move all of them there.

    Args:
        out: folder, created if needed.
        files: arrays by member name, by file name.

    Returns:
        sha256 by file name.
    """
    out.mkdir(parents=True, exist_ok=True)
    digests = {}
    for name, arrays in files.items():
        content = npz_bytes(arrays)
        digests[name] = hashlib.sha256(content).hexdigest()
        (out / (name + ".part")).write_bytes(content)
    for name in files:
        os.replace(out / (name + ".part"), out / name)
    return digests


def npz_bytes(arrays: dict[str, np.ndarray]) -> bytes:
    """A compressed npz whose bytes depend on nothing but the arrays (fixed time stamps)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(arrays):
            entry = zipfile.ZipInfo(name + ".npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            member = io.BytesIO()
            np.lib.format.write_array(
                member, np.ascontiguousarray(arrays[name]), allow_pickle=False
            )
            archive.writestr(entry, member.getvalue(), compresslevel=9)
    return buffer.getvalue()
