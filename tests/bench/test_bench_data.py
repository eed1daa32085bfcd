"""From an npz to a shard: boxes as large as the profile wants them, and test sets of one kind."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from bench.data import prepare
from bench.evaluate import _score_set
from genhmr.data.crops import make_crops
from genhmr.data.shards import ImageShard
from genhmr.types import UserError

ROOT = Path(__file__).parents[2]
NAMES = [f"images/S9_Walking.60457274_{i:06d}.jpg" for i in range(3)]
SIDE = 100.0  # of every box, in pixels


@pytest.fixture
def prepared(tmp_path):
    """Makes a shard of three persons in the layout of SPIN's Human3.6M; returns its folder."""

    def make(has_smpl=(1, 1, 1), **options):
        rng = np.random.default_rng(0)
        raw = tmp_path / "raw"
        (raw / "images").mkdir(parents=True, exist_ok=True)
        for name in NAMES:
            cv2.imwrite(str(raw / name), rng.integers(0, 256, (240, 320, 3), dtype=np.uint8))
        points = np.concatenate([rng.uniform(70, 170, (3, 25, 2)), np.ones((3, 25, 1))], 2)
        np.savez(
            raw / "h36m_valid_protocol2.npz",
            imgname=np.array(NAMES),
            center=np.tile([150.0, 120.0], (3, 1)),
            scale=np.full(3, SIDE / 200),
            pose=rng.normal(0, 0.3, (3, 72)),
            shape=rng.normal(0, 1, (3, 10)),
            has_smpl=np.array(has_smpl),
            S=np.ones((3, 24, 4)),
            openpose=points,
        )
        job = {
            "role": "lab", "name": "Human3.6M", "kind": "h36m", "source": "licensed",
            "raw": str(raw), "bodies": str(ROOT / "datasets/open/body"), "counts": {"test": 0},
            "splits": {"test": "test-p2"}, "stored": 96, **options,
        }  # fmt: skip
        out = tmp_path / "data" / "lab"
        prepare(job, out)
        return out / "test"

    return make


def test_boxes_are_enlarged_once_and_all_that_follows_them_with_them(prepared):
    """A person is 3/4 as large in the crop; the stored square is 1.5 of the new box."""
    rows = np.arange(3)
    plain = ImageShard(prepared())
    keypoints = make_crops(plain, rows, 64).keypoints_2d
    images = make_crops(plain, rows, 64).images
    wide = ImageShard(prepared(box_scale=4 / 3))
    crops = make_crops(wide, rows, 64)
    assert plain.annotations["box_size"].tolist() == [SIDE] * 3
    np.testing.assert_allclose(wide.annotations["box_size"], SIDE * 4 / 3, rtol=1e-6)
    assert wide.margin == plain.margin and wide.crop_resolution == plain.crop_resolution
    np.testing.assert_allclose(crops.keypoints_2d[..., :2], 0.75 * keypoints[..., :2], atol=1e-5)
    np.testing.assert_array_equal(wide.annotations["pose"], plain.annotations["pose"])
    # All of the box's width is among the columns that the backbone sees.
    inside = keypoints[..., :2].abs().amax(-1) <= 0.5
    assert (keypoints[..., 0].abs()[inside] > 0.375).any()
    assert (crops.keypoints_2d[..., 0].abs()[inside] <= 0.375).all()
    assert (crops.images - images).abs().max() > 0.1


def test_a_test_set_with_some_bodies_is_refused_and_one_without_is_not(prepared):
    folder = prepared(has_smpl=(1, 0, 1))
    build = folder.parents[2]
    job = {"sets": {"lab": {"kind": "h36m", "name": "Human3.6M"}}, "settings": {}}
    work = SimpleNamespace(job=job, build=build)
    with pytest.raises(UserError) as error:
        _score_set(work, "lab")
    said = str(error.value)
    assert said.startswith(f"{folder} has SMPL ground truth in 2 of 3 records")
    assert "\n" not in said and said.endswith("run the data stage again.")
    for has_smpl in ((0, 0, 0), (1, 1, 1)):
        prepared(has_smpl=has_smpl)
        with pytest.raises(AttributeError, match="bodies"):  # it goes on to what is not there
            _score_set(work, "lab")
