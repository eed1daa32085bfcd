"""Shipped clips, split, pose sampling, synthetic yoga, and the two motion data sets."""

import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from genhmr.types import UserError
from genhmr.world.mocap_sets import write_open_mocap, write_open_yoga
from genhmr.world.motion import PoseSource, TrainMix, load_clips, load_split
from genhmr.world.poses import mirror_poses
from genhmr.world.yoga import (
    JOINT_LIMITS,
    POSTURES,
    TRAIN_POSTURES,
    VAL_POSTURES,
    jitter_joints,
    posture,
    sample_yoga,
    yoga_clip,
)

FOLDER = Path(__file__).parents[2] / "datasets" / "open" / "motion"
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
# A left-right symmetric skeleton: offset of every SMPL joint from its parent, metres.
OFFSETS = np.array([
    [0, 0, 0], [.07, -.09, 0], [-.07, -.09, 0], [0, .12, 0], [.04, -.38, 0], [-.04, -.38, 0],
    [0, .14, 0], [0, -.4, -.04], [0, -.4, -.04], [0, .06, 0], [.02, -.06, .12],
    [-.02, -.06, .12], [0, .21, 0], [.08, .12, 0], [-.08, .12, 0], [0, .09, .05], [.1, .04, 0],
    [-.1, .04, 0], [.26, 0, 0], [-.26, 0, 0], [.25, 0, 0], [-.25, 0, 0], [.08, 0, 0],
    [-.08, 0, 0],
])  # fmt: skip
LEFT = [1, 4, 7, 10, 13, 16, 18, 20, 22]
RIGHT = [2, 5, 8, 11, 14, 17, 19, 21, 23]


def skeleton(poses):
    """(N, 24, 3) joint positions by textbook forward kinematics, root at the origin."""
    local = Rotation.from_rotvec(poses.reshape(-1, 3)).as_matrix().reshape(*poses.shape[:2], 3, 3)
    world, joints = local.copy(), np.zeros(poses.shape)
    for j in range(1, 24):
        parent = world[:, PARENTS[j]]
        world[:, j] = parent @ local[:, j]
        joints[:, j] = joints[:, PARENTS[j]] + parent @ OFFSETS[j]
    return joints


@pytest.fixture(scope="module")
def clips():
    return load_clips(FOLDER)


@pytest.fixture(scope="module")
def split():
    return load_split(FOLDER)


def as_rows(poses):
    return {pose.tobytes() for pose in poses}


def test_shipped_clips_are_people(clips):
    poses = np.concatenate([clip.poses for clip in clips.values()]).astype(np.float64)
    assert len(poses) == 2826
    assert poses[:, [4, 5], 0].min() > np.deg2rad(-15)  # knees flex, never bend back
    assert poses[:, 18, 1].max() < np.deg2rad(10) and poses[:, 19, 1].min() > np.deg2rad(-10)
    assert np.quantile(poses[:, 18, 1], 0.05) < -1 and np.quantile(poses[:, 19, 1], 0.95) > 1


@pytest.mark.parametrize("name", ["walk", "run"])
def test_gaits_go_forward_upright_and_left_on_the_left(clips, name):
    clip = clips[f"DeepMimic/humanoid3d/{name}_poses"]
    joints = skeleton(clip.poses)
    assert np.all(joints[:, 15, 1] > 0.3)  # head above pelvis: the world is y-up
    heading = (clip.trans[-1] - clip.trans[0]) * [1, 0, 1]
    heading /= np.linalg.norm(heading)
    toes = (joints[:, [10, 11]] - joints[:, [7, 8]]).mean((0, 1))
    assert toes @ heading > 0.03
    # up x forward is the left of a right-handed y-up world
    assert ((joints[:, 1] - joints[:, 2]) @ np.cross([0, 1, 0], heading)).min() > 0.08


def test_split_holds_every_clip_once_and_whole_recordings_out(clips, split):
    tests = [key for keys in split["test"].values() for key in keys]
    assert sorted(split["train"] + split["val"] + tests) == sorted(clips)
    assert not [key for key in split["train"] + split["val"] if "01_03" in key]
    assert all(split["test"].values())


def test_split_that_forgets_a_clip_is_refused(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "motion")
    path = tmp_path / "motion" / "split.yaml"
    path.write_text(path.read_text().replace("  - DeepMimic/humanoid3d/jump_poses", "  []"))
    with pytest.raises(UserError, match="split.yaml"):
        load_split(tmp_path / "motion")


def test_a_split_and_clips_that_differ_name_the_clip_and_the_remedy(tmp_path):
    """The file that is gone is named, not the list that still has it."""
    folder, again = tmp_path / "motion", "git checkout datasets/open/motion"
    shutil.copytree(FOLDER, folder)
    clip = folder / "DeepMimic" / "humanoid3d" / "jump_poses.npz"
    other = clip.with_name("jump_again_poses.npz")
    clip.rename(other)
    missing = rf"jump_poses\.npz is missing and split.yaml lists it; .*`{again}`"
    with pytest.raises(UserError, match=missing) as error:
        load_split(folder)
    assert str(error.value).startswith(str(clip))
    shutil.copy(other, clip)
    with pytest.raises(UserError, match=f"does not list .*/jump_again_poses, whose .*{again}"):
        load_split(folder)
    other.unlink()
    path = folder / "split.yaml"
    line = "  - DeepMimic/humanoid3d/jump_poses\n"
    assert line in path.read_text()
    path.write_text(path.read_text().replace(line, 2 * line))
    with pytest.raises(UserError, match=f"lists DeepMimic/humanoid3d/jump_poses twice; .*{again}"):
        load_split(folder)
    path.write_text("train:\nval: []\ntest: {open-lab: [], open-wild: [], open-extreme: []}\n")
    with pytest.raises(UserError, match=f"split.yaml is not a readable split .*{again}"):
        load_split(folder)
    whole = clip.read_bytes()
    clip.write_bytes(whole[:400] + bytes(200) + whole[600:])
    with pytest.raises(UserError, match=f"jump_poses.npz is not a readable motion .*{again}"):
        load_clips(folder)
    clip.write_bytes(b"")
    with pytest.raises(UserError, match=f"jump_poses.npz is not a readable motion .*{again}"):
        load_clips(folder)


def test_broken_or_absent_clips_are_one_sentence(tmp_path):
    with pytest.raises(UserError, match="no motion clips"):
        load_clips(tmp_path)
    broken = tmp_path / "A" / "b" / "c_poses.npz"
    broken.parent.mkdir(parents=True)
    broken.write_bytes((FOLDER / "CMU/01/01_01_poses.npz").read_bytes()[:5000])
    with pytest.raises(UserError, match="c_poses.npz"):
        load_clips(tmp_path)


def test_mirroring_reflects_the_skeleton(clips):
    poses = clips["DeepMimic/humanoid3d/spinkick_poses"].poses.astype(np.float64)
    mirrored, joints = skeleton(mirror_poses(poses)), skeleton(poses)
    swap = np.arange(24)
    swap[LEFT], swap[RIGHT] = RIGHT, LEFT
    np.testing.assert_allclose(mirrored, joints[:, swap] * [-1, 1, 1], atol=1e-9)


@pytest.mark.parametrize("role", ["open-lab", "open-wild", "open-extreme"])
def test_test_roles_get_their_recorded_frames_only(clips, split, role):
    source = PoseSource.for_role(FOLDER, role, "test")
    sampled = as_rows(source.sample(3000, np.random.default_rng(0)))
    mine = as_rows(np.concatenate([clips[key].poses for key in split["test"][role]]))
    assert sampled <= mine and len(sampled) > 0.9 * len(mine)


def test_training_draws_no_held_out_joint_angles(clips, split):
    """Each body part of a training pose was recorded, or mirrored, in a training clip."""
    source = PoseSource.for_role(FOLDER, "open-wild", "train")
    source.mix = replace(source.mix, jittered=0.0)
    poses = source.sample(500, np.random.default_rng(1))
    frames = np.concatenate([clips[key].poses for key in split["train"]])
    frames = np.concatenate([frames, mirror_poses(frames)])
    parts = (
        [0, 1, 2, 4, 5, 7, 8, 10, 11],
        [3, 6, 9, 12, 15],
        [13, 16, 18, 20, 22],
        [14, 17, 19, 21, 23],
    )
    for part in parts:
        known = as_rows(np.ascontiguousarray(frames[:, part]))
        assert all(pose.tobytes() in known for pose in np.ascontiguousarray(poses[:, part]))
    known = as_rows(frames)
    whole = np.mean([pose.tobytes() in known for pose in poses])
    assert 0.4 < whole < 0.6  # the mix of open-wild recombines half of the poses


def test_photo_role_mixes_synthetic_poses_in(clips, split):
    source = PoseSource.for_role(FOLDER, "open-photo", "train")
    source.mix = replace(source.mix, jittered=0.0)
    poses = source.sample(2000, np.random.default_rng(2))
    frames = np.concatenate([clips[key].poses for key in split["train"]])
    known = as_rows(np.concatenate([frames, mirror_poses(frames)])[:, 1:3].copy())
    synthetic = np.mean([pose.tobytes() not in known for pose in poses[:, 1:3].copy()])
    assert 0.2 < synthetic < 0.3


def test_jitter_turns_half_of_the_training_poses_and_respects_the_limits():
    plain = PoseSource.for_role(FOLDER, "open-wild", "train")
    plain.mix = replace(plain.mix, jittered=0.0)
    known = as_rows(plain.sample(20_000, np.random.default_rng(0))[:, 1:3].copy())
    poses = PoseSource.for_role(FOLDER, "open-wild", "train").sample(
        2000, np.random.default_rng(4)
    )
    turned = np.mean([pose.tobytes() not in known for pose in poses[:, 1:3].copy()])
    assert 0.45 < turned < 0.55

    start = plain.sample(1000, np.random.default_rng(5))
    moved = jitter_joints(start, 10.0, np.random.default_rng(6))
    low = np.minimum(start, JOINT_LIMITS[:, 0]) - 1e-6
    high = np.maximum(start, JOINT_LIMITS[:, 1]) + 1e-6
    assert np.all(moved >= low) and np.all(moved <= high) and moved.dtype == start.dtype
    # The root has no limits: its coordinates show the whole spread.
    assert np.rad2deg((moved - start)[:, 0].std()) == pytest.approx(10.0, rel=0.05)
    np.testing.assert_array_equal(moved[:, [10, 11, 22, 23]], start[:, [10, 11, 22, 23]])


def test_short_clips_are_not_drowned(clips):
    long, short = clips["CMU/01/01_01_poses"], clips["DeepMimic/humanoid3d/run_poses"]
    source = PoseSource([long, short])
    of_short = as_rows(short.poses)
    poses = source.sample(4000, np.random.default_rng(3))
    share = np.mean([pose.tobytes() in of_short for pose in poses])
    expected = 24**0.5 / (24**0.5 + 688**0.5)
    assert abs(share - expected) < 4 * (expected * (1 - expected) / 4000) ** 0.5


def test_sampling_is_deterministic_and_fast():
    source = PoseSource.for_role(FOLDER, "open-photo", "train")
    first = source.sample(300, np.random.default_rng(7))
    np.testing.assert_array_equal(first, source.sample(300, np.random.default_rng(7)))
    assert first.dtype == np.float32 and first.shape == (300, 24, 3)
    assert not np.array_equal(first, source.sample(300, np.random.default_rng(8)))
    start = time.perf_counter()
    source.sample(5000, np.random.default_rng(0))
    assert time.perf_counter() - start < 2.0


def test_sources_refuse_what_they_cannot_serve(clips):
    with pytest.raises(ValueError, match="no test split"):
        PoseSource.for_role(FOLDER, "open-photo", "test")
    with pytest.raises(ValueError, match="open-mars"):
        PoseSource.for_role(FOLDER, "open-mars", "train")
    with pytest.raises(ValueError, match="y-up"):
        PoseSource([], TrainMix(0.0, 0.0, 0.0))


def test_yoga_stays_inside_joint_limits_and_varies():
    poses = sample_yoga(2000, np.random.default_rng(0))
    low, high = JOINT_LIMITS[1:, 0], JOINT_LIMITS[1:, 1]
    assert np.all(poses[:, 1:] >= low - 1e-5) and np.all(poses[:, 1:] <= high + 1e-5)
    # The limits themselves are mirror images of each other.
    np.testing.assert_allclose(JOINT_LIMITS[LEFT][:, :, 0], JOINT_LIMITS[RIGHT][:, :, 0])
    np.testing.assert_allclose(JOINT_LIMITS[LEFT][:, 0, 1:], -JOINT_LIMITS[RIGHT][:, 1, 1:])
    assert len(as_rows(poses)) == 2000
    clip = yoga_clip(4, 60, np.random.default_rng(1))
    assert np.all(clip[:, 1:] >= low - 1e-5) and np.all(clip[:, 1:] <= high + 1e-5)
    step = Rotation.from_rotvec(clip[:-1].reshape(-1, 3)).inv() * Rotation.from_rotvec(
        clip[1:].reshape(-1, 3)
    )
    assert step.magnitude().max() < np.deg2rad(30)  # it flows


def test_postures_look_like_their_names():
    joints = dict(zip(POSTURES, skeleton(np.stack([posture(name) for name in POSTURES]))))
    assert joints["arms_up"][20:22, 1].min() > joints["arms_up"][15, 1]
    assert abs(joints["plank"][15, 1] - joints["plank"][[7, 8], 1].mean()) < 0.35
    dog = joints["downward_dog"]
    assert dog[0, 1] > dog[[15, 7, 8, 20, 21], 1].max()  # hips highest
    assert dog[15, 2] > 0 > dog[7, 2]  # hands in front of the feet
    assert joints["shoulder_stand"][[7, 8], 1].min() > joints["shoulder_stand"][15, 1] + 0.5
    assert joints["staff"][[7, 8], 2].min() > 0.6  # legs stretched out in front
    assert joints["camel"][15, 2] < -0.1  # leaning back
    assert joints["half_moon"][8, 0] < -0.5 and joints["half_moon"][7, 1] < -0.5
    assert set(TRAIN_POSTURES) | set(VAL_POSTURES) == set(POSTURES)
    assert not set(TRAIN_POSTURES) & set(VAL_POSTURES)


def folder_bytes(root):
    return {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_open_mocap_is_repeatable_and_keeps_test_clips_as_recorded(tmp_path, clips, split):
    for name in "ab":
        count = write_open_mocap(tmp_path / name, FOLDER, seed=5, recombined_clips=6)
    files = folder_bytes(tmp_path / "a")
    assert files == folder_bytes(tmp_path / "b") and len(files) == count == 20 + 10 + 6
    with np.load(tmp_path / "a/OpenMotionTest/open-wild/dance_b_poses.npz") as stored:
        assert stored["poses"].shape == (76, 156) and stored["mocap_framerate"] == 30
        with np.load(FOLDER / "DeepMimic/humanoid3d/dance_b_poses.npz") as shipped:
            np.testing.assert_allclose(stored["poses"], shipped["poses"], atol=2e-6)
            np.testing.assert_allclose(stored["trans"], shipped["trans"], atol=2e-6)
    trained = {p.stem for p in (tmp_path / "a/OpenMotionTrain").rglob("*.npz")}
    held_out = {key.rsplit("/", 1)[1] for keys in split["test"].values() for key in keys}
    assert not trained & held_out


def test_open_yoga_is_repeatable_and_grows_by_appending(tmp_path):
    write_open_yoga(tmp_path / "a", seed=3, counts={"train": 2, "val": 1})
    write_open_yoga(tmp_path / "b", seed=3, counts={"train": 3, "val": 1})
    small, large = folder_bytes(tmp_path / "a"), folder_bytes(tmp_path / "b")
    assert len(large) == 4 and small.items() < large.items()
    assert all("synthetic" in path.name for path in large)
    with pytest.raises(ValueError, match="splits"):
        write_open_yoga(tmp_path / "c", seed=3, counts={"test": 1})
