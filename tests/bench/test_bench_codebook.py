"""Use of a codebook: counts of a tokenizer's codes, their share and perplexity."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.codebook import CountingTokenizer, codebook_use
from bench.evaluate_tokenizer import score_tokenizer
from bench.stage import seed_folder
from genhmr.body.rotations import axis_angle_to_matrix
from genhmr.data.motion_shards import MotionShard, write_motion_shard
from genhmr.tokenizer.model import PoseTokenizer
from genhmr.train.checkpoint import TOKENIZER_FILE
from genhmr.train.tokenizer_files import load_tokenizer, save_tokenizer
from genhmr.types import MotionClip

BODIES = str(Path(__file__).parents[2] / "datasets" / "open" / "body")
SIZES = {"num_tokens": 48, "num_codes": 32, "code_dim": 8, "width": 32}


def made_up(seed):
    """An untrained tokenizer whose codes are spread over what its encoder puts out."""
    torch.manual_seed(seed)
    tokenizer = PoseTokenizer(**SIZES).eval()
    poses = 0.3 * torch.randn(40, 24, 3, generator=torch.Generator().manual_seed(seed))
    latents = tokenizer.encode(axis_angle_to_matrix(poses)).detach()
    tokenizer.quantizer.initialise(latents, torch.Generator().manual_seed(seed))
    return tokenizer


def nearest_by_hand(tokenizer, poses):
    """Codes by plain distances in numpy: independent of the search that the tokenizer uses."""
    with torch.no_grad():
        latents = tokenizer.encode(axis_angle_to_matrix(torch.from_numpy(poses))).double().numpy()
    codes = tokenizer.codebook.detach().double().numpy()
    flat = latents.reshape(-1, latents.shape[-1])
    return ((flat[:, None] - codes[None]) ** 2).sum(-1).argmin(1)


def test_counts_and_use_are_those_of_plain_numpy():
    tokenizer = made_up(0)
    poses = (0.4 * np.random.default_rng(1).standard_normal((30, 24, 3))).astype(np.float32)
    codes = nearest_by_hand(tokenizer, poses)
    counted = CountingTokenizer(tokenizer)
    every = []
    for start in range(0, 30, 7):
        pose = axis_angle_to_matrix(torch.from_numpy(poses[start : start + 7]))
        every.append(counted.tokenize(pose))
        assert torch.equal(every[-1], tokenizer.tokenize(pose))
        assert torch.equal(counted.decode_tokens(every[-1]), tokenizer.decode_tokens(every[-1]))
    counts = counted.counts
    assert torch.cat(every).flatten().tolist() == codes.tolist()
    assert counts.tolist() == np.bincount(codes, minlength=32).tolist()
    assert 1 < (counts > 0).sum()
    found = codebook_use(counts)
    _, times = np.unique(codes, return_counts=True)
    shares = times / times.sum()
    assert found["codes"] == 32 and found["tokens"] == 30 * 48
    assert found["used"] == pytest.approx(len(times) / 32, abs=1e-6)
    assert found["perplexity"] == pytest.approx(np.prod(shares**-shares), abs=1e-3)


@pytest.mark.parametrize(
    ("counts", "used", "perplexity"),
    [([5, 5, 5, 5], 1, 4), ([7, 0, 0, 0], 0.25, 1), ([3, 3, 0, 0], 0.5, 2)],
)
def test_even_use_has_the_perplexity_of_its_number_of_codes(counts, used, perplexity):
    found = codebook_use(np.array(counts))
    assert (found["used"], found["perplexity"]) == (used, perplexity)


def test_the_stage_writes_the_use_of_every_seed_and_set(tmp_path):
    rng = np.random.default_rng(2)
    for role, frames in (("mocap", 21), ("yoga", 9)):
        poses = (0.4 * rng.standard_normal((frames, 24, 3))).astype(np.float32)
        still, shape = np.zeros((frames, 3), np.float32), np.zeros(10, np.float32)
        clip = MotionClip(role, poses, still, shape, "neutral", 30.0, "y")
        write_motion_shard([clip], tmp_path / "data" / role / "test", role, "test")
    for seed in range(2):
        folder = seed_folder(tmp_path / "model", seed)
        folder.mkdir()
        save_tokenizer(folder / TOKENIZER_FILE, made_up(seed), {})
    job = {"device": "cpu", "models": 2, "bodies": BODIES,
           "sets": {"mocap": "test", "yoga": "test"}}  # fmt: skip
    texts = []
    for out in (tmp_path / "once", tmp_path / "again"):
        score_tokenizer(job, tmp_path / "model", tmp_path / "data", out)
        texts.append((out / "codebook.json").read_bytes())
    assert texts[0] == texts[1]
    found = json.loads(texts[0])
    assert set(found) == {"mocap", "yoga"}
    for role, entries in found.items():
        poses = MotionShard(tmp_path / "data" / role / "test").poses
        for seed, entry in enumerate(entries):
            tokenizer = load_tokenizer(seed_folder(tmp_path / "model", seed) / TOKENIZER_FILE)
            codes = nearest_by_hand(tokenizer, np.array(poses, np.float32))
            times = np.bincount(codes)
            shares = times[times > 0] / len(codes)
            assert entry["tokens"] == len(poses) * 48
            assert entry["used"] == pytest.approx(len(shares) / 32, abs=1e-6)
            assert entry["perplexity"] == pytest.approx(2 ** -(shares @ np.log2(shares)), abs=1e-3)
        assert entries[0] != entries[1]
