"""Body files on disk: the shipped open body, the licensed SMPL releases, and the way back.

Two layouts are found in a folder:

* open: ``{neutral,male,female}.npz`` and ``regressors.npz``;
* licensed: ``SMPL_{NEUTRAL,MALE,FEMALE}`` or ``basicModel_{neutral,m,f}_lbs_10_207_0_v1.*``
  as ``.pkl`` or ``.npz``, ``J_regressor_h36m.npy`` and, for HMR2.0's protocol only,
  ``SMPL_to_J19.pkl``.
"""

from __future__ import annotations

import math
import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Mapping

import numpy as np

from genhmr.body.arrays import as_floats, as_int64, load_npz, not_smpl, take
from genhmr.body.joints import NUM_VERTICES
from genhmr.body.regressors import left_leg_first, licensed_regressors, open_regressors
from genhmr.body.safe_pickle import load_pickle
from genhmr.types import GENDERS, NUM_BETAS, NUM_JOINTS, UserError, restore

_CACHE_LINE = 64  # bytes
_POSE_FEATURES = 9 * (NUM_JOINTS - 1)
_LICENSED_PREFIXES = {
    "neutral": ("smpl_neutral", "basicmodel_neutral_lbs_10_207_0_v1"),
    "male": ("smpl_male", "basicmodel_m_lbs_10_207_0_v1"),
    "female": ("smpl_female", "basicmodel_f_lbs_10_207_0_v1"),
}


@dataclass(frozen=True)
class BodyModelData:
    """The constants of an SMPL-format body (Loper et al. 2015), as numpy arrays.

    Attributes:
        v_template: (V, 3) float64 metres, the rest mesh.
        shapedirs: (V, 3, 10) float64 metres per unit of beta.
        blend_shapes: (217, 3, V) float32, read only: shapedirs, then posedirs (metres per entry of
            R - I), each with its last axis first. By far the largest constant, so it is stored
            once, as :class:`genhmr.body.SMPL` multiplies with it, and that layer shares its memory.
        weights: (V, 24) float64 skinning weights, rows sum to 1.
        J_regressor: (24, V) float64, rest vertices to rest joints.
        faces: (F, 3) int64.
        parents: (24,) int64, -1 for the root; a parent comes before its children.
        source: where it was read from.
    """

    v_template: np.ndarray
    shapedirs: np.ndarray
    blend_shapes: np.ndarray
    weights: np.ndarray
    J_regressor: np.ndarray
    faces: np.ndarray
    parents: np.ndarray
    source: str

    def __post_init__(self) -> None:
        # The mesh is made from the one and the joints from the other.
        same = np.float32(self.shapedirs).transpose(2, 1, 0)
        if not np.array_equal(self.blend_shapes[:NUM_BETAS], same):
            raise ValueError("blend_shapes do not begin with shapedirs: see stack_blend_shapes")

    @property
    def posedirs(self) -> np.ndarray:
        """(V, 3, 207) float32, a view of ``blend_shapes``."""
        return self.blend_shapes[NUM_BETAS:].transpose(2, 1, 0)


def stack_blend_shapes(shapedirs: np.ndarray, posedirs: np.ndarray) -> np.ndarray:
    """``BodyModelData.blend_shapes`` of (V, 3, 10) and (V, 3, P): (10 + P, 3, V) float32."""
    parts = (shapedirs, posedirs)
    shape = (sum(part.shape[2] for part in parts), 3, len(shapedirs))
    # On a cache line, as torch's own: where numpy starts it, the product over it is 8 % slower.
    raw = np.empty(4 * math.prod(shape) + _CACHE_LINE, np.uint8)
    raw = raw[-raw.ctypes.data % _CACHE_LINE :][: 4 * math.prod(shape)]
    stack = raw.view(np.float32).reshape(shape)
    for axis in range(3):  # one plane at a time: a copy of the whole would double its memory
        np.concatenate([part[:, axis].T for part in parts], out=stack[:, axis], casting="same_kind")
    return stack


@dataclass(frozen=True)
class Bodies:
    """The three bodies of an evaluation and the regressor its protocols need.

    Attributes:
        neutral, male, female: the bodies.
        regressor_h36m: (17, V) float64, rows as in ``joints.H36M17_NAMES`` (left leg first).
        regressor_extra19: (19, V) float64, rows as in ``joints.EXTRA19_NAMES``, what HMR2.0's
            evaluator reads; None where a licensed folder has no ``SMPL_to_J19.pkl``. The open
            body's is put together from its other regressors (``genhmr.body.regressors``).
    """

    neutral: BodyModelData
    male: BodyModelData
    female: BodyModelData
    regressor_h36m: np.ndarray
    regressor_extra19: np.ndarray | None = None

    def get(self, gender: str) -> BodyModelData:
        """The body of "neutral", "male" or "female"; ValueError for another word."""
        if gender not in GENDERS:
            raise ValueError(f"gender must be one of {GENDERS}, not {gender!r}")
        return getattr(self, gender)


def load_body_model(path: Path) -> BodyModelData:
    """Read one SMPL-format body.

    Args:
        path: ``.npz`` (the shipped body or an smplx-style file) or ``.pkl`` (the official
            release, chumpy arrays included).

    Returns:
        The body, checked, in the types of its class; more than 10 betas are cut to 10.

    Raises:
        UserError: missing, unreadable, or not an SMPL body (keys, shapes, values).
    """
    path = Path(path)
    if path.suffix == ".pkl":
        content = load_pickle(path)
        if not isinstance(content, Mapping):
            raise not_smpl(path, "it holds no dictionary")
    else:
        content = load_npz(path)
    arrays = {name: take(path, content, name) for name in
              ("v_template", "shapedirs", "posedirs", "weights", "J_regressor", "f")}
    if "parents" in content:
        parents = take(path, content, "parents")
    else:
        parents = np.atleast_2d(take(path, content, "kintree_table"))[0]
    shapedirs = arrays["shapedirs"]
    if shapedirs.ndim == 3:
        arrays["shapedirs"] = shapedirs[..., :NUM_BETAS]
    constants = {
        name: as_floats(path, name, arrays[name])
        for name in ("v_template", "shapedirs", "weights", "J_regressor")
    }
    posedirs = as_floats(path, "posedirs", arrays["posedirs"], np.float32)
    faces = as_int64(path, "f", arrays["f"])
    parents = _root_to_minus_one(as_int64(path, "parents", parents))
    _check_body(path, {**constants, "posedirs": posedirs, "parents": parents}, faces)
    return BodyModelData(
        **constants,
        blend_shapes=stack_blend_shapes(constants["shapedirs"], posedirs),
        faces=faces,
        parents=parents,
        source=str(path),
    )


def load_bodies(folder: Path) -> Bodies:
    """Read the three bodies and the Human3.6M regressor of a folder, open or licensed layout.

    Args:
        folder: e.g. ``datasets/open/body`` or ``datasets/body``.

    Raises:
        UserError: a file is missing or unusable; the message names it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        licensed = (
            "`python -m bench doctor` says which SMPL files belong there and where they come from"
        )
        raise UserError(f"{folder} does not exist; {restore(folder, licensed)}.")
    if (folder / "neutral.npz").exists():
        bodies = {g: load_body_model(folder / f"{g}.npz") for g in GENDERS}
        h36m, extra = open_regressors(folder / "regressors.npz")
    else:
        bodies = {g: load_body_model(_find_licensed(folder, g)) for g in GENDERS}
        h36m, extra = licensed_regressors(folder)
    return Bodies(
        regressor_h36m=left_leg_first(h36m, bodies["neutral"].v_template),
        regressor_extra19=extra,
        **bodies,
    )


def export_smpl_pickle(body: BodyModelData, path: Path) -> None:
    """Write the body as a pickle that ``smplx.create(model_type="smpl")`` loads.

    Plain numpy arrays in a dictionary with the keys of the official release; written to a
    temporary name first, so that an interrupted export leaves nothing half done.

    Args:
        body: the body.
        path: the target; smplx expects ``SMPL_{NEUTRAL,MALE,FEMALE}.pkl`` in a folder ``smpl``.
    """
    path = Path(path)
    parents = body.parents.copy()
    parents[0] = 2**32 - 1  # as released: an unsigned -1
    content = {
        "v_template": body.v_template,
        "shapedirs": body.shapedirs,
        "posedirs": body.posedirs,
        "weights": body.weights,
        "J_regressor": body.J_regressor,
        "J": body.J_regressor @ body.v_template,
        "f": body.faces.astype(np.uint32),
        "kintree_table": np.stack([parents, np.arange(NUM_JOINTS)]),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        pickle.dump(content, file, protocol=2)
    os.replace(temporary, path)


def _find_licensed(folder: Path, gender: str) -> Path:
    prefixes = _LICENSED_PREFIXES[gender]
    found = sorted(
        path
        for path in folder.iterdir()
        if path.suffix in (".pkl", ".npz") and path.name.lower().startswith(prefixes)
    )
    if not found:
        licensed = "download the SMPL body from smpl.is.tue.mpg.de and put it there"
        raise UserError(
            f"{folder} has no SMPL_{gender.upper()}.pkl (nor the open {gender}.npz); "
            f"{restore(folder, licensed)}."
        )
    return found[-1]  # the highest version when several are there


def _root_to_minus_one(parents: np.ndarray) -> np.ndarray:
    # Released files store the root's parent as 2^32 - 1.
    return np.where(parents >= 2**31, -1, parents)


def _check_body(path: Path, arrays: Mapping[str, np.ndarray], faces: np.ndarray) -> None:
    expected = {
        "v_template": (NUM_VERTICES, 3),
        "shapedirs": (NUM_VERTICES, 3, NUM_BETAS),
        "posedirs": (NUM_VERTICES, 3, _POSE_FEATURES),
        "weights": (NUM_VERTICES, NUM_JOINTS),
        "J_regressor": (NUM_JOINTS, NUM_VERTICES),
        "parents": (NUM_JOINTS,),
    }
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise not_smpl(path, f"{name} has shape {arrays[name].shape} instead of {shape}")
        if not np.isfinite(arrays[name]).all():
            raise not_smpl(path, f"{name} holds NaN or infinity")
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise not_smpl(path, f"f has shape {faces.shape} instead of (F, 3)")
    if faces.size and not (0 <= faces.min() and faces.max() < NUM_VERTICES):
        raise not_smpl(path, "f points at vertices that do not exist")
    order, parents = np.arange(NUM_JOINTS), arrays["parents"]
    if parents[0] != -1 or (parents[1:] < 0).any() or (parents >= order).any():
        raise not_smpl(path, "the kinematic tree is not in parent-first order")
    if np.abs(arrays["weights"].sum(1) - 1).max() > 1e-3:
        raise not_smpl(path, "the skinning weights do not sum to 1")
