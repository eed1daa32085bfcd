"""AITI, stage by stage, on the device that is asked for: image side, sampling, refinement, batch 1.

With ``--device cuda`` the paper's sizes run (ViT-H/16 at 256x192, 96 tokens, 2048 codes, products
in bfloat16, refinement in float32), call by call and as CUDA graphs; on a CPU those of the profile
`open`. Weights are random: times do not depend on them. A time is the median wall time of a call,
warmed up, the device idle before and after, as everywhere in the suite. Beside it stands the bound
of `bench/speed/bounds.py`.

How to keep a run: `results/benchmarks/README.md`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bench.speed.aiti import Stage, measure, products_in_bfloat16, total
from bench.speed.bounds import weight_bytes
from bench.speed.graphs import try_capture
from bench.speed.timers import device_name
from genhmr.body import SMPLJoints, body25, load_bodies
from genhmr.image.vit import ViTBackbone, ViTConfig
from genhmr.inference.predict import sample_pose
from genhmr.inference.refinement import refine_pose
from genhmr.inference.timing import time_callable
from genhmr.tokenizer.model import PoseTokenizer
from genhmr.train.model_files import build_genhmr

BODIES = Path(__file__).resolve().parents[1] / "datasets" / "open" / "body"
SAMPLING, STEPS = 5, 10
AIMS = (6e-3, 10e-3)  # of sampling and of refinement, on an H100
PAPER = {
    "backbone": ViTConfig((256, 192), 16, 1280, 32, 16, stem="patch", patch_padding=2),
    "tokenizer": (96, 2048, 256, 512),
    "sizes": {"scales": [1, 4, 8], "layers": 4, "width": 1024, "heads": 8, "points": 4,
              "features": 256, "reference": "learned"},
}  # fmt: skip
OPEN = {
    "backbone": ViTConfig((128, 96), 16, 192, 6, 6, stem="conv"),
    "tokenizer": (48, 512, 64, 128),
    "sizes": {"scales": [1, 4, 8], "layers": 4, "width": 128, "heads": 4, "points": 4,
              "features": 64, "reference": "learned"},
}  # fmt: skip


@pytest.fixture(scope="module")
def scene(device):
    """The model, one image, and the body."""
    numbers = PAPER if device.type == "cuda" else OPEN
    torch.manual_seed(0)
    backbone = ViTBackbone.from_config(numbers["backbone"])
    tokenizer = PoseTokenizer(*numbers["tokenizer"])
    model = build_genhmr(backbone, tokenizer, numbers["sizes"], torch.Generator().manual_seed(0))
    side = numbers["backbone"].image_size[0]
    images = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    joints = SMPLJoints(load_bodies(BODIES).neutral, body25()).to(device)
    model = model.to(device).eval().requires_grad_(False)
    if device.type == "cuda":
        products_in_bfloat16(model.backbone, model.pyramid, model.heads, model.transformer)
    return model, images.to(device), joints


def stages_of(model, images, joints, device: torch.device) -> list[Stage]:
    """The three stages of one image."""
    bfloat16 = device.type == "cuda"

    def fast() -> torch.autocast:
        # Nothing is kept between calls: a captured call must not read what another one made.
        return torch.autocast(device.type, torch.bfloat16, enabled=bfloat16, cache_enabled=False)

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

    network, tokens = model.transformer, model.tokenizer
    encoder = weight_bytes(model.backbone, model.pyramid, model.heads)
    layers = weight_bytes(network.layers, network.norm, network.code_head)
    decoder = weight_bytes(
        tokens.from_code, tokens.contract, tokens.decoder, tokens.leave, tokens.skip_out
    )
    body = weight_bytes(joints)
    there_and_back = 2 * STEPS  # a step reads the weights forward and backward
    return [
        Stage("image side", encode, ((encoder, 1),), lambda features: features.grid),
        Stage(f"sampling, T={SAMPLING}", sample, ((layers, SAMPLING), (decoder, 1)),
              lambda sampled: sampled.pose, AIMS[0]),
        Stage(f"{STEPS} refinement steps", refine,
              ((decoder, there_and_back + 1), (body, there_and_back)),
              lambda refined: refined.pose, AIMS[1]),
    ]  # fmt: skip


def test_aiti(benchmark, scene, device, timer):
    stages = stages_of(*scene, device)
    cuda = device.type == "cuda"
    rounds = 30 if cuda else 5
    name = device_name(device)
    measured = measure(
        stages,
        lambda call: float(np.median(time_callable(call, rounds, 3, device))),
        name,
        try_capture if cuda else None,
    )
    both = list(measured)[1:]
    measured[" and ".join(both)] = total({key: measured[key] for key in both})
    benchmark.pedantic(timer.finished(stages[1].run), rounds=3)
    benchmark.extra_info.update(device=name, stages=measured)
    assert all(stage["seconds"] > 0 and stage["flops"] > 0 for stage in measured.values())
