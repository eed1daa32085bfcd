"""Rotations in torch: axis-angle, matrix, and the continuous 6D form.

All functions take any number of leading dimensions, keep dtype and device, and have finite
gradients everywhere, identity and half turns included.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Below this angle the series are used; sin(t)/t - (1 - t^2/6) is under 1e-17 there.
_SMALL = 1e-4


def axis_angle_to_matrix(axis_angle: Tensor) -> Tensor:
    """Rodrigues' formula.

    Args:
        axis_angle: (..., 3) rotation axis times angle in radians.

    Returns:
        (..., 3, 3) rotation matrices.
    """
    squared = (axis_angle * axis_angle).sum(-1)
    small = squared < _SMALL**2
    # The inner where keeps sqrt's infinite slope at 0 out of the graph.
    angle = torch.where(small, torch.ones_like(squared), squared).sqrt()
    a = torch.where(small, 1 - squared / 6, angle.sin() / angle)
    # 2 sin^2(t/2) / t^2 instead of (1 - cos t) / t^2, which cancels in float32.
    half = (angle / 2).sin() / angle
    b = torch.where(small, 0.5 - squared / 24, 2 * half * half)
    x, y, z = axis_angle.unbind(-1)
    ax, ay, az = a * x, a * y, a * z
    bxy, bxz, byz = b * x * y, b * x * z, b * y * z
    bxx, byy, bzz = b * x * x, b * y * y, b * z * z
    entries = (
        1 - (byy + bzz), bxy - az, bxz + ay,
        bxy + az, 1 - (bxx + bzz), byz - ax,
        bxz - ay, byz + ax, 1 - (bxx + byy),
    )  # fmt: skip
    return torch.stack(entries, dim=-1).unflatten(-1, (3, 3))


def matrix_to_axis_angle(matrix: Tensor) -> Tensor:
    """The rotation vector of a rotation matrix, accurate at 0 and at pi.

    Goes through the unit quaternion and starts from its largest component (Shepperd 1978), so
    nothing is divided by a small number.

    Args:
        matrix: (..., 3, 3) rotation matrices.

    Returns:
        (..., 3) with norm in [0, pi].
    """
    m = matrix.flatten(-2)
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = m.unbind(-1)
    # Four times each squared component of (w, x, y, z).
    squared = torch.stack(
        (
            1 + m00 + m11 + m22,
            1 + m00 - m11 - m22,
            1 - m00 + m11 - m22,
            1 - m00 - m11 + m22,
        ),
        dim=-1,
    )
    # Row i: the quaternion times 4 q_i.
    candidates = torch.stack(
        (
            torch.stack((squared[..., 0], m21 - m12, m02 - m20, m10 - m01), -1),
            torch.stack((m21 - m12, squared[..., 1], m10 + m01, m02 + m20), -1),
            torch.stack((m02 - m20, m10 + m01, squared[..., 2], m12 + m21), -1),
            torch.stack((m10 - m01, m20 + m02, m21 + m12, squared[..., 3]), -1),
        ),
        dim=-2,
    )
    largest = squared.argmax(-1)[..., None, None].expand(*squared.shape[:-1], 1, 4)
    quaternion = torch.nn.functional.normalize(candidates.gather(-2, largest).squeeze(-2), dim=-1)
    # q and -q are the same rotation; w >= 0 gives the short way round.
    quaternion = torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    w, xyz = quaternion[..., :1], quaternion[..., 1:]
    squared_sine = (xyz * xyz).sum(-1, keepdim=True)
    small = squared_sine < _SMALL**2
    sine = torch.where(small, torch.ones_like(squared_sine), squared_sine).sqrt()
    # angle / sin(angle / 2); near 0 it is 2 + sine^2 / 3.
    factor = torch.where(small, 2 + squared_sine / 3, 2 * torch.atan2(sine, w) / sine)
    return factor * xyz


def rotation_6d_to_matrix(six: Tensor) -> Tensor:
    """Gram-Schmidt on the first two columns (Zhou et al. 2019).

    The six numbers are a (3, 2) matrix written row by row, as in SPIN:
    ``[r00, r01, r10, r11, r20, r21]``. HMR2.0 writes the same two columns one after the other.

    Args:
        six: (..., 6).

    Returns:
        (..., 3, 3) rotation matrices.
    """
    columns = six.unflatten(-1, (3, 2))
    first = torch.nn.functional.normalize(columns[..., 0], dim=-1)
    second = columns[..., 1]
    second = second - (first * second).sum(-1, keepdim=True) * first
    second = torch.nn.functional.normalize(second, dim=-1)
    return torch.stack((first, second, torch.linalg.cross(first, second)), dim=-1)


def matrix_to_rotation_6d(matrix: Tensor) -> Tensor:
    """The first two columns, row by row; the inverse of :func:`rotation_6d_to_matrix`.

    Args:
        matrix: (..., 3, 3).

    Returns:
        (..., 6).
    """
    return matrix[..., :2].flatten(-2)


def geodesic_distance(first: Tensor, second: Tensor) -> Tensor:
    """The angle of the rotation that takes one to the other.

    ``atan2`` of sine and cosine, not ``acos`` of the trace: acos loses half the digits near 0
    and has an infinite gradient there.

    Args:
        first, second: (..., 3, 3) rotation matrices, broadcast against each other.

    Returns:
        (...) radians in [0, pi].
    """
    relative = first.transpose(-1, -2) @ second
    twice_cosine = relative.diagonal(dim1=-2, dim2=-1).sum(-1) - 1
    skew = torch.stack(
        (
            relative[..., 2, 1] - relative[..., 1, 2],
            relative[..., 0, 2] - relative[..., 2, 0],
            relative[..., 1, 0] - relative[..., 0, 1],
        ),
        dim=-1,
    )
    squared = (skew * skew).sum(-1)
    zero = squared == 0
    twice_sine = torch.where(zero, torch.zeros_like(squared),
                             torch.where(zero, torch.ones_like(squared), squared).sqrt())
    return torch.atan2(twice_sine, twice_cosine)
