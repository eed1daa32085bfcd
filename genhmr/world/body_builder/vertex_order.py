"""Vertex order: puts landmarks at the indices where SMPL code looks for them.

``smplx`` and the tools built on it read the nose, eyes, ears, finger tips, toes and heels at
fixed vertex ids of SMPL's topology.  The open mesh is renumbered so that these ids hit the same
anatomy; no other correspondence with SMPL's vertices exists.
"""

from __future__ import annotations

import numpy as np

from genhmr.body.joints import SMPLX_VERTEX_IDS

LANDMARK_IDS = SMPLX_VERTEX_IDS
_LEFT_POINTS = {
    "leye": "left_eye", "lear": "left_ear", "LBigToe": "left_big_toe",
    "LSmallToe": "left_small_toe", "LHeel": "left_heel",
}  # fmt: skip
_FINGERS = ("thumb", "index", "middle", "ring", "pinky")


def find_landmarks(
    vertices: np.ndarray,
    keypoints: dict[str, np.ndarray],
    bone_weights: np.ndarray,
    bones: tuple[str, ...],
    mirror: np.ndarray,
) -> dict[str, int]:
    """Choose a vertex for each landmark; the right side is the mirror image of the left.

    Args:
        vertices: (V, 3) T-posed body, z forwards.
        keypoints: COCO + feet keypoints of the same body, (3,) each, by name.
        bone_weights: (V, E) Anny's weights, to find finger tips.
        bones: names of the E bones.
        mirror: (V,) mirrored vertex.

    Returns:
        Vertex index by landmark name, the names of ``LANDMARK_IDS``.
    """
    height = np.abs(vertices[:, 1] - keypoints["nose"][1])
    on_nose = (np.abs(vertices[:, 0]) < 0.01) & (height < 0.03)
    found = {"nose": int(np.where(on_nose, vertices[:, 2], -np.inf).argmax())}
    for name, keypoint in _LEFT_POINTS.items():
        distance = np.linalg.norm(vertices - keypoints[keypoint], axis=1)
        found[name] = int(distance.argmin())
    for number, finger in enumerate(_FINGERS, start=1):
        own = bone_weights[:, bones.index(f"finger{number}-3.L")] > 0.5
        # In the T-pose the tip is the point of the last segment furthest from its base;
        # the thumb points forwards and outwards, the others outwards.
        along = vertices @ (np.array([1.0, 0.0, 1.0]) if number == 1 else np.array([1.0, 0, 0]))
        found["l" + finger] = int(np.where(own, along, -np.inf).argmax())
    for name in list(found):
        if name != "nose":
            twin = "R" + name[1:] if name[0] == "L" else "r" + name[1:]
            found[twin] = int(mirror[found[name]])
    return found


def landmark_order(count: int, landmarks: dict[str, int]) -> np.ndarray:
    """A permutation that swaps the landmarks into their SMPL ids.

    Args:
        count: number of vertices V.
        landmarks: current vertex index by landmark name.

    Returns:
        (V,) ``order`` with ``order[LANDMARK_IDS[name]] == landmarks[name]``.

    Raises:
        ValueError: two landmarks share a vertex.
    """
    if len(set(landmarks.values())) != len(landmarks):
        raise ValueError(f"landmarks share a vertex: {landmarks}")
    order = np.arange(count)
    place = np.arange(count)  # inverse of order, kept in step
    for name, vertex in landmarks.items():
        here, there = place[vertex], LANDMARK_IDS[name]
        other = order[there]
        order[here], order[there] = other, vertex
        place[other], place[vertex] = here, there
    return order
