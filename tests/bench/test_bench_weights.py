"""The shipped weights: they are there, fit the code and the default profile, and are small."""

from pathlib import Path

import pytest
import torch

from bench.backbone import backbone_config
from bench.params import read_yaml
from bench.plan import build_jobs
from genhmr.image.vit import ViTBackbone
from genhmr.inference.predict import predict
from genhmr.train.checkpoint import BACKBONE_FILE, GENHMR_FILE, TOKENIZER_FILE, load_weights
from genhmr.train.model_files import load_genhmr

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "datasets" / "open" / "weights"


@pytest.fixture(scope="module")
def jobs():
    params = read_yaml(ROOT / "params.yaml")
    assert params["profile"] == "mini"
    return build_jobs(params, read_yaml(ROOT / "variants.yaml"))


def test_they_are_what_the_default_profile_asks_for(jobs):
    job = jobs["transformer/base.json"]
    assert load_weights(ROOT / job["weights"])[1]["sizes"] == job["model"]
    stored = load_weights(ROOT / jobs["tokenizer/base.json"]["weights"])[1]["model"]
    wanted = jobs["tokenizer/base.json"]["model"]
    assert {k: stored[k] for k in wanted} == wanted
    job = jobs["backbone/base.json"]
    backbone = ViTBackbone.from_config(backbone_config(job))
    assert load_weights(ROOT / job["weights"])[1]["backbone"] == backbone.to_dict()


def test_they_make_a_model_that_predicts(jobs):
    model = load_genhmr(WEIGHTS)
    size = jobs["transformer/base.json"]["crop"]
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    out = predict(model, images, iterations=2)
    assert out.pose.shape == (2, 24, 3, 3) and torch.isfinite(out.pose).all()
    assert model.guide is not None


def test_they_fit_into_15_megabytes():
    names = {BACKBONE_FILE, GENHMR_FILE, TOKENIZER_FILE}
    files = [path for path in WEIGHTS.iterdir() if path.suffix == ".safetensors"]
    assert {path.name for path in files} == names
    assert sum(path.stat().st_size for path in files) <= 15_000_000
