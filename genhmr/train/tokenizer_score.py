"""What a trained tokenizer loses: the numbers of the paper's Tables 5 and 6."""

from __future__ import annotations

import numpy as np
import torch

from genhmr.body.model_files import BodyModelData
from genhmr.body.rotations import axis_angle_to_matrix
from genhmr.metrics.functional import mpjpe, mve, pa_mpjpe
from genhmr.tokenizer.losses import PosedPoints
from genhmr.tokenizer.model import PoseTokenizer


@torch.no_grad()
def evaluate_tokenizer(
    tokenizer: PoseTokenizer,
    poses: np.ndarray,
    body: BodyModelData,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
) -> dict[str, np.ndarray]:
    """Reconstruction errors through the tokens (paper, Tables 5 and 6).

    24 kinematic joints and all vertices of the mean shape, aligned at the pelvis joint.

    Args:
        tokenizer: trained.
        poses: (N, 24, 3) axis-angle, roots as they are (no augmentation).
        body: the body.
        batch_size: poses at once.
        device: where the tokenizer is.

    Returns:
        ``mpjpe``, ``pa_mpjpe``, ``mve``: (N,) float64 millimetres.
    """
    points = PosedPoints(body, len(body.v_template)).to(device)
    target = axis_angle_to_matrix(torch.from_numpy(np.array(poses, dtype=np.float32)))
    columns: dict[str, list[np.ndarray]] = {"mpjpe": [], "pa_mpjpe": [], "mve": []}
    for start in range(0, len(target), batch_size):
        truth = target[start : start + batch_size].to(device)
        vertices, joints = points(tokenizer.decode_tokens(tokenizer.tokenize(truth)))
        true_vertices, true_joints = points(truth)
        columns["mpjpe"].append(np.asarray(mpjpe(joints.cpu(), true_joints.cpu())))
        columns["pa_mpjpe"].append(np.asarray(pa_mpjpe(joints.cpu(), true_joints.cpu())))
        columns["mve"].append(np.asarray(mve(vertices.cpu(), true_vertices.cpu())))
    return {name: np.concatenate(parts) for name, parts in columns.items()}
