"""The columns of a file of predictions as plain arrays; each way to be damaged is one sentence.

Nothing is ever unpickled, and no message is numpy's own: that one names the switch with which a
file may run whatever code it holds.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genhmr.types import UserError

GUIDE = "see docs/predictions.md"
Columns = dict[str, np.ndarray]
# What a file that is called .npz is by its first bytes, where it is none.
_FOREIGN = (
    (b"\x93NUMPY", "a bare array, as np.save writes it"),
    (b"PAR1", "a parquet file under another name"),
    (b"\x80", "a pickle, which can hold code and is never loaded"),
)


def read_columns(path: Path, known: Collection[str]) -> Columns:
    """The arrays of an npz, or the columns of a parquet with lists stacked.

    Args:
        path: ``.npz``, ``.parquet`` or ``.pq``.
        known: names that are read; all others are passed over.

    Raises:
        UserError: the file is missing, damaged, of another kind, or a column is no plain array.
    """
    if path.suffix not in (".npz", ".parquet", ".pq"):
        raise UserError(f"{path} is neither .npz nor .parquet ({GUIDE}).")
    start, end = b"", b""
    try:
        if not path.is_dir():
            with open(path, "rb") as file:
                start = file.read(8)
                file.seek(max(0, file.seek(0, 2) - 4))
                end = file.read()
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist: name the file of predictions.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be opened ({error.strerror}).") from error
    if path.suffix == ".npz":
        return _npz(path, start, known)
    return _parquet(path, start, end, known)


def _npz(path: Path, start: bytes, known: Collection[str]) -> Columns:
    remedy = f"save the columns by name with np.savez ({GUIDE})"
    if path.is_dir():
        raise UserError(f"{path} is a folder: {remedy}.")
    if not start:
        raise UserError(f"{path} is empty: write it or copy it again.")
    if not start.startswith(b"PK"):
        what = next((what for magic, what in _FOREIGN if start.startswith(magic)), "no npz file")
        raise UserError(f"{path} is {what}: {remedy}.")
    try:
        arrays = np.load(path, allow_pickle=False)
    except Exception as error:  # zipfile, numpy and the system each raise their own
        raise UserError(f"{path} is truncated or damaged: write it or copy it again.") from error
    with arrays:
        return {name: _array(path, arrays, name) for name in arrays.files if name in known}


def _array(path: Path, arrays: np.lib.npyio.NpzFile, name: str) -> np.ndarray:
    try:
        return arrays[name]
    except Exception as error:  # zip, zlib and numpy each raise their own on damaged content
        if "Object arrays" in str(error):
            raise UserError(
                f"{path}: '{name}' holds Python objects, which are never unpickled: save numbers "
                f"as one array, and text with .astype(str) ({GUIDE})."
            ) from error
        raise UserError(
            f"{path}: '{name}' is damaged: write the file or copy it again."
        ) from error


def _parquet(path: Path, start: bytes, end: bytes, known: Collection[str]) -> Columns:
    if not path.is_dir():  # a folder of parts is a parquet too
        if not start:
            raise UserError(f"{path} is empty: write it or copy it again.")
        if not start.startswith(b"PAR1"):
            raise UserError(f"{path} is no parquet file: write it with DataFrame.to_parquet.")
        if end != b"PAR1":
            raise UserError(f"{path} is truncated: write it or copy it again.")
    try:
        frame = pd.read_parquet(path)
    except Exception as error:  # pyarrow and the system each raise their own
        raise UserError(f"{path} is damaged: write it or copy it again.") from error
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise UserError(f"{path} has two columns '{twice}': keep one.")
    return {name: _stacked(path, name, frame[name]) for name in frame.columns if name in known}


def _stacked(path: Path, name: str, column: pd.Series) -> np.ndarray:
    """A column of numbers or words as it is, one of lists as an array with a row each."""
    if (gone := column.isna().to_numpy()).any():
        raise UserError(
            f"{path}: '{name}' holds nothing (null or NaN) in {int(gone.sum())} rows, first in row "
            f"{int(gone.argmax())}: leave those frames out, they are then reported as missing."
        )
    if column.dtype != object or not len(column) or not np.ndim(column.iloc[0]):
        return column.to_numpy()
    rows: list[np.ndarray] = []
    for number, value in enumerate(column):
        try:
            row = np.array(_nested(value))
        except ValueError:
            row = np.array(None)
        if row.dtype == object:
            raise UserError(
                f"{path}: '{name}' holds lists of several lengths within row {number}: write the "
                f"same shape in every row ({GUIDE})."
            )
        if rows and row.shape != rows[0].shape:
            raise UserError(
                f"{path}: '{name}' has shape {row.shape} in row {number} and {rows[0].shape} in "
                f"row 0: write the same shape in every row ({GUIDE})."
            )
        rows.append(row)
    return np.stack(rows)


def _nested(value: Any) -> Any:
    """Parquet returns lists of lists as arrays of arrays."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        return [_nested(item) for item in value]
    return value


def names_in(path: Path, columns: Columns, by: str) -> np.ndarray:
    """(N,) str, the frames that the predictions are of.

    Raises:
        UserError: something else than text, in one row or in all.
    """
    names = np.asarray(columns[by])
    first = names.flat[0] if names.size else None
    if names.dtype.kind == "S" or isinstance(first, bytes):
        raise UserError(
            f"{path}: '{by}' holds bytes: write text, as [name.decode() for name in names] has it."
        )
    if names.ndim != 1 or names.dtype.kind not in "UOT" or not len(names):
        raise UserError(
            f"{path}: '{by}' has shape {names.shape} of type {names.dtype}: write a list of names "
            f"as text, one a prediction ({GUIDE})."
        )
    if names.dtype == object:
        for row, name in enumerate(names):
            if not isinstance(name, str):
                raise UserError(f"{path}: '{by}' holds {name!r} in row {row}: write a name there.")
    return names.astype(str, copy=False)


def numbers(path: Path, columns: Columns, name: str, count: int) -> np.ndarray:
    """One column as float32, finite and with N rows.

    Raises:
        UserError: text, another number of rows, NaN or infinity.
    """
    array = np.asarray(columns[name])
    try:
        if array.dtype.kind not in "fiuO":
            raise ValueError(f"dtype {array.dtype}")
        with np.errstate(over="ignore"):  # what float32 cannot hold is refused below
            array = array.astype(np.float32, copy=False)
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{path}: '{name}' holds {array.dtype} where numbers are expected ({GUIDE})."
        ) from error
    if array.ndim == 0 or len(array) != count:
        rows = "a single value" if array.ndim == 0 else f"{len(array)} rows"
        raise UserError(
            f"{path}: '{name}' has {rows} and there are {count} names: write one row a prediction, "
            "in the order of the names."
        )
    finite = np.isfinite(array.reshape(count, -1)).all(1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise UserError(
            f"{path}: '{name}' holds NaN or infinity in {int((~finite).sum())} rows, first in row "
            f"{row}: leave those frames out, they are then reported as missing."
        )
    return array
