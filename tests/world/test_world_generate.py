"""The four picture sets in their official formats, checked against the body model by hand."""

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from genhmr.body import SMPL, load_bodies
from genhmr.types import UserError
from genhmr.world.generate import generate
from genhmr.world.lab import lab_blocks
from genhmr.world.sequences import sequence_lengths

OPEN = Path(__file__).resolve().parents[2] / "datasets" / "open"
SIZE = 128
COCO18_SMPL = {1: 12, 2: 17, 3: 19, 4: 21, 5: 16, 6: 18, 7: 20, 8: 2, 9: 5, 10: 8, 11: 1, 12: 4,
               13: 7}  # fmt: skip


@pytest.fixture(scope="module")
def bodies():
    return load_bodies(OPEN / "body")


@pytest.fixture(scope="module")
def world(tmp_path_factory, bodies):
    root = tmp_path_factory.mktemp("world")
    counts = {"open-lab": {"train": 16, "test": 24}, "open-photo": {"train": 24},
              "open-wild": {"test": 72}, "open-extreme": {"test": 24}}
    for name, count in counts.items():
        generate(name, root / name, bodies, OPEN / "motion", count, 3, SIZE, workers=1)
    return root


@pytest.fixture(scope="module")
def layers(bodies):
    return {gender: SMPL(bodies.get(gender)) for gender in ("neutral", "male", "female")}


def pose_body(layers, gender, poses, betas, transl):
    """Vertices and joints from axis-angle by scipy's rotations and our layer; numpy."""
    layer = layers[gender]
    matrices = Rotation.from_rotvec(np.reshape(poses, (-1, 3))).as_matrix()
    out = layer(torch.from_numpy(matrices.reshape(-1, 24, 3, 3)),
                torch.from_numpy(np.asarray(betas, float)), torch.from_numpy(transl))
    return out.vertices.numpy(), out.joints.numpy()


def project(points, intrinsics):
    image = points @ intrinsics.T
    return image[..., :2] / image[..., 2:]


def unpickle(path):
    return pickle.loads(path.read_bytes(), encoding="latin1")  # our own file


def test_threedpw_files_project_onto_their_pictures(world, layers):
    root = world / "open-wild"
    files = sorted((root / "sequenceFiles" / "test").glob("*.pkl"))
    assert len(files) == 3
    genders, people = set(), 0
    for path in files:
        data = unpickle(path)
        frames = len(data["cam_poses"])
        images = sorted((root / "imageFiles" / data["sequence"]).glob("image_*.jpg"))
        assert [p.name for p in images] == [f"image_{i:05d}.jpg" for i in range(frames)]
        height, width = cv2.imread(str(images[0])).shape[:2]
        assert (width, height) == (SIZE * 9 // 16, SIZE)
        assert data["cam_poses"].shape == (frames, 4, 4)
        assert data["cam_intrinsics"].shape == (3, 3)
        for p in range(len(data["poses"])):
            people += 1
            genders.add(data["genders"][p])
            assert data["poses"][p].shape == (frames, 72)
            assert data["trans"][p].shape == (frames, 3)
            assert data["poses2d"][p].shape == (frames, 3, 18)
            assert data["campose_valid"][p].shape == (frames,)
            assert data["jointPositions"][p].shape == (frames, 72)
            betas = np.tile(data["betas"][p][:10], (frames, 1))
            gender = {"m": "male", "f": "female"}[data["genders"][p]]
            _, joints = pose_body(layers, gender, data["poses"][p], betas, data["trans"][p])
            np.testing.assert_allclose(joints.reshape(frames, 72), data["jointPositions"][p],
                                       atol=1e-4)
            rotation, shift = data["cam_poses"][:, :3, :3], data["cam_poses"][:, :3, 3]
            camera = np.einsum("fij,fkj->fki", rotation, joints) + shift[:, None]
            pixels = project(camera, data["cam_intrinsics"])
            seen = data["poses2d"][p][:, 2] > 0
            for coco, joint in COCO18_SMPL.items():
                got = data["poses2d"][p][seen[:, coco], :2, coco]
                np.testing.assert_allclose(got, pixels[seen[:, coco], joint], atol=0.02)
            assert (data["poses2d"][p].transpose(0, 2, 1)[~seen] == 0).all()
    assert genders <= {"m", "f"} and people >= 3


def test_emdb_files_project_onto_their_pictures(world, layers):
    (path,) = (world / "open-extreme").glob("P*/*/*_data.pkl")
    data = unpickle(path)
    n = data["n_frames"]
    assert path.name == f"{path.parts[-3]}_{path.parts[-2]}_data.pkl"
    assert n == 24 and data["emdb1"] is True and data["name"] == path.stem.removesuffix("_data")
    images = sorted((path.parent / "images").glob("*.jpg"))
    assert [p.name for p in images] == [f"{i:05d}.jpg" for i in range(n)]
    height, width = cv2.imread(str(images[0])).shape[:2]
    camera, smpl = data["camera"], data["smpl"]
    assert (camera["width"], camera["height"]) == (width, height)
    assert camera["extrinsics"].shape == (n, 4, 4) and camera["intrinsics"].shape == (3, 3)
    poses = np.concatenate([smpl["poses_root"], smpl["poses_body"]], 1)
    assert poses.shape == (n, 72) and smpl["betas"].shape == (10,)
    vertices, joints = pose_body(layers, data["gender"], poses, np.tile(smpl["betas"], (n, 1)),
                                 smpl["trans"])

    def pixels(points):
        moved = np.einsum("fij,fkj->fki", camera["extrinsics"][:, :3, :3], points)
        return project(moved + camera["extrinsics"][:, None, :3, 3], camera["intrinsics"])

    np.testing.assert_allclose(data["kp2d"], pixels(joints), atol=0.02)
    boxes = data["bboxes"]["bboxes"]
    outline = pixels(vertices)
    limit = [width, height]
    np.testing.assert_allclose(boxes[:, :2], outline.min(1).clip(0, limit), atol=1.5)
    np.testing.assert_allclose(boxes[:, 2:], outline.max(1).clip(0, limit), atol=1.5)
    assert data["good_frames_mask"].dtype == bool and data["good_frames_mask"].mean() > 0.8
    assert set(data["bboxes"]["invalid_idxs"]) == set(np.flatnonzero(~data["good_frames_mask"]))
    assert np.ptp(camera["extrinsics"], axis=0).max() > 0.05  # the camera moves


SPIN_SHAPES = {"center": (2,), "scale": (), "part": (24, 3), "S": (24, 4), "openpose": (25, 3),
               "pose": (72,), "shape": (10,), "has_smpl": (), "cam_int": (3, 3), "trans_cam": (3,)}


@pytest.mark.parametrize(
    "name, file, count",
    [("open-lab", "h36m_mosh_train.npz", 16), ("open-lab", "h36m_valid_protocol1.npz", 24),
     ("open-photo", "coco_2014_train.npz", 24)],
)  # fmt: skip
def test_spin_files_project_onto_their_pictures(world, bodies, layers, name, file, count):
    data = np.load(world / name / file, allow_pickle=False)
    assert len(data["imgname"]) == count and len(set(data["imgname"])) == count
    for key, shape in SPIN_SHAPES.items():
        assert data[key].shape == (count, *shape), key
    assert set(data["gender"]) <= {"n", "m", "f"}
    regressor = bodies.regressor_h36m
    for i, image in list(enumerate(data["imgname"]))[::2]:
        height, width = cv2.imread(str(world / name / image)).shape[:2]
        gender = {"n": "neutral", "m": "male", "f": "female"}[str(data["gender"][i])]
        vertices, joints = pose_body(layers, gender, data["pose"][i : i + 1].astype(float),
                                     data["shape"][i : i + 1], data["trans_cam"][i : i + 1])
        pixels = project(joints[0], data["cam_int"][i].astype(float))
        openpose = data["openpose"][i]
        for body25, joint in {1: 12, 4: 21, 7: 20, 8: 0, 10: 5, 13: 4}.items():
            if openpose[body25, 2] > 0:
                np.testing.assert_allclose(openpose[body25, :2], pixels[joint], atol=0.05)
        # SPIN's joints: right ankle, left ankle and pelvis of the Human3.6M regressor.
        regressed = regressor @ vertices[0]
        relative = regressed - regressed[0]
        for spin, h36m in {0: 6, 5: 3, 9: 11, 14: 0}.items():
            np.testing.assert_allclose(data["S"][i, spin, :3], relative[h36m], atol=1e-3)
            if data["part"][i, spin, 2] > 0:
                expected = project(regressed[h36m], data["cam_int"][i].astype(float))
                np.testing.assert_allclose(data["part"][i, spin, :2], expected, atol=0.05)
        assert data["S"][i, [13, 15], 3].max() == 0
        inside = (data["part"][i, :, :2] <= [width, height]).all(-1) & (data["part"][i, :, 2] > 0)
        assert inside.sum() == (data["part"][i, :, 2] > 0).sum() >= 6
        low, high = data["center"][i] - 100 * data["scale"][i], (
            data["center"][i] + 100 * data["scale"][i])
        known = data["part"][i, data["part"][i, :, 2] > 0, :2]
        assert (known >= low).all() and (known <= high).all()


def test_lab_keeps_subjects_cameras_and_protocol(world):
    train = np.load(world / "open-lab" / "h36m_mosh_train.npz")
    test = np.load(world / "open-lab" / "h36m_valid_protocol1.npz")
    subject = {}
    for data in (train, test):
        for name, betas in zip(data["imgname"], data["shape"]):
            person = Path(name).name.split("_")[0]
            assert np.array_equal(subject.setdefault(person, betas), betas)
    assert subject.keys() >= {"S9", "S11"} and len(subject) >= 3
    cameras = [Path(name).name.split(".")[1].split("_")[0] for name in test["imgname"]]
    assert {cameras.count(c) for c in cameras} == {6}
    assert set(cameras) == {"54138969", "55011271", "58860488", "60457274"}
    assert (test["part"][:, [*range(13), 14], 2] == 1).all()  # nobody leaves the frame


def test_occlusion_rises_from_the_laboratory_to_the_wild(world):
    lab = np.load(world / "open-lab" / "h36m_valid_protocol1.npz")["openpose"][:, :, 2]
    body = [1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14]
    lab_hidden = (lab[:, body] < 1).mean()
    wild = []
    for path in (world / "open-wild" / "sequenceFiles" / "test").glob("*.pkl"):
        for person in unpickle(path)["poses2d"]:
            wild.append((person[:, 2, 1:14] == 0).mean())
    assert np.mean(wild) > lab_hidden + 0.05


def test_same_seed_gives_the_same_bytes(world, tmp_path, bodies):
    generate("open-extreme", tmp_path / "b", bodies, OPEN / "motion", {"test": 24}, 3, SIZE, 1)
    generate("open-lab", tmp_path / "c", bodies, OPEN / "motion", {"test": 24}, 3, SIZE, 1)
    for new, old, least in ((tmp_path / "b", "open-extreme", 25), (tmp_path / "c", "open-lab", 25)):
        files = [p.relative_to(new) for p in new.rglob("*") if p.is_file()]
        assert len(files) >= least
        for file in files:  # the laboratory's other splits do not change this one
            assert (new / file).read_bytes() == (world / old / file).read_bytes(), file


def test_bad_requests_are_refused_and_leave_the_old_set(tmp_path, bodies):
    motion = OPEN / "motion"
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "old.txt").write_text("kept")
    for name, counts, folder, words in [
        ("open-sea", {"train": 1}, motion, "open-sea"),
        ("open-photo", {"test": 1}, motion, "test"),
        ("open-photo", {"train": 0}, motion, "at least 1"),
        ("open-photo", {}, motion, "no split"),
        ("open-wild", {"test": 1}, tmp_path / "nothing", "nothing"),
    ]:
        with pytest.raises(UserError, match=words):
            generate(name, tmp_path / "set", bodies, folder, counts, 0, 64, 1)
    assert [p.name for p in tmp_path.rglob("*")] == ["set", "old.txt"]


def test_motion_sets_are_written_through_the_same_door(tmp_path, bodies):
    generate("open-yoga", tmp_path / "yoga", bodies, OPEN / "motion", {"train": 1, "val": 1}, 0)
    assert len(list((tmp_path / "yoga").rglob("*.pkl"))) == 2
    generate("open-mocap", tmp_path / "mocap", bodies, OPEN / "motion", {"train": 2}, 0)
    assert len(list((tmp_path / "mocap").rglob("*recombined*.npz"))) == 2


def test_plans_add_up():
    for count in (1, 23, 24, 25, 100, 1000):
        lengths = sequence_lengths(count)
        assert sum(lengths) == count and max(lengths) <= 24
    for split, clips in (("train", 10), ("test", 3)):
        plan = lab_blocks(split, 402, clips)
        assert sum(poses for _, poses in plan) == 101  # rounded up to four cameras
        assert max(poses for _, poses in plan) <= 17
    assert len(lab_blocks("test", 24, 3)) == 6  # both subjects, all clips
