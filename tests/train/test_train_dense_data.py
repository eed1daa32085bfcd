"""Batches of the dense set and their augmentation."""

import numpy as np
import pytest
import torch

from genhmr.body.joints import BODY25_NAMES, SMPL24_NAMES
from genhmr.train.dense_data import (
    DenseSet,
    augment_batch,
    batch_rows,
    erase_batch,
    flip_batch,
    normalise_images,
)
from genhmr.types import DenseBatch, UserError

ALL = np.ones(3, bool)


def random_batch(count=3, size=16, seed=0):
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(0, size, (count, 25, 3)).astype(np.float32)
    keypoints[..., 2] = rng.choice([0.0, 0.5, 1.0], (count, 25))
    return DenseBatch(
        rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8),
        rng.integers(0, 25, (count, size, size), dtype=np.uint8),
        rng.integers(-127, 128, (count, size, size, 3)).astype(np.int8),
        keypoints,
    )


def equal(a, b):
    return all(
        np.array_equal(getattr(a, n), getattr(b, n))
        for n in ("images", "parts", "normals", "keypoints")
    )


def write(folder, batch):
    folder.mkdir()
    for name in ("images", "parts", "normals", "keypoints"):
        np.save(folder / f"{name}.npy", getattr(batch, name))


def test_flipping_moves_what_is_left_to_the_right():
    batch = random_batch()
    flipped = flip_batch(batch, ALL)
    left, right = SMPL24_NAMES.index("left_knee") + 1, SMPL24_NAMES.index("right_knee") + 1
    y, x = np.argwhere(batch.parts[0] == left)[0]
    assert flipped.parts[0, y, 15 - x] == right
    assert np.array_equal(flipped.images[0, y, 15 - x], batch.images[0, y, x])
    assert flipped.normals[0, y, 15 - x].tolist() == (
        batch.normals[0, y, x].astype(int) * [-1, 1, 1]
    ).tolist()
    ankle, other = BODY25_NAMES.index("LAnkle"), BODY25_NAMES.index("RAnkle")
    before, after = batch.keypoints[1, ankle], flipped.keypoints[1, other]
    assert after.tolist() == pytest.approx([16 - before[0], before[1], before[2]])


def test_flipping_twice_changes_nothing_and_unchosen_crops_stay():
    batch = random_batch()
    twice = flip_batch(flip_batch(batch, ALL), ALL)
    assert np.allclose(twice.keypoints, batch.keypoints, atol=1e-5)
    assert np.array_equal(twice.parts, batch.parts)
    assert np.array_equal(twice.normals, batch.normals)
    assert equal(flip_batch(batch, ~ALL), batch)
    some = flip_batch(batch, np.array([False, True, False]))
    assert np.array_equal(some.images[[0, 2]], batch.images[[0, 2]])
    assert not np.array_equal(some.images[1], batch.images[1])


def test_an_erased_box_is_background_and_hides_keypoints():
    batch = random_batch()
    batch.parts[:] = 3
    erased = erase_batch(batch, np.array([True, False, True]), np.random.default_rng(0))
    box = erased.parts == 0
    assert not box[1].any() and box[0].any() and box[2].any()
    rows, columns = np.flatnonzero(box[0].any(1)), np.flatnonzero(box[0].any(0))
    assert box[0].sum() == len(rows) * len(columns)  # a full rectangle
    assert 4 <= len(rows) <= 8 and 4 <= len(columns) <= 8
    assert (erased.normals[box] == 0).all()
    assert np.array_equal(erased.images[~box], batch.images[~box])
    for i in range(3):
        for before, after in zip(batch.keypoints[i], erased.keypoints[i], strict=True):
            hidden = box[i, int(before[1]), int(before[0])]
            assert after[2] == (min(before[2], 0.5) if hidden else before[2])
    assert equal(batch, DenseBatch(batch.images, batch.parts, batch.normals, batch.keypoints))


def test_augmentation_depends_on_its_generator_only_and_leaves_its_input():
    batch, kept = random_batch(), random_batch()
    batch_a = augment_batch(batch, np.random.default_rng(5))
    batch_b = augment_batch(batch, np.random.default_rng(5))
    assert equal(batch, kept)
    assert equal(batch_a[0], batch_b[0]) and np.array_equal(batch_a[1], batch_b[1])
    other = augment_batch(batch, np.random.default_rng(6))
    assert not equal(batch_a[0], other[0]) and not np.array_equal(batch_a[1], other[1])


def test_images_are_normalised_with_imagenet_statistics():
    batch = random_batch()
    expected = (batch.images / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    images = torch.from_numpy(batch.images)
    found = normalise_images(images)
    assert found.dtype == torch.float32
    assert np.allclose(found.permute(0, 2, 3, 1).numpy(), expected, atol=1e-5)
    gain = np.array([[0.5, 1.0, 4.0]] * 3)
    jittered = normalise_images(images, torch.from_numpy(gain))
    expected = (np.minimum(batch.images / 255 * gain[0], 1) - [0.485, 0.456, 0.406]) / [
        0.229, 0.224, 0.225,
    ]  # fmt: skip
    assert np.allclose(jittered.permute(0, 2, 3, 1).numpy(), expected, atol=1e-5)


def test_an_epoch_sees_every_row_once():
    steps = [batch_rows(step, 23, 5, seed=1) for step in range(8)]
    first, second = np.concatenate(steps[:4]), np.concatenate(steps[4:])
    assert len(set(first)) == len(set(second)) == 20
    assert not np.array_equal(first, second)
    assert np.array_equal(batch_rows(6, 23, 5, seed=1), steps[6])
    assert not np.array_equal(batch_rows(6, 23, 5, seed=2), steps[6])


def test_rows_come_back_as_written(tmp_path):
    batch = random_batch(6)
    write(tmp_path / "set", batch)
    data = DenseSet(tmp_path / "set")
    assert len(data) == 6 and data.size == 16
    some = data.batch(np.array([4, 1]))
    assert np.array_equal(some.images, batch.images[[1, 4]])
    assert np.array_equal(some.keypoints, batch.keypoints[[1, 4]])


@pytest.mark.parametrize("name", ["images", "parts", "normals", "keypoints"])
def test_a_missing_truncated_or_misshapen_array_is_named(tmp_path, name):
    write(tmp_path / "set", random_batch(6))
    path = tmp_path / "set" / f"{name}.npy"
    array = np.load(path)
    np.save(path, array[:, :12])
    with pytest.raises(UserError, match=f"{name}.npy"):
        if name == "images":  # its own shape rules, so the next array complains
            np.save(path, array.astype(np.float32))
        DenseSet(tmp_path / "set")
    np.save(path, array)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=f"{name}.npy"):
        DenseSet(tmp_path / "set")
    path.unlink()
    with pytest.raises(UserError, match=f"{name}.npy"):
        DenseSet(tmp_path / "set")
