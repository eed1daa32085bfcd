"""Arrays out of body files, with one clear sentence where a file is not what it should be."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

import numpy as np
import scipy.sparse

from genhmr.body.joints import NUM_VERTICES
from genhmr.types import NUM_JOINTS, UserError, restore


def load_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an npz file; no pickled content. UserError names the file and the remedy."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; {restore(path, 'download it again')}.") from error
    except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds
        raise UserError(
            f"{path} is not a readable npz file of plain arrays ({type(error).__name__}); "
            f"{restore(path, 'download it again')}."
        ) from error


def load_npy(path: Path) -> np.ndarray:
    """The array of an npy file; no pickled content. UserError likewise."""
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise UserError(
            f"{path} does not exist; it comes with SPIN's data bundle, put it there."
        ) from error
    except Exception as error:
        raise UserError(
            f"{path} is not a readable npy file ({type(error).__name__}); download it again."
        ) from error
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path} is an archive, not one array; get J_regressor_h36m.npy.")
    return array


def not_smpl(path: Path, reason: str) -> UserError:
    """The error of a file that is readable and yet no SMPL body."""
    return UserError(
        f"{path} is not an SMPL body with {NUM_VERTICES} vertices and {NUM_JOINTS} joints: "
        f"{reason}; {restore(path, 'put the SMPL file there (not SMPL-H or SMPL-X)')}."
    )


def take(path: Path, content: Mapping[str, Any], name: str) -> np.ndarray:
    """The dense array under a key of a body file; UserError if the key is missing."""
    if name not in content:
        raise not_smpl(path, f"the key {name!r} is missing")
    value = content[name]
    return value.toarray() if scipy.sparse.issparse(value) else np.asarray(value)


def as_floats(
    path: Path, name: str, array: np.ndarray, dtype: type[np.floating] = np.float64
) -> np.ndarray:
    """Contiguous floats; UserError if the array holds no real numbers."""
    if array.dtype.kind not in "fiu":
        raise not_smpl(path, f"{name} holds no numbers")
    return np.ascontiguousarray(array, dtype=dtype)


def as_int64(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    """Contiguous int64; UserError if the array holds no integers."""
    if array.dtype.kind not in "iu":
        raise not_smpl(path, f"{name} holds no integers")
    return np.ascontiguousarray(array).astype(np.int64)
