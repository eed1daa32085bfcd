"""Refinement on a toy body whose gradient and optimum can be worked out independently."""

import numpy as np
import pytest
import torch

from genhmr.inference.refinement import guidance, refine_pose, reprojection_error

TOKENS, WIDTH, BATCH = 24, 6, 3
FOCAL = 5000.0 / 256.0


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def decode(latents: torch.Tensor) -> torch.Tensor:
    """Any smooth map will do: each token gives one (unnormalised) rotation."""
    eye = torch.eye(3, dtype=latents.dtype)
    skew = torch.zeros(*latents.shape[:2], 3, 3, dtype=latents.dtype)
    a = 0.3 * torch.tanh(latents[..., :3] + 0.2 * latents[..., 3:])
    entries = [(0, 1, -a[..., 2]), (1, 0, a[..., 2]), (0, 2, a[..., 1]),
               (2, 0, -a[..., 1]), (1, 2, -a[..., 0]), (2, 1, a[..., 0])]
    for i, j, value in entries:
        skew[..., i, j] = value
    return torch.linalg.matrix_exp(skew) @ eye


BONES = 0.3 * torch.randn(25, 3, generator=seeded(99), dtype=torch.float64)


def joints(pose: torch.Tensor, betas: torch.Tensor) -> torch.Tensor:
    turned = pose[:, torch.arange(25) % 24] @ BONES.to(pose.dtype)[..., None]
    return turned[..., 0] * (1 + 0.1 * betas[:, :1, None]) + BONES.to(pose.dtype)


def scene(dtype=torch.float64):
    latents = torch.randn(BATCH, TOKENS, WIDTH, generator=seeded(1), dtype=dtype)
    goal = latents + 0.5 * torch.randn(latents.shape, generator=seeded(2), dtype=dtype)
    betas = torch.randn(BATCH, 10, generator=seeded(3), dtype=dtype)
    cam = torch.tensor([[0.9, 0.0, 0.1], [0.8, 0.1, 0.0], [1.0, -0.1, 0.2]], dtype=dtype)
    target = joints(decode(goal), betas)
    shift = torch.stack([cam[:, 1], cam[:, 2], 2 * 5000 / (256 * cam[:, 0])], 1)[:, None]
    moved = target + shift
    points = FOCAL * moved[..., :2] / moved[..., 2:]
    confidence = torch.rand(BATCH, 25, 1, generator=seeded(4), dtype=dtype)
    return latents, betas, cam, torch.cat([points, confidence], 2)


def numpy_objective(latents, start, betas, cam, keypoints, pose_weight):
    """Eq. 2 and 3 written out again, in numpy and item by item."""
    pose, pose0 = decode(latents).numpy(), decode(start).numpy()
    body = joints(torch.from_numpy(pose), betas).numpy()
    result = []
    for b in range(len(pose)):
        s, tx, ty = cam[b].tolist()
        p = body[b] + np.array([tx, ty, 2 * 5000 / (256 * s)])
        xy = FOCAL * p[:, :2] / p[:, 2:]
        c = keypoints[b, :, 2].numpy()
        error = (c * ((xy - keypoints[b, :, :2].numpy()) ** 2).sum(1)).sum() / c.sum()
        result.append(error + pose_weight * ((pose[b] - pose0[b]) ** 2).mean())
    return np.array(result)


def test_recorded_loss_is_the_objective():
    latents, betas, cam, keypoints = scene()
    trace = refine_pose(decode, joints, latents, betas, cam, keypoints, steps=3, pose_weight=0.3,
                        refine_camera=False)
    expected = numpy_objective(latents, latents, betas, cam, keypoints, 0.3)
    np.testing.assert_allclose(trace.loss[0].numpy(), expected, rtol=1e-9)


def test_gradient_step_follows_finite_differences():
    latents, betas, cam, keypoints = scene()
    start = latents + 0.2  # off the start, so that the regulariser has a slope too
    eta, weight, h = 0.7, 0.5, 1e-6

    def objective(y, c):
        return numpy_objective(y, start, betas, c, keypoints, weight)

    moving = latents.clone().requires_grad_(True)
    moving_cam = cam.clone().requires_grad_(True)
    pose = decode(moving)
    loss = guidance(pose, decode(start), joints(pose, betas), moving_cam, keypoints, weight)
    loss.sum().backward()
    rng = np.random.default_rng(5)
    for _ in range(12):
        b, l, d = rng.integers(BATCH), rng.integers(TOKENS), rng.integers(WIDTH)
        bump = torch.zeros_like(latents)
        bump[b, l, d] = h
        slope = (objective(latents + bump, cam) - objective(latents - bump, cam))[b] / (2 * h)
        assert abs(slope - moving.grad[b, l, d].item()) < 1e-7 + 1e-4 * abs(slope)
    for b in range(BATCH):
        for k in range(3):
            bump = torch.zeros_like(cam)
            bump[b, k] = h
            slope = (objective(latents, cam + bump) - objective(latents, cam - bump))[b] / (2 * h)
            assert abs(slope - moving_cam.grad[b, k].item()) < 1e-7 + 1e-4 * abs(slope)
    # At the start itself the regulariser is flat: one plain step is Y - eta * grad L_2D (Eq. 4).
    plain = latents.clone().requires_grad_(True)
    reprojection_error(joints(decode(plain), betas), cam, keypoints).sum().backward()
    trace = refine_pose(decode, joints, latents, betas, cam, keypoints, steps=1, step_size=eta,
                        pose_weight=weight, refine_camera=False, optimiser="gradient")
    torch.testing.assert_close(trace.latents, latents - eta * plain.grad)


@pytest.mark.parametrize("optimiser,step_size", [("gradient", 0.3), ("adam", 0.01)])
def test_objective_falls_at_every_step(optimiser, step_size):
    latents, betas, cam, keypoints = scene()
    trace = refine_pose(decode, joints, latents, betas, cam, keypoints, steps=15,
                        step_size=step_size, camera_step_size=0.001, pose_weight=0.01,
                        optimiser=optimiser)
    assert (trace.loss[1:] < trace.loss[:-1]).all()
    assert trace.pose.shape == (16, BATCH, 24, 3, 3) and trace.cam.shape == (16, BATCH, 3)


def test_no_steps_give_the_start():
    latents, betas, cam, keypoints = scene()
    trace = refine_pose(decode, joints, latents, betas, cam, keypoints, steps=0)
    torch.testing.assert_close(trace.latents, latents, rtol=0, atol=0)
    torch.testing.assert_close(trace.pose[0], decode(latents), rtol=0, atol=0)
    torch.testing.assert_close(trace.cam[0], cam, rtol=0, atol=0)
    assert trace.loss.shape == (0, BATCH) and len(trace.pose) == len(trace.cam) == 1


@pytest.mark.parametrize("optimiser", ["adam", "gradient"])
def test_items_do_not_feel_their_neighbours(optimiser):
    latents, betas, cam, keypoints = scene()
    together = refine_pose(decode, joints, latents, betas, cam, keypoints, optimiser=optimiser)
    for b in range(BATCH):
        one = slice(b, b + 1)
        alone = refine_pose(decode, joints, latents[one], betas[one], cam[one], keypoints[one],
                            optimiser=optimiser)
        torch.testing.assert_close(alone.pose, together.pose[:, one], rtol=0, atol=1e-12)
        torch.testing.assert_close(alone.cam, together.cam[:, one], rtol=0, atol=1e-12)


def test_path_of_few_steps_is_the_head_of_the_path_of_many():
    scenery = scene()
    few = refine_pose(decode, joints, *scenery, steps=3)
    many = refine_pose(decode, joints, *scenery, steps=8)
    torch.testing.assert_close(few.pose, many.pose[:4], rtol=0, atol=0)


def test_camera_stays_unless_asked():
    latents, betas, cam, keypoints = scene()
    fixed = refine_pose(decode, joints, latents, betas, cam, keypoints, refine_camera=False)
    assert (fixed.cam == cam).all()
    free = refine_pose(decode, joints, latents, betas, cam + 0.05, keypoints)
    assert (free.cam[-1] - cam).abs().sum() < (free.cam[0] - cam).abs().sum()


def test_undetected_joints_do_not_pull_whatever_is_written_there():
    latents, betas, cam, keypoints = scene()
    keypoints[:, 7, 2] = 0.0
    wild = keypoints.clone()
    wild[:, 7, :2] = float("nan")
    one = refine_pose(decode, joints, latents, betas, cam, keypoints)
    two = refine_pose(decode, joints, latents, betas, cam, wild)
    assert torch.isfinite(two.pose).all()
    torch.testing.assert_close(one.pose, two.pose, rtol=0, atol=0)
    keypoints[..., 2] = 0.0
    nothing = refine_pose(decode, joints, latents, betas, cam, keypoints)
    torch.testing.assert_close(nothing.latents, latents, rtol=0, atol=0)


def test_a_heavy_regulariser_keeps_the_pose_at_the_start():
    scenery = scene()
    light = refine_pose(decode, joints, *scenery, steps=10, pose_weight=0.0)
    heavy = refine_pose(decode, joints, *scenery, steps=10, pose_weight=100.0)

    def drift(trace):
        return (trace.pose[-1] - trace.pose[0]).square().mean()

    assert drift(heavy) < 0.5 * drift(light)


def test_decoder_weights_get_no_gradient_and_no_grad_is_no_obstacle():
    latents, betas, cam, keypoints = scene()
    gain = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    with torch.no_grad():
        trace = refine_pose(lambda y: decode(gain * y), joints, latents, betas, cam, keypoints)
    assert gain.grad is None
    assert (trace.loss[-1] < trace.loss[0]).all()
    assert not trace.pose.requires_grad and not trace.latents.requires_grad


def test_bad_knobs_are_refused():
    scenery = scene()
    with pytest.raises(ValueError, match="steps"):
        refine_pose(decode, joints, *scenery, steps=-1)
    with pytest.raises(ValueError, match="optimiser"):
        refine_pose(decode, joints, *scenery, optimiser="newton")
