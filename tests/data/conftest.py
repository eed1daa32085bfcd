"""Tiny data sets in the official formats, written by hand and not by the open world's writers."""

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from genhmr.body.model_files import load_bodies
from genhmr.body.smpl import SMPL
from genhmr.types import PersonFrame

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def bodies():
    return load_bodies(ROOT / "datasets" / "open" / "body")


@pytest.fixture(scope="session")
def world_points(bodies):
    """Joints and vertices of a posed body by the full-mesh layer, (F, 24, 3) and (F, V, 3)."""
    layers = {}

    def pose_body(gender, pose, betas, transl):
        if gender not in layers:
            layers[gender] = SMPL(bodies.get(gender), dtype=torch.float64)
        rotations = Rotation.from_rotvec(np.asarray(pose, float).reshape(-1, 3)).as_matrix()
        output = layers[gender](
            torch.from_numpy(rotations.reshape(-1, 24, 3, 3)),
            torch.from_numpy(np.tile(np.asarray(betas, float), (len(pose), 1))),
            torch.from_numpy(np.asarray(transl, float)),
        )
        return output.joints.numpy(), output.vertices.numpy()

    return pose_body


def random_extrinsics(rng, frames):
    """Cameras 4 m away that look at the origin from all round, (F, 4, 4)."""
    extrinsics = np.tile(np.eye(4), (frames, 1, 1))
    extrinsics[:, :3, :3] = Rotation.random(frames, rng).as_matrix()
    extrinsics[:, :3, 3] = [0.1, -0.2, 4.0]
    return extrinsics


INTRINSICS = np.array([[300.0, 0, 160], [0, 300, 120], [0, 0, 1]])


def write_pictures(folder, names, size=(240, 320), seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for name in names:
        small = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / name), cv2.resize(small, size[::-1]))


def write_pickle(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.fixture
def threedpw(tmp_path):
    """One sequence of two people, five frames; frame 1 of person 0 has no valid camera."""
    rng = np.random.default_rng(3)
    frames = 5
    content = {
        "sequence": "street_00",
        "poses": [rng.normal(0, 0.3, (frames, 72)) for _ in range(2)],
        "trans": [rng.normal(0, 0.2, (frames, 3)) for _ in range(2)],
        "betas": [rng.normal(0, 1, 10), rng.normal(0, 1, 12)],
        "genders": ["m", "f"],
        "poses2d": [rng.uniform(20, 200, (frames, 3, 18)) for _ in range(2)],
        "campose_valid": [np.array([1, 0, 1, 1, 1]), np.ones(frames, int)],
        "jointPositions": [np.zeros((frames, 72))] * 2,
        "cam_poses": random_extrinsics(rng, frames),
        "cam_intrinsics": INTRINSICS,
        "img_frame_ids": np.arange(frames),
    }
    for poses2d in content["poses2d"]:
        poses2d[:, 2] = rng.uniform(0.2, 1.0, (frames, 18))
        poses2d[:, :, 16:] = 0.0  # ears not detected: the usual triple of zeros
    write_pickle(tmp_path / "sequenceFiles" / "test" / "street_00.pkl", content)
    names = [f"image_{i:05d}.jpg" for i in range(frames)]
    write_pictures(tmp_path / "imageFiles" / "street_00", names)
    return tmp_path, content


@pytest.fixture
def emdb(tmp_path):
    """P0/00_a belongs to EMDB-1 and has a bad frame and an empty box; P1/01_b to EMDB-2 only."""
    rng = np.random.default_rng(4)
    frames = 6
    contents = {}
    for subject, name, first in (("P0", "00_a", True), ("P1", "01_b", False)):
        corner = rng.uniform(50, 90, (frames, 2))
        content = {
            "gender": "female",
            "name": f"{subject}_{name}",
            "emdb1": first,
            "emdb2": not first,
            "n_frames": frames,
            "good_frames_mask": np.array([True, True, False, True, True, True]),
            "camera": {
                "intrinsics": INTRINSICS,
                "extrinsics": random_extrinsics(rng, frames),
                "width": 320,
                "height": 240,
            },
            "smpl": {
                "poses_root": rng.normal(0, 1, (frames, 3)),
                "poses_body": rng.normal(0, 0.3, (frames, 69)),
                "trans": rng.normal(0, 0.2, (frames, 3)),
                "betas": rng.normal(0, 1, 10),
            },
            "kp2d": np.zeros((frames, 24, 2)),
            "bboxes": {
                "bboxes": np.concatenate([corner, corner + [60.0, 100.0]], axis=1),
                "invalid_idxs": np.array([2, 4]),
            },
        }
        content["bboxes"]["bboxes"][4, 2:] = content["bboxes"]["bboxes"][4, :2]
        write_pickle(tmp_path / subject / name / f"{subject}_{name}_data.pkl", content)
        pictures = [f"{i:05d}.jpg" for i in range(frames)]
        write_pictures(tmp_path / subject / name / "images", pictures)
        contents[subject] = content
    return tmp_path, contents


@pytest.fixture
def person_frames(tmp_path):
    """Makes PersonFrames of smooth random pictures; some have no body, all have a keypoint."""

    def make(count, seed=0, size=(240, 320), box_size=100.0):
        rng = np.random.default_rng(seed)
        names = [f"{i:03d}.jpg" for i in range(count)]
        folder = tmp_path / f"pictures{seed}"
        write_pictures(folder, names, size, seed)
        frames = []
        for i, name in enumerate(names):
            known = i % 3 != 2
            keypoints = np.zeros((25, 3), np.float32)
            keypoints[:, :2] = [160, 120] + rng.uniform(-50, 50, (25, 2))
            keypoints[:, 2] = rng.uniform(0.3, 1, 25)
            keypoints[20, 2] = 0.0
            nan = np.float32(np.nan)
            frames.append(
                PersonFrame(
                    key=f"seq{seed}/{i:05d}/0",
                    image=folder / name,
                    center=np.array([160, 120], np.float32) + rng.uniform(-5, 5, 2),
                    box_size=box_size * float(rng.uniform(0.8, 1.2)),
                    intrinsics=INTRINSICS.astype(np.float32),
                    pose=rng.normal(0, 0.5, (24, 3)).astype(np.float32) * (1 if known else nan),
                    betas=rng.normal(0, 1, 10).astype(np.float32) * (1 if known else nan),
                    transl=np.array([0.1, 0.2, 4], np.float32) * (1 if known else nan),
                    gender=("male", "female", "neutral")[i % 3],
                    keypoints_2d=keypoints,
                    joints_3d=rng.normal(0, 0.5, (24, 4)).astype(np.float32) * [1, 1, 1, 0]
                    + [0, 0, 0, 1],
                )
            )
        return frames

    return make
