"""The objective against a textbook linear-blend-skinning body and plain formulas."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from genhmr.body.model_files import BodyModelData, stack_blend_shapes
from genhmr.tokenizer.frames import PARENTS
from genhmr.tokenizer.losses import PosedPoints, spread_vertices, tokenizer_loss
from genhmr.tokenizer.model import TokenizerOutput

VERTICES = 60


def toy_body() -> BodyModelData:
    rng = np.random.default_rng(0)
    weights = rng.random((VERTICES, 24)) ** 8
    regressor = rng.random((24, VERTICES)) ** 6
    shapedirs = rng.normal(size=(VERTICES, 3, 10)) * 0.02
    return BodyModelData(
        v_template=rng.normal(size=(VERTICES, 3)) * 0.5,
        shapedirs=shapedirs,
        blend_shapes=stack_blend_shapes(shapedirs, rng.normal(size=(VERTICES, 3, 207)) * 0.005),
        weights=weights / weights.sum(1, keepdims=True),
        J_regressor=regressor / regressor.sum(1, keepdims=True),
        faces=rng.integers(0, VERTICES, (40, 3)),
        parents=np.array(PARENTS),
        source="a test",
    )


def random_pose(batch: int, seed: int) -> torch.Tensor:
    vectors = 0.5 * np.random.default_rng(seed).normal(size=(batch * 24, 3))
    matrices = Rotation.from_rotvec(vectors).as_matrix().reshape(batch, 24, 3, 3)
    return torch.from_numpy(matrices).float()


def textbook(body: BodyModelData, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """SMPL joint by joint, vertex by vertex, for one pose and the mean shape; pelvis at 0."""
    rest = body.J_regressor @ body.v_template
    world = np.zeros((24, 4, 4))
    for j, parent in enumerate(body.parents):
        local = np.eye(4)
        local[:3, :3] = pose[j]
        local[:3, 3] = rest[j] - (rest[parent] if parent >= 0 else 0)
        world[j] = local if parent < 0 else world[parent] @ local
    joints = world[:, :3, 3].copy()
    posed = body.v_template + body.posedirs @ (pose[1:] - np.eye(3)).reshape(-1)
    vertices = np.zeros_like(posed)
    for v in range(len(posed)):
        for j in range(24):
            here = world[j, :3, :3] @ (posed[v] - rest[j]) + world[j, :3, 3]
            vertices[v] += body.weights[v, j] * here
    return vertices - joints[0], joints - joints[0]


@pytest.mark.parametrize("count", [VERTICES, 17])
def test_points_are_those_of_the_textbook_relative_to_the_pelvis(count):
    body = toy_body()
    pose = random_pose(2, 1)
    vertices, joints = PosedPoints(body, count)(pose)
    ids = np.arange(VERTICES) if count == VERTICES else spread_vertices(body.v_template, count)
    assert vertices.shape == (2, count, 3)
    for b in range(2):
        all_vertices, all_joints = textbook(body, pose[b].double().numpy())
        np.testing.assert_allclose(vertices[b].numpy(), all_vertices[ids], atol=2e-6)
        np.testing.assert_allclose(joints[b].numpy(), all_joints, atol=2e-6)


def test_turning_the_root_moves_the_points():
    """An error of orientation must cost: the points keep the root rotation."""
    points = PosedPoints(toy_body(), VERTICES)
    pose = random_pose(1, 2)
    turn = torch.from_numpy(Rotation.from_euler("y", 40, degrees=True).as_matrix()).float()
    turned = pose.clone()
    turned[:, 0] = turn @ pose[:, 0]
    for before, after in zip(points(pose), points(turned)):
        torch.testing.assert_close(after, before @ turn.T, atol=1e-5, rtol=0)


def make_output(seed: int = 3) -> tuple[TokenizerOutput, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(2, 48, 8, generator=generator, requires_grad=True)
    codes = torch.randn(2, 48, 8, generator=generator, requires_grad=True)
    pose = random_pose(2, 4).requires_grad_(True)
    tokens = torch.zeros(2, 48, dtype=torch.int64)
    return TokenizerOutput(pose, tokens, latents, latents), codes, random_pose(2, 5)


def test_loss_is_the_weighted_sum_of_plain_formulas():
    body = toy_body()
    output, codes, target = make_output()
    weights = dict(reconstruction_weight=2.0, pose_weight=1.1, vertex_weight=0.7, joint_weight=0.3,
                   embedding_weight=0.05, commitment_weight=0.4)
    loss, parts = tokenizer_loss(output, target, codes, PosedPoints(body, VERTICES), **weights)
    found, truth = output.pose.detach().double().numpy(), target.double().numpy()
    points = [[textbook(body, p[b]) for b in range(2)] for p in (found, truth)]
    pose = np.abs(found - truth).mean()
    vertices = np.mean([np.abs(points[0][b][0] - points[1][b][0]) for b in range(2)])
    joints = np.mean([np.abs(points[0][b][1] - points[1][b][1]) for b in range(2)])
    latent = ((output.latents - codes) ** 2).mean().item()
    expected = 2.0 * (1.1 * pose + 0.7 * vertices + 0.3 * joints) + 0.45 * latent
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert parts["vertices"].item() == pytest.approx(vertices, rel=1e-5)
    assert parts["joints"].item() == pytest.approx(joints, rel=1e-5)
    assert not any(part.requires_grad for part in parts.values())


def test_embedding_pulls_codes_and_commitment_pulls_latents():
    output, codes, target = make_output()
    loss, _ = tokenizer_loss(output, target, codes, PosedPoints(toy_body(), 5),
                             reconstruction_weight=0.0, embedding_weight=0.02,
                             commitment_weight=0.5)
    loss.backward()
    gap = (output.latents - codes).detach() / codes.numel()
    torch.testing.assert_close(output.latents.grad, 2 * 0.5 * gap)
    torch.testing.assert_close(codes.grad, -2 * 0.02 * gap)


def test_perfect_reconstruction_costs_nothing():
    output, _, target = make_output()
    perfect = TokenizerOutput(target, output.tokens, output.latents, output.latents)
    loss, _ = tokenizer_loss(perfect, target, output.latents, PosedPoints(toy_body(), VERTICES))
    assert loss.item() == 0.0


def test_spread_vertices_beats_a_random_choice_at_covering():
    points = np.random.default_rng(6).normal(size=(800, 3))
    ids = spread_vertices(points, 40)
    assert len(set(ids.tolist())) == 40 and (np.diff(ids) > 0).all()

    def radius(chosen):
        return np.linalg.norm(points[:, None] - points[None, chosen], axis=2).min(1).max()

    others = [np.random.default_rng(s).choice(800, 40, replace=False) for s in range(5)]
    assert radius(ids) < 0.7 * min(radius(o) for o in others)


@pytest.mark.parametrize("count", [0, VERTICES + 1])
def test_impossible_numbers_of_vertices_are_refused(count):
    with pytest.raises(ValueError, match="num_vertices"):
        PosedPoints(toy_body(), count)
