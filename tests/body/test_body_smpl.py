"""The SMPL layer against smplx, and the joints-only path against the full mesh."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from genhmr.body import SMPL, SMPLJoints, body25, h36m14, h36m17, smpl24, spin24
from genhmr.body.skinning import linear_blend_skinning, sparse_weights


def run_oracle(oracle, pose, betas):
    output = oracle(
        global_orient=pose[:, :1], body_pose=pose[:, 1:], betas=betas, pose2rot=False,
        transl=torch.zeros(len(pose), 3),
    )
    return output.vertices, output.joints


def joint_sets(bodies):
    regressor = bodies.regressor_h36m
    return [smpl24(), body25(), h36m17(regressor), h36m14(regressor), spin24(regressor)]


def test_full_mesh_matches_smplx(bodies, oracle, posed):
    expected_vertices, expected_joints = run_oracle(oracle, *posed)
    output = SMPL(bodies.neutral)(*posed)
    assert output.vertices.shape == (8, 6890, 3) and output.vertices.is_contiguous()
    assert (output.vertices - expected_vertices).abs().max() <= 3e-6
    assert (output.joints - expected_joints[:, :24]).abs().max() <= 3e-6


def test_translation_moves_everything(bodies, posed):
    transl = torch.tensor([[0.3, -1.0, 5.0]]).expand(8, 3)
    at_origin, moved = SMPL(bodies.neutral)(*posed), SMPL(bodies.neutral)(*posed, transl)
    torch.testing.assert_close(moved.vertices, at_origin.vertices + transl[:, None])
    torch.testing.assert_close(moved.joints, at_origin.joints + transl[:, None])
    layer = SMPLJoints(bodies.neutral, body25())
    torch.testing.assert_close(layer(*posed, transl), layer(*posed) + transl[:, None])


def relative_gap(found, expected):
    return float((found - expected).norm() / expected.norm())


def test_gradients_match_smplx(bodies, oracle, posed):
    generator = torch.Generator().manual_seed(1)
    upstream = torch.randn(8, 6890, 3, generator=generator)
    upstream_joints = torch.randn(8, 24, 3, generator=generator)

    def gradients(run):
        pose, betas = (value.clone().requires_grad_() for value in posed)
        vertices, joints = run(pose, betas)
        loss = (vertices * upstream).sum() + (joints[:, :24] * upstream_joints).sum()
        return torch.autograd.grad(loss, (pose, betas))

    def ours(pose, betas):
        output = SMPL(bodies.neutral)(pose, betas)
        return output.vertices, output.joints

    expected = gradients(lambda pose, betas: run_oracle(oracle, pose, betas))
    for found, reference in zip(gradients(ours), expected):
        assert relative_gap(found, reference) <= 1e-5


def test_skinning_passes_gradcheck():
    generator = torch.Generator().manual_seed(2)
    shaped = torch.randn(6, 3, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    bones = torch.randn(6, 4, 3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(4, 5, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(linear_blend_skinning, (shaped, bones, weights))


@pytest.mark.parametrize("batch", [0, 1, 5, 9])
def test_rows_of_a_batch_do_not_depend_on_each_other(bodies, posed, batch):
    layer = SMPL(bodies.neutral)
    pose = posed[0][:1].expand(batch, -1, -1, -1)
    betas = posed[1][:1].expand(batch, -1)
    vertices = layer(pose, betas).vertices
    assert vertices.shape == (batch, 6890, 3)
    one = layer(posed[0][:1], posed[1][:1]).vertices
    torch.testing.assert_close(vertices, one.expand(batch, -1, -1), atol=2e-6, rtol=0)


@pytest.mark.parametrize("index", range(5))
def test_joints_only_equals_mesh_and_regressor(bodies, posed_double, index):
    pose, betas = posed_double
    joint_set = joint_sets(bodies)[index]
    mesh = SMPL(bodies.male, torch.float64)(pose, betas)
    expected = (
        torch.from_numpy(joint_set.from_joints) @ mesh.joints
        + torch.from_numpy(joint_set.from_vertices) @ mesh.vertices
    )
    found = SMPLJoints(bodies.male, joint_set, torch.float64)(pose, betas)
    assert (found - expected).abs().max() <= 1e-12


def test_mixed_joint_set_uses_joints_and_vertices_together(bodies, posed):
    """A row may take from both sides at once, and weights need not sum to one."""
    generator = np.random.default_rng(4)
    mixed = body25()
    from_joints = generator.normal(size=(25, 24))
    from_vertices = np.zeros((25, 6890))
    for row in from_vertices:
        row[generator.integers(0, 6890, 7)] = generator.normal(size=7)
    mixed = type(mixed)("mixed", mixed.names, from_joints, from_vertices)
    mesh = SMPL(bodies.female)(*posed)
    expected = (
        torch.from_numpy(from_joints).float() @ mesh.joints
        + torch.from_numpy(from_vertices).float() @ mesh.vertices
    )
    found = SMPLJoints(bodies.female, mixed)(*posed)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


class LargestOutput(TorchDispatchMode):
    """Records the most numbers that any operation returned."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(value, torch.Tensor):
                self.largest = max(self.largest, value.numel())
        return result


def test_joints_only_never_touches_the_vertices(bodies, posed):
    pose, betas = posed[0][:1].clone().requires_grad_(), posed[1][:1].clone().requires_grad_()
    layer = SMPLJoints(bodies.neutral, h36m17(bodies.regressor_h36m))
    assert not any(size % 6890 == 0 for value in layer.buffers() for size in value.shape if size)
    constants = max(value.numel() for value in layer.buffers())
    with LargestOutput() as seen:
        layer(pose, betas)[..., 0].sum()
    # Views of the constant map are outputs too; nothing else may be of the size of a mesh.
    assert 0 < seen.largest <= constants < 217 * 3 * 400
    with LargestOutput() as mesh:
        SMPL(bodies.neutral)(pose, betas)
    assert mesh.largest >= 3 * 6890


def test_refinement_gradient_equals_that_of_the_full_mesh(bodies, posed):
    regressor = torch.from_numpy(bodies.regressor_h36m).float()
    upstream = torch.randn(8, 17, 3, generator=torch.Generator().manual_seed(5))
    gradients = []
    for joints in (
        SMPLJoints(bodies.neutral, h36m17(bodies.regressor_h36m)),
        lambda pose, betas: regressor @ SMPL(bodies.neutral)(pose, betas).vertices,
    ):
        pose, betas = (value.clone().requires_grad_() for value in posed)
        gradients.append(torch.autograd.grad((joints(pose, betas) * upstream).sum(), (pose, betas)))
    for found, expected in zip(*gradients):
        assert relative_gap(found, expected) <= 1e-5


def test_autocast_does_not_coarsen_the_body(bodies, posed):
    layer = SMPL(bodies.neutral)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = layer(*posed).vertices
    assert inside.dtype == torch.float32
    assert torch.equal(inside, layer(*posed).vertices)


def test_no_body_constant_enters_a_checkpoint(bodies):
    assert not SMPL(bodies.neutral).state_dict()
    assert not SMPLJoints(bodies.neutral, body25()).state_dict()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [1, 5])
def test_the_bones_of_a_vertex_alone_skin_as_the_whole_matrix(dtype, batch):
    """Vertices with none, one and all of the bones; NaN spreads to what it touches, no further."""
    generator = torch.Generator().manual_seed(3)
    weights = torch.rand(6, 40, generator=generator, dtype=dtype)
    weights[torch.rand(6, 40, generator=generator) < 0.7] = 0.0
    weights[:, 0], weights[:, 1], weights[1:, 2] = 0.0, 1 / 6, 0.0
    shaped = torch.randn(batch, 3, 40, generator=generator, dtype=dtype)
    bones = torch.randn(batch, 6, 3, 4, generator=generator, dtype=dtype)
    dense = linear_blend_skinning(shaped, bones, weights)
    sparse = linear_blend_skinning(shaped, bones, weights, sparse_weights(weights))
    assert sparse.dtype == dtype and sparse.shape == (batch, 40, 3) and sparse.is_contiguous()
    torch.testing.assert_close(sparse, dense)
    assert (sparse[:, 0] == 0).all()
    shaped[0, 1, 7] = float("nan")
    broken = linear_blend_skinning(shaped, bones, weights, sparse_weights(weights))
    assert broken[0, 7].isnan().all() and broken.isnan().sum() == 3


def test_where_a_gradient_is_wanted_skinning_keeps_it():
    weights = torch.eye(2, dtype=torch.float64)
    shaped = torch.randn(1, 3, 2, dtype=torch.float64, requires_grad=True)
    bones = torch.randn(1, 2, 3, 4, dtype=torch.float64)
    posed = linear_blend_skinning(shaped, bones, weights, sparse_weights(weights))
    posed.sum().backward()
    torch.testing.assert_close(shaped.grad[0].T, bones[0, :, :, :3].sum(1))
    with torch.no_grad():
        again = linear_blend_skinning(shaped, bones, weights, sparse_weights(weights))
    torch.testing.assert_close(again, posed.detach())
