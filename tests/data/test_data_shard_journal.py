"""A shard writer that was stopped goes on from its whole tars, and takes nothing stale."""

import os
from dataclasses import replace

import cv2
import pytest

from genhmr.data import shard_writer
from genhmr.data.shards import ImageShard, write_image_shard
from genhmr.types import UserError


@pytest.fixture
def read(monkeypatch):
    """The numbers of the pictures that were read, in shards with a tar a picture."""
    numbers = []

    def read_image(path, real=shard_writer.read_image):
        numbers.append(int(path.stem))
        return real(path)

    monkeypatch.setattr(shard_writer, "read_image", read_image)
    monkeypatch.setattr(shard_writer, "_TAR_BYTES", 1)
    return numbers


def write(frames, folder, resolution=96):
    """Writes with a journal; returns how many records there are."""
    return write_image_shard(frames, folder / "shard", resolution, workers=1, progress=False,
                             journal=folder / "journal")  # fmt: skip


def stop(frames, folder, index):
    """Writes up to a picture that cannot be read, and then puts that picture back."""
    picture = frames[index].image
    content, status = picture.read_bytes(), picture.stat()
    picture.write_bytes(content[:100])
    with pytest.raises(UserError, match=picture.name):
        write(frames, folder)
    picture.write_bytes(content)
    os.utime(picture, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not (folder / "shard").exists()


def assert_as_if_never_stopped(frames, folder, resolution=96):
    write_image_shard(frames, folder / "other", resolution, progress=False)
    names = sorted(file.name for file in (folder / "other").iterdir())
    assert names == sorted(file.name for file in (folder / "shard").iterdir())
    for name in names:
        assert (folder / "shard" / name).read_bytes() == (folder / "other" / name).read_bytes()
    ImageShard(folder / "shard").verify()


def test_a_stopped_writer_goes_on_from_its_whole_tars(person_frames, tmp_path, read):
    frames = person_frames(9)
    stop(frames, tmp_path, 6)
    read.clear()
    assert write(iter(frames), tmp_path) == 9
    assert read == [5, 6, 7, 8], "the tar with the picture before was not known to be whole"
    assert_as_if_never_stopped(frames, tmp_path)


def test_a_finished_shard_of_a_stopped_stage_is_not_read_again(person_frames, tmp_path, read):
    frames = person_frames(5)
    write(frames, tmp_path)
    read.clear()
    assert write(frames, tmp_path) == 5 and read == []
    assert_as_if_never_stopped(frames, tmp_path)


def repainted(frames):
    """Another picture of the same name."""
    cv2.imwrite(str(frames[2].image), 255 - cv2.imread(str(frames[2].image)))
    return frames


def reboxed(frames):
    return [*frames[:2], replace(frames[2], box_size=frames[2].box_size * 1.1), *frames[3:]]


def one_less(frames):
    return [*frames[:2], *frames[3:]]


@pytest.mark.parametrize("change", [repainted, reboxed, one_less])
def test_what_changed_since_the_stop_is_written_anew(person_frames, tmp_path, read, change):
    frames = person_frames(6)
    stop(frames, tmp_path, 5)
    frames = change(frames)
    read.clear()
    assert write(frames, tmp_path) == len(frames)
    assert read[0] == int(frames[2].image.stem) and len(read) == len(frames) - 2
    assert_as_if_never_stopped(frames, tmp_path)


def test_other_sizes_and_a_damaged_tar_take_nothing(person_frames, tmp_path, read):
    frames = person_frames(4)
    stop(frames, tmp_path, 3)
    read.clear()
    assert write(frames, tmp_path, resolution=64) == 4 and len(read) == 4
    assert_as_if_never_stopped(frames, tmp_path, resolution=64)
    with open(tmp_path / "shard" / "images-00000.tar", "ab") as tar:
        tar.truncate(1000)
    read.clear()
    assert write(frames, tmp_path, resolution=64) == 4 and len(read) == 4
    assert_as_if_never_stopped(frames, tmp_path, resolution=64)


def test_new_annotations_of_whole_tars_are_taken_and_checked(person_frames, tmp_path, read):
    frames = person_frames(4)
    stop(frames, tmp_path, 3)
    frames[0] = replace(frames[0], betas=frames[0].betas + 1)
    read.clear()
    write(frames, tmp_path)
    assert read == [2, 3]
    assert_as_if_never_stopped(frames, tmp_path)
    frames[1] = replace(frames[1], gender="male?")
    with pytest.raises(UserError, match="gender"):
        write(frames, tmp_path)


def test_without_a_whole_tar_nothing_stays(person_frames, tmp_path, read):
    stop(person_frames(3), tmp_path, 0)
    assert not (tmp_path / "shard.part").exists() and not (tmp_path / "journal").exists()


def test_a_last_tar_is_taken_only_where_it_is_the_last(
    person_frames, tmp_path, read, monkeypatch
):
    monkeypatch.setattr(shard_writer, "_TAR_BYTES", 1 << 30)
    frames = person_frames(6)
    write(frames[:4], tmp_path)
    write(frames, tmp_path)
    assert_as_if_never_stopped(frames, tmp_path)
    read.clear()
    write(frames, tmp_path)
    assert read == []


def test_tars_of_other_code_are_not_taken(person_frames, tmp_path, read, monkeypatch):
    frames = person_frames(4)
    stop(frames, tmp_path, 3)
    monkeypatch.setattr(shard_writer.cv2, "__version__", "another")
    read.clear()
    write(frames, tmp_path)
    assert read == [0, 1, 2, 3]


def test_a_picture_that_changes_after_it_was_read_is_read_again(
    person_frames, tmp_path, read, monkeypatch
):
    """The note says what was read, not what lies there when the tar is whole."""
    frames = person_frames(4)

    def read_image(path, real=shard_writer.read_image):
        pixels = real(path)
        if path == frames[2].image and len(read) <= len(frames):
            repainted(frames)
        return pixels

    monkeypatch.setattr(shard_writer, "read_image", read_image)
    write(frames, tmp_path)
    write(frames, tmp_path)
    assert read == [0, 1, 2, 3, 2, 3]
    assert_as_if_never_stopped(frames, tmp_path)
