"""2D pose-guided refinement in the tokenizer's latent space (paper, Eq. 2 to 4).

The sampled pose embeddings Y are moved so that the re-projected joints of the decoded body meet
detected 2D keypoints, while the pose stays near the start:

    G(Y) = L_2D(Pi(J(decode(Y)))) + pose_weight * L_theta(decode(Y), decode(Y_0))     (Eq. 2, 3)
    Y_{p+1} = Y_p - step_size * grad G(Y_p)                                            (Eq. 4)

What the paper leaves open, and what is done here:

* Y starts at the *codes* of the sampled tokens and moves freely; it is not quantised again. The
  graph of a step holds the tokenizer's decoder and a joints-only body, nothing of the network.
* ``optimiser="adam"`` scales the steps of Eq. 4 by Adam's moments: a dozen steps then suffice
  whatever the scale of the codes. ``"gradient"`` is Eq. 4 to the letter.
* The camera is refined along with the pose unless ``refine_camera`` is False: otherwise a wrong
  predicted camera would be paid for by the pose.
* A detection's confidence weights its squared residual; missing ones weigh nothing.
* Every item of the batch has its own objective and they are summed, so that the result of one
  item does not depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genhmr.body.camera import cam_to_translation, project
from genhmr.types import RefinementTrace

OPTIMISERS = ("adam", "gradient")
# Adam's second moment over a handful of steps: the usual 0.999 would hardly move in so few.
_ADAM_BETAS = (0.9, 0.99)


def reprojection_error(joints: Tensor, cam: Tensor, keypoints_2d: Tensor) -> Tensor:
    """Confidence-weighted mean squared distance in the picture (Eq. 3).

    Args:
        joints: (B, J, 3) metres, camera axes.
        cam: (B, 3), s, tx, ty of ``genhmr.body.camera``.
        keypoints_2d: (B, J, 3) x, y in units of the crop side (origin at its centre) and a
            confidence; x and y are ignored, NaN included, where the confidence is 0.

    Returns:
        (B,) in squared units of the crop side; 0 where nothing was detected.
    """
    confidence = keypoints_2d[..., 2]
    seen = confidence[..., None] > 0
    projected = project(joints, cam_to_translation(cam))
    gap = torch.where(seen, projected - keypoints_2d[..., :2], torch.zeros_like(projected))
    total = (confidence * gap.square().sum(dim=-1)).sum(dim=-1)
    return total / confidence.sum(dim=-1).clamp(min=1e-6)


def guidance(
    pose: Tensor,
    start_pose: Tensor,
    joints: Tensor,
    cam: Tensor,
    keypoints_2d: Tensor,
    pose_weight: float,
) -> Tensor:
    """The objective G of every item (Eq. 2).

    The regulariser is the mean squared difference of rotation-matrix entries, which grows with
    ``1 - cos(angle)`` and has no jump at half turns as axis-angle has.

    Args:
        pose: (B, 24, 3, 3).
        start_pose: (B, 24, 3, 3), the pose before refinement.
        joints: (B, J, 3) of ``pose``.
        cam: (B, 3).
        keypoints_2d: (B, J, 3), see :func:`reprojection_error`.
        pose_weight: the paper's lambda_theta', in squared crop sides.

    Returns:
        (B,).
    """
    drift = (pose - start_pose).square().mean(dim=(1, 2, 3))
    return reprojection_error(joints, cam, keypoints_2d) + pose_weight * drift


def refine_pose(
    decode: Callable[[Tensor], Tensor],
    joints: Callable[[Tensor, Tensor], Tensor],
    latents: Tensor,
    betas: Tensor,
    cam: Tensor,
    keypoints_2d: Tensor,
    steps: int = 10,
    step_size: float = 0.05,
    pose_weight: float = 0.1,
    refine_camera: bool = True,
    camera_step_size: float = 0.05,
    optimiser: str = "adam",
) -> RefinementTrace:
    """Refines poses against 2D detections.

    Args:
        decode: latents (B, L, D) -> pose (B, 24, 3, 3), differentiable: the frozen tokenizer's
            ``decode``.
        joints: pose and betas -> (B, J, 3) metres in the order of ``keypoints_2d``: a joints-only
            body with the BODY_25 joint set.
        latents: (B, L, D) where to start: the codes of the sampled tokens.
        betas: (B, 10), kept as they are.
        cam: (B, 3) where the camera starts.
        keypoints_2d: (B, J, 3) x, y in units of the crop side, and confidence.
        steps: P; 0 returns the start.
        step_size: eta of Eq. 4, in units of the latents (Adam: about the move of each number in
            one step).
        pose_weight: weight of staying near the start.
        refine_camera: move the camera too.
        camera_step_size: like ``step_size``, for s, tx and ty.
        optimiser: "adam", or "gradient" for the plain descent of Eq. 4.

    Returns:
        The path; ``trace.pose[p]`` is the pose after p steps, so one call serves every P.

    Raises:
        ValueError: negative ``steps`` or an unknown optimiser.
    """
    if steps < 0:
        raise ValueError(f"steps must not be negative, got {steps}")
    if optimiser not in OPTIMISERS:
        raise ValueError(f"optimiser must be one of {OPTIMISERS}, got {optimiser!r}")
    latents = latents.detach().clone().requires_grad_(True)
    cam = cam.detach().clone().requires_grad_(refine_camera)
    betas = betas.detach()
    variables = [latents, cam] if refine_camera else [latents]
    groups = [{"params": [latents], "lr": step_size}]
    if refine_camera:
        groups.append({"params": [cam], "lr": camera_step_size})
    if optimiser == "adam":
        update: torch.optim.Optimizer = torch.optim.Adam(groups, betas=_ADAM_BETAS)
    else:
        update = torch.optim.SGD(groups)

    poses: list[Tensor] = []
    cams: list[Tensor] = []
    losses: list[Tensor] = []
    for _ in range(steps):
        with torch.enable_grad():
            pose = decode(latents)
            if not poses:
                start_pose = pose.detach()
            loss = guidance(
                pose, start_pose, joints(pose, betas), cam, keypoints_2d, pose_weight
            )
            # The gradient of these variables only: nothing is left on the decoder's weights.
            gradients = torch.autograd.grad(loss.sum(), variables)
        poses.append(pose.detach())
        cams.append(cam.detach().clone())
        losses.append(loss.detach())
        for variable, gradient in zip(variables, gradients):
            variable.grad = gradient
        update.step()
    with torch.no_grad():
        poses.append(decode(latents))
    cams.append(cam.detach().clone())
    return RefinementTrace(
        latents=latents.detach(),
        pose=torch.stack(poses),
        cam=torch.stack(cams),
        loss=torch.stack(losses) if losses else cam.new_zeros(0, len(cam)).detach(),
    )
