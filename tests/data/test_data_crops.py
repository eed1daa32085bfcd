"""Batches: pixel values, targets, order, mixing and resuming."""

from dataclasses import fields
from itertools import islice

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from genhmr.data.augment import AugmentConfig
from genhmr.data.crops import IMAGE_MEAN, IMAGE_STD, iterate_crops, make_crops, normalise
from genhmr.data.order import mixed_rows, shard_of_slots
from genhmr.data.shards import ImageShard, write_image_shard
from genhmr.train.prefetch import prefetch


@pytest.fixture
def shard(person_frames, tmp_path):
    write_image_shard(person_frames(10), tmp_path / "shard", 96, progress=False)
    return ImageShard(tmp_path / "shard")


@pytest.fixture
def other(person_frames, tmp_path):
    write_image_shard(person_frames(6, seed=2), tmp_path / "other", 96, progress=False)
    return ImageShard(tmp_path / "other")


def same(a, b):
    return all(torch.equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))


def rng(seed=0):
    return np.random.default_rng(seed)


def test_plain_crop_is_the_middle_of_the_stored_image(shard):
    batch = make_crops(shard, np.array([4, 1]), 64)
    assert batch.images.shape == (2, 3, 64, 64) and batch.images.is_contiguous()
    for i, row in enumerate((4, 1)):
        pixels = shard.image(row)[16:80, 16:80] / 255.0
        expected = (pixels - IMAGE_MEAN) / IMAGE_STD
        np.testing.assert_allclose(
            batch.images[i].permute(1, 2, 0).numpy(), expected, atol=1e-5
        )
    assert batch.index.tolist() == [4, 1]


def test_plain_targets(shard):
    batch = make_crops(shard, np.arange(10), 64)
    columns = shard.annotations
    known = columns["has_smpl"]
    np.testing.assert_array_equal(batch.has_smpl.numpy(), known)
    matrices = Rotation.from_rotvec(columns["pose"].reshape(-1, 3)).as_matrix()
    matrices = matrices.reshape(10, 24, 3, 3)
    np.testing.assert_allclose(batch.pose.numpy()[known], matrices[known], atol=1e-6)
    assert (batch.pose[~batch.has_smpl] == torch.eye(3)).all()
    np.testing.assert_allclose(batch.betas.numpy(), columns["betas"])
    expected = (columns["keypoints_2d"][..., :2] - 48) / 64
    seen = columns["keypoints_2d"][..., 2] > 0
    np.testing.assert_allclose(batch.keypoints_2d.numpy()[seen, :2], expected[seen], atol=1e-6)


def test_normalise_clips_at_white():
    pixels = np.full((2, 4, 4, 3), 200, np.uint8)
    images = normalise(pixels, np.array([[1.2, 1.0, 0.5], [1.5, 1.5, 1.5]]))
    for row, values in enumerate([(240, 200, 100), (255, 255, 255)]):
        expected = (np.array(values) / 255 - IMAGE_MEAN) / IMAGE_STD
        np.testing.assert_allclose(images[row, :, 1, 2].numpy(), expected, atol=1e-5)


def test_evaluation_order_and_last_batch(shard, other):
    index = [batch.index.tolist() for batch in iterate_crops(shard, 4, 32)]
    assert index == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(list(iterate_crops(shard, 4, 32, drop_last=True))) == 2
    both = list(iterate_crops([shard, other], 4, 32))
    assert torch.cat([batch.index for batch in both]).tolist() == list(range(16))
    np.testing.assert_allclose(both[3].betas.numpy(), other.annotations["betas"][2:])


def test_shuffled_epochs_hold_every_record_once(shard):
    batches = iterate_crops(shard, 5, 32, rng=rng(), shuffle=True, epochs=2)
    index = torch.cat([batch.index for batch in batches]).reshape(2, 10)
    assert [sorted(epoch) for epoch in index.tolist()] == [list(range(10))] * 2
    assert index[0].tolist() != index[1].tolist()


@pytest.mark.parametrize("weights", [None, (0.5, 0.5)])
def test_resuming_gives_the_batches_of_an_uninterrupted_run(shard, other, weights):
    def crops(start, every=1):
        return iterate_crops(
            [shard, other], 4, 32, AugmentConfig(), rng(7), shuffle=True, epochs=None,
            weights=weights, start_step=start, every=every,
        )  # fmt: skip

    def run(start, stop):
        return list(islice(crops(start), stop - start))

    whole = run(0, 9)
    for a, b in zip(whole[5:], run(5, 9)):
        assert same(a, b)
    for a, b in zip(whole, prefetch(crops, 0, 2)):  # made by two processes
        assert same(a, b)
    assert not same(whole[0], whole[1])


def test_mixture_has_its_shares_and_uses_each_shard_evenly():
    lengths, weights = [40, 7, 11], [0.5, 0.3, 0.2]
    plan = mixed_rows(lengths, weights, 10, seed=3)
    which, rows = (np.concatenate(column) for column in zip(*(next(plan) for _ in range(100))))
    np.testing.assert_allclose(np.bincount(which) / 1000, weights, atol=0.005)
    for shard, length in enumerate(lengths):
        own = rows[which == shard]
        whole = own[: len(own) // length * length].reshape(-1, length)
        np.testing.assert_array_equal(np.sort(whole, axis=1), [np.arange(length)] * len(whole))
    short = shard_of_slots(np.arange(500, 520), weights)  # any stretch, not only on average
    assert np.abs(np.bincount(short, minlength=3) - [10, 6, 4]).max() <= 2


def test_mixed_batches_index_all_shards(shard, other):
    batch = next(
        iterate_crops([shard, other], 8, 32, rng=rng(), epochs=None, weights=(1.0, 3.0))
    )
    betas = np.concatenate([shard.annotations["betas"], other.annotations["betas"]])
    np.testing.assert_allclose(batch.betas.numpy(), betas[batch.index.numpy()])
    assert abs(int((batch.index >= 10).sum()) - 6) <= 1


def test_augmented_pixels_are_covered_and_coloured(shard):
    config = AugmentConfig(
        scale=0, rotation_probability=0, translation=0, colour=0, flip_probability=0,
        extreme_crop_probability=0, occlusion_probability=1.0, occlusion_size=(0.25, 0.25),
    )  # fmt: skip
    plain = next(iterate_crops(shard, 10, 64))
    covered = next(iterate_crops(shard, 10, 64, config, rng()))
    changed = (plain.images != covered.images).any(dim=1).sum(dim=(1, 2))
    assert (changed >= 15 * 15).all() and (changed <= 17 * 17).all()
    assert torch.equal(plain.keypoints_2d, covered.keypoints_2d)


def test_contradictions_are_refused(shard):
    with pytest.raises(ValueError, match="explicit rng"):
        next(iterate_crops(shard, 4, 32, shuffle=True))
    with pytest.raises(ValueError, match="weights"):
        next(iterate_crops([shard], 4, 32, rng=rng(), weights=(1, 2)))
    with pytest.raises(ValueError, match="no batch"):
        next(iterate_crops(shard, 64, 32, drop_last=True))
    with pytest.raises(ValueError, match="shares"):
        next(iterate_crops([shard], 4, 32, rng=rng(), weights=(-1,)))


def test_processes_that_share_the_steps_make_each_of_them_once(shard, other):
    def steps(start, every, count):
        batches = iterate_crops(
            [shard, other], 3, 32, AugmentConfig(), rng(), epochs=None, weights=[1, 2],
            start_step=start, every=every,
        )  # fmt: skip
        return [next(batches) for _ in range(count)]

    whole = steps(2, 1, 6)
    for offset in (0, 1):
        for mine, wanted in zip(steps(2 + offset, 2, 3), whole[offset::2], strict=True):
            assert same(mine, wanted)
