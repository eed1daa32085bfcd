"""The errors of human mesh recovery as pure functions.

Every function takes numpy arrays or torch tensors, computes in float64 whatever comes in, and
returns the kind it was given, one number per sample. Millimetres out, metres in.

A sample that is not finite (a diverged model) gets NaN, never a number and never an exception, so
it shows up in the table instead of ending the evaluation of the others.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Array = TypeVar("Array", np.ndarray, Tensor)

_MM = 1000.0


def mpjpe(pred: Array, gt: Array) -> Array:
    """Mean per-joint position error (Ionescu et al. 2014), of joints that are already aligned.

    Args:
        pred, gt: (B, J, 3) metres, both relative to their own root.

    Returns:
        (B,) millimetres, float64.
    """
    return mve(pred, gt)


def mve(
    pred_vertices: Array,
    gt_vertices: Array,
    pred_root: Array | None = None,
    gt_root: Array | None = None,
) -> Array:
    """Mean per-vertex error, also called PVE; the same formula as :func:`mpjpe` on the mesh.

    On the CPU a compiled kernel reads both meshes once; nothing of their size is allocated.

    Args:
        pred_vertices, gt_vertices: (B, V, 3) metres.
        pred_root, gt_root: (B, 3) metres, what each mesh is taken relative to; None where that is
            done already, or is not wanted.

    Returns:
        (B,) millimetres, float64.
    """
    pred, gt = _tensor(pred_vertices), _tensor(gt_vertices)
    _require_points(pred, gt)
    roots = [
        torch.zeros(len(pred), 3, dtype=torch.float64, device=pred.device)
        if root is None
        else _double(root).reshape(len(pred), 3)
        for root in (pred_root, gt_root)
    ]
    if pred.is_cuda or gt.is_cuda:
        shift = (roots[0] - roots[1])[:, None]
        result = (pred.double() - gt.double() - shift).norm(dim=-1).mean(-1)
    else:
        from genhmr.metrics.kernels import rooted_distance

        if pred.dtype != gt.dtype or pred.dtype not in (torch.float32, torch.float64):
            pred, gt = pred.double(), gt.double()
        result = torch.empty(len(pred), dtype=torch.float64)
        arrays = (pred, gt, *roots, result)
        rooted_distance(*(array.contiguous().numpy() for array in arrays))
    return _like(result * _MM, pred_vertices)


def pa_mpjpe(pred: Array, gt: Array) -> Array:
    """Mean joint error after the best similarity transform of each sample ("Procrustes-aligned").

    On the CPU a compiled kernel solves each sample on its own (``genhmr.metrics.kernels``); on a
    GPU :func:`similarity_transform` solves the batch. They agree to 1e-9 mm.

    Args:
        pred, gt: (B, J, 3) metres; where the root lies does not matter.

    Returns:
        (B,) millimetres, float64.
    """
    first, second = _double(pred), _double(gt)
    _require_points(first, second)
    if first.is_cuda or second.is_cuda:
        result = (_align(first, second) - second).norm(dim=-1).mean(-1)
    else:
        from genhmr.metrics.kernels import aligned_distance

        result = torch.empty(len(first), dtype=torch.float64)
        arrays = (first, second, result)
        aligned_distance(*(array.contiguous().numpy() for array in arrays))
    return _like(result * _MM, pred)


def pa_mve(pred_vertices: Array, gt_vertices: Array) -> Array:
    """Mean vertex error after the best similarity transform of the vertices themselves.

    Args:
        pred_vertices, gt_vertices: (B, V, 3) metres.

    Returns:
        (B,) millimetres, float64.
    """
    return pa_mpjpe(pred_vertices, gt_vertices)


def pck(
    pred: np.ndarray, gt: np.ndarray, confidence: np.ndarray, scale: np.ndarray, threshold: float
) -> np.ndarray:
    """Share of correct 2D keypoints (Yang and Ramanan 2013): nearer than ``threshold * scale``.

    Args:
        pred, gt: (B, K, 2) in one unit.
        confidence: (B, K), a keypoint counts where it is above 0.
        scale: (B,) size of the person in that unit, for example the side of the box.
        threshold: fraction of the size, for example 0.05.

    Returns:
        (B,) float64 in [0, 1]; NaN where no keypoint counts.
    """
    counts = np.asarray(confidence) > 0
    gap = np.asarray(pred, np.float64) - np.asarray(gt, np.float64)
    distance = np.linalg.norm(np.where(counts[..., None], gap, 0.0), axis=-1)
    hits = (distance <= threshold * np.asarray(scale, np.float64)[:, None]) & counts
    number = counts.sum(-1)
    return np.where(number > 0, hits.sum(-1) / np.maximum(number, 1), np.nan)


def best_of(errors: np.ndarray) -> np.ndarray:
    """Smallest error among the hypotheses, the convention of probabilistic methods.

    Args:
        errors: (B, K) of K hypotheses each.

    Returns:
        (B,); NaN where any hypothesis is NaN: one that diverged must not pass unseen.
    """
    return np.asarray(errors, np.float64).min(1)


def similarity_align(pred: Array, gt: Array) -> Array:
    """The prediction moved onto the ground truth by :func:`similarity_transform`.

    Args:
        pred, gt: (B, J, 3).

    Returns:
        (B, J, 3) float64, in the unit and frame of ``gt``.
    """
    return _like(_align(_double(pred), _double(gt)), pred)


def similarity_transform(pred: Tensor, gt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Least-squares scale, rotation and translation per sample (Umeyama 1991, Eq. 40 to 42).

    The rotation is proper: a mirrored body is not aligned by a reflection (scipy's and
    torchmetrics' Procrustes allow one and report zero error). Defined for every input: flat,
    collinear and single-point samples have several best rotations with the same error, of which
    one is returned; where all predicted joints coincide the scale is 0.

    Args:
        pred, gt: (B, J, 3) float64 and finite.

    Returns:
        ``scale`` (B,), ``rotation`` (B, 3, 3), ``translation`` (B, 3) such that
        ``scale * rotation @ pred + translation`` is closest to ``gt``.
    """
    pred_mean, gt_mean = pred.mean(1), gt.mean(1)
    pred_centred, gt_centred = pred - pred_mean[:, None], gt - gt_mean[:, None]
    u, s, vt = torch.linalg.svd(gt_centred.transpose(1, 2) @ pred_centred)
    signs = torch.ones_like(s)
    # u and vt are orthogonal, so each determinant is +1 or -1 even where the product is singular.
    signs[:, 2] = torch.sign(torch.linalg.det(u) * torch.linalg.det(vt))
    rotation = (u * signs[:, None]) @ vt
    spread = pred_centred.square().sum((1, 2))
    scale = torch.where(spread > 0, (s * signs).sum(1) / spread, torch.zeros_like(spread))
    translation = gt_mean - scale[:, None] * (rotation @ pred_mean[..., None])[..., 0]
    return scale, rotation, translation


def _align(pred: Tensor, gt: Tensor) -> Tensor:
    finite = torch.isfinite(pred).all((1, 2)) & torch.isfinite(gt).all((1, 2))
    # LAPACK refuses a whole batch for one NaN, so those rows sit out.
    keep = finite[:, None, None]
    scale, rotation, translation = similarity_transform(
        torch.where(keep, pred, torch.zeros_like(pred)),
        torch.where(keep, gt, torch.zeros_like(gt)),
    )
    aligned = scale[:, None, None] * pred @ rotation.transpose(1, 2) + translation[:, None]
    return torch.where(keep, aligned, torch.full_like(aligned, torch.nan))


def _require_points(first: Tensor, second: Tensor) -> None:
    if first.shape != second.shape or first.ndim != 3 or first.shape[-1] != 3:
        raise ValueError(
            f"expected two (B, J, 3) arrays, got {tuple(first.shape)} and {tuple(second.shape)}"
        )


def _tensor(points: Array) -> Tensor:
    if isinstance(points, np.ndarray):
        points = np.ascontiguousarray(points)  # torch takes no negative strides
    return torch.as_tensor(points).detach()


def _double(points: Array) -> Tensor:
    return _tensor(points).to(torch.float64)


def _like(result: Tensor, given: Array) -> Array:
    return result if isinstance(given, Tensor) else result.numpy()
