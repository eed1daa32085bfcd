"""Which files a split is read from, asked without opening one: what doctor tells before a stage."""

import numpy as np
import pytest

from genhmr.data.readers import (
    IMAGE_KINDS,
    MOTION_KINDS,
    files_of,
    picture_folder,
    read_images,
    sequence_name,
)
from genhmr.data.readers.checks import Absent
from genhmr.types import UserError

# A split of every kind, and the files of one more that is not asked for.
LAYOUTS = {
    "h36m": ("test-p2", ["dataset_extras/h36m_valid_protocol1.npz"], ["h36m_train.npz"]),
    "coco": ("train", ["coco_train_2014_openpose.npz"], ["coco_val.npz"]),
    "itw": ("train", ["ava.npz", "insta.npz"], []),
    "bedlam": ("train", ["training_labels/all_npz_12_training/a.npz"],
               ["training_labels/all_npz_12_training/agora_a.npz"]),
    "3dpw": ("val", ["sequenceFiles/validation/a.pkl"], ["sequenceFiles/test/b.pkl"]),
    "emdb": ("test", ["P0/00_a/P0_00_a_data.pkl", "P1/01_b/P1_01_b_data.pkl"], ["P0/a_data.pkl"]),
    "amass": ("test", ["SSM_synced/a/b_stageii.npz", "Transitions/a/b_poses.npz"],
              ["ACCAD/a/b_poses.npz", "SSM_synced/a/shape.npz", "SSM_synced/a/b_stagei.npz"]),
    "moyo": ("train", ["220923/mosh_smpl/train/b.pkl", "mosh_smpl/train/a.pkl"],
             ["mosh_smpl/val/a.pkl"]),
}  # fmt: skip


def test_every_kind_can_be_asked():
    assert set(LAYOUTS) == {*IMAGE_KINDS, *MOTION_KINDS}


@pytest.mark.parametrize("kind", LAYOUTS)
def test_the_files_of_a_split_are_found_unopened_or_said_to_lack(tmp_path, kind):
    split, files, others = LAYOUTS[kind]
    with pytest.raises(Absent, match="is not a folder: ") as told:
        files_of(kind, tmp_path / "none", split)
    assert str(told.value).startswith(f"{told.value.what}: ")
    for name in others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(Absent, match=str(tmp_path)):
        files_of(kind, tmp_path, split)
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert files_of(kind, tmp_path, split) == [tmp_path / name for name in files]
    with pytest.raises(UserError, match="has no split 'gold'|have no split 'gold'") as told:
        files_of(kind, tmp_path, "gold")
    assert not isinstance(told.value, Absent)


@pytest.mark.parametrize("kind", ["3dpw", "emdb"])
def test_names_and_folders_of_a_sequence_are_those_of_its_frames(threedpw, emdb, bodies, kind):
    root = (threedpw if kind == "3dpw" else emdb)[0]
    frames = list(read_images(kind, root, "test", bodies))
    file = files_of(kind, root, "test")[0]
    assert {frame.key.split("/")[0] for frame in frames} == {sequence_name(kind, file)}
    assert {frame.image.parent for frame in frames} == {picture_folder(kind, root, file)}
    assert all(frame.image.exists() for frame in frames)


def test_an_npz_says_nothing_of_its_pictures_by_its_name(tmp_path):
    np.savez(tmp_path / "coco_train.npz", imgname=np.array([], str))
    for kind in ("h36m", "coco", "itw"):
        assert picture_folder(kind, tmp_path, tmp_path / "coco_train.npz") is None
        assert sequence_name(kind, tmp_path / "coco_train.npz") is None
