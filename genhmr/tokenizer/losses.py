"""The tokenizer's objective (paper, section "Pose Tokenizer").

``L_vq = l_re L_re + l_E |sg[z] - c| + l_a |z - sg[c]|`` with the L1 reconstruction
``L_re = l_theta L_theta + l_V L_V + l_J L_J``; weights l_re 1.0, l_E 0.02, l_theta 1.0,
l_V 0.5, l_J 0.3 from the appendix; l_a is not given. What the paper leaves open:

* ``L_theta`` is the mean absolute difference of rotation-matrix entries (no jump at half turns).
* ``L_V`` and ``L_J`` are mean absolute differences in metres, relative to the pelvis joint and
  *with* the root rotation, so that an error of orientation costs what it costs in MPJPE.
* The paper updates the codebook by moving average *and* lists ``|sg[z] - c|``. A codebook that
  is not a parameter has no gradient, so that term is a constant for the optimiser; the moving
  average minimises it instead. It is computed and reported, and l_E multiplies it as written.
* Both latent terms are mean squared differences, as in van den Oord et al. (2017).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genhmr.body.joints import SMPL24_NAMES, JointSet
from genhmr.body.model_files import BodyModelData
from genhmr.body.smpl import SMPL, SMPLJoints
from genhmr.tokenizer.model import TokenizerOutput
from genhmr.types import NUM_BETAS, NUM_JOINTS


def spread_vertices(vertices: np.ndarray, count: int) -> np.ndarray:
    """Farthest-point sampling: ``count`` vertices spread evenly over the surface.

    Args:
        vertices: (V, 3).
        count: at most V.

    Returns:
        (count,) int64, ascending; deterministic (it starts at the highest vertex).
    """
    chosen = np.empty(count, dtype=np.int64)
    chosen[0] = int(vertices[:, 1].argmax())
    distance = np.full(len(vertices), np.inf)
    for i in range(1, count):
        gap = np.square(vertices - vertices[chosen[i - 1]]).sum(axis=1)
        distance = np.minimum(distance, gap)
        chosen[i] = int(distance.argmax())
    return np.sort(chosen)


class PosedPoints(nn.Module):
    """Vertices and joints of the mean shape, relative to the pelvis.

    Args:
        body: the body.
        num_vertices: all of them through the full mesh, or fewer, evenly spread, through the
            joints-only path at a fraction of the cost.
    """

    def __init__(self, body: BodyModelData, num_vertices: int) -> None:
        super().__init__()
        total = len(body.v_template)
        if not 0 < num_vertices <= total:
            raise ValueError(f"num_vertices must be in 1..{total}, got {num_vertices}")
        self.full = num_vertices == total
        if self.full:
            self.body: nn.Module = SMPL(body)
        else:
            ids = spread_vertices(body.v_template, num_vertices)
            from_vertices = np.zeros((NUM_JOINTS + num_vertices, total))
            from_vertices[NUM_JOINTS + np.arange(num_vertices), ids] = 1.0
            from_joints = np.zeros((NUM_JOINTS + num_vertices, NUM_JOINTS))
            from_joints[:NUM_JOINTS] = np.eye(NUM_JOINTS)
            names = SMPL24_NAMES + tuple(f"vertex{i}" for i in ids)
            points = JointSet("smpl24+vertices", names, from_joints, from_vertices)
            self.body = SMPLJoints(body, points)

    def forward(self, pose: Tensor) -> tuple[Tensor, Tensor]:
        """Pose (B, 24, 3, 3) -> vertices (B, n, 3) and joints (B, 24, 3), metres."""
        betas = pose.new_zeros(len(pose), NUM_BETAS)
        if self.full:
            output = self.body(pose, betas)
            vertices, joints = output.vertices, output.joints
        else:
            points = self.body(pose, betas)
            vertices, joints = points[:, NUM_JOINTS:], points[:, :NUM_JOINTS]
        root = joints[:, :1]
        return vertices - root, joints - root


def tokenizer_loss(
    output: TokenizerOutput,
    target: Tensor,
    codes: Tensor,
    points: PosedPoints,
    reconstruction_weight: float = 1.0,
    pose_weight: float = 1.0,
    vertex_weight: float = 0.5,
    joint_weight: float = 0.3,
    embedding_weight: float = 0.02,
    commitment_weight: float = 0.02,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The whole objective.

    Args:
        output: of the tokenizer for ``target``.
        target: (B, 24, 3, 3) the pose that was encoded.
        codes: (B, L, D) codes of ``output.tokens``, without the straight-through trick.
        points: gives vertices and joints.
        reconstruction_weight, pose_weight, vertex_weight, joint_weight, embedding_weight,
            commitment_weight: the paper's l_re, l_theta, l_V, l_J, l_E, l_a.

    Returns:
        the scalar loss, and its detached parts by name (unweighted).
    """
    with torch.no_grad():
        target_vertices, target_joints = points(target)
    vertices, joints = points(output.pose)
    pose_loss = F.l1_loss(output.pose, target)
    vertex_loss = F.l1_loss(vertices, target_vertices)
    joint_loss = F.l1_loss(joints, target_joints)
    commitment = F.mse_loss(output.latents, codes.detach())
    embedding = F.mse_loss(output.latents.detach(), codes)
    reconstruction = (
        pose_weight * pose_loss + vertex_weight * vertex_loss + joint_weight * joint_loss
    )
    total = (
        reconstruction_weight * reconstruction
        + embedding_weight * embedding
        + commitment_weight * commitment
    )
    parts = {
        "pose": pose_loss,
        "vertices": vertex_loss,
        "joints": joint_loss,
        "commitment": commitment,
        "embedding": embedding,
    }
    return total, {name: part.detach() for name, part in parts.items()}
