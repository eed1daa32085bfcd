"""A whole evaluation beside smplx and the usual formulas, and a refinement step beside the mesh.

The evaluation poses the predicted and the true bodies from parameters and measures MPJPE, PA-MPJPE
and MVE; the peer does the same with smplx, 4D-Humans' batched SVD and TokenHMR's vertex formula.
The refinement step goes through the tokenizer's decoder and a joints-only body; the peer through
the same decoder, smplx's full mesh and a regressor.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.speed.rows import row
from bench.test_metrics import batched_svd
from genhmr.body import SMPLJoints, axis_angle_to_matrix, body25, export_smpl_pickle, load_bodies
from genhmr.inference.refinement import refine_pose
from genhmr.metrics import Evaluator, protocol_for
from genhmr.tokenizer.model import PoseTokenizer

BODIES = Path(__file__).resolve().parents[1] / "datasets" / "open" / "body"
FRAMES = 64


@pytest.fixture(scope="module")
def bodies():
    return load_bodies(BODIES)


@pytest.fixture(scope="module")
def peer_body(bodies, device, tmp_path_factory):
    import smplx

    path = tmp_path_factory.mktemp("smpl") / "SMPL_NEUTRAL.pkl"
    export_smpl_pickle(bodies.neutral, path)
    body = smplx.create(str(path), model_type="smpl", batch_size=FRAMES, create_transl=False)
    return body.to(device)


def _posed(layer, pose, betas):
    return layer(
        global_orient=pose[:, :1], body_pose=pose[:, 1:], betas=betas, pose2rot=False
    ).vertices


@row(f"evaluation of {FRAMES} frames", "smplx + the usual formulas", 3.0, needs="smplx")
def test_whole_evaluation_beside_smplx_and_the_usual_formulas(beside, bodies, peer_body, device):
    generator = torch.Generator().manual_seed(0)
    truth = 0.3 * torch.randn(FRAMES, 24, 3, generator=generator)
    pred = axis_angle_to_matrix(truth + 0.1 * torch.randn(truth.shape, generator=generator))
    pred, truth = pred.to(device), axis_angle_to_matrix(truth).to(device)
    betas = torch.randn(2, FRAMES, 10, generator=generator).to(device)
    protocol = protocol_for("3dpw", "fastmetro")  # neutral, as the peer is
    evaluator = Evaluator(protocol, bodies, device)
    regressor = torch.from_numpy(bodies.regressor_h36m).float().to(device)
    chosen = [6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10]

    def ours() -> dict:
        return evaluator(pred, betas[0], truth, betas[1], ["neutral"] * FRAMES)

    @torch.no_grad()
    def usual() -> dict:
        first, second = _posed(peer_body, pred, betas[0]), _posed(peer_body, truth, betas[1])
        joints = [torch.matmul(regressor, vertices) for vertices in (first, second)]
        roots = [j[:, :1] for j in joints]
        a, b = (j[:, chosen] - root for j, root in zip(joints, roots))
        gap = (first - roots[0]) - (second - roots[1])
        return {
            "mpjpe": 1000 * torch.sqrt(((a - b) ** 2).sum(-1)).mean(-1),
            "pa_mpjpe": batched_svd(a, b),
            "mve": 1000 * torch.sqrt((gap**2).sum(-1)).mean(-1),
        }

    expected = usual()
    for name, values in ours().items():
        torch.testing.assert_close(
            torch.from_numpy(values).float(), expected[name].cpu(), rtol=1e-4, atol=2e-2
        )
    beside(ours, usual)


def _step_row(width: int, goal: float):
    name = f"refinement step, batch {FRAMES}, decoder width {width}"
    marks = row(name, "full mesh through smplx", goal, needs="smplx")
    return pytest.param(width, marks=marks, id=f"{width}-{goal}")


@pytest.mark.parametrize("width", [_step_row(512, 1.25), _step_row(128, 2.5)])
def test_refinement_step_beside_the_full_mesh(beside, bodies, peer_body, device, width):
    torch.manual_seed(0)
    tokenizer = PoseTokenizer(48, 512, 64, width).eval().requires_grad_(False).to(device)
    joint_set = body25()
    fast = SMPLJoints(bodies.neutral, joint_set).to(device)
    from_vertices = torch.from_numpy(joint_set.from_vertices).float().to(device)
    from_joints = torch.from_numpy(joint_set.from_joints).float().to(device)

    def full(pose, betas):
        out = peer_body(
            global_orient=pose[:, :1], body_pose=pose[:, 1:], betas=betas, pose2rot=False
        )
        return from_vertices @ out.vertices + from_joints @ out.joints[:, :24]

    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(FRAMES, 48, 64, generator=generator)
    betas = torch.randn(FRAMES, 10, generator=generator)
    cam = torch.tensor([0.9, 0.0, 0.0]).expand(FRAMES, 3)
    points = torch.cat(
        [0.3 * torch.randn(FRAMES, 25, 2, generator=generator), torch.ones(FRAMES, 25, 1)], -1
    )
    latents, betas, cam, points = (x.to(device) for x in (latents, betas, cam, points))

    def step(joints):
        return refine_pose(tokenizer.decode, joints, latents, betas, cam, points, steps=1)

    # Adam's first step follows the sign of the gradient: where that is 0 up to rounding the two may
    # part, so what they descend from is compared, and the poses loosely.
    torch.testing.assert_close(step(fast).loss, step(full).loss, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(step(fast).pose, step(full).pose, rtol=1e-2, atol=2e-3)
    beside(lambda: step(fast), lambda: step(full))
