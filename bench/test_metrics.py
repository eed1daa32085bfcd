"""The errors beside the usual formulas, on as many frames as 3DPW's test set has, or a part of it.

PA-MPJPE stands beside a batched SVD in torch (4D-Humans' evaluator) and beside SPIN's loop over
samples; MVE beside the formula of TokenHMR's evaluator, which holds all differences at once.
"""

from __future__ import annotations

import numpy as np
import torch

from genhmr.metrics import mve, pa_mpjpe

FRAMES, JOINTS, VERTICES = 35_515, 14, 6890


def _bodies(frames: int, points: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    gt = 0.3 * torch.randn(frames, points, 3, generator=generator)
    return gt + 0.05 * torch.randn(gt.shape, generator=generator), gt


def batched_svd(pred: torch.Tensor, gt: torch.Tensor) -> torch.Tensor:
    """Similarity Procrustes of a batch, as the textbook and 4D-Humans write it; millimetres."""
    x, y = pred.transpose(1, 2), gt.transpose(1, 2)
    mean_x, mean_y = x.mean(2, keepdim=True), y.mean(2, keepdim=True)
    a, b = x - mean_x, y - mean_y
    variance = a.square().sum((1, 2))
    k = a @ b.transpose(1, 2)
    u, _, vh = torch.linalg.svd(k)
    v = vh.transpose(1, 2)
    z = torch.eye(3, dtype=pred.dtype).repeat(len(pred), 1, 1)
    z[:, 2, 2] = torch.sign(torch.linalg.det(u @ vh))
    rotation = v @ z @ u.transpose(1, 2)
    scale = (rotation @ k).diagonal(dim1=1, dim2=2).sum(1) / variance
    moved = scale[:, None, None] * rotation @ a + mean_y
    return 1000 * (moved - y).square().sum(1).sqrt().mean(1)


def one_by_one(pred: np.ndarray, gt: np.ndarray) -> np.ndarray:
    """SPIN's evaluator: numpy, one sample after the other; millimetres."""
    errors = np.empty(len(pred))
    for i, (s1, s2) in enumerate(zip(pred, gt)):
        mean1, mean2 = s1.mean(0), s2.mean(0)
        x1, x2 = (s1 - mean1).T, (s2 - mean2).T
        k = x1 @ x2.T
        u, _, vh = np.linalg.svd(k)
        z = np.eye(3)
        z[-1, -1] *= np.sign(np.linalg.det(u @ vh))
        r = vh.T @ z @ u.T
        scale = np.trace(r @ k) / np.sum(x1**2)
        moved = scale * (r @ s1.T) + (mean2 - scale * (r @ mean1))[:, None]
        errors[i] = np.sqrt(((moved.T - s2) ** 2).sum(-1)).mean()
    return 1000 * errors


def test_pa_mpjpe_beside_a_batched_svd(beside):
    pred, gt = (x.double() for x in _bodies(FRAMES, JOINTS))
    torch.testing.assert_close(pa_mpjpe(pred, gt), batched_svd(pred, gt), rtol=0, atol=1e-9)
    beside("PA-MPJPE, 35,515 x 14", "batched SVD, torch float64",
           lambda: pa_mpjpe(pred, gt), lambda: batched_svd(pred, gt), 3.0)  # fmt: skip


def test_pa_mpjpe_beside_a_loop(beside):
    pred, gt = (x.double().numpy() for x in _bodies(3000, JOINTS))
    np.testing.assert_allclose(pa_mpjpe(pred, gt), one_by_one(pred, gt), rtol=0, atol=1e-9)
    beside("PA-MPJPE, 3,000 x 14", "SPIN's loop, numpy",
           lambda: pa_mpjpe(pred, gt), lambda: one_by_one(pred, gt), 45.0,
           rounds=5, repeats=(5, 1))  # fmt: skip


def test_mve_beside_the_usual_formula(beside):
    pred, gt = _bodies(1000, VERTICES)
    roots = pred[:, 0], gt[:, 0]

    def usual() -> torch.Tensor:
        first, second = pred - roots[0][:, None], gt - roots[1][:, None]
        return 1000 * torch.sqrt(((first - second) ** 2).sum(dim=-1)).mean(dim=-1)

    torch.testing.assert_close(mve(pred, gt, *roots).float(), usual(), rtol=1e-5, atol=1e-3)
    beside("MVE, 1,000 x 6890", "TokenHMR's formula, torch float32",
           lambda: mve(pred, gt, *roots), usual, 9.0, rounds=5)  # fmt: skip
