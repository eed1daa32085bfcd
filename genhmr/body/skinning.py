"""Linear blend skinning with little memory traffic, forward and backward.

The textbook form writes a 3x4 matrix for every vertex of every body (21 MB at B=64) and reads it
again in the backward pass; on a CPU that traffic is most of the time. Here a few bodies are
blended at a time, so that their matrices stay in cache, and the backward pass blends them again
instead of keeping them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_BODIES_IN_CACHE = 4  # 4 x 12 x 6890 floats = 1.3 MB; 2 to 16 measure alike


class _LinearBlendSkinning(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, shaped: Tensor, transforms: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(shaped, transforms, weights)
        posed = shaped.new_empty(len(shaped), shaped.shape[2], 3)
        for part in _parts(shaped):
            blended, v = _blend(transforms[part], weights), shaped[part, None]
            out = torch.addcmul(blended[:, :, 3], blended[:, :, 0], v[:, :, 0])
            out.addcmul_(blended[:, :, 1], v[:, :, 1])
            out.addcmul_(blended[:, :, 2], v[:, :, 2])
            posed[part] = out.transpose(1, 2)
        return posed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        shaped, transforms, weights = ctx.saved_tensors
        grad_shaped = torch.empty_like(shaped)
        grad_transforms = torch.empty_like(transforms)
        for part in _parts(shaped):
            g = grad[part].transpose(1, 2).contiguous()
            blended, v = _blend(transforms[part], weights), shaped[part, None]
            out = blended[:, 0, :3] * g[:, :1]
            out.addcmul_(blended[:, 1, :3], g[:, 1:2]).addcmul_(blended[:, 2, :3], g[:, 2:3])
            grad_shaped[part] = out
            # d posed_i / d blended_ij is v_j, and 1 for the translation; reuse the buffer.
            torch.mul(g[:, :, None], v, out=blended[:, :, :3])
            blended[:, :, 3] = g
            per_joint = blended.view(-1, weights.shape[1]) @ weights.T
            grad_transforms[part] = per_joint.view(len(g), 3, 4, -1).permute(0, 3, 1, 2)
        return grad_shaped, grad_transforms, None


def _parts(shaped: Tensor) -> list[slice]:
    # A GPU wants few large kernels, not a cache-sized working set.
    step = _BODIES_IN_CACHE if shaped.device.type == "cpu" else max(len(shaped), 1)
    return [slice(i, i + step) for i in range(0, len(shaped), step)]


def _blend(transforms: Tensor, weights: Tensor) -> Tensor:
    """(b, J, 3, 4) bone transforms and (J, V) weights to (b, 3, 4, V) vertex transforms."""
    bones = transforms.permute(0, 2, 3, 1).reshape(-1, len(weights))
    return (bones @ weights).view(len(transforms), 3, 4, -1)


def sparse_weights(weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The non-zero skinning weights, vertex by vertex.

    Args:
        weights: (J, V).

    Returns:
        ``first`` (V + 1,) int64, where each vertex's entries start; their bones (int64) and shares.
    """
    columns = weights.T.contiguous()
    vertex, bone = torch.nonzero(columns, as_tuple=True)
    first = torch.zeros(len(columns) + 1, dtype=torch.long, device=weights.device)
    first[1:] = torch.bincount(vertex, minlength=len(columns)).cumsum(0)
    return first, bone, columns[vertex, bone]


def linear_blend_skinning(
    shaped: Tensor,
    transforms: Tensor,
    weights: Tensor,
    sparse: tuple[Tensor, Tensor, Tensor] | None = None,
) -> Tensor:
    """Move every vertex by the weighted mean of the bone transforms (SMPL, Eq. 7 and 9).

    Differentiable once in ``shaped`` and ``transforms``; the weights are constants. On a CPU, where
    no gradient is wanted, a compiled kernel visits the bones of each vertex alone.

    Args:
        shaped: (B, 3, V) rest vertices after the blend shapes, coordinate planes first, metres.
        transforms: (B, J, 3, 4) from rest to posed, per bone.
        weights: (J, V) skinning weights.
        sparse: the same, see :func:`sparse_weights`; None goes through
            the matrix everywhere.

    Returns:
        (B, V, 3) posed vertices, metres, contiguous.
    """
    wanted = torch.is_grad_enabled() and (shaped.requires_grad or transforms.requires_grad)
    if sparse is not None and not wanted and shaped.device.type == "cpu":
        from genhmr.body.skinning_cpu import skin  # numba takes a second to load

        return skin(shaped, transforms, sparse)
    return _LinearBlendSkinning.apply(shaped, transforms, weights)
