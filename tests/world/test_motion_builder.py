"""The converters against forward kinematics written out here."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from genhmr.types import UserError
from genhmr.world.motion_builder.build import to_clip
from genhmr.world.motion_builder.bvh import CMU_JOINTS, CMU_METRES, SMPL_PARENTS, read_bvh, read_cmu
from genhmr.world.motion_builder.deepmimic import read_deepmimic
from genhmr.world.motion_builder.retarget import share_arm

# Columns of one DeepMimic frame.
CHEST, R_HIP, R_KNEE, R_SHOULDER, R_ELBOW = 8, 16, 20, 25, 29
L_HIP, L_KNEE, L_SHOULDER, L_ELBOW = 30, 34, 39, 43
QUATERNIONS = (4, CHEST, 12, R_HIP, 21, R_SHOULDER, L_HIP, 35, L_SHOULDER)


def deepmimic_frame(**angles):
    """A frame at rest but for hinges (floats) and balls (scipy rotations in DeepMimic axes)."""
    frame = np.zeros(44)
    frame[[0, 2]] = 1 / 30, 0.9
    frame[list(QUATERNIONS)] = 1.0
    for name, angle in angles.items():
        column = globals()[name]
        if isinstance(angle, float):
            frame[column] = angle
        else:
            frame[column : column + 4] = np.roll(angle.as_quat(), 1)
    return frame


def write_deepmimic(path, frames):
    path.write_text(json.dumps({"Loop": "none", "Frames": [list(f) for f in frames]}))
    return path


def globals_of(pose):
    """(24, 3, 3) world rotation of every SMPL joint."""
    world = []
    for j, parent in enumerate(SMPL_PARENTS):
        local = Rotation.from_rotvec(pose[j]).as_matrix()
        world.append(local if parent < 0 else world[parent] @ local)
    return np.stack(world)


def test_deepmimic_rest_hangs_the_arms(tmp_path):
    poses, pelvis = read_deepmimic(write_deepmimic(tmp_path / "a.txt", [deepmimic_frame()] * 2))
    world = globals_of(poses[0])
    for joint, outward in ((16, 1), (18, 1), (17, -1), (19, -1)):  # upper arms and forearms
        np.testing.assert_allclose(world[joint] @ [outward, 0, 0], [0, -1, 0], atol=1e-6)
    np.testing.assert_allclose(world[[4, 5, 9, 15]], np.tile(np.eye(3), (4, 1, 1)), atol=1e-6)
    np.testing.assert_allclose(pelvis[0], [0, 0.9, 0], atol=1e-9)


def test_deepmimic_hinges_bend_the_human_way(tmp_path):
    frame = deepmimic_frame(L_KNEE=-1.2, R_KNEE=-0.4, L_ELBOW=1.0, R_ELBOW=0.5)
    poses, _ = read_deepmimic(write_deepmimic(tmp_path / "a.txt", [frame] * 2))
    np.testing.assert_allclose(poses[0, 4], [1.2, 0, 0], atol=1e-6)  # SMPL knees flex with +x
    np.testing.assert_allclose(poses[0, 5], [0.4, 0, 0], atol=1e-6)
    world = globals_of(poses[0])
    np.testing.assert_allclose(
        world[18] @ [1, 0, 0], [0, -np.cos(1.0), np.sin(1.0)], atol=1e-6
    )  # the hand comes up in front
    np.testing.assert_allclose(world[19] @ [-1, 0, 0], [0, -np.cos(0.5), np.sin(0.5)], atol=1e-6)


def test_deepmimic_left_is_left(tmp_path):
    # In DeepMimic z points right, so turning the hanging left leg about +x sends it to -z.
    outwards = Rotation.from_rotvec([0.6, 0, 0])
    frame = deepmimic_frame(L_HIP=outwards, L_SHOULDER=outwards)
    poses, _ = read_deepmimic(write_deepmimic(tmp_path / "a.txt", [frame] * 2))
    world = globals_of(poses[0])
    expected = [np.sin(0.6), -np.cos(0.6), 0]  # SMPL's left is +x
    np.testing.assert_allclose(world[1] @ [0, -1, 0], expected, atol=1e-6)
    np.testing.assert_allclose(world[16] @ [1, 0, 0], expected, atol=1e-6)
    np.testing.assert_allclose(world[2], np.eye(3), atol=1e-6)


def test_deepmimic_shares_the_chest_and_keeps_time(tmp_path):
    first, last = deepmimic_frame(), deepmimic_frame(CHEST=Rotation.from_rotvec([0, 0, -0.9]))
    first[0] = 2 / 30
    poses, _ = read_deepmimic(write_deepmimic(tmp_path / "a.txt", [first, last]))
    assert len(poses) == 3
    # DeepMimic -z is SMPL +x: bowing; a third of it in each spine joint, half of it half way.
    np.testing.assert_allclose(poses[2, [3, 6, 9]], np.tile([0.3, 0, 0], (3, 1)), atol=1e-6)
    np.testing.assert_allclose(poses[1, [3, 6, 9]], np.tile([0.15, 0, 0], (3, 1)), atol=1e-6)


def test_arm_share_multiplies_back():
    arm = Rotation.random(40, random_state=3).as_matrix()
    collar, shoulder = share_arm(arm, 1.0)
    np.testing.assert_allclose(collar @ shoulder, arm, atol=1e-9)
    assert np.all(Rotation.from_matrix(collar).magnitude() <= 0.15 * np.pi + 1e-9)


# Offset of each CMU joint from its parent in centimetre-like units; legs splayed as in cgspeed.
CMU_PARENTS = dict(
    LeftUpLeg="Hips", RightUpLeg="Hips", LowerBack="Hips", LeftLeg="LeftUpLeg",
    RightLeg="RightUpLeg", Spine="LowerBack", LeftFoot="LeftLeg", RightFoot="RightLeg",
    Spine1="Spine", Head="Spine1", LeftArm="Spine1", RightArm="Spine1", LeftForeArm="LeftArm",
    RightForeArm="RightArm", LeftHand="LeftForeArm", RightHand="RightForeArm",
)  # fmt: skip
SPLAY = np.deg2rad(17.0)
OFFSETS = {
    "LeftLeg": 7 * np.array([np.sin(SPLAY), -np.cos(SPLAY), 0]),
    "LeftFoot": 7 * np.array([np.sin(SPLAY), -np.cos(SPLAY), 0]),
    "RightLeg": 7 * np.array([-np.sin(SPLAY), -np.cos(SPLAY), 0]),
    "RightFoot": 7 * np.array([-np.sin(SPLAY), -np.cos(SPLAY), 0]),
    "LeftForeArm": np.array([5.0, 0, 0]),
    "LeftHand": np.array([4.0, 0, 0]),
    "RightForeArm": np.array([-5.0, 0, 0]),
    "RightHand": np.array([-4.0, 0, 0]),
}


def write_cmu(path, angles, positions):
    """A BVH with the CMU skeleton: angles (F, 17, 3) degrees in order Z, Y, X."""
    names, lines = [], ["HIERARCHY"]

    def joint(name, word):
        names.append(name)
        offset = OFFSETS.get(name, np.array([0.0, 1.0, 0.0]))
        position = "6 Xposition Yposition Zposition" if word == "ROOT" else "3"
        lines.extend([f"{word} {name}", "{", "OFFSET " + " ".join(f"{x:.9f}" for x in offset)])
        lines.append(f"CHANNELS {position} Zrotation Yrotation Xrotation")
        children = [child for child, parent in CMU_PARENTS.items() if parent == name]
        for child in children:
            joint(child, "JOINT")
        if not children:
            lines.extend(["End Site", "{", "OFFSET 0 0 1", "}"])
        lines.append("}")

    joint("Hips", "ROOT")
    lines += ["MOTION", f"Frames: {len(angles)}", "Frame Time: .0083333"]
    for frame, position in zip(angles, positions):
        lines.append(" ".join(f"{x:.9f}" for x in [*position, *frame.ravel()]))
    path.write_text("\n".join(lines) + "\n")
    return names


def bvh_bone_directions(names, angles):
    """World direction of every bone, by textbook forward kinematics."""
    world, directions = {}, {}
    for name, zyx in zip(names, angles):
        z, y, x = (Rotation.from_euler(a, v, degrees=True) for a, v in zip("zyx", zyx))
        parent = world.get(CMU_PARENTS.get(name), Rotation.identity())
        world[name] = parent * z * y * x
        if name in OFFSETS:
            bone = parent.apply(OFFSETS[name])
            directions[name] = bone / np.linalg.norm(bone)
    return directions


def test_cmu_limbs_point_where_the_bvh_points(tmp_path):
    rng = np.random.default_rng(0)
    angles = rng.uniform(-40, 40, size=(9, 17, 3))
    names = write_cmu(tmp_path / "probe.bvh", angles, np.zeros((9, 3)))
    angles[0] = 0.0  # the T-pose frame: only the splayed legs are turned, to straight down
    angles[0, names.index("LeftUpLeg"), 0] = -17.0
    angles[0, names.index("RightUpLeg"), 0] = 17.0
    positions = rng.normal(size=(9, 3))
    write_cmu(tmp_path / "a.bvh", angles, positions)
    poses, pelvis = read_cmu(tmp_path / "a.bvh")
    assert len(poses) == 2  # 120 frames/s to 30, without the T-pose
    np.testing.assert_allclose(pelvis, positions[[1, 5]] * CMU_METRES, atol=1e-8)
    down, left, right = [0, -1, 0], [1, 0, 0], [-1, 0, 0]
    smpl_bones = {  # bone's end in the BVH -> the SMPL joint that turns it, direction at rest
        "LeftLeg": (1, down), "LeftFoot": (4, down), "RightLeg": (2, down),
        "RightFoot": (5, down), "LeftForeArm": (16, left), "LeftHand": (18, left),
        "RightForeArm": (17, right), "RightHand": (19, right),
    }  # fmt: skip
    for pose, frame in zip(poses, (1, 5)):
        world = globals_of(pose)
        for name, direction in bvh_bone_directions(names, angles[frame]).items():
            joint, rest = smpl_bones[name]
            np.testing.assert_allclose(world[joint] @ rest, direction, atol=1e-6, err_msg=name)
    assert not np.any(poses[:, [10, 11, 22, 23]])


def test_cmu_t_pose_is_smpls_rest(tmp_path):
    angles = np.zeros((3, 17, 3))
    names = write_cmu(tmp_path / "a.bvh", angles, np.zeros((3, 3)))
    angles[:, names.index("LeftUpLeg"), 0] = -17.0
    write_cmu(tmp_path / "a.bvh", angles, np.zeros((3, 3)))
    np.testing.assert_allclose(read_cmu(tmp_path / "a.bvh")[0], 0.0, atol=1e-9)
    assert set(names) == set(CMU_JOINTS.values())


@pytest.mark.parametrize("damage", ["truncated", "not BVH", "other skeleton"])
def test_bad_bvh_is_one_sentence(tmp_path, damage):
    path = tmp_path / "a.bvh"
    write_cmu(path, np.zeros((4, 17, 3)), np.zeros((4, 3)))
    text = path.read_text()
    path.write_text(
        {
            "truncated": text[: len(text) - 40],
            "not BVH": "hello",
            "other skeleton": text.replace("RightForeArm", "RightElbow"),
        }[damage]
    )
    with pytest.raises(UserError, match="a.bvh"):
        read_cmu(path)


def test_bad_deepmimic_is_one_sentence(tmp_path):
    path = write_deepmimic(tmp_path / "a.txt", [np.zeros(43)])
    with pytest.raises(UserError, match="a.txt"):
        read_deepmimic(path)
    with pytest.raises(UserError, match="missing.txt"):
        read_deepmimic(tmp_path / "missing.txt")


def test_bvh_channel_order(tmp_path):
    angles = np.zeros((2, 17, 3))
    angles[1, 0] = [30.0, 20.0, 10.0]
    write_cmu(tmp_path / "a.bvh", angles, np.zeros((2, 3)))
    bvh = read_bvh(tmp_path / "a.bvh")
    z, y, x = (Rotation.from_euler(a, v, degrees=True) for a, v in zip("zyx", (30, 20, 10)))
    np.testing.assert_allclose(bvh.rotations[1, 0], (z * y * x).as_matrix(), atol=1e-9)


def test_clip_is_z_up_and_trans_brings_the_pelvis_there():
    rest_pelvis = np.array([0.0, -0.22, 0.02])
    clip = to_clip("a/b/c_poses", np.zeros((1, 24, 3)), np.array([[0.1, 0.9, 0.3]]), rest_pelvis)
    # SMPL turns the body about joint 0, so the pelvis ends at its rest place plus trans.
    np.testing.assert_allclose(rest_pelvis + clip.trans[0], [0.1, -0.3, 0.9], atol=1e-6)
    up = Rotation.from_rotvec(clip.poses[0, 0]).apply([0, 1, 0])
    np.testing.assert_allclose(up, [0, 0, 1], atol=1e-6)
