"""The restricted unpickler: reads what the data sets hold, refuses everything else."""

from __future__ import annotations

import pickle
import struct
import sys
import types
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

from genhmr.body import load_pickle
from genhmr.types import UserError


def write(path: Path, value: object, protocol: int = 2) -> Path:
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


class Calls:
    """Pickles as a call of ``function(*args)``."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def sample() -> dict:
    rng = np.random.default_rng(0)
    return {
        "floats": rng.normal(size=(3, 4)),
        "single": rng.normal(size=7).astype(np.float32),
        "half": rng.normal(size=2).astype(np.float16),
        "fortran": np.asfortranarray(rng.normal(size=(2, 3))),
        "big_endian": np.arange(4, dtype=">i4"),
        "unsigned": np.array([[2**32 - 1, 0]], dtype=np.uint32),
        "flags": np.array([True, False]),
        "empty": np.zeros((0, 72)),
        "text": np.array(["a", "bcd"]),
        "bytes_text": np.array([b"m", b"f"]),
        "objects": np.array([None, "f", [np.arange(2)]], dtype=object),
        "scalar": np.float64(2.5),
        "boolean": np.bool_(True),
        "genders": ["m", "f"],
        "nested": {"smpl": {"betas": np.zeros(10)}, 3: (1, 2.5, None, b"raw", "\u00e9")},
        "ordered": OrderedDict(a=1),
        "set": {1, 2},
    }


def assert_same(found, expected):
    if isinstance(expected, np.ndarray):
        assert isinstance(found, np.ndarray) and found.shape == expected.shape
        assert found.dtype == expected.dtype.newbyteorder("=")
        for a, b in zip(found.ravel(), expected.ravel()):
            assert_same(a, b) if expected.dtype == object else None
        if expected.dtype != object:
            assert np.array_equal(found, expected)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, (list, tuple)):
        assert type(found) is type(expected) and len(found) == len(expected)
        for a, b in zip(found, expected):
            assert_same(a, b)
    else:
        assert found == expected


@pytest.mark.parametrize("protocol", range(6))
def test_reads_what_numpy_writes(tmp_path, protocol):
    found = load_pickle(write(tmp_path / "data.pkl", sample(), protocol))
    assert_same(found, sample())
    found["floats"][0, 0] = 1.0  # writable, as a loaded array should be


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", [scipy.sparse.csc_matrix, scipy.sparse.csr_matrix])
def test_reads_sparse_matrices(tmp_path, protocol, kind):
    dense = np.diag([1.0, 0.0, 3.0])[:, :2]
    found = load_pickle(write(tmp_path / "data.pkl", {"J": kind(dense)}, protocol))["J"]
    assert isinstance(found, kind)
    assert np.array_equal(found.toarray(), dense)


def test_reads_an_array_as_python_2_wrote_it(tmp_path):
    """Raw bytes in a Python-2 string, module name numpy.core: the official SMPL and 3DPW files."""
    values = np.array([1.5, -2.25, 1e300])
    raw = values.tobytes()
    unset = b"J\xff\xff\xff\xff"
    dtype = b"cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNN" + 2 * unset + b"K\x00tb"
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x03\x85" + dtype + b"\x89U" + bytes([len(raw)]) + raw + b"tb"
    )
    path = tmp_path / "py2.pkl"
    path.write_bytes(b"\x80\x02}U\x05poses" + array + b"s.")
    assert np.array_equal(load_pickle(path)["poses"], values)


def test_shared_and_cyclic_containers_stay_shared(tmp_path):
    array, loop = np.arange(3), []
    loop.append(loop)
    value = {"a": array, "b": array, "loop": loop}
    found = load_pickle(write(tmp_path / "data.pkl", value))
    assert found["a"] is found["b"]
    assert found["loop"][0] is found["loop"]


@pytest.fixture
def chumpy_pickle(tmp_path, monkeypatch):
    """A file with the class names and states that chumpy leaves behind; chumpy is not needed."""
    modules = {name: types.ModuleType(name) for name in
               ("chumpy", "chumpy.ch", "chumpy.reordering", "chumpy.ch_ops")}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)

    def make(module, name, **state):
        kind = getattr(modules[module], name, None)
        if kind is None:
            kind = type(name, (), {"__module__": module, "__qualname__": name})
            setattr(modules[module], name, kind)
        instance = kind()
        instance.__dict__.update(state)
        return instance

    full = np.arange(24.0).reshape(2, 3, 4)
    inner = make("chumpy.ch", "Ch", x=full, _dirty_vars=set(), _itr=None)
    chosen = np.arange(24).reshape(2, 3, 4)[..., :2].ravel()
    content = {
        "v_template": make("chumpy.ch", "Ch", x=full[0]),
        "shapedirs": make("chumpy.reordering", "Select", a=inner, idxs=chosen,
                          preferred_shape=(2, 3, 2)),
    }

    def finish(extra: dict, protocol: int) -> Path:
        path = write(tmp_path / "smpl.pkl", {**content, **extra}, protocol)
        for name in modules:
            monkeypatch.delitem(sys.modules, name)
        return path

    return make, finish, full


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_reads_chumpy_arrays_without_chumpy(chumpy_pickle, protocol):
    _, finish, full = chumpy_pickle
    found = load_pickle(finish({}, protocol))
    assert "chumpy" not in sys.modules
    assert type(found["v_template"]) is np.ndarray
    assert np.array_equal(found["v_template"], full[0])
    assert np.array_equal(found["shapedirs"], full[..., :2])


def test_refuses_a_chumpy_expression(chumpy_pickle):
    make, finish, full = chumpy_pickle
    path = finish({"sum": make("chumpy.ch_ops", "add", b=full)}, 2)
    with pytest.raises(UserError, match=r"smpl\.pkl.*chumpy\.ch_ops\.add"):
        load_pickle(path)


def global_call(module: str, name: str, argument: bytes = b"X\x01\x00\x00\x00x") -> bytes:
    """The program ``module.name("x")``, by the GLOBAL opcode."""
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + argument + b"\x85R."


FORBIDDEN = [
    ("os", "system"), ("posix", "system"), ("nt", "system"), ("subprocess", "Popen"),
    ("builtins", "eval"), ("builtins", "exec"), ("builtins", "getattr"),
    ("builtins", "__import__"), ("__builtin__", "eval"), ("__builtin__", "open"),
    ("builtins", "type"), ("builtins", "print"), ("importlib", "import_module"),
    ("pickle", "loads"), ("copyreg", "add_extension"), ("operator", "attrgetter"),
    ("functools", "partial"), ("numpy", "load"), ("numpy", "fromfile"), ("numpy", "memmap"),
    ("numpy.core.multiarray", "fromfile"), ("numpy._core.multiarray", "fromstring"),
    ("numpy.core.numeric", "load"), ("numpy.testing._private.utils", "runstring"),
    ("scipy.sparse", "load_npz"), ("torch", "load"), ("torch.storage", "_load_from_bytes"),
    ("chumpy", "os.system"), ("collections", "defaultdict"), ("types", "FunctionType"),
]  # fmt: skip


@pytest.mark.parametrize("module, name", FORBIDDEN)
def test_refuses_and_names_a_forbidden_class(tmp_path, module, name):
    path = tmp_path / "hostile.pkl"
    path.write_bytes(global_call(module, name))
    with pytest.raises(UserError) as caught:
        load_pickle(path)
    assert "hostile.pkl" in str(caught.value) and f"{module}.{name}" in str(caught.value)


def test_dotted_name_cannot_climb_out_of_an_allowed_module(tmp_path):
    def text(value: str) -> bytes:
        return b"\x8c" + bytes([len(value)]) + value.encode()

    for module, name in (("numpy", "ndarray.tofile"), ("chumpy.ch", "os.system"),
                         ("collections", "OrderedDict.fromkeys")):
        path = tmp_path / "dotted.pkl"
        path.write_bytes(b"\x80\x04" + text(module) + text(name) + b"\x93" + text("x") + b"\x85R.")
        with pytest.raises(UserError, match=r"dotted\.pkl asks for"):
            load_pickle(path)


def test_nothing_runs_before_the_refusal(tmp_path):
    import os

    witness = tmp_path / "witness"
    value = [np.zeros(2), Calls(os.mkdir, str(witness)), Calls(eval, "1")]
    path = write(tmp_path / "hostile.pkl", value)
    with pytest.raises(UserError, match="mkdir"):
        load_pickle(path)
    assert not witness.exists()
    pickle.loads(path.read_bytes())  # the same file does run in a plain unpickler
    assert witness.exists()


def array_program(shape: str, dtype: bytes, raw: bytes) -> bytes:
    """An ndarray whose state is what the caller says, true or not."""
    return (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
        + shape.encode("latin1") + dtype + b"\x89" + raw + b"tb."
    )


F8 = b"cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R"
OBJECT = b"cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R"
SHORT = b"U\x08" + bytes(8)


# The program, and the reason that must be given: a crafted file has to fail where it is meant to.
CRAFTED = {
    "huge shape": (
        array_program("J" + struct.pack("<i", 10**9).decode("latin1") + "\x85", F8, SHORT),
        "do not fill its shape",
    ),
    "negative shape": (array_program("J\xff\xff\xff\xff\x85", F8, SHORT), "impossible array shape"),
    "bytes as object pointers": (array_program("K\x01\x85", OBJECT, SHORT), "object array"),
    "number as buffer": (array_program("K\x01\x85", F8, b"K\x07"), "do not fill its shape"),
    "no dtype": (array_program("K\x01\x85", b"N", SHORT), "without a dtype"),
    "void dtype": (
        array_program("K\x01\x85", b"cnumpy\ndtype\nU\x02V8K\x00K\x01\x87R", SHORT), "dtype 'V8'",
    ),
    # an object field, hidden in a record so that numpy itself would take raw bytes for pointers
    "smuggled object field": (
        array_program(
            "K\x01\x85",
            b"cnumpy\ndtype\nU\x02V8\x85R(K\x03U\x01|N(U\x01at}U\x01a"
            b"cnumpy\ndtype\nU\x02O8\x85RK\x00\x86sK\x08K\x01K\x00tb",
            SHORT,
        ),
        "structured dtype",
    ),
    "ndarray called": (b"\x80\x02cnumpy\nndarray\n(K\x02K\x02tR.", "bare Ndarray"),
    "bare class": (b"\x80\x02cnumpy\nndarray\n.", "a class stands"),
    "state set on a class": (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n}U\x01aK\x01sb.", "__setstate__",
    ),
    "state set on a built-in": (b"\x80\x02c__builtin__\nset\n}U\x01aK\x01sb.", "mappingproxy"),
    "attributes set on a class": (
        b"\x80\x02cnumpy\ndtype\nN}U\x01aK\x01s\x86b.", "__setstate__",
    ),
    "2 GB of bytes": (b"\x80\x02c__builtin__\nbytes\nJ\xff\xff\xff\x7f\x85R.", "not bytes"),
    "2 GB of bytearray": (
        b"\x80\x02c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R.", "not bytes",
    ),
    "reconstructor of a set": (
        b"\x80\x02ccopy_reg\n_reconstructor\nc__builtin__\nset\nc__builtin__\nobject\nN\x87R.",
        "not data",
    ),
    "zip codec": (b"\x80\x02c_codecs\nencode\nU\x01aU\x03zip\x86R.", "another codec"),
    "persistent id": (b"\x80\x02U\x05tokenQ.", "persistent"),
    "extension code": (b"\x80\x02\x82\x01.", "extension"),
    "chumpy without content": (b"\x80\x02cchumpy.ch\nCh\n)\x81.", "Ch without content"),
    "sparse without content": (b"\x80\x02cscipy.sparse.csc\ncsc_matrix\n)\x81}b.", "'data'"),
    "empty": (b"", "EOFError"),
    "text": (b"not a pickle at all", "truncated or not"),
}  # fmt: skip


@pytest.mark.parametrize("case", CRAFTED)
def test_refuses_crafted_programs(tmp_path, case):
    program, reason = CRAFTED[case]
    path = tmp_path / "crafted.pkl"
    path.write_bytes(program)
    with pytest.raises(UserError, match=reason) as caught:
        load_pickle(path)
    assert str(path) in str(caught.value)


def test_refuses_a_sparse_matrix_that_points_outside(tmp_path):
    matrix = scipy.sparse.csc_matrix(np.eye(3))
    matrix.indices = matrix.indices.copy()
    matrix.indices[1] = 10_000_000
    with pytest.raises(UserError, match=r"sparse\.pkl"):
        load_pickle(write(tmp_path / "sparse.pkl", matrix))


def test_refuses_bottomless_nesting(tmp_path):
    path = tmp_path / "deep.pkl"
    path.write_bytes(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".")
    with pytest.raises(UserError, match=r"deep\.pkl"):
        load_pickle(path)


def test_refuses_every_truncation(tmp_path):
    whole = pickle.dumps(sample(), protocol=2)
    path = tmp_path / "cut.pkl"
    for length in [*range(0, 200, 7), *np.linspace(200, len(whole) - 1, 60).astype(int)]:
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"cut\.pkl is truncated or not"):
            load_pickle(path)


def test_names_a_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"absent\.pkl cannot be read"):
        load_pickle(tmp_path / "absent.pkl")
    with pytest.raises(UserError, match="cannot be read"):
        load_pickle(tmp_path)
