"""Joint regressors beside a body: Human3.6M's 17, and the 19 that HMR2.0's evaluator reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from genhmr.body.arrays import as_floats, load_npy, load_npz, take
from genhmr.body.joints import EXTRA19_NAMES, H36M17_NAMES, NUM_VERTICES
from genhmr.body.safe_pickle import load_pickle
from genhmr.types import UserError, restore

_SHIPPED = "take the file of datasets/open/body"
_COCO_LIMBS = {
    f"{side}_{part}"
    for side in ("left", "right")
    for part in ("ankle", "knee", "hip", "wrist", "elbow", "shoulder")
}


def open_regressors(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The shipped ``regressors.npz``.

    Returns:
        (17, V), rows as in ``joints.H36M17_NAMES``; (19, V), rows as in ``joints.EXTRA19_NAMES``:
        a stand-in for SMPL_to_J19, COCO's limbs with Human3.6M's trunk and head.

    Raises:
        UserError: the file is missing, damaged, or names other joints.
    """
    content = load_npz(path)
    for key in ("J_regressor_h36m", "h36m_names", "J_regressor_coco23", "coco_names"):
        if key not in content:
            raise UserError(f"{path} lacks {key!r}; {restore(path, _SHIPPED)}.")
    regressor = take(path, content, "J_regressor_h36m")
    names = [str(name) for name in take(path, content, "h36m_names")]
    if sorted(names) != sorted(H36M17_NAMES) or len(names) != len(regressor):
        raise UserError(
            f"{path} names other joints than Human3.6M's 17 in h36m_names; "
            f"{restore(path, _SHIPPED)}."
        )
    regressor = regressor[[names.index(name) for name in H36M17_NAMES]]
    coco_names = [str(name) for name in take(path, content, "coco_names")]
    coco = take(path, content, "J_regressor_coco23")
    known = set(coco_names) >= _COCO_LIMBS and len(coco) == len(coco_names)
    if not known or coco.shape[1:] != regressor.shape[1:]:
        raise UserError(
            f"{path}: J_regressor_coco23 does not fit its names; {restore(path, _SHIPPED)}."
        )
    extra = _open_extra19(regressor, dict(zip(coco_names, coco)))
    return _checked(path, regressor), extra


def licensed_regressors(folder: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """``J_regressor_h36m.npy`` and, where it is there, ``SMPL_to_J19.pkl``.

    Returns:
        (17, V), of which either leg may come first; (19, V) or None.

    Raises:
        UserError: a file is missing (the first) or unusable (either).
    """
    path = folder / "J_regressor_h36m.npy"
    return _checked(path, load_npy(path)), _licensed_extra19(folder / "SMPL_to_J19.pkl")


def left_leg_first(regressor: np.ndarray, v_template: np.ndarray) -> np.ndarray:
    """Bring the rows into SPIN's order; the rest pose tells which leg comes first.

    Two files circulate under this name. In a T-pose facing +z the body's left is at +x, so the
    row called LHip must not lie at a smaller x than the row called RHip.
    """
    hips = regressor[[1, 4]] @ v_template
    if hips[0, 0] >= hips[1, 0]:
        return regressor
    return regressor[[0, 4, 5, 6, 1, 2, 3, *range(7, 17)]]


def _checked(path: Path, regressor: np.ndarray) -> np.ndarray:
    regressor = as_floats(path, "J_regressor_h36m", regressor)
    spin = "get the file from SPIN's data bundle"
    if regressor.shape != (len(H36M17_NAMES), NUM_VERTICES) or not np.isfinite(regressor).all():
        raise UserError(
            f"{path} must hold finite numbers of shape (17, {NUM_VERTICES}), "
            f"not {regressor.shape}; {restore(path, spin)}."
        )
    return regressor


def _open_extra19(h36m: np.ndarray, coco: Mapping[str, np.ndarray]) -> np.ndarray:
    """A stand-in for SMPL_to_J19 on the open body: COCO's limbs, Human3.6M's trunk and head.

    Args:
        h36m: (17, V), rows as in ``joints.H36M17_NAMES``.
        coco: COCO keypoint name to (V,).

    Returns:
        (19, V) float64, rows as in ``joints.EXTRA19_NAMES``.
    """
    trunk = dict(zip(H36M17_NAMES, np.asarray(h36m, np.float64)))

    def middle(*names: str) -> np.ndarray:
        return np.mean([np.asarray(coco[name], np.float64) for name in names], axis=0)

    rows = {}
    for name in _COCO_LIMBS:
        side, part = name.split("_")
        rows[f"{side[0].upper()}{part.capitalize()}"] = middle(name)
    rows |= {
        "NeckLSP": trunk["Neck"],
        "HeadTop": trunk["HeadTop"],
        "PelvisMPII": middle("left_hip", "right_hip"),
        "ThoraxMPII": middle("left_shoulder", "right_shoulder"),
        "SpineH36M": trunk["Spine"],
        "JawH36M": trunk["Nose"],
        "HeadH36M": (trunk["Nose"] + trunk["HeadTop"]) / 2,
    }
    return np.stack([rows[name] for name in EXTRA19_NAMES])


def _licensed_extra19(path: Path) -> np.ndarray | None:
    """SMPL_to_J19.pkl of 4D-Humans' data bundle; None where it is not there."""
    if not path.exists():
        return None
    regressor = as_floats(path, "SMPL_to_J19", load_pickle(path))
    if regressor.shape != (len(EXTRA19_NAMES), NUM_VERTICES) or not np.isfinite(regressor).all():
        raise UserError(
            f"{path} must hold finite numbers of shape (19, {NUM_VERTICES}), not "
            f"{regressor.shape}; get the file from 4D-Humans' data bundle."
        )
    return regressor
