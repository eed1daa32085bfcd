"""The pose lifter by itself: where it starts, what it depends on."""

import torch

from genhmr.transformer.lifter import PoseLifter


def keypoints(batch=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.cat(
        [torch.rand(batch, 25, 2, generator=generator) - 0.5,
         torch.rand(batch, 25, 1, generator=generator)], -1,
    )  # fmt: skip


def test_it_starts_near_a_person_who_stands_upright_before_the_camera():
    torch.manual_seed(0)
    pose, hidden = PoseLifter(32, 2)(keypoints())
    assert pose.shape == (3, 24, 3, 3) and hidden.shape == (3, 32)
    # The body's y axis, up, is the camera's -y; the body looks at the camera, along -z.
    upright = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    rest = torch.eye(3).repeat(24, 1, 1)
    rest[0] = upright
    assert (pose - rest).abs().max() < 0.6
    torch.testing.assert_close(pose @ pose.mT, torch.eye(3).expand(3, 24, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(pose), torch.ones(3, 24))


def test_every_input_counts_and_every_person_alone():
    torch.manual_seed(0)
    lifter = PoseLifter(32, 2)
    x = keypoints().requires_grad_()
    pose, _ = lifter(x)
    pose[1].square().mul(torch.arange(216.0).view(24, 3, 3)).sum().backward()
    assert (x.grad[1].abs() > 0).all()
    assert (x.grad[[0, 2]] == 0).all()


def test_all_of_it_is_trained():
    torch.manual_seed(0)
    lifter = PoseLifter(16, 2)
    for block in lifter.blocks:  # zero at the start, so that nothing behind it would be reached
        torch.nn.init.normal_(block.outer.weight)
    pose, hidden = lifter(keypoints())
    (pose.mul(torch.randn(3, 24, 3, 3)).sum() + hidden.sum()).backward()
    for name, parameter in lifter.named_parameters():
        assert parameter.grad.abs().sum() > 0, name
