"""AITI, stage by stage, on the device that is there: image side, sampling, refinement, batch 1.

On a CUDA device the paper's sizes run (ViT-H/16 at 256x192, 96 tokens, 2048 codes, bfloat16); on a
CPU those of the profile `open`. Weights are random: times do not depend on them. A stage's
``ratio`` is the aim over its time; beside it stands the bound from bytes and operations, what the
device would take if it did nothing but read the weights once per pass and multiply.

To keep a run: ``pytest bench/test_aiti.py --benchmark-only
--benchmark-json results/benchmarks/<device>.json``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from genhmr.body import SMPLJoints, body25, load_bodies
from genhmr.image.vit import ViTBackbone, ViTConfig
from genhmr.inference.predict import sample_pose
from genhmr.inference.refinement import refine_pose
from genhmr.inference.timing import time_callable
from genhmr.tokenizer.model import PoseTokenizer
from genhmr.train.model_files import build_genhmr

BODIES = Path(__file__).resolve().parents[1] / "datasets" / "open" / "body"
SAMPLING, STEPS = 5, 10
AIMS = {"sampling, T=5": 6e-3, "sampling, T=5, and 10 refinement steps": 16e-3}  # on an H100
# Bytes a second of the memory and bfloat16 operations a second, dense, from the data sheets.
DEVICES = {"H200": (4.8e12, 989e12), "H100": (3.35e12, 989e12), "A100": (2.0e12, 312e12),
           "A5000": (0.768e12, 111e12)}  # fmt: skip
PAPER = {
    "backbone": ViTConfig((256, 192), 16, 1280, 32, 16, stem="patch", patch_padding=2),
    "tokenizer": (96, 2048, 256, 512),
    "sizes": {"scales": [1, 4, 8], "layers": 4, "width": 1024, "heads": 8, "points": 4,
              "features": 256, "reference": "learned"},
}  # fmt: skip
OPEN = {
    "backbone": ViTConfig((64, 48), 8, 192, 6, 6, stem="conv"),
    "tokenizer": (48, 512, 64, 128),
    "sizes": {"scales": [1, 4, 8], "layers": 4, "width": 128, "heads": 4, "points": 4,
              "features": 64, "reference": "learned"},
}  # fmt: skip


def bound(module: nn.Module, positions: int, passes: int, device: str) -> float | None:
    """Seconds that reading the weights and multiplying them takes at least; None if unknown.

    Args:
        module: what runs.
        positions: tokens that go through it; every weight is used once for each.
        passes: how often.
        device: name of the GPU.
    """
    speeds = next((speeds for name, speeds in DEVICES.items() if name in device), None)
    if speeds is None:
        return None
    weights = sum(parameter.numel() for parameter in module.parameters())
    return passes * max(2 * weights / speeds[0], 2 * weights * positions / speeds[1])


@pytest.fixture(scope="module")
def scene():
    """The model, one image, and the name of the device."""
    cuda = torch.cuda.is_available()
    numbers = PAPER if cuda else OPEN
    device = "cuda" if cuda else "cpu"
    torch.manual_seed(0)
    backbone = ViTBackbone.from_config(numbers["backbone"])
    tokenizer = PoseTokenizer(*numbers["tokenizer"])
    model = build_genhmr(backbone, tokenizer, numbers["sizes"], torch.Generator().manual_seed(0))
    side = numbers["backbone"].image_size[0]
    images = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    joints = SMPLJoints(load_bodies(BODIES).neutral, body25()).to(device)
    name = torch.cuda.get_device_name() if cuda else "CPU"
    return model.to(device).eval().requires_grad_(False), images.to(device), joints, device, name


def test_aiti(benchmark, scene):
    model, images, joints, device, name = scene
    cuda = device == "cuda"

    def fast() -> torch.autocast:
        return torch.autocast(device, torch.bfloat16, enabled=cuda)

    @torch.no_grad()
    def encode():
        with fast():
            return model.encode_image(images)

    @torch.no_grad()
    def sample():
        with fast():
            return sample_pose(model, features, SAMPLING)

    features = encode()
    start = sample()
    points = torch.zeros(1, 25, 3, device=device)
    points[..., 2] = 1.0

    def refine():
        return refine_pose(
            model.tokenizer.decode, joints, start.latents.float(), start.betas.float(),
            start.cam.float(), points, steps=STEPS,
        )  # fmt: skip

    def sample_and_refine():
        sample()
        refine()

    rounds = 30 if cuda else 5
    stages = {
        "image side": encode,
        "sampling, T=5": sample,
        "sampling, T=5, and 10 refinement steps": sample_and_refine,
    }
    seconds = {
        stage: float(torch.tensor(time_callable(run, rounds, 3, device)).median())
        for stage, run in stages.items()
    }
    grid = features.grid.shape[-2] * features.grid.shape[-1]
    bounds = {
        "image side": bound(model.backbone, grid, 1, name),
        "sampling, T=5": bound(model.transformer, model.transformer.num_tokens, SAMPLING, name),
    }
    benchmark.pedantic(sample, rounds=3)
    benchmark.extra_info.update(device=name, seconds=seconds, bounds=bounds, aims=AIMS)
    assert all(value > 0 for value in seconds.values())
