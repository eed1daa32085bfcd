"""Bodies in other units or representations, and what is no rotation: named with row and joint."""

import numpy as np
import pytest
import torch

from bench.prediction_bodies import betas_in, points_in, pose_in
from bench.predictions import read_predictions
from genhmr.body import SMPL, axis_angle_to_matrix
from genhmr.types import UserError

COUNT = 9
HERE = "p.npz"


@pytest.fixture(scope="module")
def pose():
    """Poses of people seen by a camera: the root turns them over, a knee bends."""
    rng = np.random.default_rng(0)
    pose = rng.normal(0, 0.2, (COUNT, 24, 3))
    pose[:, 0] = [3.0, 0.0, 0.0]
    pose[:, 4] = [1.2, 0.0, 0.0]
    return pose


@pytest.fixture(scope="module")
def body(bodies, pose):
    """Posed vertices in metres."""
    with torch.no_grad():
        rotations = axis_angle_to_matrix(torch.from_numpy(pose).float())
        return SMPL(bodies.neutral)(rotations, torch.zeros(COUNT, 10)).vertices.numpy()


def test_degrees_are_refused_and_turns_of_a_few_bodies_are_not(pose):
    columns = {"global_orient": pose[:, 0], "body_pose": pose[:, 1:].reshape(COUNT, 69)}
    np.testing.assert_allclose(pose_in(HERE, {"pose": pose}, COUNT), pose, rtol=1e-6)
    np.testing.assert_allclose(pose_in(HERE, columns, COUNT), pose, rtol=1e-6)
    with pytest.raises(UserError, match="'pose' .* seems to be in degrees: write radians"):
        pose_in(HERE, {"pose": np.degrees(pose).reshape(COUNT, 72)}, COUNT)
    for name in columns:  # one of the two, too
        wrong = {**columns, name: np.degrees(columns[name])}
        with pytest.raises(UserError, match=f"'{name}' .* in degrees"):
            pose_in(HERE, wrong, COUNT)
    few = pose.copy()
    few[:4, 0] *= 3  # the same rotation may be written with more than a turn
    assert pose_in(HERE, {"pose": few}, COUNT).shape == (COUNT, 24, 3)


def test_betas_that_are_none_are_refused():
    wide = np.zeros((COUNT, 16))
    wide[:, 12] = 1e4  # beyond the ten that are read
    assert betas_in(HERE, {"betas": wide}, COUNT).shape == (COUNT, 10)
    wide[: COUNT // 2, 3] = 500  # of a method that diverges now and then
    betas_in(HERE, {"betas": wide}, COUNT)
    with pytest.raises(UserError, match="'betas' typically reach 250, and SMPL's are a few"):
        betas_in(HERE, {"betas": np.full((COUNT, 10), -250.0)}, COUNT)
    with pytest.raises(UserError, match=r"'betas' has shape \(9, 4\), .* fill up with zeros"):
        betas_in(HERE, {"betas": np.zeros((COUNT, 4))}, COUNT)
    with pytest.raises(UserError, match="a pose and no 'betas': write"):
        betas_in(HERE, {}, COUNT)


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (100, "seems to be in centimetres: write metres"),
        (1000, "seems to be in millimetres: write metres"),
        (39.37, "seems to be in another unit than metres: write metres"),
        (1e6, "seems to be in another unit than metres: write metres"),
        (0.1, "less than a newborn: write metres"),
        (0.001, "less than a newborn: write metres, not normalised or kilometre"),
    ],
)
def test_other_units_are_told_apart(body, bodies, factor, message):
    points = bodies.regressor_h36m @ body
    for name, array in (("vertices", body), ("joints", points)):
        columns = {name: factor * array}
        with pytest.raises(UserError, match=message):
            points_in(HERE, columns, name, COUNT, array.shape[1])
    assert len(points_in(HERE, {"joints": points}, "joints", COUNT, 17)) == COUNT


def test_small_and_crouched_bodies_are_metres(bodies, pose):
    """A file of a baby alone, lying on 0.5 m; or of people who all sit on their heels."""
    crouched = pose.copy()
    crouched[:, 1:3] = [-2.2, 0, 0]
    crouched[:, 4:6] = [2.6, 0, 0]
    crouched[:, [3, 6, 9]] = [0.5, 0, 0]
    crouched[:, 16:18] = [[0, 0, -1.3], [0, 0, 1.3]]  # arms down
    rotations = axis_angle_to_matrix(torch.from_numpy(crouched).float())
    with torch.no_grad():
        vertices = SMPL(bodies.neutral)(rotations, torch.zeros(COUNT, 10)).vertices.numpy()
    joints = bodies.regressor_h36m @ vertices
    assert 0.5 < np.median(np.ptp(joints, axis=1).max(-1)) < 1.1
    for size in (1.0, 0.3):
        points_in(HERE, {"joints": size * joints}, "joints", COUNT, 17)


def test_single_rows_in_another_unit_are_named(body):
    array = body.copy()
    array[3] *= 1000
    with pytest.raises(UserError, match=r"'vertices' spans \S+ in row 3, and so do 1 of 9 rows"):
        points_in(HERE, {"vertices": array}, "vertices", COUNT, 6890)
    with pytest.raises(UserError, match=r"\(9, 6000, 3\), \(N, 6890, 3\) is expected"):
        points_in(HERE, {"vertices": array[:, :6000]}, "vertices", COUNT, 6890)


def test_what_is_no_rotation_is_named_by_row_and_joint(pose):
    good = axis_angle_to_matrix(torch.from_numpy(pose)).numpy()
    pose_in(HERE, {"pose": good}, COUNT)
    bad = good.copy()
    bad[4, 7] *= 1.1
    bad[6, 2] *= 2
    message = r"no rotations, first in row 4, joint 7 \(R\^T R is off by 0.21\): make them ortho"
    with pytest.raises(UserError, match=message):
        pose_in(HERE, {"pose": bad}, COUNT)
    huge = good.copy()
    huge[5, 0] = 1e30  # its square is none of float32's numbers
    with pytest.raises(UserError, match="no rotations, first in row 5, joint 0"):
        pose_in(HERE, {"pose": huge}, COUNT)
    mirrored = {"global_orient": good[:, :1], "body_pose": good[:, 1:].copy()}
    mirrored["body_pose"][2, 3] *= -1
    with pytest.raises(UserError, match="'body_pose' holds reflections .* row 2, joint 3: after"):
        pose_in(HERE, mirrored, COUNT)
    many = np.tile(good, (200, 1, 1, 1))  # more than are looked at together
    many[1500, 3] = 0
    with pytest.raises(UserError, match="first in row 1500, joint 3"):
        pose_in(HERE, {"pose": many}, len(many))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((70,), r"has shape \(9, 70\); .* \(N, 72\), \(N, 24, 3\) or \(N, 24, 3, 3\) are expected"),
        ((24, 6), "these seem to be 6D rotations, turn them into matrices"),
        ((24, 4), "these seem to be quaternions, turn them into matrices"),
        ((24, 9), r"these seem to be flat matrices, reshape each to \(3, 3\)"),
        ((156,), "these seem to be SMPL-H's: write the first 3 as 'global_orient' and the 63"),
        ((55, 3), "these seem to be SMPL-X's: write the first 3"),
    ],
)
def test_other_shapes_are_told_with_what_they_seem_to_be(shape, message):
    with pytest.raises(UserError, match=message):
        pose_in(HERE, {"pose": np.zeros((COUNT, *shape))}, COUNT)


def test_centres_have_two_numbers(tmp_path):
    path = tmp_path / "p.npz"
    np.savez(path, imgname=np.array(["a.jpg"] * COUNT), pose=np.zeros((COUNT, 72)),
             betas=np.zeros((COUNT, 10)), center=np.zeros((COUNT, 3)))  # fmt: skip
    with pytest.raises(UserError, match="'center' has shape"):
        read_predictions(path, None, 6890)
