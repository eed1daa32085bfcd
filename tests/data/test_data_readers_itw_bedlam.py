"""In-the-wild npz of any name and layout, and BEDLAM's scenes: units, frames, and bad files."""

import cv2
import numpy as np
import pytest

from genhmr.body.joints import BODY25_NAMES, SMPL24_NAMES
from genhmr.data.readers import read_images
from genhmr.types import UserError

SCENE = "20221010_3_1000_batch01hand_6fps"


def spin_columns(count=2):
    rng = np.random.default_rng(0)
    return {
        "imgname": np.array([f"a/{i}.jpg" for i in range(count)]),
        "center": rng.uniform(50, 150, (count, 2)),
        "scale": rng.uniform(0.5, 1.5, count),
        "pose": rng.normal(0, 0.3, (count, 72)),
        "shape": rng.normal(0, 1, (count, 10)),
        "openpose": np.abs(rng.normal(100, 20, (count, 25, 3))),
    }


def hmr2_columns(count=3):
    spin = spin_columns(count)
    return {
        "imgname": spin["imgname"],
        "center": spin["center"],
        "scale": spin["scale"] * 200,
        "body_pose": spin["pose"],
        "betas": spin["shape"],
        "body_keypoints_2d": spin["openpose"],
        "extra_info": np.array([{}] * count, dtype=object),  # as released; must not be unpickled
    }


def test_itw_reads_every_npz_in_either_layout_under_keys_of_its_own(tmp_path, bodies):
    np.savez(tmp_path / "insta.npz", **spin_columns())
    np.savez(tmp_path / "ava.npz", **hmr2_columns())
    frames = list(read_images("itw", tmp_path, "train", bodies))
    assert [frame.key for frame in frames] == [
        "ava/a/0/000000", "ava/a/1/000001", "ava/a/2/000002", "insta/a/0/000000",
        "insta/a/1/000001",
    ]  # fmt: skip
    for frame, scale in ((frames[2], hmr2_columns()["scale"][2]),  # pixels
                         (frames[4], spin_columns()["scale"][1] * 200)):  # pixels / 200
        assert frame.box_size == pytest.approx(scale)
    assert frames[0].image == tmp_path / "a/0.jpg" and frames[0].gender == "neutral"
    for frame, pose in zip(frames[3:], spin_columns()["pose"]):
        np.testing.assert_allclose(frame.pose, pose.reshape(24, 3), rtol=1e-6)
        assert (frame.joints_3d[:, 3] == 0).all() and np.isnan(frame.intrinsics).all()


def test_itw_bad_input_is_one_sentence(tmp_path, bodies):
    for folder, split, words in (
        (tmp_path, "test", "no split 'test'"),
        (tmp_path, "train", "holds no npz"),
        (tmp_path / "nowhere", "train", "nowhere is not a folder"),
    ):
        with pytest.raises(UserError, match=words):
            list(read_images("itw", folder, split, bodies))
    columns = spin_columns()
    columns["imgname"] = np.array([{"a": 1}, None], dtype=object)
    np.savez(tmp_path / "aic.npz", **columns)
    with pytest.raises(UserError, match="aic.npz.*imgname"):
        list(read_images("itw", tmp_path, "train", bodies))
    (tmp_path / "aic.npz").write_bytes((tmp_path / "aic.npz").read_bytes()[:600])
    with pytest.raises(UserError, match="aic.npz"):
        list(read_images("itw", tmp_path, "train", bodies))


def bedlam_columns(count=3):
    rng = np.random.default_rng(1)
    intrinsics = np.array([[300.0, 0, 160], [0, 300, 120], [0, 0, 1]])  # 320 x 240
    points = np.concatenate([rng.uniform(20, 200, (count, 45, 2)), np.ones((count, 45, 1))], 2)
    points[:, SMPL24_NAMES.index("left_knee")] = [400, 50, 1]  # outside
    return {
        "imgname": np.array([f"seq_000000/seq_000000_{5 * i:04d}.png" for i in range(count)]),
        "center": rng.uniform(50, 150, (count, 2)),
        "scale": rng.uniform(0.3, 0.8, count),
        "pose_cam": rng.normal(0, 0.3, (count, 72)),
        "pose_world": rng.normal(0, 0.3, (count, 72)),
        "shape": rng.normal(0, 1, (count, 11)),  # the neutral body's, one too many
        "trans_cam": rng.normal(0, 1, (count, 3)),
        "cam_ext": np.tile(np.eye(4) + np.eye(4, k=1) * [0, 0, 0, 5.0], (count, 1, 1)),
        "cam_int": np.tile(intrinsics, (count, 1, 1)),
        "gtkps": points,
        "gender": np.array(["m", "f", "m"]),
        "motion_info": np.array([None] * count, dtype=object),
    }


@pytest.fixture
def bedlam(tmp_path):
    def write(change=None, scene=SCENE, labels="all_npz_12_smpl_training", size=(240, 320)):
        columns = bedlam_columns()
        if change is not None:
            change(columns)
        folder = tmp_path / "training_labels" / labels
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / f"{scene}.npz", **columns)
        picture = tmp_path / "training_images" / scene / "png" / str(columns["imgname"][0])
        picture.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(picture), np.zeros((*size, 3), np.uint8))
        return tmp_path, columns

    return write


def test_bedlam_units_and_frames(bedlam, bodies):
    root, columns = bedlam()
    frames = list(read_images("bedlam", root, "train", bodies))
    assert [frame.key for frame in frames] == [
        f"{SCENE}/seq_000000/seq_000000_{5 * i:04d}/{i:06d}" for i in range(3)
    ]
    first = frames[0]
    assert first.image == root / "training_images" / SCENE / "png" / columns["imgname"][0]
    assert first.box_size == pytest.approx(200 * columns["scale"][0])
    np.testing.assert_allclose(first.pose.ravel(), columns["pose_cam"][0], rtol=1e-6)
    np.testing.assert_allclose(first.betas, columns["shape"][0, :10], rtol=1e-6)
    np.testing.assert_allclose(first.transl, columns["trans_cam"][0] + [0, 0, 5], rtol=1e-6)
    np.testing.assert_allclose(first.intrinsics, columns["cam_int"][0])
    assert {frame.gender for frame in frames} == {"neutral"}  # whatever the subject's
    assert (first.joints_3d == 0).all()
    for name, joint in {"LWrist": 20, "MidHip": 0, "Nose": 24, "LBigToe": 29}.items():
        expected = columns["gtkps"][0, joint]
        np.testing.assert_allclose(first.keypoints_2d[BODY25_NAMES.index(name)], expected, 1e-6)
    knee = first.keypoints_2d[BODY25_NAMES.index("LKnee")]
    assert knee[2] == 0 and (first.keypoints_2d[:, 2] > 0).sum() == 24


def test_bedlam_scenes_in_order_without_agora(bedlam, bodies):
    for scene in ("20221011_b", "20221010_a", "agora-body"):
        root, _ = bedlam(scene=scene, labels="all_npz_12_training")
    frames = list(read_images("bedlam", root, "train", bodies))
    scenes = [frame.key.split("/")[0] for frame in frames]
    assert scenes == ["20221010_a"] * 3 + ["20221011_b"] * 3


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda c: c.update(pose_cam=np.zeros((3, 165))), "SMPL-X"),
        (lambda c: c.update(pose_cam=np.zeros((3, 66))), "pose_cam"),
        (lambda c: c.update(shape=c["shape"][:, :8]), "fewer than 10"),
        (lambda c: c.update(gtkps=c["gtkps"][:, :22]), "gtkps"),
        (lambda c: c.pop("cam_ext"), "cam_ext"),
        (lambda c: c["trans_cam"].__setitem__((1, 0), np.nan), "trans_cam.*first is 1"),
    ],
)
def test_bedlam_bad_labels_are_one_sentence_with_the_file(bedlam, bodies, change, words):
    root, _ = bedlam(change)
    with pytest.raises(UserError, match=f"{SCENE}.npz.*{words}"):
        list(read_images("bedlam", root, "train", bodies))


def test_bedlam_pictures_missing_or_on_their_side(bedlam, bodies, tmp_path):
    with pytest.raises(UserError, match="all_npz_12_smpl_training is not a folder"):
        list(read_images("bedlam", tmp_path, "train", bodies))
    root, _ = bedlam(size=(320, 240))
    with pytest.raises(UserError, match="240 x 320 pixels where its labels have 320 x 240.*turn"):
        list(read_images("bedlam", root, "train", bodies))
    with pytest.raises(UserError, match="no split 'val'"):
        list(read_images("bedlam", root, "val", bodies))
    images = root / "training_images" / SCENE
    images.rename(images.with_name("elsewhere"))
    with pytest.raises(UserError, match=f"{SCENE}.png is not a folder.*remove {SCENE}.npz"):
        list(read_images("bedlam", root, "train", bodies))


def test_bedlam_pickled_names_or_a_truncated_file(bedlam, bodies):
    root, columns = bedlam()
    path = root / "training_labels" / "all_npz_12_smpl_training" / f"{SCENE}.npz"
    np.savez(path, **columns | {"imgname": columns["imgname"].astype(object)})
    with pytest.raises(UserError, match=f"{SCENE}.npz.*imgname"):
        list(read_images("bedlam", root, "train", bodies))
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(UserError, match=f"{SCENE}.npz"):
        list(read_images("bedlam", root, "train", bodies))
