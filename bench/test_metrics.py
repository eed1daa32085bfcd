"""The errors beside the usual formulas, on as many frames as 3DPW's test set has, or a part of it.

PA-MPJPE stands beside a batched SVD in torch (4D-Humans' evaluator) and beside SPIN's loop over
samples; MVE beside the formula of TokenHMR's evaluator, which holds all differences at once: in
time, and in the memory that either takes on top of the two meshes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from bench.speed.memory import peak_bytes
from bench.speed.rows import record_bytes, row
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
    z = torch.eye(3, dtype=pred.dtype, device=pred.device).repeat(len(pred), 1, 1)
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


def usual_mve(
    pred: torch.Tensor, gt: torch.Tensor, pred_root: torch.Tensor, gt_root: torch.Tensor
) -> torch.Tensor:
    """TokenHMR's evaluator; millimetres."""
    first, second = pred - pred_root[:, None], gt - gt_root[:, None]
    return 1000 * torch.sqrt(((first - second) ** 2).sum(dim=-1)).mean(dim=-1)


@row(f"PA-MPJPE, {FRAMES:,} x {JOINTS}", "batched SVD, torch float64", 3.0)
def test_pa_mpjpe_beside_a_batched_svd(beside, device):
    pred, gt = (x.double().to(device) for x in _bodies(FRAMES, JOINTS))
    torch.testing.assert_close(pa_mpjpe(pred, gt), batched_svd(pred, gt), rtol=0, atol=1e-9)
    beside(lambda: pa_mpjpe(pred, gt), lambda: batched_svd(pred, gt))


@row(f"PA-MPJPE, 3,000 x {JOINTS}", "SPIN's loop, numpy", 45.0, cpu_only="numpy in, numba kernel")
def test_pa_mpjpe_beside_a_loop(beside):
    pred, gt = (x.double().numpy() for x in _bodies(3000, JOINTS))
    np.testing.assert_allclose(pa_mpjpe(pred, gt), one_by_one(pred, gt), rtol=0, atol=1e-9)
    beside(lambda: pa_mpjpe(pred, gt), lambda: one_by_one(pred, gt), rounds=5, repeats=(5, 1))


@row(f"MVE, 1,000 x {VERTICES}", "TokenHMR's formula, torch float32", 9.0)
def test_mve_beside_the_usual_formula(beside, device):
    pred, gt = (x.to(device) for x in _bodies(1000, VERTICES))
    bodies = (pred, gt, pred[:, 0], gt[:, 0])
    torch.testing.assert_close(mve(*bodies).float(), usual_mve(*bodies), rtol=1e-5, atol=1e-3)
    beside(lambda: mve(*bodies), lambda: usual_mve(*bodies), rounds=5)


def mve_case(which: str, device: str) -> tuple[Callable[[], object], Callable[[], object]]:
    """MVE of two frames and of many, for ``peak_bytes``; "ours 500" is ours on 500 frames."""
    name, frames = which.split()
    formula = {"ours": mve, "peer": usual_mve}[name]
    pred, gt = (x.to(device) for x in _bodies(int(frames), VERTICES))
    bodies = (pred, gt, pred[:, 0], gt[:, 0])
    return lambda: formula(*(x[:2] for x in bodies)), lambda: formula(*bodies)


@row(
    f"MVE, 1,000 x {VERTICES}, peak memory", "TokenHMR's formula, torch float32",
    cpu_only="constant memory is the numba kernel's", linux_only=True,
)  # fmt: skip
def test_mve_takes_constant_memory(benchmark, request):
    """Ours must not grow with the frames: what it takes beside the meshes is a page or a few."""
    peaks = {
        which: peak_bytes("bench.test_metrics:mve_case", which)
        for which in ("ours 250", "ours 1000", "peer 1000")
    }
    mesh = 12 * VERTICES  # bytes of one frame
    assert peaks["ours 1000"] - peaks["ours 250"] < 10 * mesh  # not 750 of them
    benchmark.pedantic(peak_bytes, ("bench.test_metrics:mve_case", "ours 250"), rounds=1)
    record_bytes(benchmark, request, peaks["ours 1000"], peaks["peer 1000"])
