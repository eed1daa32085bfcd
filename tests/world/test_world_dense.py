"""Pre-training crops: labels that agree with each other, and bytes that do not depend on luck."""

import hashlib
import json
import operator
from pathlib import Path

import numpy as np
import pytest

from genhmr.body import load_bodies
from genhmr.types import UserError
from genhmr.world.blocks import block_generator, run_blocks
from genhmr.world.dense import dense_dataset, render_dense
from genhmr.world.motion import PoseSource
from genhmr.world.people import make_wardrobes, sample_betas
from genhmr.world.textures import texture_bank

OPEN = Path(__file__).resolve().parents[2] / "datasets" / "open"


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(0)
    source = PoseSource.for_role(OPEN / "motion", "open-photo", "train")
    return make_wardrobes(load_bodies(OPEN / "body")), source, texture_bank(rng, 10)


def render(scene, seed, n, size=48):
    wardrobes, source, textures = scene
    rng = np.random.default_rng(seed)
    return render_dense(wardrobes, source.sample(n, rng), sample_betas(n, rng), textures, rng, size)


def test_labels_have_their_shapes_and_ranges(scene):
    batch = render(scene, 0, 24)
    assert batch.images.shape == (24, 48, 48, 3) and batch.images.dtype == np.uint8
    assert batch.parts.shape == (24, 48, 48) and batch.parts.max() <= 24
    assert batch.normals.dtype == np.int8 and batch.keypoints.shape == (24, 25, 3)
    assert set(np.unique(batch.keypoints[..., 2])) <= {0.0, 0.5, 1.0}
    length = np.linalg.norm(batch.normals.astype(float), axis=-1)
    person = batch.parts > 0
    np.testing.assert_allclose(length[person], 127, atol=1.5)
    assert length[~person].max() == 0
    # A surface that is seen faces the camera; grazing pixels average over samples.
    assert (batch.normals[person][:, 2] < 30).mean() > 0.98
    assert (person.mean((1, 2)) > 0.01).all()
    inside = (batch.keypoints[..., :2] >= 0).all(-1) & (batch.keypoints[..., :2] < 48).all(-1)
    assert (batch.keypoints[..., 2][~inside] == 0).all()


def test_visible_keypoints_lie_on_their_own_part(scene):
    batch = render(scene, 1, 48, size=96)
    # BODY_25 joint: the SMPL joints whose surface may own the pixel over it.
    near = {0: (15,), 3: (17, 19), 4: (19, 21, 23), 6: (16, 18), 7: (18, 20, 22), 10: (2, 5),
            13: (1, 4), 11: (5, 8, 11), 14: (4, 7, 10), 22: (8, 11), 19: (7, 10)}  # fmt: skip
    hits = []
    for points, parts in zip(batch.keypoints, batch.parts):
        for joint, owners in near.items():
            x, y, visible = points[joint]
            if visible == 1:
                owner = int(parts[int(y), int(x)]) - 1
                hits.append(owner in owners)
    assert len(hits) > 150
    assert np.mean(hits) > 0.8  # clothes, fingers in front, a pixel off


def test_occluders_borders_and_turns_occur(scene):
    batch = render(scene, 2, 48)
    assert 0.05 < (batch.keypoints[..., 2] == 0.5).mean() < 0.6
    assert 0.01 < (batch.keypoints[..., 2] == 0).mean() < 0.4
    black = (batch.images.max(-1) == 0).mean((1, 2)) > 0.05
    assert 2 <= black.sum() <= 20  # beyond the frame


def test_same_seed_same_crops(scene):
    first, second, other = render(scene, 3, 4), render(scene, 3, 4), render(scene, 4, 4)
    for name in ("images", "parts", "normals", "keypoints"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert (first.images != other.images).any()


def test_dataset_is_a_memory_map_whose_blocks_stand_alone(tmp_path):
    for count in (64, 70):
        dense_dataset(tmp_path / str(count), count, 16, 5, 1, OPEN / "body", OPEN / "motion")
    for name in ("images", "parts", "normals", "keypoints"):
        short, long = (np.load(tmp_path / c / f"{name}.npy", mmap_mode="r") for c in ("64", "70"))
        assert (len(short), len(long)) == (64, 70)
        # A block does not know how many others there are, nor which came before it.
        np.testing.assert_array_equal(short, long[:64])
    images = np.load(tmp_path / "70" / "images.npy")
    assert (images.reshape(70, -1).std(1) > 3).all()  # no block was left blank
    manifest = json.loads((tmp_path / "70" / "manifest.json").read_text())
    assert manifest["count"] == 70 and manifest["size"] == 16
    for name, digest in manifest["sha256"].items():
        assert hashlib.sha256((tmp_path / "70" / name).read_bytes()).hexdigest() == digest
    assert not list(tmp_path.glob("*.partial"))


def test_missing_motion_is_one_sentence_and_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match="motion"):
        dense_dataset(tmp_path / "out", 8, 16, 0, 1, OPEN / "body", tmp_path / "nothing")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_blocks_come_back_in_order_from_any_number_of_processes(workers):
    blocks = [(value,) for value in range(9, 0, -1)]
    got = list(run_blocks(operator.mul, blocks, [1000] * 9, int, ("10",), workers, "test"))
    assert got == [90, 80, 70, 60, 50, 40, 30, 20, 10]


def test_an_error_in_a_block_reaches_the_caller():
    with pytest.raises(ZeroDivisionError):
        list(run_blocks(operator.truediv, [(1,), (0,)], [1, 1], int, ("10",), 1, "test"))


def test_generators_depend_on_seed_and_place_only():
    draws = {block_generator(0, *path).integers(1 << 60) for path in [(), (0,), (1,), (0, 1)]}
    assert len(draws) >= 3
    assert block_generator(7, 1, 2).random() == block_generator(7, 1, 2).random()
