"""Names, tables and flips: checked by anatomy, not by repeating the tables."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genhmr.body import SMPL, SMPLJoints, body25, h36m14, h36m17, joints, smpl24, spin24


def side_swapped(name: str) -> str:
    for left, right in (("left_", "right_"), ("right_", "left_")):
        if name.startswith(left):
            return right + name[len(left) :]
    if name[0] in "LR" and name[1].isupper():
        return ("R" if name[0] == "L" else "L") + name[1:]
    return name


@pytest.mark.parametrize(
    "names, flip",
    [
        (joints.SMPL24_NAMES, joints.SMPL24_FLIP),
        (joints.BODY25_NAMES, joints.BODY25_FLIP),
        (joints.SPIN24_NAMES, joints.SPIN24_FLIP),
        (joints.H36M17_NAMES, joints.H36M17_FLIP),
    ],
)
def test_flips_swap_exactly_the_sides(names, flip):
    assert [names[i] for i in flip] == [side_swapped(name) for name in names]


def test_index_tables_pick_the_same_fourteen_joints():
    from_h36m = [joints.H36M17_NAMES[i] for i in joints.H36M_TO_14]
    from_spin = [joints.SPIN24_NAMES[i] for i in joints.J24_TO_J14]
    assert from_h36m[:13] == from_spin[:13] == list(joints.LSP14_NAMES[:13])
    assert (from_h36m[13], from_spin[13]) == ("HeadTop", "HeadH36M")  # one joint, two names


def rest_joints(bodies, joint_set) -> np.ndarray:
    pose = torch.eye(3).expand(1, 24, 3, 3)
    return SMPLJoints(bodies.neutral, joint_set)(pose, torch.zeros(1, 10))[0].numpy()


@pytest.mark.parametrize("which", ["smpl24", "body25", "h36m17", "h36m14", "spin24"])
def test_left_is_left(bodies, which):
    """At rest the body faces +z, so its left is at +x; catches a regressor with swapped legs."""
    regressor = bodies.regressor_h36m
    joint_set = {
        "smpl24": smpl24(), "body25": body25(), "h36m17": h36m17(regressor),
        "h36m14": h36m14(regressor), "spin24": spin24(regressor),
    }[which]  # fmt: skip
    places = rest_joints(bodies, joint_set)
    lefts = 0
    for name, (x, _, _) in zip(joint_set.names, places):
        if side_swapped(name) != name:
            left = name.startswith(("left_", "L"))
            assert (x > 0) == left, name
            lefts += left
    assert lefts >= 6


def test_heights_are_in_anatomical_order(bodies):
    places = dict(zip(joints.BODY25_NAMES, rest_joints(bodies, body25())))
    order = ["LHeel", "LAnkle", "LKnee", "LHip", "Neck", "Nose"]
    heights = [places[name][1] for name in order]
    assert heights == sorted(heights)
    assert places["LBigToe"][2] > places["LAnkle"][2] > places["LHeel"][2]  # toes point forward
    assert places["Nose"][2] > places["LEar"][2]


def test_body25_matches_smplx_joints(bodies, oracle, posed):
    pose, betas = posed
    output = oracle(
        global_orient=pose[:, :1], body_pose=pose[:, 1:], betas=betas, pose2rot=False,
        transl=torch.zeros(8, 3),
    )
    table = [24, 12, 17, 19, 21, 16, 18, 20, 0, 2, 5, 8, 1, 4, 7, *range(25, 35)]
    found = SMPLJoints(bodies.neutral, body25())(pose, betas)
    assert (found - output.joints[:, table]).abs().max() <= 3e-6


def test_joint_sets_work_on_another_mesh_size():
    assert smpl24(12).from_vertices.shape == (24, 12)
    assert not smpl24(12).from_vertices.any()


def test_smpl24_is_the_kinematic_chain(bodies, posed):
    found = SMPLJoints(bodies.neutral, smpl24())(*posed)
    torch.testing.assert_close(found, SMPL(bodies.neutral)(*posed).joints, atol=1e-6, rtol=0)
