"""Coordinates on the surface of a body, from which clothes are cut.

Every coordinate is derived from the model's own skinning weights, joints and rest shape, so that
any SMPL-format body is dressed, whatever its vertex order: nothing here lists vertices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_ARMS = ((16, 18, 20), (17, 19, 21))  # shoulder, elbow, wrist
_LEGS = ((1, 4, 7), (2, 5, 8))  # hip, knee, ankle
_HANDS = (20, 21, 22, 23)
_FEET = (7, 8, 10, 11)
_NECK, _HEAD = 12, 15
ELSEWHERE = -9.0  # below every coordinate that a vertex can have


@dataclass(frozen=True)
class BodyRegions:
    """Where each vertex of a body lies; ELSEWHERE where a coordinate has no meaning.

    Attributes:
        part: (V,) uint8, the joint 0..23 with the largest skinning weight.
        rest: (V, 3) float32 metres, the rest pose (x to the left, y up, z forward).
        arm: (V,) float32, 0 at the shoulder, 1 at the elbow, 2 at the wrist, more on the hand.
        leg: (V,) float32, 0 at the hip, 1 at the knee, 2 at the ankle, more on the foot.
        trunk: (V,) float32, 0 at the crotch, 1 at the base of the neck; trunk and neck only.
        head: (V, 3) float32, position in the head's box, [-1, 1] on every axis; head only.
        eyes: (V,) bool.
        lips: (V,) bool.
    """

    part: np.ndarray
    rest: np.ndarray
    arm: np.ndarray
    leg: np.ndarray
    trunk: np.ndarray
    head: np.ndarray
    eyes: np.ndarray
    lips: np.ndarray


def body_regions(
    v_template: np.ndarray, weights: np.ndarray, J_regressor: np.ndarray, eyes: np.ndarray
) -> BodyRegions:
    """Measure the regions of an SMPL-format body.

    Args:
        v_template: (V, 3) metres, the rest shape, arms to the sides, facing +z.
        weights: (V, 24) skinning weights.
        J_regressor: (24, V).
        eyes: (2,) int vertex ids of the left and the right eye.

    Returns:
        The coordinates of every vertex.
    """
    rest = np.asarray(v_template, np.float32)
    part = np.asarray(weights).argmax(1).astype(np.uint8)
    joints = (np.asarray(J_regressor, np.float64) @ v_template).astype(np.float32)
    arm = _limb_coordinate(rest, part, joints, _ARMS, _HANDS)
    leg = _limb_coordinate(rest, part, joints, _LEGS, _FEET)

    is_head = part == _HEAD
    low, high = rest[is_head].min(0), rest[is_head].max(0)
    head = np.full(rest.shape, ELSEWHERE, np.float32)
    head[is_head] = (rest[is_head] - (low + high) / 2) / ((high - low) / 2)

    is_trunk = (arm == ELSEWHERE) & (leg == ELSEWHERE) & ~is_head
    crotch = rest[part == 0][:, 1].min()
    trunk = np.full(len(rest), ELSEWHERE, np.float32)
    trunk[is_trunk] = (rest[is_trunk, 1] - crotch) / (joints[_NECK, 1] - crotch)
    on_eyes, on_lips = _face(rest, head, eyes)
    return BodyRegions(part, rest, arm, leg, trunk, head, on_eyes, on_lips)


def _face(rest, head, eyes):
    """The vertices around the eyes, and those of the lips, one eye distance below them."""
    left, right = rest[eyes[0]], rest[eyes[1]]
    near = np.minimum(*(np.linalg.norm(rest - eye, axis=1) for eye in (left, right)))
    gap = np.linalg.norm(left - right)
    mouth = (left + right) / 2 - np.float32([0, 1.05 * gap, 0])
    lips = (np.abs(rest[:, 0] - mouth[0]) < 0.4 * gap) & (np.abs(rest[:, 1] - mouth[1]) < 0.01)
    return near < 0.016, lips & (head[:, 2] > 0.5)


def _limb_coordinate(rest, part, joints, limbs, ends):
    coordinate = np.full(len(rest), ELSEWHERE, np.float32)
    for chain in limbs:
        for segment, (near, far) in enumerate(zip(chain[:-1], chain[1:])):
            bone = joints[far] - joints[near]
            rows = part == near
            coordinate[rows] = segment + (rest[rows] - joints[near]) @ bone / (bone @ bone)
    for end in ends:
        rows = part == end
        # The wrist or ankle nearest to this end closes the chain; distance continues the scale.
        last = min((c[-1] for c in limbs), key=lambda j: np.abs(joints[j] - joints[end]).sum())
        before = next(c[-2] for c in limbs if c[-1] == last)
        length = np.linalg.norm(joints[last] - joints[before])
        bone = (joints[last] - joints[before]) / length
        coordinate[rows] = 2 + np.maximum((rest[rows] - joints[last]) @ bone, -0.04) / length
    return coordinate
