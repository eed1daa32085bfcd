"""What every reader asks of a file before it believes it, in one sentence per complaint."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from genhmr.types import UserError

_GENDERS = {
    "m": "male",
    "male": "male",
    "f": "female",
    "female": "female",
    "n": "neutral",
    "neutral": "neutral",
}


class Absent(UserError):
    """Files of a data set that are not there: what is missing, and what to do about it.

    Attributes:
        what: the first half of the sentence, for who has a remedy of their own.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}: {remedy}.")
        self.what = what


def require_folder(path: Path, remedy: str) -> Path:
    """The same path, once it is known to be a folder.

    Raises:
        Absent: there is no such folder; the sentence ends with ``remedy``.
    """
    if not Path(path).is_dir():
        raise Absent(f"{path} is not a folder", remedy)
    return Path(path)


def require_mapping(content: Any, path: Path) -> Mapping[str, Any]:
    """The content of a pickle that should be a dictionary.

    Raises:
        UserError: it is something else.
    """
    if not isinstance(content, Mapping):
        raise UserError(
            f"{path} holds a {type(content).__name__} where a dictionary was expected: "
            "put the official file back."
        )
    return content


def load_npz(path: Path) -> np.lib.npyio.NpzFile:
    """Opens an npz without ever unpickling; the columns are read when they are asked for.

    Raises:
        UserError: the file is missing, truncated or no npz.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: download it or generate the open world.") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is truncated or no npz file: fetch it again.") from error
    if not isinstance(loaded, np.lib.npyio.NpzFile):
        raise UserError(f"{path} is a bare npy array: an npz with named columns was expected.")
    return loaded


def column(
    data: Mapping[str, Any],
    key: str,
    shape: tuple[int | None, ...] | None,
    path: Path,
    dtype: Any = np.float64,
) -> np.ndarray:
    """One array of a file, with its shape checked.

    Args:
        data: dictionary or npz.
        key: name of the array.
        shape: expected shape, where None is any length; None alone leaves the check to the caller.
        path: file named in a complaint.
        dtype: the type to convert to; None leaves it.

    Raises:
        UserError: the key is missing, not an array of numbers, damaged, or of another shape.
    """
    if key not in data:
        raise UserError(f"{path} has no '{key}': it is not the official file, fetch it again.")
    try:
        array = np.asarray(data[key]) if dtype is None else np.asarray(data[key], dtype=dtype)
    except Exception as error:  # zip, zlib and numpy each raise their own on damaged content
        raise UserError(f"{path}: '{key}' cannot be read as an array, fetch it again.") from error
    if shape is None:
        return array
    matches = array.ndim == len(shape) and all(
        wanted is None or wanted == got for wanted, got in zip(shape, array.shape)
    )
    if not matches:
        wanted = tuple("any" if length is None else length for length in shape)
        raise UserError(
            f"{path}: '{key}' has shape {array.shape} where {wanted} was expected, fetch it again."
        )
    return array


def require_finite(array: np.ndarray, what: str, path: Path) -> None:
    """Refuses NaN and infinity in rows that are about to be used.

    Args:
        array: (N, ...) rows.
        what: name of the array in the complaint.
        path: file named in the complaint.

    Raises:
        UserError: naming the first bad row.
    """
    finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
    if not finite.all():
        raise UserError(
            f"{path}: '{what}' is not finite in {int((~finite).sum())} row(s), the first is "
            f"{int(np.argmin(finite))}: fetch the file again or mark those rows invalid."
        )


def require_fits(
    data: Mapping[str, Any], keys: tuple[str, ...], marked: np.ndarray, flag: str, path: Path
) -> None:
    """Refuses a file that marks rows as fitted with a body and lacks a column of the fits.

    Args:
        data: dictionary or npz.
        keys: columns of the fits.
        marked: (N,) bool, rows that are said to have a body.
        flag: the column that says so.
        path: file named in the complaint.

    Raises:
        UserError: naming the column and how many rows need it.
    """
    if count := int(np.count_nonzero(marked)):
        for key in keys:
            if key not in data:
                raise UserError(
                    f"{path} has no '{key}', and {count} row(s) are said to have a fitted body: "
                    f"fetch the whole file, or set '{flag}' to 0 where there is no body."
                )


def gender_name(value: Any, path: Path) -> str:
    """'m', b'male', array('f') and friends as "male", "female" or "neutral".

    Raises:
        UserError: the value is none of them.
    """
    raw = np.asarray(value).item() if np.asarray(value).size == 1 else value
    text = raw.decode("latin1") if isinstance(raw, bytes) else str(raw)
    try:
        return _GENDERS[text.strip().lower()]
    except KeyError as error:
        raise UserError(f"{path}: unknown gender '{text}', expected male or female.") from error
