"""BEDLAM (Black et al. 2023): an npz of SMPL labels a scene, and the scene's pictures.

``training_labels/all_npz_12_smpl_training/<scene>.npz`` are the SMPL labels (the folder may also
be called ``all_npz_12_training``, as BEDLAM's SMPL-X labels are, which are refused), and
``training_images/<scene>/png/<imgname>`` the pictures. One row is one person; read are
``imgname``, ``center``, ``scale`` (pixels / 200), ``pose_cam`` (N, 72), ``shape`` (N, 10 or more),
``trans_cam``, ``cam_ext`` (N, 4, 4), ``cam_int`` (N, 3, 3) and ``gtkps`` (N, 35 or more, 2 or 3).

* The camera-frame translation is ``trans_cam`` **plus** that of ``cam_ext``.
* Bodies are neutral; ``gender`` is the subject's and says nothing about ``shape``.
* ``gtkps`` are projected joints, hidden or not: confidence 1 inside the picture, 0 outside.
* Close-up scenes are released lying on their side while their labels stand upright.
* AGORA's npz, which BEDLAM's archives hold as well, are passed over: another data set.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from genhmr.body.model_files import Bodies
from genhmr.data.readers.checks import Absent, column, load_npz, require_finite, require_folder
from genhmr.data.readers.placement import inside_image
from genhmr.data.readers.spin_npz import PIXELS_PER_SCALE, Rows, person_frames
from genhmr.data.warp import read_image
from genhmr.types import PersonFrame, UserError

LABELS = ("all_npz_12_smpl_training", "all_npz_12_training")
# BODY_25 in smplx's SMPL joints: 24 kinematic, then nose, eyes, ears and feet (SPIN's JOINT_MAP).
_BODY25 = [24, 12, 17, 19, 21, 16, 18, 20, 0, 2, 5, 8, 1, 4, 7, *range(25, 35)]
_SMPLX_NUMBERS = 165  # of a pose with hands, jaw and eyes


def label_files(root: Path, split: str) -> list[Path]:
    """The scenes, sorted: one npz of labels each.

    Raises:
        UserError: another split than "train"; ``Absent``: no folder, or no scene in it.
    """
    if split != "train":
        raise UserError(f"BEDLAM has no split '{split}' here: it is for 'train' only.")
    remedy = "put BEDLAM's SMPL labels there, or generate the open world"
    places = [Path(root) / "training_labels" / name for name in LABELS]
    folder = next((place for place in places if place.is_dir()), places[0])
    paths = sorted(require_folder(folder, remedy).glob("*.npz"))
    paths = [path for path in paths if not path.name.startswith("agora")]
    if not paths:
        raise Absent(f"{folder} holds no npz of a scene", remedy)
    return paths


def picture_folder(root: Path, file: Path) -> Path:
    """Where the pictures of a scene lie."""
    return Path(root) / "training_images" / file.stem / "png"


def read(root: Path, split: str, bodies: Bodies) -> Iterator[PersonFrame]:
    """All people of all scenes, keys like ``"<scene>/seq_000000/seq_000000_0005/000012"``.

    Args:
        root: folder with ``training_labels`` and ``training_images``.
        split: "train" only.
        bodies: not used; the labels are in the camera frame already.

    Yields:
        PersonFrame, ``joints_3d`` unknown.

    Raises:
        UserError: another split, labels or pictures missing, SMPL-X labels, damaged files, or
            pictures that lie on their side.
    """
    for path in label_files(root, split):
        images = picture_folder(root, path)
        require_folder(images, f"unpack the pictures of the scene there, or remove {path.name}")
        rows = load_rows(path)
        if rows.imgname:
            _require_upright(images / rows.imgname[0], rows.intrinsics[0])
        yield from person_frames(rows, images, prefix=f"{path.stem}/")


def load_rows(path: Path) -> Rows:
    """Reads the npz of one scene.

    Args:
        path: the npz file.

    Raises:
        UserError: the file is damaged, a column is missing, misshapen or not finite, or it holds
            SMPL-X.
    """
    with load_npz(path) as data:
        names = column(data, "imgname", (None,), path, dtype=None)
        count = len(names)
        pose = column(data, "pose_cam", (count, None), path)
        if pose.shape[1] == _SMPLX_NUMBERS:
            raise UserError(
                f"{path}: 'pose_cam' is SMPL-X's; put BEDLAM's SMPL labels "
                f"({LABELS[0]}) there instead."
            )
        numbers = {
            "center": column(data, "center", (count, 2), path),
            "scale": column(data, "scale", (count,), path),
            "pose_cam": column(data, "pose_cam", (count, 72), path),
            "shape": column(data, "shape", (count, None), path)[:, :10],
            "trans_cam": column(data, "trans_cam", (count, 3), path),
            "cam_ext": column(data, "cam_ext", (count, 4, 4), path),
            "cam_int": column(data, "cam_int", (count, 3, 3), path),
            "gtkps": column(data, "gtkps", (count, None, None), path),
        }
    if numbers["shape"].shape[1] < 10:
        raise UserError(f"{path}: 'shape' has fewer than 10 numbers a row, fetch it again.")
    points = numbers["gtkps"]
    if points.shape[1] <= max(_BODY25) or points.shape[2] not in (2, 3):
        raise UserError(
            f"{path}: 'gtkps' has shape {points.shape} where (N, 35 or more, 2 or 3) was expected, "
            "fetch it again."
        )
    for name, array in numbers.items():
        require_finite(array, name, path)
    points = points[:, _BODY25, :2]
    width, height = 2 * numbers["cam_int"][:, :2, 2].T[:, :, None]
    inside = inside_image(points, width, height)
    return Rows(
        imgname=[str(name) for name in names],
        center=numbers["center"],
        box_size=numbers["scale"] * PIXELS_PER_SCALE,
        intrinsics=numbers["cam_int"],
        pose=numbers["pose_cam"],
        betas=numbers["shape"],
        transl=numbers["trans_cam"] + numbers["cam_ext"][:, :3, 3],
        gender=["neutral"] * count,
        keypoints_2d=np.concatenate([points, inside[..., None]], axis=2),
        joints_3d=np.zeros((count, 24, 4)),
    )


def _require_upright(image: Path, intrinsics: np.ndarray) -> None:
    """Refuses pictures of another size than their labels': those of close-ups, not yet turned."""
    height, width = read_image(image).shape[:2]
    expected = tuple(int(round(2 * centre)) for centre in intrinsics[:2, 2])
    if (width, height) != expected:
        raise UserError(
            f"{image} has {width} x {height} pixels where its labels have "
            f"{expected[0]} x {expected[1]}: turn this scene's pictures by 90 degrees clockwise "
            "(BEDLAM releases close-ups lying on their side)."
        )
