"""The SMPL layer beside smplx: full mesh and joints only, forward and with gradients.

Both get rotation matrices and run in one thread, in turn in one process; the ratio is that of the
median times. Joints only stands beside what one does with smplx: the full mesh, then the
Human3.6M regressor.
"""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import pytest
import torch

from bench.speed.rows import row
from genhmr.body import (
    SMPL,
    SMPLJoints,
    axis_angle_to_matrix,
    body25,
    export_smpl_pickle,
    h36m17,
    load_bodies,
)

ROUNDS = 9
BODIES = Path(__file__).resolve().parents[1] / "datasets" / "open" / "body"

# (what, batch, gradients): goal, or None where the ratio is only reported.
CASES = {
    ("full mesh", 1, False): 1.9,
    ("full mesh", 64, False): 1.9,
    ("full mesh", 64, True): 1.6,
    ("17 H36M joints", 1, False): 8.0,
    ("17 H36M joints", 16, False): 15.0,
    ("17 H36M joints", 64, False): 25.0,
    ("17 H36M joints", 64, True): 25.0,
    ("BODY_25 joints", 1, True): None,
    ("BODY_25 joints", 64, True): None,
}


def _rows():
    for (what, batch, gradients), goal in CASES.items():
        name = f"SMPL {what}, B={batch}, {'forward+backward' if gradients else 'forward'}"
        peer = "smplx" if what == "full mesh" else "smplx + regressor"
        marks = row(name, peer, goal, needs="smplx")
        short = f"{what} B{batch}{' grad' * gradients}"
        yield pytest.param(what, batch, gradients, marks=marks, id=short)


@pytest.fixture(scope="module")
def bodies():
    return load_bodies(BODIES)


@pytest.fixture(scope="module")
def smplx_file(bodies, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("smpl") / "SMPL_NEUTRAL.pkl"
    export_smpl_pickle(bodies.neutral, path)
    return str(path)


def _layers(
    what: str, batch: int, bodies, smplx_file: str, device: torch.device
) -> tuple[Callable, Callable]:
    """Ours and the peer, each (pose, betas) -> points."""
    import smplx

    peer = smplx.create(smplx_file, model_type="smpl", batch_size=batch, create_transl=False)
    peer = peer.to(device)

    def smplx_mesh(pose, betas):
        return peer(global_orient=pose[:, :1], body_pose=pose[:, 1:], betas=betas, pose2rot=False)

    if what == "full mesh":
        layer = SMPL(bodies.neutral).to(device)
        return (lambda *x: layer(*x).vertices), (lambda *x: smplx_mesh(*x).vertices)
    if what == "17 H36M joints":
        regressor = torch.from_numpy(bodies.regressor_h36m).float().to(device)
        ours = SMPLJoints(bodies.neutral, h36m17(bodies.regressor_h36m)).to(device)
        return ours, lambda *x: regressor @ smplx_mesh(*x).vertices
    order = [24, 12, 17, 19, 21, 16, 18, 20, 0, 2, 5, 8, 1, 4, 7, *range(25, 35)]
    ours = SMPLJoints(bodies.neutral, body25()).to(device)
    return ours, lambda *x: smplx_mesh(*x).joints[:, order]


def _run(layer: Callable, pose: torch.Tensor, betas: torch.Tensor, gradients: bool) -> None:
    if not gradients:
        with torch.inference_mode():
            layer(pose, betas)
        return
    pose, betas = pose.clone().requires_grad_(), betas.clone().requires_grad_()
    layer(pose, betas).abs().sum().backward()


@pytest.mark.parametrize(("what", "batch", "gradients"), _rows())
def test_smpl(beside, bodies, smplx_file, device, what, batch, gradients):
    generator = torch.Generator().manual_seed(0)
    pose = axis_angle_to_matrix(0.5 * torch.randn(batch, 24, 3, generator=generator))
    betas = torch.randn(batch, 10, generator=generator)
    pose, betas = pose.to(device), betas.to(device)
    ours, peer = _layers(what, batch, bodies, smplx_file, device)
    assert (ours(pose, betas) - peer(pose, betas)).abs().max() < 1e-5  # the same work

    def run_ours():
        _run(ours, pose, betas, gradients)

    def run_peer():
        _run(peer, pose, betas, gradients)

    # About 20 ms a round, so that the clock's grain does not matter.
    repeats = max(1, 16 // batch)
    fast = repeats * (1 if what == "full mesh" else 10)
    beside(run_ours, run_peer, ROUNDS, (fast, repeats))
