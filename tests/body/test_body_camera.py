"""The crop camera against OpenCV and against the weak-perspective formula."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from genhmr.body import FOCAL_LENGTH, IMAGE_SIZE, cam_to_translation, perspective, project


def scene() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(3, 25, 3, generator=generator, dtype=torch.float64) * 0.5
    cam = torch.tensor([[0.9, 0.1, -0.2], [0.5, 0.0, 0.3], [1.4, -0.3, 0.0]]).double()
    return points, cam


def test_project_matches_opencv():
    points, cam = scene()
    translation = cam_to_translation(cam)
    found = project(points, translation) * IMAGE_SIZE
    intrinsics = np.diag([FOCAL_LENGTH, FOCAL_LENGTH, 1.0])
    for i in range(3):
        expected, _ = cv2.projectPoints(
            points[i].numpy(), np.zeros(3), translation[i].numpy(), intrinsics, None
        )
        np.testing.assert_allclose(found[i].numpy(), expected[:, 0], atol=1e-9)


def test_points_in_the_plane_of_the_root_follow_weak_perspective():
    """At depth zero both readings of [s, tx, ty] agree: s (x + tx) / 2 crop sides."""
    points, cam = scene()
    points[..., 2] = 0
    expected = cam[:, None, :1] * (points[..., :2] + cam[:, None, 1:]) / 2
    found = project(points, cam_to_translation(cam))
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)


def test_translation_stays_finite_at_scale_zero():
    translation = cam_to_translation(torch.zeros(1, 3, requires_grad=True))
    assert torch.isfinite(translation).all()


def test_perspective_matches_opencv():
    points, cam = scene()
    points = points + torch.tensor([0.0, 0.0, 4.0])
    intrinsics = torch.tensor([[900.0, 0, 310], [0, 850, 250], [0, 0, 1]]).double()
    found = perspective(points, intrinsics)
    expected, _ = cv2.projectPoints(
        points.view(-1, 3).numpy(), np.zeros(3), np.zeros(3), intrinsics.numpy(), None
    )
    np.testing.assert_allclose(found.view(-1, 2).numpy(), expected[:, 0], atol=1e-9)
    per_image = perspective(points, intrinsics.expand(3, 3, 3)[:, None])
    assert torch.equal(per_image, found)
