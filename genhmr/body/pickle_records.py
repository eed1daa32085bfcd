"""The short list of names a pickle may mention, and the inert records that stand for them.

See :mod:`genhmr.body.safe_pickle` for how they are used.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any


class Record:
    """Remembers how it was called; knows nothing else.

    ``__setstate__`` lives on every record class, so a pickle that aims a BUILD at a *class*
    raises a TypeError instead of writing attributes on it.
    """

    def __new__(cls, *args: Any) -> "Record":
        record = object.__new__(cls)
        record.args, record.state = args, None
        return record

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state


class Array(Record):
    """``numpy.ndarray`` by ``_reconstruct``: the content is in the state."""


class ArrayFromBuffer(Record):
    """``numpy.ndarray`` by ``_frombuffer`` (protocol 5): (buffer, dtype, shape, order)."""


class Scalar(Record):
    """A numpy scalar: (dtype, bytes)."""


class Dtype(Record):
    """``numpy.dtype``: its name in the arguments, its byte order in the state."""


class Csc(Record):
    """``scipy.sparse.csc_matrix``."""


class Csr(Record):
    """``scipy.sparse.csr_matrix``."""


class Chumpy(Record):
    """Any class of chumpy; only those that hold plain data are converted."""


class Reconstructor(Record):
    """``copyreg._reconstructor(cls, object, None)``, how protocols 0 and 1 make instances."""

    def __new__(cls, *args: Any) -> Record:
        kind = args[0] if args else None
        if not (isinstance(kind, type) and issubclass(kind, Record)):
            raise ValueError("copyreg._reconstructor called on something that is not data")
        return kind()


class Latin1(Record):
    """``_codecs.encode(text, "latin1")``, how Python 3 writes bytes at protocol 2 and below."""

    def __new__(cls, *args: Any) -> bytes:
        if len(args) != 2 or args[1] not in ("latin1", "latin-1"):
            raise ValueError("_codecs.encode called with another codec than latin1")
        return str.encode(args[0], "latin1")


class Bytes(Record):
    """``bytes()`` and ``bytearray(text, "latin-1")`` of low protocols; never a length."""

    def __new__(cls, *args: Any) -> bytes:
        if args and not isinstance(args[0], (bytes, bytearray, str)):
            raise ValueError("bytes called with something that is not bytes")
        return Latin1(*args) if len(args) == 2 else bytes(*args)


class Ndarray(Record):
    """The class ``numpy.ndarray``, which a pickle names but must not call."""


class Object(Record):
    """The class ``object``."""


_BY_NAME: dict[str, type] = {
    "ndarray": Ndarray,
    "dtype": Dtype,
    "_reconstruct": Array,
    "scalar": Scalar,
    "_frombuffer": ArrayFromBuffer,
    "csc_matrix": Csc,
    "csr_matrix": Csr,
}
ALLOWED: dict[tuple[str, str], type] = {
    **{("numpy", name): _BY_NAME[name] for name in ("ndarray", "dtype")},
    **{
        (f"{package}.{module}", name): _BY_NAME[name]
        for package in ("numpy.core", "numpy._core")
        for module, name in (
            ("multiarray", "_reconstruct"),
            ("multiarray", "scalar"),
            ("numeric", "_frombuffer"),
        )
    },
    **{
        (f"scipy.sparse{module}", f"{kind}_matrix"): _BY_NAME[f"{kind}_matrix"]
        for kind in ("csc", "csr")
        for module in ("", f".{kind}", f"._{kind}")
    },
    **{
        (module, name): kind
        for module in ("builtins", "__builtin__")
        for name, kind in (
            ("object", Object),
            ("bytes", Bytes),
            ("bytearray", Bytes),
            ("set", set),
            ("frozenset", frozenset),
            ("complex", complex),
        )
    },
    ("copyreg", "_reconstructor"): Reconstructor,
    ("copy_reg", "_reconstructor"): Reconstructor,
    ("_codecs", "encode"): Latin1,
    ("collections", "OrderedDict"): OrderedDict,
}
