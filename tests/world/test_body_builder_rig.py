"""The open body's pose, skeleton, skinning and pose correctives, on stick figures."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from smplx.lbs import batch_rigid_transform

from genhmr.world.body_builder.keypoint_targets import carry
from genhmr.world.body_builder.pose_correctives import (
    fit_pose_correctives,
    mirror_poses,
    pose_body,
    random_poses,
    skinning_residual,
)
from genhmr.world.body_builder.rig import (
    apply_blend,
    blend_transforms,
    collapse_weights,
    dual_quaternion_skinning,
    forward_kinematics,
)
from genhmr.world.body_builder.skeleton import (
    JOINT_NAMES,
    MIRROR_JOINT,
    PARENTS,
    joint_of_bone,
    joint_targets,
)
from genhmr.world.body_builder.tpose import apply_t_pose, fraction_of, rotation_between

FLIP = np.array([-1.0, 1.0, 1.0])


def test_rotation_between_is_the_shortest_arc():
    rng = np.random.default_rng(0)
    for _ in range(5):
        a, b = rng.normal(size=(2, 3))
        rotation = rotation_between(a, b)
        angle = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        assert np.allclose(rotation @ a / np.linalg.norm(a), b / np.linalg.norm(b))
        assert np.isclose(Rotation.from_matrix(rotation).magnitude(), angle)
    third = fraction_of(Rotation.from_euler("y", 0.9).as_matrix(), 1 / 3)
    assert np.allclose(third, Rotation.from_euler("y", 0.3).as_matrix())


SIDE_BONES = ("clavicle", "shoulder01", "upperarm01", "upperarm02", "lowerarm01", "lowerarm02",
              "wrist", "finger2-1", "finger3-1", "finger4-1", "finger5-1", "upperleg01",
              "upperleg02", "lowerleg01", "lowerleg02", "foot", *(f"toe{k}-1" for k in range(1, 6)))
LEFT_HEADS = np.array([
    (0.02, 1.4, 0), (0.1, 1.42, 0), (0.17, 1.38, 0), (0.22, 1.3, 0), (0.35, 1.15, 0.03),
    (0.41, 1.08, 0.1), (0.47, 1.0, 0.19), (0.55, 0.93, 0.27), (0.56, 0.93, 0.24),
    (0.56, 0.92, 0.22), (0.55, 0.92, 0.2), (0.11, 0.9, 0), (0.11, 0.8, 0), (0.145, 0.5, 0.03),
    (0.165, 0.3, 0.02), (0.19, 0.08, 0), *((0.16 + 0.01 * k, 0.02, 0.15) for k in range(5)),
])  # fmt: skip
SPINE = {"root": 0.92, "spine04": 1.0, "spine03": 1.08, "spine02": 1.16, "spine01": 1.29,
         "neck01": 1.48, "head": 1.58}  # fmt: skip


def stick_figure():
    """Bones of a figure in A-pose, parents first; one vertex on every bone head."""
    bones = list(SPINE)
    heads = [(0.0, y, 0.0) for y in SPINE.values()]
    parents = [-1, 0, 1, 2, 3, 4, 5]
    chain = {"clavicle": "spine01", "upperleg01": "root", "finger2-1": "wrist",
             "finger3-1": "wrist", "finger4-1": "wrist", "finger5-1": "wrist",
             **{f"toe{k}-1": "foot" for k in range(1, 6)}}  # fmt: skip
    for letter, sign in (("L", 1), ("R", -1)):
        for name, head in zip(SIDE_BONES, LEFT_HEADS, strict=True):
            parent = chain.get(name)
            if parent is None:
                parents.append(len(bones) - 1)
            else:
                parents.append(bones.index(parent if parent in SPINE else f"{parent}.{letter}"))
            bones.append(f"{name}.{letter}")
            heads.append(tuple(head * np.array([sign, 1, 1])))
    return bones, parents, np.array(heads)


def test_t_pose_stretches_the_arms_and_closes_the_legs():
    bones, parents, heads = stick_figure()
    weights = np.eye(len(bones))
    posed, moved = apply_t_pose(heads[None], heads[None], weights, bones, parents)
    assert np.allclose(posed, moved)  # a vertex on a bone head goes where the head goes
    for letter, sign in (("L", 1.0), ("R", -1.0)):
        at = {b: moved[0, bones.index(f"{b}.{letter}")] for b in SIDE_BONES}
        for near, far in (("upperarm01", "lowerarm01"), ("wrist", "finger3-1")):
            direction = at[far] - at[near]
            assert np.allclose(direction / np.linalg.norm(direction), [sign, 0, 0], atol=1e-6)
        across = at["finger2-1"] - at["finger5-1"]
        assert across[2] > 0 and abs(across[1]) < 1e-6  # palm down, thumb side forwards
        leg = at["foot"] - at["upperleg01"]
        assert np.isclose(np.rad2deg(np.arctan2(sign * leg[0], -leg[1])), 1.5, atol=0.05)
        assert at["toe1-1"][2] > at["foot"][2] + 0.1
    lengths = [np.linalg.norm(x[1:] - x[np.array(parents[1:])], axis=1) for x in (heads, moved[0])]
    assert np.allclose(*lengths)
    assert np.allclose(moved[0, :7], heads[:7])


def test_joint_targets_follow_smpl_proportions():
    bones, _, heads = stick_figure()
    joints = dict(zip(JOINT_NAMES, joint_targets(heads[None], bones)[0], strict=True))
    assert 0.06 < joints["left_hip"][0] < 0.09
    assert np.allclose(joints["right_hip"], joints["left_hip"] * FLIP)
    assert 0.07 < joints["pelvis"][1] - joints["left_hip"][1] < 0.11
    order = ("pelvis", "spine1", "spine2", "spine3", "neck", "head")
    assert all(joints[a][1] < joints[b][1] for a, b in zip(order, order[1:], strict=False))


def test_every_kind_of_bone_has_its_joint():
    expected = {
        "root": "pelvis", "pelvis.R": "pelvis", "upperleg02.L": "left_hip", "foot.R": "right_ankle",
        "toe5-3.R": "right_foot", "finger1-1.L": "left_wrist", "finger1-2.L": "left_hand",
        "metacarpal3.R": "right_wrist", "eye.L": "head", "neck03": "neck", "spine01": "spine3",
    }  # fmt: skip
    assert {b: JOINT_NAMES[joint_of_bone(b)] for b in expected} == expected
    with pytest.raises(KeyError):
        joint_of_bone("tail.L")


def test_collapsed_weights_are_sparse_symmetric_and_drop_ties_whole():
    bones = ("root", "spine03", "upperleg01.L", "upperleg01.R", "spine02", "lowerleg01.L",
             "lowerleg01.R")
    rows = np.array([
        [0.3, 0.25, 0.12, 0.12, 0.21, 0.0, 0.0],  # on the midline: the fourth place is tied
        [0.3, 0.2, 0.3, 0.05, 0.1, 0.04, 0.01],
        [0.3, 0.2, 0.05, 0.3, 0.1, 0.01, 0.04],
    ])
    mirror = np.array([0, 2, 1])
    weights = collapse_weights(rows, bones, mirror)
    assert (weights > 0).sum(axis=1).tolist() == [3, 4, 4]
    assert np.allclose(weights.sum(axis=1), 1.0)
    assert np.array_equal(weights, weights[mirror][:, MIRROR_JOINT])
    assert np.isclose(weights[1, JOINT_NAMES.index("left_hip")], 0.3 / 0.9)


def random_chain(rng):
    joints = rng.normal(size=(24, 3))
    rotations = Rotation.random(24, rng=rng).as_matrix()
    return joints, rotations


def test_forward_kinematics_agrees_with_smplx():
    joints, rotations = random_chain(np.random.default_rng(1))
    posed, transforms = forward_kinematics(joints, rotations)
    expected, relative = batch_rigid_transform(
        torch.from_numpy(rotations)[None], torch.from_numpy(joints)[None],
        torch.from_numpy(PARENTS), dtype=torch.float64,
    )
    assert np.allclose(posed, expected[0].numpy())
    assert np.allclose(transforms, relative[0].numpy())


def test_dual_quaternions_move_rigid_parts_rigidly_and_keep_twisted_tubes_round():
    rng = np.random.default_rng(2)
    joints, rotations = random_chain(rng)
    _, transforms = forward_kinematics(joints, rotations)
    vertices = rng.normal(size=(24, 3))
    rigid = dual_quaternion_skinning(vertices, np.eye(24), transforms)
    assert np.allclose(rigid, apply_blend(vertices, transforms[:, :3]))

    # The elbow twisted by 150 degrees about the arm: a ring half way must keep its radius.
    twist = np.tile(np.eye(3), (24, 1, 1))
    twist[18] = Rotation.from_rotvec([np.deg2rad(150), 0, 0]).as_matrix()
    _, transforms = forward_kinematics(np.zeros((24, 3)), twist)
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    ring = np.stack([np.zeros(12), np.cos(angle), np.sin(angle)], axis=1)
    weights = np.zeros((12, 24))
    weights[:, [16, 18]] = 0.5
    smooth = dual_quaternion_skinning(ring, weights, transforms)
    collapsed = apply_blend(ring, blend_transforms(weights, transforms))
    assert np.allclose(np.linalg.norm(smooth, axis=1), 1.0)
    assert np.linalg.norm(collapsed, axis=1).max() < 0.3
    half = Rotation.from_rotvec([np.deg2rad(75), 0, 0]).apply(ring)
    assert np.allclose(smooth, half)


def limb_body(rng):
    """A symmetric cloud of points around a T-posed skeleton with smooth weights."""
    bones, _, heads = stick_figure()
    joints = joint_targets(heads[None], bones)[0]
    joints[:, 1] -= joints[0, 1]
    pairs = [(j, p) for j, p in enumerate(PARENTS) if p >= 0]
    points, weights = [], []
    for joint, parent in pairs:
        for share in (0.05, 0.5, 0.95):
            offset = rng.normal(size=3) * 0.04
            points.append(joints[joint] * share + joints[parent] * (1 - share) + offset)
            row = np.zeros(24)
            row[joint], row[parent] = share / 2, 1 - share / 2
            weights.append(row)
    points, weights = np.array(points), np.array(weights)
    points = np.concatenate([points, points * FLIP])
    weights = np.concatenate([weights, weights[:, MIRROR_JOINT]])
    count = len(points) // 2
    mirror = np.concatenate([np.arange(count) + count, np.arange(count)])
    return points, joints, weights, mirror


def test_residual_turns_linear_blending_into_dual_quaternions():
    points, joints, weights, _ = limb_body(np.random.default_rng(3))
    pose = random_poses(1, np.random.default_rng(4), spread=0.5)[0]
    residual = skinning_residual(points, joints, weights, pose)
    assert 1e-4 < np.abs(residual).max() < 0.05  # nothing clipped
    _, transforms = forward_kinematics(joints, pose)
    corrected = apply_blend(points + residual, blend_transforms(weights, transforms))
    assert np.allclose(corrected, dual_quaternion_skinning(points, weights, transforms), atol=1e-9)


def test_pose_correctives_are_local_symmetric_and_explain_unseen_poses():
    points, joints, weights, mirror = limb_body(np.random.default_rng(5))
    posedirs, explained = fit_pose_correctives(
        points, joints, weights, mirror, np.random.default_rng(6), count=90
    )
    assert explained > 0.6
    used = (posedirs.reshape(len(points), 3, 23, 9) != 0).any(axis=(1, 3))
    assert not used[weights[:, 1:] == 0].any() and used.any()
    poses = random_poses(4, np.random.default_rng(7))
    for pose, twin in zip(poses, mirror_poses(poses), strict=True):
        straight, _ = pose_body(points, joints, weights, posedirs, pose)
        swapped, _ = pose_body(points, joints, weights, posedirs, twin)
        assert np.allclose(swapped, straight[mirror] * FLIP, atol=1e-6)


def test_random_poses_bend_knees_and_elbows_one_way():
    poses = random_poses(50, np.random.default_rng(8))
    angles = Rotation.from_matrix(poses.reshape(-1, 3, 3)).as_rotvec().reshape(50, 24, 3)
    assert np.allclose(poses[:, 0], np.eye(3))
    assert (angles[:, [4, 5], 0] >= 0).all()
    assert (angles[:, 18, 1] <= 0).all() and (angles[:, 19, 1] >= 0).all()


def test_points_ride_rigidly_on_their_bones():
    joints, rotations = random_chain(np.random.default_rng(13))
    posed, transforms = forward_kinematics(joints, rotations)
    names = ("left_knee", "head", "right_wrist")
    index = [JOINT_NAMES.index(n) for n in names]
    assert np.allclose(carry(joints[index], names, transforms), posed[index])
