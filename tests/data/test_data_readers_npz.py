"""SPIN's and HMR2's npz layouts: units, keypoint layouts, splits by subject, and bad files."""

import numpy as np
import pytest

from genhmr.body.joints import BODY25_NAMES, SPIN24_NAMES
from genhmr.data.readers import read_images
from genhmr.types import UserError

H36M_NAMES = [
    "images/S1_Walking.54138969_000001.jpg",
    "images/S9_Walking.54138969_000001.jpg",
    "images/S9_Walking.60457274_000006.jpg",
    "images/S11_Posing_1.60457274_000011.jpg",
]


def spin_columns(names, seed=0):
    rng = np.random.default_rng(seed)
    count = len(names)
    return {
        "imgname": np.array(names),
        "center": rng.uniform(50, 150, (count, 2)),
        "scale": rng.uniform(0.5, 1.5, count),
        "pose": rng.normal(0, 0.3, (count, 72)),
        "shape": rng.normal(0, 1, (count, 10)),
        "has_smpl": np.arange(count) % 2 == 0,
        "S": rng.normal(0, 1, (count, 24, 4)),
        "part": np.abs(rng.normal(100, 20, (count, 24, 3))),
        "openpose": np.abs(rng.normal(100, 20, (count, 25, 3))),
    }


@pytest.fixture
def spin(tmp_path):
    def write(name="coco_2014_train.npz", change=None, names=("a/1.jpg", "a/2.jpg")):
        columns = spin_columns(names)
        columns["part"][..., 2] = 0.5
        columns["openpose"][..., 2] = np.arange(25) % 2  # every other joint is detected
        if change is not None:
            change(columns)
        np.savez(tmp_path / name, **columns)
        return tmp_path, columns

    return write


def test_spin_units_and_unknowns(spin, bodies):
    root, columns = spin()
    first, second = read_images("coco", root, "train", bodies)
    assert first.box_size == pytest.approx(200 * columns["scale"][0])
    np.testing.assert_allclose(first.center, columns["center"][0], rtol=1e-6)
    np.testing.assert_allclose(first.pose, columns["pose"][0].reshape(24, 3), rtol=1e-6)
    np.testing.assert_allclose(first.joints_3d, columns["S"][0], rtol=1e-6)
    assert np.isnan(second.pose).all() and np.isnan(second.betas).all()  # has_smpl is 0
    assert np.isnan(first.intrinsics).all() and np.isnan(first.transl).all()
    assert first.gender == "neutral" and first.image == root / "a/1.jpg"
    assert first.key != second.key


def test_spin_annotated_keypoints_fill_in_by_name(spin, bodies):
    root, columns = spin()
    frame = next(read_images("coco", root, "train", bodies))
    for i, name in enumerate(BODY25_NAMES):
        source = columns["openpose"][0][i]
        # Neck and pelvis mean other points in LSP, MPII and BODY_25.
        if i % 2 == 0 and name in SPIN24_NAMES and name != "Neck":
            source = columns["part"][0][SPIN24_NAMES.index(name)]
        if source[2] == 0:
            assert frame.keypoints_2d[i, 2] == 0
            continue
        np.testing.assert_allclose(frame.keypoints_2d[i], source, rtol=1e-6, err_msg=name)


def test_spin_test_file_without_bodies_or_keypoints(spin, bodies):
    def strip(columns):
        for key in ("pose", "shape", "has_smpl", "part", "openpose"):
            del columns[key]

    root, _ = spin("h36m_valid_protocol1.npz", strip, H36M_NAMES)
    frames = list(read_images("h36m", root, "test", bodies))
    assert len(frames) == 3
    assert all(np.isnan(frame.pose).all() for frame in frames)
    assert all((frame.keypoints_2d[:, 2] == 0).all() for frame in frames)


def test_h36m_is_split_by_subject_and_camera(spin, bodies):
    root, _ = spin("h36m_valid_protocol1.npz", None, H36M_NAMES)
    spin("h36m_mosh_train.npz", None, H36M_NAMES)

    def names(split):
        return [frame.image.name for frame in read_images("h36m", root, split, bodies)]

    assert names("train") == ["S1_Walking.54138969_000001.jpg"]
    assert len(names("test")) == 3
    assert [name.split(".")[1][:8] for name in names("test-p2")] == ["60457274"] * 2


def test_h36m_foreign_image_name_is_refused(spin, bodies):
    root, _ = spin("h36m_mosh_train.npz", None, ["images/cat.jpg"])
    with pytest.raises(UserError, match="h36m_mosh_train.npz.*cat.jpg"):
        list(read_images("h36m", root, "train", bodies))


@pytest.mark.parametrize(
    "change, word",
    [
        (lambda c: c.pop("center"), "center"),
        (lambda c: c.pop("pose"), "no 'pose', and 1 row.* fetch the whole file, or set 'has_smpl'"),
        (lambda c: [c.pop(key) for key in ("shape", "has_smpl")], "no 'shape', and 2 row"),
        (lambda c: c.update(scale=c["scale"] * 200), "pixels / 200"),
        (lambda c: c.update(S=c["S"][:, :14]), "'S'"),
        (lambda c: c["pose"].__setitem__((0, 3), np.nan), "pose"),
        (lambda c: c.update(openpose=np.array(["x", "y"])), "openpose"),
        (lambda c: c.update(gender=np.array(["m", "?"])), "gender"),
    ],
)
def test_spin_bad_content_is_one_sentence_with_the_file(spin, bodies, change, word):
    root, _ = spin(change=change)
    with pytest.raises(UserError, match=f"coco_2014_train.npz.*{word}"):
        list(read_images("coco", root, "train", bodies))


def test_nan_pose_of_an_unfitted_row_is_no_error(spin, bodies):
    root, _ = spin(change=lambda c: c["pose"].__setitem__((1, 3), np.nan))  # row 1 has no body
    assert len(list(read_images("coco", root, "train", bodies))) == 2


def test_npz_truncated_pickled_or_absent(spin, bodies):
    root, columns = spin()
    path = root / "coco_2014_train.npz"
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(UserError, match="coco_2014_train.npz"):
        list(read_images("coco", root, "train", bodies))
    columns["imgname"] = np.array([{"a": 1}, None], dtype=object)
    np.savez(path, **columns)
    with pytest.raises(UserError, match="coco_2014_train.npz.*imgname"):
        list(read_images("coco", root, "train", bodies))
    path.unlink()
    with pytest.raises(UserError, match="coco_2014_train.npz"):
        list(read_images("coco", root, "train", bodies))
    with pytest.raises(UserError, match="nowhere"):
        list(read_images("coco", root / "nowhere", "train", bodies))


def hmr2_columns():
    rng = np.random.default_rng(1)
    return {
        "imgname": np.array(["a.jpg", "b.jpg"]),
        "center": rng.uniform(50, 150, (2, 2)),
        "scale": np.array([[100.0, 150.0], [80.0, 60.0]]),
        "body_pose": rng.normal(0, 0.3, (2, 72)),
        "betas": rng.normal(0, 1, (2, 10)),
        "has_body_pose": np.array([1.0, 1.0]),
        "has_betas": np.array([1.0, 0.0]),
        "body_keypoints_2d": np.abs(rng.normal(100, 20, (2, 25, 3))).clip(0, None),
        "extra_keypoints_2d": np.abs(rng.normal(100, 20, (2, 19, 3))),
        "body_keypoints_3d": rng.normal(0, 1, (2, 25, 4)),
        "extra_keypoints_3d": rng.normal(0, 1, (2, 19, 4)),
        "extra_info": np.array([{}, {}], dtype=object),  # as released; must not be unpickled
    }


def test_hmr2_layout_under_the_same_split(tmp_path, bodies):
    columns = hmr2_columns()
    columns["body_keypoints_2d"][0, BODY25_NAMES.index("LKnee"), 2] = 0.0
    columns["extra_keypoints_2d"][0, :, 2] = 1.0
    np.savez(tmp_path / "coco_2014_train.npz", **columns)
    first, second = read_images("coco", tmp_path, "train", bodies)
    assert (first.box_size, second.box_size) == (150.0, 80.0)  # pixels, the longer side
    assert np.isfinite(first.pose).all() and np.isnan(second.pose).all()
    knee = SPIN24_NAMES.index("LKnee")
    np.testing.assert_allclose(
        first.keypoints_2d[BODY25_NAMES.index("LKnee"), :2],
        columns["extra_keypoints_2d"][0, knee, :2], rtol=1e-6,
    )  # fmt: skip
    np.testing.assert_allclose(
        first.keypoints_2d[0, :2], columns["body_keypoints_2d"][0, 0, :2], rtol=1e-6
    )
    np.testing.assert_allclose(
        first.joints_3d[knee], columns["extra_keypoints_3d"][0, knee], rtol=1e-6
    )
    for name in ("Nose", "LEye", "REye", "LEar", "REar"):
        np.testing.assert_allclose(
            first.joints_3d[SPIN24_NAMES.index(name)],
            columns["body_keypoints_3d"][0, BODY25_NAMES.index(name)], rtol=1e-6,
        )  # fmt: skip


@pytest.mark.parametrize(
    "change, word",
    [
        (lambda c: c.update(scale=c["scale"] / 200), "multiply it by 200"),
        (lambda c: c.update(scale=c["scale"][:1]), "scale"),
        (lambda c: c.pop("scale"), "scale"),
        (lambda c: c.pop("body_pose"), "no 'body_pose', and 1 row.* or set 'has_body_pose' to 0"),
        (lambda c: c.pop("betas"), "no 'betas', and 1 row"),
        (lambda c: c["body_pose"].__setitem__((0, 0), np.inf), "body_pose"),
    ],
)
def test_hmr2_bad_content_is_one_sentence_with_the_file(tmp_path, bodies, change, word):
    columns = hmr2_columns()
    change(columns)
    np.savez(tmp_path / "coco_train.npz", **columns)
    with pytest.raises(UserError, match=f"coco_train.npz.*{word}"):
        list(read_images("coco", tmp_path, "train", bodies))
