"""AMASS and MOYO readers and motion shards, on files written here as the releases lay them out."""

import json
import pickle
import time

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from genhmr.data.motion_shards import MotionShard, upright_camera_poses, write_motion_shard
from genhmr.data.readers import amass, moyo
from genhmr.types import MotionClip, UserError


def amass_file(path, frames=4, width=156, drop=(), **changes):
    rng = np.random.default_rng(frames)
    arrays = {
        "poses": rng.normal(scale=0.3, size=(frames, width)),
        "trans": rng.normal(size=(frames, 3)),
        "betas": rng.normal(size=16),
        "dmpls": np.zeros((frames, 8)),
        "gender": np.array("female"),
        "mocap_framerate": np.array(120.0),
    } | changes
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{k: v for k, v in arrays.items() if k not in drop})
    return arrays


def moyo_file(path, frames=5, **changes):
    rng = np.random.default_rng(frames)
    record = {
        "global_orient": rng.normal(size=(frames, 3)),
        "body_pose": rng.normal(scale=0.3, size=(frames, 69)),
        "transl": rng.normal(size=(frames, 3)),
        "betas": np.tile(rng.normal(size=10), (frames, 1)),
    } | changes
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(record))
    return record


def test_amass_takes_the_body_and_rests_the_hands(tmp_path):
    arrays = amass_file(tmp_path / "CMU/01/01_01_poses.npz")
    (clip,) = amass.read(tmp_path, "train")
    assert clip.key == "CMU/01/01_01_poses" and clip.gender == "female"
    assert clip.fps == 120.0 and clip.up == "z"
    np.testing.assert_array_equal(
        clip.poses[:, :22].reshape(4, 66), arrays["poses"][:, :66].astype(np.float32)
    )
    assert not clip.poses[:, 22:].any()
    np.testing.assert_array_equal(clip.betas, arrays["betas"][:10].astype(np.float32))
    np.testing.assert_array_equal(clip.trans, arrays["trans"].astype(np.float32))


@pytest.mark.parametrize(
    "changes, drop",
    [
        ({"gender": np.array(b"female")}, ()),
        ({"gender": np.array("F")}, ()),
        ({"mocap_frame_rate": np.array(120)}, ("mocap_framerate",)),
        ({"poses": np.ones((4, 165))}, ()),  # SMPL-X
        ({"poses": np.ones((4, 72))}, ()),  # transferred to SMPL beforehand
    ],
    ids=["bytes", "letter", "frame_rate", "smplx", "smpl"],
)
def test_amass_releases_differ(tmp_path, changes, drop):
    arrays = amass_file(tmp_path / "KIT/3/a_poses.npz", drop=drop, **changes)
    (clip,) = amass.read(tmp_path, "train")
    assert clip.gender == "female" and clip.fps == 120.0 and clip.poses.shape == (4, 24, 3)
    hands = arrays["poses"].shape[1] == 72
    assert clip.poses[:, 22:].any() == hands


def test_amass_standard_split_and_files_that_are_not_motion(tmp_path):
    for subset in ("CMU", "KIT", "HumanEva", "MPI_HDM05", "SFU", "MPI_mosh", "Transitions_mocap",
                   "SSM_synced", "OpenMotionTrain", "OpenMotionVal", "OpenMotionTest"):  # fmt: skip
        amass_file(tmp_path / subset / "s1" / "a_poses.npz")
    (tmp_path / "CMU/s1/shape.npz").write_bytes(b"")
    (tmp_path / "KIT/s1/male_stagei.npz").write_bytes(b"")
    amass_file(tmp_path / "KIT/s1/b_stageii.npz")

    def subsets(split):
        return sorted({clip.key.split("/")[0] for clip in amass.read(tmp_path, split)})

    assert subsets("train") == ["CMU", "KIT", "OpenMotionTrain"]
    assert subsets("val") == ["HumanEva", "MPI_HDM05", "MPI_mosh", "OpenMotionVal", "SFU"]
    assert subsets("test") == ["OpenMotionTest", "SSM_synced", "Transitions_mocap"]
    assert len(list(amass.read(tmp_path, "train"))) == 4


def poison(array):
    array = array.copy()
    array[1, 5] = np.nan
    return array


@pytest.mark.parametrize(
    "changes, drop",
    [
        ({"poses": poison(np.ones((4, 156)))}, ()),
        ({"poses": np.ones((4, 100))}, ()),
        ({"poses": np.ones((0, 156)), "trans": np.ones((0, 3))}, ()),
        ({"trans": np.ones((3, 3))}, ()),
        ({"gender": np.array("horse")}, ()),
        ({}, ("mocap_framerate",)),
        ({}, ("poses",)),
        ({"mocap_framerate": np.array(0.0)}, ()),
        ({"poses": np.array([[None]], dtype=object)}, ()),
    ],
    ids=["nan", "width", "empty", "length", "gender", "no rate", "no poses", "rate 0", "object"],
)
def test_bad_amass_files_are_named(tmp_path, changes, drop):
    amass_file(tmp_path / "CMU/01/bad_poses.npz", drop=drop, **changes)
    with pytest.raises(UserError, match="bad_poses.npz"):
        list(amass.read(tmp_path, "train"))


def test_truncated_and_missing_amass(tmp_path):
    path = tmp_path / "set/CMU/01/cut_poses.npz"
    amass_file(path)
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(UserError, match="cut_poses.npz"):
        list(amass.read(tmp_path / "set", "train"))
    with pytest.raises(UserError, match="nowhere"):
        list(amass.read(tmp_path / "nowhere", "train"))
    with pytest.raises(UserError, match="test split"):
        list(amass.read(tmp_path / "set", "test"))
    with pytest.raises(UserError, match="trian"):
        list(amass.read(tmp_path / "set", "trian"))


def test_moyo_takes_21_joints_in_either_tree(tmp_path):
    record = moyo_file(tmp_path / "mosh_smpl/train/a_stageii_smpl.pkl")
    capture = tmp_path / "20220923_20220926_with_hands"
    other = moyo_file(capture / "mosh_smpl/train/b_stageii_smpl.pkl", 3)
    moyo_file(tmp_path / "mosh_smpl/val/c_stageii_smpl.pkl")
    by_key = {clip.key.rsplit("/", 1)[1]: clip for clip in moyo.read(tmp_path, "train")}
    assert sorted(by_key) == ["a_stageii_smpl", "b_stageii_smpl"]
    clip = by_key["a_stageii_smpl"]
    np.testing.assert_array_equal(clip.poses[:, 0], record["global_orient"].astype(np.float32))
    np.testing.assert_array_equal(
        clip.poses[:, 1:22].reshape(5, 63), record["body_pose"][:, :63].astype(np.float32)
    )
    assert not clip.poses[:, 22:].any() and clip.up == "z" and clip.gender == "female"
    trans = by_key["b_stageii_smpl"].trans
    np.testing.assert_array_equal(trans, other["transl"].astype(np.float32))


def test_moyo_shapes_that_the_release_uses(tmp_path):
    rng = np.random.default_rng(0)
    changes = {
        "global_orient": rng.normal(size=(5, 1, 3)),
        "body_pose": rng.normal(size=(5, 21, 3)),
        "betas": rng.normal(size=16),
    }
    moyo_file(tmp_path / "mosh_smpl/val/a.pkl", **changes)
    (clip,) = moyo.read(tmp_path, "val")
    np.testing.assert_array_equal(clip.poses[:, 1:22], changes["body_pose"].astype(np.float32))
    np.testing.assert_array_equal(clip.betas, changes["betas"][:10].astype(np.float32))


class Forbidden:
    def __reduce__(self):
        return (print, ("this must never run",))


@pytest.mark.parametrize(
    "changes",
    [
        {"global_orient": np.full((5, 3), np.nan)},
        {"body_pose": np.zeros((5, 60))},
        {"body_pose": np.zeros((4, 69))},
        {"betas": np.zeros(4)},
        {"betas": "ten"},
        {"transl": np.zeros((5, 2))},
        {"global_orient": None},
        {"extra": Forbidden()},
    ],
    ids=["nan", "narrow", "length", "betas", "words", "transl", "none", "forbidden"],
)
def test_bad_moyo_files_are_named(tmp_path, changes, capsys):
    moyo_file(tmp_path / "mosh_smpl/train/bad.pkl", **changes)
    with pytest.raises(UserError, match="bad.pkl"):
        list(moyo.read(tmp_path, "train"))
    assert "never" not in capsys.readouterr().out


def test_truncated_and_missing_moyo(tmp_path):
    path = tmp_path / "set/mosh_smpl/train/cut.pkl"
    moyo_file(path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(UserError, match="cut.pkl"):
        list(moyo.read(tmp_path / "set", "train"))
    with pytest.raises(UserError, match="nowhere"):
        list(moyo.read(tmp_path / "nowhere", "train"))
    with pytest.raises(UserError, match="'test'"):
        list(moyo.read(tmp_path / "set", "test"))


def make_clips(count, frames, seed=0):
    rng = np.random.default_rng(seed)
    for i in range(count):
        yield MotionClip(
            key=f"set/{i}",
            poses=rng.normal(size=(frames, 24, 3)).astype(np.float32),
            trans=np.zeros((frames, 3), np.float32),
            betas=rng.normal(size=10).astype(np.float32),
            gender="male",
            fps=30.0,
            up="yz"[i % 2],
        )


@pytest.mark.parametrize("up, axis, forward", [("z", 2, -1), ("y", 1, 2)])
def test_upright_frame_sends_up_to_minus_y(up, axis, forward):
    poses = np.random.default_rng(0).normal(size=(50, 24, 3)).astype(np.float32)
    turned = upright_camera_poses(poses, up)
    before = Rotation.from_rotvec(poses[:, 0]).as_matrix()
    after = Rotation.from_rotvec(turned[:, 0]).as_matrix()
    world_up = before[:, axis]  # the world's vertical coordinate of each body axis
    np.testing.assert_allclose(after[:, 1], -world_up, atol=1e-5)
    np.testing.assert_allclose(after[:, 0], before[:, 0], atol=1e-5)  # x is kept
    np.testing.assert_array_equal(turned[:, 1:], poses[:, 1:])
    assert np.linalg.norm(turned[:, 0], axis=1).max() <= np.pi + 1e-5


def test_shard_round_trip_with_stride(tmp_path):
    clips = list(make_clips(3, 11))
    assert write_motion_shard(clips, tmp_path / "s", "probe", "train", stride=4) == 9
    shard = MotionShard(tmp_path / "s")
    assert len(shard) == 9 and shard.keys == ("set/0", "set/1", "set/2")
    assert shard.genders == ("male",) * 3 and shard.manifest["dataset"] == "probe"
    np.testing.assert_array_equal(shard.clips, np.repeat([0, 1, 2], 3))
    np.testing.assert_array_equal(shard.frames, np.tile([0, 4, 8], 3))
    np.testing.assert_array_equal(shard.betas, np.repeat([c.betas for c in clips], 3, axis=0))
    expected = np.concatenate([c.poses[::4] for c in clips])
    np.testing.assert_array_equal(shard.poses[:, 1:], expected[:, 1:])


def test_shard_bytes_repeat_and_damage_is_seen(tmp_path):
    for name in "ab":
        write_motion_shard(make_clips(2, 5), tmp_path / name, "probe", "train")
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert files == ["betas.npy", "clips.npy", "frames.npy", "manifest.json", "poses.npy"]
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    poses = tmp_path / "a/poses.npy"
    raw = bytearray(poses.read_bytes())
    raw[-1] ^= 1
    poses.write_bytes(raw)
    with pytest.raises(UserError, match="poses.npy"):
        MotionShard(tmp_path / "a")
    manifest = tmp_path / "b/manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format_version": 99}))
    with pytest.raises(UserError, match="99"):
        MotionShard(tmp_path / "b")
    with pytest.raises(UserError, match="nowhere"):
        MotionShard(tmp_path / "nowhere")


def test_a_failed_write_leaves_the_old_shard(tmp_path):
    write_motion_shard(make_clips(2, 5), tmp_path / "s", "probe", "train")

    def broken():
        yield from make_clips(1, 5)
        raise UserError("clip 2 is broken")

    with pytest.raises(UserError, match="clip 2"):
        write_motion_shard(broken(), tmp_path / "s", "probe", "train")
    assert [p.name for p in tmp_path.iterdir()] == ["s"]
    assert len(MotionShard(tmp_path / "s")) == 10
    with pytest.raises(UserError, match="0 clips"):
        write_motion_shard([], tmp_path / "t", "probe", "train")
    with pytest.raises(UserError, match="2 clips"):
        write_motion_shard([*make_clips(1, 2)] * 2, tmp_path / "t", "probe", "train")
    assert not (tmp_path / "t").exists()


def test_loading_the_training_set_is_quick(tmp_path):
    write_motion_shard(make_clips(60, 300), tmp_path / "s", "probe", "train")  # 18,000 poses
    start = time.perf_counter()
    assert np.isfinite(np.array(MotionShard(tmp_path / "s").poses)).all()
    assert time.perf_counter() - start < 1.0
