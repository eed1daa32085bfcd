"""Files of predictions that are damaged, or hold something else than plain arrays: told how."""

import pickle
import zipfile

import numpy as np
import pandas as pd
import pytest

from bench.prediction_columns import names_in, read_columns
from bench.predictions import KNOWN, read_predictions
from genhmr.types import UserError

COUNT = 5
COLUMNS = {"key": np.array([f"a/{i}/0" for i in range(COUNT)]), "pose": np.zeros((COUNT, 72)),
           "betas": np.zeros((COUNT, 10))}  # fmt: skip


def _npz(path):
    np.savez(path, **COLUMNS)


def _parquet(path, **changes):
    columns = {name: list(values) for name, values in (COLUMNS | changes).items()}
    pd.DataFrame(columns).to_parquet(path)


def _truncated(path):
    (_npz if path.suffix == ".npz" else _parquet)(path)
    path.write_bytes(path.read_bytes()[:-300])


def _flipped(path):
    """One byte of the column of poses is another."""
    _npz(path)
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("pose.npy").header_offset + 300
    content = bytearray(path.read_bytes())
    content[start] ^= 1
    path.write_bytes(content)


def _objects(path):
    np.savez(path, **COLUMNS | {"pose": np.array([[1.0], [1.0, 2.0]], object)})


class _Bomb:
    def __reduce__(self):
        return print, ("ran",)


WRONG = {
    "gone.npz": (lambda path: None, "does not exist: name the file of predictions"),
    "empty.npz": (lambda path: path.touch(), "is empty: write it or copy it again"),
    "empty.parquet": (lambda path: path.touch(), "is empty: write it or copy it again"),
    "text.npz": (lambda path: path.write_text("x" * 20), "is no npz file: save the columns"),
    "pickle.npz": (lambda path: path.write_bytes(pickle.dumps(_Bomb())), "is a pickle, which can"),
    "array.npz": (lambda path: np.save(open(path, "wb"), np.zeros((3, 72))), "is a bare array"),
    "parquet.npz": (_parquet, "is a parquet file under another name"),
    "folder.npz": (lambda path: path.mkdir(), "is a folder: save the columns"),
    "short.npz": (_truncated, "is truncated or damaged: write it or copy it again"),
    "flipped.npz": (_flipped, "'pose' is damaged: write the file or copy it again"),
    "objects.npz": (_objects, "'pose' holds Python objects, which are never unpickled: save"),
    "short.parquet": (_truncated, "is truncated: write it or copy it again"),
    "text.parquet": (lambda path: path.write_text("x" * 20), "is no parquet file: write it with"),
    "inside.parquet": (lambda path: path.write_bytes(b"PAR1" + b"x" * 40 + b"PAR1"), "is damaged"),
    "table.csv": (lambda path: None, "neither .npz nor .parquet"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_damaged_file_says_what_it_is_and_what_to_do(tmp_path, capsys, name):
    make, message = WRONG[name]
    path = tmp_path / name
    make(path)
    with pytest.raises(UserError, match=message) as told:
        read_predictions(path, None, 6890)
    text = str(told.value)
    assert str(path) in text and len(text.splitlines()) == 1
    assert "allow_pickle" not in text and "unsafe" not in text
    assert "ran" not in capsys.readouterr().out


NULL = [np.zeros(72)] * 2 + [None] + [np.zeros(72)] * 2
RAGGED = [np.zeros(72)] * 3 + [np.zeros(69), np.zeros(72)]
INNER = [[[0.0, 0.0, 0.0]] * 24] * 4 + [[[0.0, 0.0]] + [[0.0, 0.0, 0.0]] * 23]
ROWS = {
    "null": ({"pose": NULL}, r"'pose' holds nothing \(null or NaN\) in 1 rows, first in row 2"),
    "ragged": ({"pose": RAGGED}, r"'pose' has shape \(69,\) in row 3 and \(72,\) in row 0"),
    "inner": ({"pose": INNER}, "'pose' holds lists of several lengths within row 4"),
    "no name": ({"key": ["a", "b", None, "d", "e"]}, r"'key' holds nothing .* first in row 2"),
    "no person": ({"person": [0, 0, None, 0, 0]}, r"'person' holds nothing .* first in row 2"),
    "bytes": ({"key": [b"a", b"b", b"c", b"d", b"e"]}, "'key' holds bytes: write text"),
}  # fmt: skip


@pytest.mark.parametrize("case", ROWS)
def test_a_bad_row_of_a_parquet_is_named(tmp_path, case):
    changes, message = ROWS[case]
    path = tmp_path / "p.parquet"
    _parquet(path, **changes)
    with pytest.raises(UserError, match=message) as told:
        read_predictions(path, None, 6890)
    assert str(path) in str(told.value) and len(str(told.value).splitlines()) == 1


def test_names_are_text(tmp_path):
    path = tmp_path / "p.npz"
    np.savez(path, **COLUMNS | {"key": np.array([b"a/0/0"] * COUNT)})
    with pytest.raises(UserError, match="'key' holds bytes: write text"):
        read_predictions(path, None, 6890)
    for names in (np.zeros(COUNT), np.array([["a"]]), np.array([], str), np.array("a")):
        np.savez(path, **COLUMNS | {"key": names})
        with pytest.raises(UserError, match="'key' has shape .*: write a list of names as text"):
            read_predictions(path, None, 6890)
    with pytest.raises(UserError, match="'key' holds 7 in row 1: write a name there"):
        names_in(path, {"key": np.array(["a", 7], object)}, "key")


def test_whole_files_are_read_in_any_nesting(tmp_path):
    """Lists of lists of a parquet are arrays; what is not known is passed over."""
    matrices = np.broadcast_to(np.eye(3), (COUNT, 24, 3, 3))
    path = tmp_path / "p.parquet"
    _parquet(path, pose=matrices.tolist(), other=["x"] * COUNT)
    columns = read_columns(path, KNOWN)
    assert set(columns) == {"key", "pose", "betas"}
    np.testing.assert_array_equal(columns["pose"], matrices)
    found = read_predictions(path, None, 6890)
    assert found.pose.shape == (COUNT, 24, 3, 3) and found.names.tolist() == list(COLUMNS["key"])
