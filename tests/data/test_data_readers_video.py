"""3DPW and EMDB: world to camera, boxes, keypoints, frame selection, and bad files."""

import numpy as np
import pytest

from genhmr.body.joints import BODY25_NAMES
from genhmr.data.readers import read_images
from genhmr.types import UserError

COCO18_NAMES = (
    "Nose", "Neck", "RShoulder", "RElbow", "RWrist", "LShoulder", "LElbow", "LWrist", "RHip",
    "RKnee", "RAnkle", "LHip", "LKnee", "LAnkle", "REye", "LEye", "REar", "LEar",
)  # fmt: skip


def to_camera(points, extrinsics):
    """Textbook: x_c = R x_w + t for (F, K, 3) points."""
    return np.einsum("fij,fkj->fki", extrinsics[:, :3, :3], points) + extrinsics[:, None, :3, 3]


def to_pixels(points, intrinsics):
    homogeneous = points @ intrinsics.T
    return homogeneous[..., :2] / homogeneous[..., 2:]


def test_threedpw_moves_the_whole_body_to_the_camera(threedpw, bodies, world_points):
    root, content = threedpw
    frames = list(read_images("3dpw", root, "test", bodies))
    own = [frame for frame in frames if frame.key.endswith("/1")]
    assert [frame.gender for frame in own] == ["female"] * 5
    betas = content["betas"][1][:10]
    _, vertices = world_points("female", content["poses"][1], betas, content["trans"][1])
    expected = to_camera(vertices, content["cam_poses"])
    _, got = world_points(
        "female", [f.pose for f in own], own[0].betas, [f.transl for f in own]
    )
    np.testing.assert_allclose(got, expected, atol=2e-6)


def test_threedpw_keeps_valid_frames_and_names_them(threedpw, bodies):
    root, _ = threedpw
    frames = list(read_images("3dpw", root, "test", bodies))
    keys = [frame.key for frame in frames]
    assert keys[:4] == [f"street_00/{i:05d}/0" for i in (0, 2, 3, 4)]
    assert len(keys) == 9 and len(set(keys)) == 9
    assert all(frame.image.is_file() for frame in frames)
    assert frames[1].image.name == "image_00002.jpg"
    np.testing.assert_allclose(frames[0].intrinsics, [[300, 0, 160], [0, 300, 120], [0, 0, 1]])


def test_threedpw_box_is_the_visible_extent_times_1_2(threedpw, bodies):
    root, content = threedpw
    frame = next(read_images("3dpw", root, "test", bodies))
    visible = content["poses2d"][0][0][:, :16]  # the ears, at (0, 0), are not detected
    low, high = visible[:2].min(axis=1), visible[:2].max(axis=1)
    np.testing.assert_allclose(frame.center, (low + high) / 2, rtol=1e-6)
    assert frame.box_size == pytest.approx(1.2 * max(high - low))


def test_threedpw_keypoints_keep_their_names(threedpw, bodies):
    root, content = threedpw
    frame = next(read_images("3dpw", root, "test", bodies))
    for i, name in enumerate(COCO18_NAMES):
        np.testing.assert_allclose(
            frame.keypoints_2d[BODY25_NAMES.index(name)], content["poses2d"][0][0][:, i], rtol=1e-6
        )
    confidence = dict(zip(BODY25_NAMES, frame.keypoints_2d[:, 2]))
    assert confidence["LHeel"] == confidence["LAnkle"]
    assert confidence["MidHip"] == min(confidence["LHip"], confidence["RHip"])


def test_threedpw_feet_are_projected_from_the_body(threedpw, bodies, world_points):
    root, content = threedpw
    frame = next(read_images("3dpw", root, "test", bodies))
    _, vertices = world_points(
        "male", content["poses"][0][:1], content["betas"][0], content["trans"][0][:1]
    )
    heel = to_camera(vertices[:, 3387:3388], content["cam_poses"][:1])[0, 0]  # smplx's LHeel
    np.testing.assert_allclose(
        frame.keypoints_2d[BODY25_NAMES.index("LHeel"), :2],
        to_pixels(heel, content["cam_intrinsics"]),
        atol=1e-3,
    )


def test_threedpw_frame_without_a_visible_keypoint_is_left_out(threedpw, bodies, rewrite):
    root, _ = threedpw
    rewrite(root / "sequenceFiles/test/street_00.pkl", lambda d: d["poses2d"][0].__setitem__(0, 0))
    keys = [frame.key for frame in read_images("3dpw", root, "test", bodies)]
    assert keys[0] == "street_00/00002/0"


@pytest.fixture
def rewrite():
    """Changes a pickled dictionary in place."""
    import pickle

    def apply(path, change):
        content = pickle.loads(path.read_bytes())
        change(content)
        path.write_bytes(pickle.dumps(content, protocol=2))

    return apply


@pytest.mark.parametrize(
    "change, word",
    [
        (lambda d: d.pop("trans"), "trans"),
        (lambda d: d.pop("poses"), "poses"),
        (lambda d: d.update(cam_poses=d["cam_poses"][:3]), "cam_poses"),
        (lambda d: d["poses"][1].__setitem__((2, 5), np.nan), "poses"),
        (lambda d: d.update(genders=["m", "x"]), "gender"),
        (lambda d: d.update(betas=[d["betas"][0][:4]] * 2), "betas"),
        (lambda d: d.update(campose_valid=[d["campose_valid"][0]]), "campose_valid"),
    ],
)
def test_threedpw_bad_content_is_one_sentence_with_the_file(
    threedpw, bodies, rewrite, change, word
):
    root, _ = threedpw
    rewrite(root / "sequenceFiles/test/street_00.pkl", change)
    with pytest.raises(UserError, match=f"street_00.pkl.*{word}"):
        list(read_images("3dpw", root, "test", bodies))


def test_threedpw_truncated_pickle_and_missing_folders(threedpw, bodies):
    root, _ = threedpw
    path = root / "sequenceFiles/test/street_00.pkl"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match="street_00.pkl"):
        list(read_images("3dpw", root, "test", bodies))
    with pytest.raises(UserError, match="sequenceFiles.train"):
        list(read_images("3dpw", root, "train", bodies))
    with pytest.raises(UserError, match="choose train, val or test"):
        list(read_images("3dpw", root, "holdout", bodies))
    with pytest.raises(UserError, match="agora"):
        read_images("agora", root, "test", bodies)


def test_emdb_moves_the_whole_body_to_the_camera(emdb, bodies, world_points):
    root, contents = emdb
    frames = list(read_images("emdb", root, "test", bodies))
    smpl, kept = contents["P0"]["smpl"], [0, 1, 3, 5]
    assert [frame.key for frame in frames] == [f"P0_00_a/{i:05d}/0" for i in kept]
    assert all(frame.image.is_file() for frame in frames)
    pose = np.concatenate([smpl["poses_root"], smpl["poses_body"]], axis=1)[kept]
    joints, vertices = world_points("female", pose, smpl["betas"], smpl["trans"][kept])
    extrinsics = contents["P0"]["camera"]["extrinsics"][kept]
    _, got = world_points(
        "female", [f.pose for f in frames], frames[0].betas, [f.transl for f in frames]
    )
    np.testing.assert_allclose(got, to_camera(vertices, extrinsics), atol=2e-6)
    # The projected wrist is what the official kp2d would hold for SMPL joint 21.
    wrist = to_pixels(to_camera(joints[:, 21:22], extrinsics)[:, 0], frames[0].intrinsics)
    keypoints = np.stack([frame.keypoints_2d for frame in frames])
    np.testing.assert_allclose(
        keypoints[:, BODY25_NAMES.index("RWrist"), :2], wrist, rtol=1e-4, atol=1e-2
    )


def test_emdb_box_and_confidence(emdb, bodies):
    root, contents = emdb
    frame = next(read_images("emdb", root, "test", bodies))
    box = contents["P0"]["bboxes"]["bboxes"][0]
    np.testing.assert_allclose(frame.center, (box[:2] + box[2:]) / 2, rtol=1e-6)
    assert frame.box_size == pytest.approx(120.0)  # 1.2 x the height of 100
    x, y, confidence = frame.keypoints_2d.T
    np.testing.assert_array_equal(confidence > 0, (x >= 0) & (x < 320) & (y >= 0) & (y < 240))


def test_emdb_second_part_is_a_split_of_its_own(emdb, bodies):
    root, _ = emdb
    keys = [frame.key for frame in read_images("emdb", root, "emdb2", bodies)]
    assert keys[0].startswith("P1_01_b/")


@pytest.mark.parametrize(
    "change, word",
    [
        (lambda d: d["smpl"].pop("poses_body"), "poses_body"),
        (lambda d: d.pop("emdb1"), "emdb1"),
        (lambda d: d["camera"].update(extrinsics=np.zeros((6, 3, 4))), "extrinsics"),
        (lambda d: d["smpl"]["poses_root"].__setitem__((0, 0), np.nan), "poses_root"),
        (lambda d: d.update(camera=3), "dictionary"),
    ],
)
def test_emdb_bad_content_is_one_sentence_with_the_file(emdb, bodies, rewrite, change, word):
    root, _ = emdb
    rewrite(root / "P0/00_a/P0_00_a_data.pkl", change)
    with pytest.raises(UserError, match=f"P0_00_a_data.pkl.*{word}"):
        list(read_images("emdb", root, "test", bodies))


def test_emdb_missing_folder(tmp_path, bodies):
    with pytest.raises(UserError, match="nowhere"):
        list(read_images("emdb", tmp_path / "nowhere", "test", bodies))
    with pytest.raises(UserError, match="unpack EMDB"):
        list(read_images("emdb", tmp_path, "test", bodies))
