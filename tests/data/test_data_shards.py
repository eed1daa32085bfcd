"""The shard format: what is written comes back, bytes are stable, damage is noticed."""

import json
import tarfile
from dataclasses import replace

import cv2
import numpy as np
import pytest

from genhmr.data.shards import ImageShard, write_image_shard
from genhmr.types import UserError


def write(frames, out, resolution=96, **options):
    return write_image_shard(frames, out, resolution, "set", "part", progress=False, **options)


def test_columns_come_back(person_frames, tmp_path):
    frames = person_frames(7)
    assert write(frames, tmp_path / "shard") == 7
    shard = ImageShard(tmp_path / "shard")
    assert (len(shard), shard.dataset, shard.split) == (7, "set", "part")
    columns = shard.annotations
    assert columns["key"].tolist() == [frame.key for frame in frames]
    assert columns["gender"].tolist() == [frame.gender for frame in frames]
    assert columns["image"][3] == "seq0/003.jpg"
    np.testing.assert_array_equal(columns["has_smpl"], [i % 3 != 2 for i in range(7)])
    for i, frame in enumerate(frames):
        np.testing.assert_array_equal(columns["pose"][i], np.nan_to_num(frame.pose))
        np.testing.assert_array_equal(columns["betas"][i], np.nan_to_num(frame.betas))
        np.testing.assert_array_equal(columns["transl"][i], frame.transl)
        np.testing.assert_allclose(columns["joints_3d"][i], frame.joints_3d, rtol=1e-6)
        assert columns["box_size"][i] == np.float32(frame.box_size)
    shard.verify()


def test_stored_image_is_the_box_with_its_margin(person_frames, tmp_path):
    """A stored pixel shows the point of the frame that the keypoints' map says."""
    frames = person_frames(3)
    write(frames, tmp_path / "shard", quality=100)
    shard = ImageShard(tmp_path / "shard")
    for i, frame in enumerate(frames):
        picture = cv2.cvtColor(cv2.imread(str(frame.image)), cv2.COLOR_BGR2RGB).astype(float)
        stored = shard.image(i).astype(float)
        assert stored.shape == (96, 96, 3)
        scale = 96 / (1.5 * frame.box_size)
        for column, row in ((10, 20), (48, 48), (80, 30)):
            point = (np.array([column, row]) + 0.5 - 48) / scale + frame.center
            x, y = np.floor(point).astype(int)
            around = picture[y - 1 : y + 2, x - 1 : x + 2].mean(axis=(0, 1))
            assert np.abs(around - stored[row, column]).max() < 12
        keypoints = shard.annotations["keypoints_2d"][i]
        known = frame.keypoints_2d[:, 2] > 0
        expected = (frame.keypoints_2d[known, :2] - frame.center) * scale + 48
        np.testing.assert_allclose(keypoints[known, :2], expected, atol=1e-3)
        assert (keypoints[~known] == 0).all()


def test_stored_camera_projects_into_the_stored_image(person_frames, tmp_path):
    frame = person_frames(1)[0]
    write([frame], tmp_path / "shard")
    camera = ImageShard(tmp_path / "shard").annotations["intrinsics"][0]
    point = np.array([0.2, -0.1, 3.0])
    original = frame.intrinsics @ point
    original = original[:2] / original[2]
    stored = camera @ point
    expected = (original - frame.center) * 96 / (1.5 * frame.box_size) + 48
    np.testing.assert_allclose(stored[:2] / stored[2], expected, rtol=1e-5)


def test_same_frames_give_the_same_bytes(person_frames, tmp_path):
    frames = person_frames(9)
    write(frames, tmp_path / "one", workers=1)
    write(iter(frames), tmp_path / "two", workers=3)
    names = sorted(file.name for file in (tmp_path / "one").iterdir())
    assert names == ["annotations.npz", "images-00000.tar", "manifest.json"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_tar_is_plain_and_offsets_point_into_it(person_frames, tmp_path):
    write(person_frames(4), tmp_path / "shard")
    shard = ImageShard(tmp_path / "shard")
    with tarfile.open(tmp_path / "shard" / "images-00000.tar") as tar:
        members = tar.getmembers()
        assert [member.mtime for member in members] == [0] * 4
        for i, member in enumerate(members):
            assert tar.extractfile(member).read() == shard.jpeg(i).tobytes()


def test_several_tars(person_frames, tmp_path, monkeypatch):
    monkeypatch.setattr("genhmr.data.shard_writer._TAR_BYTES", 20_000)
    write(person_frames(8), tmp_path / "many")
    monkeypatch.undo()
    write(person_frames(8), tmp_path / "one")
    many, one = ImageShard(tmp_path / "many"), ImageShard(tmp_path / "one")
    assert many.annotations["tar"].max() >= 1
    for a, b in zip(many.images(), one.images()):
        np.testing.assert_array_equal(a, b)


def test_a_flipped_byte_is_found_by_reading_and_by_verify(person_frames, tmp_path):
    write(person_frames(4), tmp_path / "shard")
    offset = int(ImageShard(tmp_path / "shard").annotations["image_offset"][2]) + 200
    path = tmp_path / "shard" / "images-00000.tar"
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)
    shard = ImageShard(tmp_path / "shard")
    shard.image(1)
    with pytest.raises(UserError, match="images-00000.tar.*seq0/00002/0"):
        shard.image(2)
    with pytest.raises(UserError, match="images-00000.tar"):
        shard.verify()


def test_damaged_annotations_and_foreign_manifests_are_refused(person_frames, tmp_path):
    write(person_frames(2), tmp_path / "shard")
    path = tmp_path / "shard" / "annotations.npz"
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(UserError, match="annotations.npz.*checksum"):
        ImageShard(tmp_path / "shard")
    path.write_bytes(good[:-100])
    with pytest.raises(UserError, match="annotations.npz.*truncated"):
        ImageShard(tmp_path / "shard")
    path.write_bytes(good)
    manifest = tmp_path / "shard" / "manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "version": 99}))
    with pytest.raises(UserError, match="version 1"):
        ImageShard(tmp_path / "shard")
    manifest.write_text("{")
    with pytest.raises(UserError, match="manifest.json"):
        ImageShard(tmp_path / "shard")
    with pytest.raises(UserError, match="nowhere"):
        ImageShard(tmp_path / "nowhere")


@pytest.mark.parametrize("damage", ["truncate", "remove", "text"])
def test_bad_image_leaves_no_half_shard_and_keeps_the_old_one(person_frames, tmp_path, damage):
    frames = person_frames(5)
    write(frames[:2], tmp_path / "shard")
    picture = frames[3].image
    if damage == "truncate":
        picture.write_bytes(picture.read_bytes()[:-50])
    elif damage == "remove":
        picture.unlink()
    else:
        picture.write_text("not an image")
    with pytest.raises(UserError, match="003.jpg"):
        write(frames, tmp_path / "shard")
    assert not (tmp_path / "shard.part").exists()
    assert len(ImageShard(tmp_path / "shard")) == 2


def test_bad_records_are_refused(person_frames, tmp_path):
    frames = person_frames(2)
    half_nan = frames[0].pose.copy()
    half_nan[3] = np.nan
    cases = [
        ([], "no usable"),
        ([frames[0], frames[0]], "two records"),
        ([replace(frames[0], pose=half_nan)], "NaN"),
        ([replace(frames[0], box_size=0.0)], "empty box"),
        ([replace(frames[0], box_size=float("nan"))], "finite box"),
        ([replace(frames[0], gender="male?")], "gender"),
    ]
    for records, message in cases:
        with pytest.raises(UserError, match=message):
            write(records, tmp_path / "bad")
        assert not (tmp_path / "bad").exists() and not (tmp_path / "bad.part").exists()
