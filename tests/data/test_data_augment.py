"""One geometry for pixels, keypoints, poses and joints, against textbook formulas."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from genhmr.body.joints import BODY25_NAMES, SMPL24_NAMES, SPIN24_NAMES, body25
from genhmr.body.smpl import SMPLJoints
from genhmr.data.augment import (
    AugmentConfig,
    augment_joints_3d,
    augment_keypoints,
    augment_pose,
    crop_intrinsics,
    crop_matrices,
    extreme_crop,
    no_augmentation,
    sample_augmentation,
    turn_matrices,
)
from genhmr.data.warp import warp_square

STORED = 120
CAMERA = np.array([[400.0, 0, 35], [0, 400, 81], [0, 0, 1]])  # centre far from the picture's
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)


def boxes(count):
    return np.full((count, 2), STORED / 2), np.full(count, STORED / 1.5)


def sampled(count=64, seed=0, **strengths):
    keypoints = np.random.default_rng(9).uniform(30, 90, (count, 25, 3))
    keypoints[..., 2] = 1.0
    config = replace(AugmentConfig(), **strengths)
    rng = np.random.default_rng(seed)
    return sample_augmentation(rng, keypoints, *boxes(count), config), keypoints


def mirror_name(name):
    """'left_hip' <-> 'right_hip', 'LBigToe' <-> 'RBigToe'."""
    for left, right in (("left_", "right_"), ("L", "R")):
        for a, b in ((left, right), (right, left)):
            rest = name.removeprefix(a)
            if rest != name and (len(a) > 1 or rest[:1].isupper()):
                return b + rest
    return name


def forward_kinematics(pose, bones):
    """Textbook chain: (24, 3, 3) local rotations and (24, 3) bones to (24, 3) joints."""
    rotations, joints = [pose[0]], [bones[0]]
    for joint in range(1, 24):
        parent = PARENTS[joint]
        rotations.append(rotations[parent] @ pose[joint])
        joints.append(joints[parent] + rotations[parent] @ bones[joint])
    return np.stack(joints)


def test_rotated_body_lands_on_rotated_keypoints(bodies):
    """Project the augmented pose with the crop's camera: it must hit the augmented keypoints."""
    count = 20
    rng = np.random.default_rng(1)
    body = bodies.neutral
    layer = SMPLJoints(body, body25(len(body.v_template)), dtype=torch.float64)
    pose = rng.normal(0, 0.4, (count, 24, 3))
    betas = torch.from_numpy(rng.normal(0, 1, (count, 10)))
    transl = np.array([0.3, -0.1, 5.0]) + rng.normal(0, 0.1, (count, 3))
    pelvis = np.stack(
        [body.J_regressor[0] @ (body.v_template + body.shapedirs @ b) for b in betas.numpy()]
    )

    def posed(rotations, translation):
        return layer(rotations, betas, torch.from_numpy(translation)).numpy()

    local = Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(count, 24, 3, 3)
    pixels = posed(torch.from_numpy(local), transl) @ CAMERA.T
    keypoints = np.concatenate([pixels[..., :2] / pixels[..., 2:], np.ones((count, 25, 1))], axis=2)
    augmentation = sample_augmentation(
        rng, keypoints, *boxes(count), AugmentConfig(flip_probability=0.0, rotation_probability=1.0)
    )
    turn = turn_matrices(augmentation)
    moved = np.einsum("bij,bj->bi", turn, pelvis + transl) - pelvis  # SMPL turns about the pelvis
    points = posed(augment_pose(augmentation, pose).double(), moved)
    cameras = crop_intrinsics(augmentation, np.tile(CAMERA, (count, 1, 1)), size=64)
    seen = np.einsum("bij,bkj->bki", cameras, points)
    seen = seen[..., :2] / seen[..., 2:]
    expected = (augment_keypoints(augmentation, keypoints)[..., :2] + 0.5) * 64
    np.testing.assert_allclose(seen, expected, atol=2e-3)
    assert np.ptp(augmentation.angle) > 0.5


def test_mirrored_pose_is_the_mirror_image_of_a_symmetric_skeleton():
    rng = np.random.default_rng(2)
    bones = rng.normal(0, 0.3, (24, 3))
    for i, name in enumerate(SMPL24_NAMES):
        other = SMPL24_NAMES.index(mirror_name(name))
        if other == i:
            bones[i, 0] = 0.0
        elif name.startswith("right_"):
            bones[i] = bones[other] * [-1, 1, 1]
    pose = rng.normal(0, 0.8, (5, 24, 3))
    augmentation = replace(no_augmentation(*boxes(5)), flip=np.array([1, 0, 1, 1, 0], bool))
    augmentation = replace(augmentation, angle=np.array([0.0, 0.5, -0.9, 0.3, 0.0]))
    got = augment_pose(augmentation, pose).double().numpy()
    for i in range(5):
        local = Rotation.from_rotvec(pose[i]).as_matrix()
        joints = forward_kinematics(local, bones)
        if augmentation.flip[i]:
            order = [SMPL24_NAMES.index(mirror_name(name)) for name in SMPL24_NAMES]
            joints = (joints * [-1, 1, 1])[order]
        expected = joints @ Rotation.from_rotvec([0, 0, augmentation.angle[i]]).as_matrix().T
        own = bones.copy()
        own[0] = Rotation.from_rotvec([0, 0, augmentation.angle[i]]).apply(bones[0])
        np.testing.assert_allclose(forward_kinematics(got[i], own), expected, atol=1e-5)


def test_camera_of_mirrored_crops_agrees_with_keypoints_and_joints():
    augmentation, _ = sampled(32, seed=3)
    assert 0 < augmentation.flip.sum() < 32
    rng = np.random.default_rng(4)
    joints = np.concatenate([rng.normal(0, 0.3, (32, 24, 3)), np.ones((32, 24, 1))], axis=2)
    joints[..., 2] += 4.0
    # The same 24 names exist in BODY_25 for the limbs and the face.
    pairs = [(i, BODY25_NAMES.index(n)) for i, n in enumerate(SPIN24_NAMES) if n in BODY25_NAMES]
    spin, openpose = (list(column) for column in zip(*pairs))
    pixels = joints[..., :3] @ CAMERA.T
    keypoints = np.zeros((32, 25, 3))
    keypoints[:, openpose, :2] = (pixels[..., :2] / pixels[..., 2:])[:, spin]
    keypoints[:, openpose, 2] = 1.0
    cameras = crop_intrinsics(augmentation, np.tile(CAMERA, (32, 1, 1)), size=1)
    turned = augment_joints_3d(augmentation, joints)
    seen = np.einsum("bij,bkj->bki", cameras, turned[..., :3])
    seen = seen[..., :2] / seen[..., 2:] - 0.5
    got = augment_keypoints(augmentation, keypoints)
    np.testing.assert_allclose(seen[:, spin], got[:, openpose, :2], atol=1e-4)
    # A camera with square pixels and no skew: an honest perspective camera.
    np.testing.assert_allclose(cameras[:, 0, 0], cameras[:, 1, 1], rtol=1e-12)
    np.testing.assert_allclose(cameras[:, 0, 1], 0, atol=1e-9)
    assert (cameras[:, 0, 0] > 0).all()


def test_keypoints_follow_the_pixels():
    """A white disc painted at a keypoint is found where the augmented keypoint is."""
    augmentation, keypoints = sampled(12, seed=5, scale=0.2, extreme_crop_probability=0.0)
    matrices = crop_matrices(augmentation, 64)
    moved = augment_keypoints(augmentation, keypoints)
    order = [BODY25_NAMES.index(mirror_name(name)) for name in BODY25_NAMES]
    x, y = np.meshgrid(np.arange(STORED) + 0.5, np.arange(STORED) + 0.5)
    checked = 0
    for i in range(12):
        for k in (0, 4, 14):
            target = order[k] if augmentation.flip[i] else k
            if np.abs(moved[i, target, :2]).max() > 0.4:
                continue
            px, py = keypoints[i, k, :2]
            disc = np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 3.0**2))
            image = np.repeat((255 * disc).astype(np.uint8)[..., None], 3, axis=2)
            crop = warp_square(image, matrices[i], 64)[..., 0].astype(float)
            u, v = np.meshgrid(np.arange(64) + 0.5, np.arange(64) + 0.5)
            centroid = np.array([(u * crop).sum(), (v * crop).sum()]) / crop.sum()
            np.testing.assert_allclose(centroid / 64 - 0.5, moved[i, target, :2], atol=0.006)
            checked += 1
    assert checked > 20


def test_unknown_keypoints_stay_zero():
    augmentation, keypoints = sampled(8, seed=6)
    keypoints[:, 7] = [np.nan, 55.0, 0.0]
    moved = augment_keypoints(augmentation, keypoints)
    index = np.where(augmentation.flip, BODY25_NAMES.index("RWrist"), 7)
    assert (moved[np.arange(8), index] == 0).all()
    assert np.isfinite(moved).all()


def test_no_augmentation_is_the_box_in_crop_units():
    rng = np.random.default_rng(7)
    keypoints = rng.uniform(0, STORED, (3, 25, 3))
    joints = rng.normal(0, 1, (3, 24, 4))
    pose = rng.normal(0, 1, (3, 24, 3))
    plain = no_augmentation(*boxes(3))
    expected = (keypoints[..., :2] - STORED / 2) / (STORED / 1.5)
    got = augment_keypoints(plain, keypoints)
    np.testing.assert_allclose(got[..., :2], expected, atol=1e-6)
    np.testing.assert_allclose(got[..., 2], keypoints[..., 2], rtol=1e-6)
    np.testing.assert_allclose(augment_joints_3d(plain, joints), joints, rtol=1e-6)
    matrices = Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(3, 24, 3, 3)
    np.testing.assert_allclose(augment_pose(plain, pose).numpy(), matrices, atol=1e-6)


def test_sampled_strengths_follow_the_configuration():
    count = 4000
    augmentation, _ = sampled(count, seed=8, extreme_crop_probability=0.0)
    factor = augmentation.side / (STORED / 1.5)
    assert factor.min() == pytest.approx(0.7) and factor.max() == pytest.approx(1.3)
    shift = (augmentation.center - STORED / 2) / (STORED / 1.5)
    assert np.abs(shift).max() == pytest.approx(0.02)
    assert np.abs(augmentation.angle).max() == pytest.approx(np.deg2rad(60))
    assert (augmentation.angle != 0).mean() == pytest.approx(0.6, abs=0.03)
    assert augmentation.flip.mean() == pytest.approx(0.5, abs=0.03)
    assert 0.8 <= augmentation.colour.min() < 0.81 and 1.19 < augmentation.colour.max() <= 1.2
    extent = augmentation.occluder[:, 2:] - augmentation.occluder[:, :2]
    covered = (extent > 0).all(axis=1)
    assert covered.mean() == pytest.approx(0.2, abs=0.03)
    assert extent[covered].min() >= 0.1 - 1e-9 and extent[covered].max() <= 0.4 + 1e-9
    assert augmentation.occluder.min() >= 0 and augmentation.occluder.max() <= 1 + 1e-12


def test_same_generator_state_gives_the_same_augmentation():
    for name, value in vars(sampled(16, seed=1)[0]).items():
        np.testing.assert_array_equal(value, getattr(sampled(16, seed=1)[0], name))
    assert (sampled(16, seed=1)[0].side != sampled(16, seed=2)[0].side).any()


@pytest.mark.parametrize(
    "kind, inside, outside",
    [
        (0, ["Nose", "RWrist", "MidHip"], ["RAnkle", "LKnee", "LHeel"]),
        (1, ["Nose", "RShoulder", "LShoulder"], ["RHip", "LKnee"]),
        (2, ["Nose", "LEar", "Neck"], ["RHip", "LWrist"]),
    ],
)
def test_extreme_crop_closes_around_the_upper_body(kind, inside, outside):
    heights = {"Nose": 10, "E": 9, "Neck": 20, "Shoulder": 22, "Elbow": 35, "Wrist": 48,
               "Hip": 50, "Knee": 70, "Ankle": 90, "Toe": 94, "Heel": 93}  # fmt: skip
    keypoints = np.ones((25, 3))
    for i, name in enumerate(BODY25_NAMES):
        keypoints[i, 1] = next(height for part, height in heights.items() if part in name)
        side = {"L": 1, "R": -1}.get(name[0], 0) if name != "Nose" else 0
        keypoints[i, 0] = 50 + 8 * side
    center, side = extreme_crop(keypoints, kind)
    for names, wanted in ((inside, True), (outside, False)):
        for name in names:
            point = keypoints[BODY25_NAMES.index(name), :2]
            assert (np.abs(point - center) <= side / 2).all() == wanted, name
    keypoints[BODY25_NAMES.index("RKnee"), 2] = 0.0
    assert extreme_crop(keypoints, kind) is None  # not seen whole
