"""Reading pickles of strangers: data comes out, code never runs.

SMPL body files, 3DPW, EMDB and MOYO are distributed as Python pickles, and a pickle is a program.
Two rules make reading them safe here:

1. The unpickler knows a short, exact list of names. Any other name is refused before it is
   looked up, so nothing is imported.
2. Even the names on the list do not build the real thing. numpy arrays, dtypes, scipy sparse
   matrices and chumpy arrays become inert records that only remember their arguments;
   :func:`_to_data` turns the records into arrays afterwards, with every size checked. numpy's
   own ``__setstate__`` is never called: a crafted dtype or shape can make it read foreign memory.

chumpy neither installs nor imports on a current Python; its arrays (``chumpy.ch.Ch`` and
``chumpy.reordering.Select``, as in the released SMPL files) are read without it.
"""

from __future__ import annotations

import io
import math
import pickle
import re
from pathlib import Path
from typing import Any, Callable

import numpy as np
import scipy.sparse

from genhmr.body.pickle_records import (
    ALLOWED,
    Array,
    ArrayFromBuffer,
    Chumpy,
    Csc,
    Csr,
    Dtype,
    Record,
    Scalar,
)
from genhmr.types import UserError

# bool, bytes, signed, unsigned, float, complex, unicode; "O" is handled on its own.
_DTYPE_NAME = re.compile(r"^(\?|b1|[iu][1248]|f[248]|c8|c16|[SU]\d{1,6})$")


class _Refused(Exception):
    """A name that is not on the list."""


class _RecordUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        if module.split(".")[0] == "chumpy" and name.isidentifier():
            return type(name, (Chumpy,), {"__module__": module})
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise _Refused(f"{module}.{name}") from None


def load_pickle(path: Path) -> object:
    """Read a pickle that holds data, without running anything it asks for.

    Accepted: numpy arrays (numbers, strings, nested objects) and scalars, scipy.sparse csc/csr
    matrices, chumpy arrays that hold plain data (returned as ndarrays), and the built-in
    containers. ``OrderedDict`` comes back as ``dict``. Python-2 strings are read as latin1.

    Args:
        path: the pickle file, any protocol.

    Returns:
        The object in the file, with every record replaced by its array.

    Raises:
        UserError: the file is missing, truncated or not a pickle, or it names a class that is
            not on the list above; the message names the file and the class.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); check the path and its permissions."
        ) from error
    try:
        return _to_data(_RecordUnpickler(io.BytesIO(raw), encoding="latin1").load(), {})
    except _Refused as refused:
        raise UserError(
            f"{path} asks for {refused}, which is not data, so it was not opened; "
            "get the file from its official source."
        ) from None
    except Exception as error:  # a broken pickle can raise nearly anything
        raise UserError(
            f"{path} is truncated or not a readable pickle of arrays "
            f"({type(error).__name__}: {error}); download it again."
        ) from error


def _to_data(value: Any, done: dict[int, Any]) -> Any:
    """Replace every record below ``value`` by its data; ``done`` keeps shared objects shared."""
    if isinstance(value, Record):
        key = id(value)
        if key not in done:
            done[key] = _record_to_data(value, lambda part: _to_data(part, done))
        return done[key]
    if isinstance(value, dict):
        if id(value) not in done:
            done[id(value)] = result = {}
            result.update((_to_data(k, done), _to_data(v, done)) for k, v in value.items())
        return done[id(value)]
    if isinstance(value, list):
        if id(value) not in done:
            done[id(value)] = result = []
            result.extend(_to_data(item, done) for item in value)
        return done[id(value)]
    if isinstance(value, (tuple, set, frozenset)):
        return type(value)(_to_data(item, done) for item in value)
    if isinstance(value, type):
        raise ValueError("a class stands where data should be")
    return value


def _record_to_data(record: Record, resolve: Callable[[Any], Any]) -> Any:
    if isinstance(record, Array):
        _, shape, dtype, fortran, content = record.state
        return _array(shape, dtype, "F" if fortran else "C", content, resolve)
    if isinstance(record, ArrayFromBuffer):
        content, dtype, shape, order = record.args
        return _array(shape, dtype, order, content, resolve)
    if isinstance(record, Scalar):
        return _array((), *_scalar_parts(record), resolve)[()]
    if isinstance(record, Dtype):
        return _dtype(record)
    if isinstance(record, (Csc, Csr)):
        return _sparse(record, resolve)
    if isinstance(record, Chumpy):
        return _chumpy(record, resolve)
    raise ValueError(f"a bare {type(record).__name__} stands where data should be")


def _scalar_parts(record: Record) -> tuple[Any, str, Any]:
    dtype, content = record.args
    return dtype, "C", content


def _dtype(record: Any) -> np.dtype:
    """A plain dtype; structured and sub-array dtypes are refused (no supported set has them)."""
    if not isinstance(record, Dtype):
        raise ValueError("an array without a dtype")
    name = record.args[0]
    state = record.state or (3, "|", None, None, None)
    _, order, subarray, names, fields = state[:5]
    if subarray is not None or names is not None or fields is not None:
        raise ValueError("a structured dtype")
    if order not in ("<", ">", "|", "="):
        raise ValueError("an unknown byte order")
    if name in ("O", "O4", "O8"):
        return np.dtype(object)
    if not _DTYPE_NAME.match(name):
        raise ValueError(f"the dtype {name!r}")
    return np.dtype(name).newbyteorder(order)


def _array(
    shape: Any, dtype: Any, order: str, content: Any, resolve: Callable[[Any], Any]
) -> np.ndarray:
    """An array of exactly ``shape`` from exactly as many bytes (or objects)."""
    dtype = _dtype(dtype)
    shape = tuple(int(size) for size in (shape if isinstance(shape, tuple) else (shape,)))
    if any(size < 0 for size in shape) or order not in ("C", "F"):
        raise ValueError("an impossible array shape")
    count = math.prod(shape)
    if dtype == object:
        if not isinstance(content, list) or len(content) != count:
            raise ValueError("an object array whose content does not fill its shape")
        flat = np.empty(count, dtype=object)
        for i, item in enumerate(content):
            flat[i] = resolve(item)
        return flat.reshape(shape, order=order)
    if isinstance(content, str):  # Python-2 bytes, decoded as latin1 by the unpickler
        content = content.encode("latin1")
    if not isinstance(content, (bytes, bytearray)) or len(content) != count * dtype.itemsize:
        raise ValueError("an array whose bytes do not fill its shape")
    if count == 0 or dtype.itemsize == 0:
        return np.zeros(shape, dtype)
    # astype copies: writable, and in this machine's byte order.
    flat = np.frombuffer(content, dtype=dtype).astype(dtype.newbyteorder("="))
    return flat.reshape(shape, order=order)


def _state_dict(record: Record) -> dict[str, Any]:
    """The attributes of a record: its state, or the first part of (state, slots)."""
    state = record.state
    if isinstance(state, tuple) and len(state) == 2:
        state = state[0]
    if not isinstance(state, dict):
        raise ValueError(f"a {type(record).__name__} without content")
    return state


def _sparse(record: Record, resolve: Callable[[Any], Any]) -> Any:
    """A csc or csr matrix, its index arrays checked before scipy's C code walks them."""
    state = _state_dict(record)
    shape = resolve(state.get("_shape", state.get("shape")))
    parts = tuple(np.asarray(resolve(state[name])) for name in ("data", "indices", "indptr"))
    kind = scipy.sparse.csc_matrix if isinstance(record, Csc) else scipy.sparse.csr_matrix
    rows, columns = (int(size) for size in shape)
    matrix = kind(parts, shape=(rows, columns))
    matrix.check_format(full_check=True)
    return matrix


def _chumpy(record: Chumpy, resolve: Callable[[Any], Any]) -> np.ndarray:
    """The numbers of a chumpy array: ``Ch`` holds ``x``, ``Select`` picks ``idxs`` of ``a``."""
    state = _state_dict(record)
    if "x" in state:
        return np.array(resolve(state["x"]))
    if "a" in state and "idxs" in state:
        chosen = np.asarray(resolve(state["a"])).ravel()[np.asarray(resolve(state["idxs"]))]
        return chosen.reshape(resolve(state.get("preferred_shape", chosen.shape)))
    raise _Refused(f"{type(record).__module__}.{type(record).__name__} (a chumpy expression)")
