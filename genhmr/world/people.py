"""Posed and dressed people in the world, from any SMPL-format body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from genhmr.body import SMPL, Bodies, JointSet, axis_angle_to_matrix, body25, spin24
from genhmr.body.joints import SMPLX_VERTEX_IDS
from genhmr.types import GENDERS

from .appearance import Appearance, sample_appearance
from .regions import body_regions
from .render import vertex_normals


@dataclass(frozen=True)
class People:
    """N posed bodies; world frame, metres.

    Attributes:
        vertices: (N, V, 3) float32.
        joints: (N, 24, 3) float32, kinematic joints.
        keypoints: (N, 25, 3) float32, BODY_25.
        spin: (N, 24, 3) float32, SPIN's ``S`` joints; see `genhmr.body.spin24`.
    """

    vertices: np.ndarray
    joints: np.ndarray
    keypoints: np.ndarray
    spin: np.ndarray


class Wardrobe:
    """One gender's body, ready to be posed, dressed and measured.

    Attributes:
        faces: (F, 3) int32.
        parents: (24,) of the joints, -1 for the root.
        parts: (V,) uint8, 1..24: the SMPL joint that owns the vertex, plus one.
    """

    def __init__(self, bodies: Bodies, gender: str) -> None:
        """Prepare a body.

        Args:
            bodies: the three bodies and the Human3.6M regressor.
            gender: "neutral", "male" or "female".
        """
        data = bodies.get(gender)
        self.gender = gender
        self.faces = np.ascontiguousarray(data.faces, np.int32)
        self.parents = data.parents
        self._layer = SMPL(data)
        num_vertices = len(data.v_template)
        self._keypoints = _SparseJoints(body25(num_vertices))
        self._spin = _SparseJoints(spin24(bodies.regressor_h36m, num_vertices))
        eyes = np.array([SMPLX_VERTEX_IDS["leye"], SMPLX_VERTEX_IDS["reye"]])
        self._regions = body_regions(data.v_template, data.weights, data.J_regressor, eyes)
        self.parts = self._regions.part + np.uint8(1)
        self.pelvis = data.J_regressor[0] @ data.v_template
        self.pelvis_shape = np.einsum("v,vcl->cl", data.J_regressor[0], data.shapedirs)

    def rest_pelvis(self, betas: np.ndarray) -> np.ndarray:
        """(..., 10) betas to the rest position of the pelvis, the pivot of the root; (..., 3)."""
        return self.pelvis + np.asarray(betas, np.float64) @ self.pelvis_shape.T

    def pose(self, poses: np.ndarray, betas: np.ndarray, transl: np.ndarray) -> People:
        """Pose N bodies.

        Args:
            poses: (N, 24, 3) axis-angle.
            betas: (N, 10).
            transl: (N, 3) metres, SMPL's translation.
        """
        with torch.inference_mode():
            output = self._layer(
                axis_angle_to_matrix(torch.as_tensor(np.asarray(poses, np.float32))),
                torch.as_tensor(np.array(betas, np.float32)),
                torch.as_tensor(np.asarray(transl, np.float32)),
            )
        vertices, joints = output.vertices.numpy(), output.joints.numpy()
        return People(vertices, joints, self._keypoints(vertices, joints),
                      self._spin(vertices, joints))

    def sample_appearance(self, rng: np.random.Generator) -> Appearance:
        """A random look for this body."""
        return sample_appearance(self._regions, rng)

    def dress(self, vertices: np.ndarray, look: Appearance) -> np.ndarray:
        """Let hair and clothes stand off the skin: (V, 3) to (V, 3)."""
        normals = vertex_normals(np.ascontiguousarray(vertices), self.faces)
        return vertices + normals * look.offset[:, None]


class _SparseJoints:
    """A joint set evaluated on numpy arrays, with only the vertices that it uses."""

    def __init__(self, joint_set: JointSet) -> None:
        used = np.flatnonzero(np.abs(joint_set.from_vertices).sum(0))
        self._used = used
        self._from_vertices = joint_set.from_vertices[:, used].astype(np.float32)
        self._from_joints = joint_set.from_joints.astype(np.float32)

    def __call__(self, vertices: np.ndarray, joints: np.ndarray) -> np.ndarray:
        return self._from_vertices @ vertices[:, self._used] + self._from_joints @ joints


def make_wardrobes(bodies: Bodies, genders: Sequence[str] = GENDERS) -> dict[str, Wardrobe]:
    """A wardrobe for each of the genders."""
    return {gender: Wardrobe(bodies, gender) for gender in genders}


def sample_betas(n: int, rng: np.random.Generator, spread: float = 1.0) -> np.ndarray:
    """(n, 10) float32 shape coefficients, normal, cut at 2.5 standard deviations."""
    return (np.clip(rng.standard_normal((n, 10)), -2.5, 2.5) * spread).astype(np.float32)
