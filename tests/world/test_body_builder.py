"""The pure pieces of the open body builder, on small meshes and without anny."""

import io
from collections import Counter

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from smplx.lbs import batch_rigid_transform

from genhmr.world.body_builder import population, shape_space
from genhmr.world.body_builder.archive import npz_bytes, write_all
from genhmr.world.body_builder.decimate import decimate
from genhmr.world.body_builder.keypoint_targets import carry
from genhmr.world.body_builder.pose_correctives import (
    fit_pose_correctives,
    mirror_poses,
    pose_body,
    random_poses,
    skinning_residual,
)
from genhmr.world.body_builder.regressors import fit_regressor, regression_error, symmetrise
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
from genhmr.world.body_builder.vertex_order import LANDMARK_IDS, landmark_order

FLIP = np.array([-1.0, 1.0, 1.0])


def sphere(levels=3):
    """An octahedron split ``levels`` times: closed and mirror-symmetric in x, 4^(l+1)+2 points."""
    points = [np.array(p, float) for p in
              [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]]
    faces = [(0, 2, 4), (2, 1, 4), (1, 3, 4), (3, 0, 4), (2, 0, 5), (1, 2, 5), (3, 1, 5), (0, 3, 5)]
    for _ in range(levels):
        middle, finer = {}, []

        def half(a, b, middle=middle):
            key = (min(a, b), max(a, b))
            if key not in middle:
                middle[key] = len(points)
                p = points[a] + points[b]
                points.append(p / np.linalg.norm(p))
            return middle[key]

        for a, b, c in faces:
            ab, bc, ca = half(a, b), half(b, c), half(c, a)
            finer += [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
        faces = finer
    vertices = np.array(points)
    twin = np.array([int(np.linalg.norm(vertices - v * FLIP, axis=1).argmin()) for v in vertices])
    return vertices, np.array(faces), twin


def directed_edges(faces):
    return Counter((int(f[i]), int(f[(i + 1) % 3])) for f in faces for i in range(3))


@pytest.mark.parametrize("target", [200, 131, 66])
def test_decimation_is_exact_closed_and_symmetric(target):
    vertices, faces, mirror = sphere()
    kept, new = decimate(vertices, faces, target, mirror)
    edges = directed_edges(new)
    assert len(kept) == target and set(np.unique(new)) == set(range(target))
    assert len(new) == 2 * target - 4  # Euler characteristic 2: still one closed sphere
    assert all(count == 1 and edges[(b, a)] == 1 for (a, b), count in list(edges.items()))
    twin = np.searchsorted(kept, mirror[kept])
    assert np.array_equal(kept[twin], mirror[kept])
    mirrored = {frozenset(twin[list(f)]) for f in new}
    assert mirrored == {frozenset(f) for f in new.tolist()}
    assert shape_space.mesh_volume(vertices[kept], new) > 0.85 * 4 / 3 * np.pi


def test_decimation_empties_hidden_pockets_first():
    vertices, faces, mirror = sphere()
    hidden = vertices[:, 1] > 0.8
    plain, _ = decimate(vertices, faces, 220, mirror)
    emptied, _ = decimate(vertices, faces, 220, mirror, cavity=hidden)
    assert hidden[emptied].sum() < 0.3 * hidden[plain].sum()


def test_decimation_keeps_important_regions_denser():
    vertices, faces, mirror = sphere()
    weight = np.where(vertices[:, 1] > 0, 50.0, 1.0)
    kept, _ = decimate(vertices, faces, 120, mirror, importance=weight)
    assert (vertices[kept, 1] > 0.05).sum() > 1.5 * (vertices[kept, 1] < -0.05).sum()


def test_decimation_says_when_nothing_is_left_to_collapse():
    vertices, faces, mirror = sphere(1)
    with pytest.raises(ValueError, match="no legal collapse"):
        decimate(vertices, faces, 3, mirror)


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


def test_regressor_recovers_a_known_joint_on_new_bodies():
    rng = np.random.default_rng(9)
    template, _, _ = sphere(2)
    modes = rng.normal(size=(6, *template.shape)) * 0.05
    bodies = template + np.einsum("nk,kvc->nvc", rng.normal(size=(40, 6)), modes)
    truth = np.zeros((2, len(template)))
    truth[0, [3, 10, 20]] = [0.5, 0.3, 0.2]
    truth[1, [40, 41]] = 0.5
    joints = np.einsum("pv,nvc->npc", truth, bodies)
    rows = fit_regressor(bodies[:25], joints[:25], candidates=60, stride=1, locality=1e-4)
    assert (rows >= 0).all() and np.allclose(rows.sum(axis=1), 1.0)
    assert regression_error(rows, bodies[25:], joints[25:]).max() < 2e-3
    drifted = joints[25:] + np.array([0.0, 0.3, 0.4])
    assert np.allclose(regression_error(truth, bodies[25:], drifted), 0.5)


def test_symmetrised_regressor_commutes_with_the_mirror():
    rng = np.random.default_rng(10)
    template, _, mirror = sphere(1)
    rows = rng.random((2, len(template)))
    rows = symmetrise(rows / rows.sum(1, keepdims=True), np.array([1, 0]), mirror)
    assert np.allclose((rows @ template)[[1, 0]], (rows @ template) * FLIP)
    assert np.allclose(rows.sum(axis=1), 1.0)


def test_shape_space_finds_planted_symmetric_directions():
    rng = np.random.default_rng(11)
    template, faces, mirror = sphere(2)
    modes = rng.normal(size=(2, *template.shape))
    modes = modes + modes[:, mirror] * FLIP
    scale = np.array([0.3, 0.05])
    coordinates = rng.normal(size=(400, 2)) * scale
    people = template + np.einsum("nk,kvc->nvc", coordinates, modes)
    space = shape_space.fit_shape_space(people, mirror, components=2)
    rebuilt = space.mean + np.einsum("vck,nk->nvc", space.directions, space.betas)
    assert np.allclose(rebuilt, people, atol=1e-8)
    assert space.explained == pytest.approx(1.0)
    assert np.allclose(space.betas.std(axis=0, ddof=1), 1.0)
    assert np.allclose(space.mean, space.mean[mirror] * FLIP)
    lopsided = people + np.array([0.2, 0.0, 0.0])
    assert np.allclose(shape_space.fit_shape_space(lopsided, mirror, 2).mean, space.mean)
    rms = shape_space.per_beta_rms(space.directions)
    expected = scale * np.sqrt((modes**2).sum(-1).mean(-1))
    assert rms[0] == pytest.approx(expected[0], rel=0.15) and rms[0] > rms[1]
    top = int(space.mean[:, 1].argmax())
    assert space.directions[top, 1, 0] > 0 or abs(space.directions[top, 1, 0]) < 0.2 * rms[0]


def test_points_linear_in_the_betas_are_recovered():
    rng = np.random.default_rng(12)
    betas, mean = rng.normal(size=(30, 4)), rng.normal(size=(5, 3))
    directions = rng.normal(size=(5, 3, 4))
    points = mean + np.einsum("pcs,ns->npc", directions, betas)
    fitted_mean, fitted = shape_space.linear_in_betas(points, betas)
    assert np.allclose(fitted_mean, mean) and np.allclose(fitted, directions)


def test_volume_of_an_octahedron():
    vertices, faces, _ = sphere(0)
    assert shape_space.mesh_volume(vertices + 5.0, faces) == pytest.approx(4 / 3)


def test_points_ride_rigidly_on_their_bones():
    joints, rotations = random_chain(np.random.default_rng(13))
    posed, transforms = forward_kinematics(joints, rotations)
    names = ("left_knee", "head", "right_wrist")
    index = [JOINT_NAMES.index(n) for n in names]
    assert np.allclose(carry(joints[index], names, transforms), posed[index])


def test_population_is_reproducible_adult_and_symmetric():
    people = [population.sample_population(300, "neutral", np.random.default_rng(3))
              for _ in range(2)]
    for first, second in zip(*people, strict=True):
        assert all(np.array_equal(first[k], second[k]) for k in first)
    phenotypes, local = people[0]
    assert 0.35 < (phenotypes["gender"] > 0.5).mean() < 0.65
    assert phenotypes["age"].min() > 0.667  # Anny's "young" adult starts at 2/3
    races = sum(phenotypes[k] for k in ("african", "asian", "caucasian"))
    assert np.allclose(races, 1.0)
    for label in local:
        if label.startswith("l-"):
            assert np.array_equal(local[label], local["r-" + label[2:]])
    assert np.corrcoef(phenotypes["weight"], local["measure-waist-circ-incr"])[0, 1] > 0.5
    male, _ = population.sample_population(50, "male", np.random.default_rng(0))
    female, _ = population.sample_population(50, "female", np.random.default_rng(0))
    assert male["gender"].max() <= 0.2 and female["gender"].min() >= 0.8


def test_landmarks_are_swapped_into_their_ids():
    rng = np.random.default_rng(14)
    chosen = rng.permutation(6890)[: len(LANDMARK_IDS)]
    landmarks = dict(zip(LANDMARK_IDS, chosen.tolist(), strict=True))
    landmarks["nose"] = LANDMARK_IDS["leye"]  # a landmark that sits on another one's id
    order = landmark_order(6890, landmarks)
    assert all(order[LANDMARK_IDS[name]] == vertex for name, vertex in landmarks.items())
    assert np.array_equal(np.sort(order), np.arange(6890))
    with pytest.raises(ValueError, match="share a vertex"):
        landmark_order(6890, {**landmarks, "nose": landmarks["lear"]})


def test_archives_depend_on_the_arrays_only(tmp_path):
    arrays = {"b": np.arange(6).reshape(2, 3).astype(np.float32), "a": np.array(["x", "yy"])}
    content = npz_bytes(arrays)
    assert content == npz_bytes(dict(reversed(arrays.items())))
    loaded = np.load(io.BytesIO(content), allow_pickle=False)
    assert all(np.array_equal(loaded[k], arrays[k]) for k in arrays)
    digests = write_all(tmp_path / "new", {"one.npz": arrays, "two.npz": arrays})
    assert digests["one.npz"] == digests["two.npz"]
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["one.npz", "two.npz"]
