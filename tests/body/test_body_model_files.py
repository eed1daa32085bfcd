"""Body files: both layouts, the official pickle, and one clear sentence for each bad file."""

from __future__ import annotations

import dataclasses
import pickle
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import smplx
import torch

from genhmr.body import SMPL, export_smpl_pickle, joints, load_bodies, load_body_model
from genhmr.body.joints import H36M17_NAMES
from genhmr.types import UserError

FIELDS = ("v_template", "shapedirs", "posedirs", "weights", "J_regressor", "faces", "parents")


def assert_same_body(found, expected):
    for name in FIELDS:
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name


def smpl_arrays(body, **changes) -> dict:
    """An smplx-style npz content in float32 and float16, small enough to write often."""
    content = {
        "v_template": body.v_template.astype(np.float32),
        "shapedirs": body.shapedirs.astype(np.float32),
        "posedirs": body.posedirs.astype(np.float16),
        "weights": body.weights.astype(np.float32),
        "J_regressor": body.J_regressor.astype(np.float32),
        "f": body.faces.astype(np.uint32),
        "kintree_table": np.stack([body.parents, np.arange(24)]).astype(np.uint32),
    }
    content.update(changes)
    return {name: value for name, value in content.items() if value is not None}


def test_shipped_bodies_are_complete(bodies):
    for gender in ("neutral", "male", "female"):
        body = bodies.get(gender)
        assert body.faces.shape == (13776, 3)
        found = {name: getattr(body, name).dtype for name in FIELDS[:5]}
        assert found.pop("posedirs") == np.float32
        assert set(found.values()) == {np.dtype(np.float64)}
    assert bodies.regressor_h36m.shape == (17, 6890)
    with pytest.raises(ValueError, match="gender"):
        bodies.get("m")


def test_a_layer_shares_the_blend_shapes_of_its_body_and_they_must_be_its_own(bodies):
    body = bodies.neutral
    assert np.shares_memory(SMPL(body).blend_map.numpy(), body.posedirs)
    assert not np.shares_memory(SMPL(body, torch.float64).blend_map.numpy(), body.posedirs)
    with pytest.raises(ValueError, match="begin with shapedirs"):
        dataclasses.replace(body, shapedirs=2 * body.shapedirs)


def test_smplx_style_npz_is_read(bodies, tmp_path):
    path = tmp_path / "SMPL_NEUTRAL.npz"
    wide = np.concatenate([bodies.neutral.shapedirs, np.ones((6890, 3, 5))], axis=-1)
    np.savez(path, **smpl_arrays(bodies.neutral, shapedirs=wide.astype(np.float32)))
    assert_same_body(load_body_model(path), bodies.neutral)


def test_export_loads_in_smplx_and_comes_back(bodies, smplx_folder, oracle, posed):
    path = smplx_folder / "smpl" / "SMPL_NEUTRAL.pkl"
    assert_same_body(load_body_model(path), bodies.neutral)
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # no temporary left
    pose, betas = posed
    output = oracle(
        global_orient=pose[:, :1], body_pose=pose[:, 1:], betas=betas, pose2rot=False,
        transl=torch.zeros(8, 3),
    )
    assert isinstance(oracle, smplx.SMPL)
    assert (SMPL(bodies.neutral)(pose, betas).vertices - output.vertices).abs().max() <= 1e-5


@pytest.fixture
def official_pickle(bodies, monkeypatch):
    """Writes a body the way the release is written: chumpy arrays, sparse regressor, uint32."""

    def write(body, path: Path) -> None:
        module = types.ModuleType("chumpy.ch")
        module.Ch = type("Ch", (), {"__module__": "chumpy.ch", "__qualname__": "Ch"})
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
            patch.setitem(sys.modules, "chumpy.ch", module)
            content = smpl_arrays(body, J_regressor=scipy.sparse.csc_matrix(body.J_regressor))
            for name in ("v_template", "shapedirs", "posedirs", "weights"):
                chumpy_array = module.Ch()
                chumpy_array.x = content[name]
                content[name] = chumpy_array
            content["bs_style"] = "lbs"
            path.write_bytes(pickle.dumps(content, protocol=2))

    return write


def test_licensed_folder_is_read(bodies, official_pickle, tmp_path):
    official_pickle(bodies.neutral, tmp_path / "SMPL_NEUTRAL.pkl")
    official_pickle(bodies.male, tmp_path / "basicmodel_m_lbs_10_207_0_v1.1.0.pkl")
    official_pickle(bodies.female, tmp_path / "basicModel_f_lbs_10_207_0_v1.0.0.pkl")
    np.save(tmp_path / "J_regressor_h36m.npy", bodies.regressor_h36m)
    found = load_bodies(tmp_path)
    for gender in ("neutral", "male", "female"):
        assert_same_body(found.get(gender), bodies.get(gender))
        assert Path(found.get(gender).source).parent == tmp_path
    assert np.array_equal(found.regressor_h36m, bodies.regressor_h36m)


def test_regressor_with_the_right_leg_first_is_reordered(bodies, official_pickle, tmp_path):
    official_pickle(bodies.neutral, tmp_path / "SMPL_NEUTRAL.pkl")
    for gender in ("MALE", "FEMALE"):
        shutil.copy(tmp_path / "SMPL_NEUTRAL.pkl", tmp_path / f"SMPL_{gender}.pkl")
    legs_swapped = [0, 4, 5, 6, 1, 2, 3, *range(7, 17)]
    np.save(tmp_path / "J_regressor_h36m.npy", bodies.regressor_h36m[legs_swapped])
    assert np.array_equal(load_bodies(tmp_path).regressor_h36m, bodies.regressor_h36m)


def test_open_regressor_is_ordered_by_its_names(bodies):
    shipped = np.load(Path(bodies.neutral.source).parent / "regressors.npz")
    names = [str(name) for name in shipped["h36m_names"]]
    for row, name in enumerate(joints.H36M17_NAMES):
        expected = shipped["J_regressor_h36m"][names.index(name)]
        assert np.array_equal(bodies.regressor_h36m[row], expected)


def with_value(array: np.ndarray, index: tuple, value: float) -> np.ndarray:
    changed = array.copy()
    changed[index] = value
    return changed


# What is changed in a good file, and what the sentence must say.
BAD_FILES = {
    "missing": (lambda body: {"posedirs": None}, "'posedirs' is missing"),
    "smplx": (lambda body: {"v_template": np.zeros((10475, 3), np.float32)}, r"\(10475, 3\)"),
    "few_betas": (
        lambda body: {"shapedirs": np.zeros((6890, 3, 4), np.float32)}, r"\(6890, 3, 4\)",
    ),
    "flat": (lambda body: {"shapedirs": np.zeros(6890, np.float32)}, "shapedirs has shape"),
    "smplh": (lambda body: {"weights": np.ones((6890, 52), np.float32) / 52}, r"\(6890, 52\)"),
    "nan": (
        lambda body: {"v_template": with_value(body.v_template, (5, 1), np.nan)},
        "v_template holds NaN",
    ),
    "tree": (lambda body: {"parents": with_value(body.parents, (3,), 20)}, "kinematic tree"),
    "faces": (
        lambda body: {"f": with_value(body.faces, (0, 0), 6890)}, "vertices that do not exist",
    ),
    "weights": (lambda body: {"weights": 2 * body.weights}, "do not sum to 1"),
    "text": (lambda body: {"v_template": np.array(["a"])}, "v_template holds no numbers"),
    "float_faces": (lambda body: {"f": np.zeros((4, 3))}, "f holds no integers"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_bodies_are_refused_in_one_sentence(bodies, tmp_path, case):
    changes, message = BAD_FILES[case]
    path = tmp_path / "SMPL_NEUTRAL.npz"
    np.savez(path, **smpl_arrays(bodies.neutral, **changes(bodies.neutral)))
    with pytest.raises(UserError, match=message) as caught:
        load_body_model(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_unreadable_files_are_refused(bodies, tmp_path):
    path = tmp_path / "SMPL_NEUTRAL.npz"
    with pytest.raises(UserError, match="does not exist"):
        load_body_model(path)
    np.savez(path, **smpl_arrays(bodies.neutral))
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"SMPL_NEUTRAL\.npz is not a readable npz"):
            load_body_model(path)
    np.savez(path, v_template=np.array([{"a": 1}], dtype=object))  # a pickle inside an npz
    with pytest.raises(UserError, match="not a readable npz"):
        load_body_model(path)
    listing = tmp_path / "list.pkl"
    listing.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(UserError, match="holds no dictionary"):
        load_body_model(listing)


def test_incomplete_folders_are_refused(bodies, tmp_path):
    with pytest.raises(UserError, match="nowhere does not exist"):
        load_bodies(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no SMPL_NEUTRAL\.pkl"):
        load_bodies(tmp_path)
    for gender in ("NEUTRAL", "MALE", "FEMALE"):
        np.savez(tmp_path / f"SMPL_{gender}.npz", **smpl_arrays(bodies.neutral))
    with pytest.raises(UserError, match=r"J_regressor_h36m\.npy does not exist"):
        load_bodies(tmp_path)
    np.save(tmp_path / "J_regressor_h36m.npy", np.zeros((17, 10475)))
    with pytest.raises(UserError, match=r"not \(17, 10475\)"):
        load_bodies(tmp_path)


def test_incomplete_open_folders_are_refused(bodies, tmp_path):
    for gender in ("neutral", "male", "female"):
        shutil.copy(bodies.get(gender).source, tmp_path)
    with pytest.raises(UserError, match=r"regressors\.npz does not exist"):
        load_bodies(tmp_path)
    regressor = bodies.regressor_h36m.astype(np.float32)
    np.savez(tmp_path / "regressors.npz", J_regressor_h36m=regressor)
    with pytest.raises(UserError, match=r"regressors\.npz lacks 'h36m_names'"):
        load_bodies(tmp_path)
    names = np.array(["Pelvis"] * 17)
    h36m = {"J_regressor_h36m": regressor, "h36m_names": names}
    np.savez(tmp_path / "regressors.npz", **h36m)
    with pytest.raises(UserError, match=r"lacks 'J_regressor_coco23'"):
        load_bodies(tmp_path)
    coco = {"J_regressor_coco23": regressor, "coco_names": names}
    np.savez(tmp_path / "regressors.npz", **h36m, **coco)
    with pytest.raises(UserError, match="names other joints"):
        load_bodies(tmp_path)
    h36m["h36m_names"] = np.array(H36M17_NAMES)
    np.savez(tmp_path / "regressors.npz", **h36m, **coco)
    with pytest.raises(UserError, match="J_regressor_coco23 does not fit its names"):
        load_bodies(tmp_path)


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("neutral.npz", lambda path: path.unlink(), "open/body has no SMPL_NEUTRAL.pkl .nor the"),
        ("male.npz", lambda path: path.unlink(), r"male\.npz does not exist"),
        ("female.npz", lambda path: path.write_bytes(path.read_bytes()[:9000]), "not a readable"),
        ("male.npz", lambda path: np.savez(path, a=1), "not an SMPL body .* 'v_template' is miss"),
        ("regressors.npz", lambda path: path.unlink(), r"regressors\.npz does not exist"),
        ("regressors.npz", lambda path: path.write_bytes(b"x"), "not a readable npz"),
        ("regressors.npz", lambda path: np.savez(path, a=1), "lacks 'J_regressor_h36m'"),
        ("", lambda path: shutil.rmtree(path), "datasets/open/body does not exist"),
    ],
)
def test_the_shipped_body_comes_back_by_git(bodies, tmp_path, name, damage, message):
    """Nobody has to fetch SMPL for the open world."""
    folder = tmp_path / "datasets" / "open" / "body"
    shutil.copytree(Path(bodies.neutral.source).parent, folder)
    damage(folder / name)
    remedy = "; restore it with `git checkout datasets/open/body`."
    with pytest.raises(UserError, match=message) as error:
        load_bodies(folder)
    assert str(error.value).endswith(remedy) and "SMPL file there" not in str(error.value)


def test_a_missing_licensed_folder_names_what_tells_more(tmp_path):
    with pytest.raises(UserError, match="datasets/body does not exist; `python -m bench doctor`"):
        load_bodies(tmp_path / "datasets" / "body")


def test_interrupted_export_leaves_the_old_file(bodies, tmp_path):
    path = tmp_path / "SMPL_NEUTRAL.pkl"
    path.write_bytes(b"old")
    broken = dataclasses.replace(bodies.neutral, weights=lambda: None)  # cannot be pickled
    with pytest.raises(Exception, match="pickle"):
        export_smpl_pickle(broken, path)
    assert path.read_bytes() == b"old"
