"""SMPL in pure torch: rotation matrices in, the full mesh or only a set of joints out.

The formulation is that of SMPL (Loper et al. 2015) and agrees with smplx's ``lbs`` to rounding;
only the order of the work differs:

* shape and pose blend shapes are one matrix product over ``[betas, R - I]``;
* rest joints and bone offsets are linear in the betas, so the joint regressor is applied to the
  shape space once, when the layer is built;
* the kinematic chain runs level by level (8 small products), not joint by joint (23);
* :class:`SMPLJoints` pushes the joint regressor through blend shapes *and* skinning ahead of
  time, so its cost does not depend on the number of vertices.

Buffers are not persistent: no body constant ever ends up in a checkpoint.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from genhmr.body.joints import JointSet
from genhmr.body.kinematics import Kinematics
from genhmr.body.model_files import BodyModelData
from genhmr.body.skinning import linear_blend_skinning, sparse_weights
from genhmr.types import NUM_BETAS, NUM_JOINTS, BodyOutput

# MKL packs a (217, 20670) matrix badly on a CPU; in column tiles the same product takes 0.65x
# the time at B=64 and B=256 and as long as before at B=1 (tiles of 500 to 2000 measure alike).
_COLUMNS_IN_CACHE = 1536


def _rest_joints(data: BodyModelData) -> np.ndarray:
    """Rest joints as an affine function of the betas: (24, 3, 1 + 10), the template first."""
    affine = np.concatenate([data.v_template[..., None], data.shapedirs], axis=-1)
    return np.einsum("jv,vck->jck", data.J_regressor, affine)


def _bone_offsets(rest: np.ndarray, parents: np.ndarray) -> np.ndarray:
    """Joint minus parent, the root unchanged; same shape as ``rest``."""
    offsets = rest.copy()
    offsets[1:] -= rest[parents[1:]]
    return offsets


class SMPL(Kinematics):
    """The full mesh.

    Args:
        data: the body.
        dtype: of the buffers and of the computation (autocast is ignored inside).
    """

    def __init__(self, data: BodyModelData, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(data, dtype)
        rest = _rest_joints(data)
        # Columns: rest joints, then bone offsets, both in level order.
        small = np.concatenate([rest[self.order], _bone_offsets(rest, data.parents)[self.order]])
        self.affine("rest", small.reshape(-1, 1 + NUM_BETAS), dtype)
        # x, y and z planes one after the other: the skinning then works on long rows. The rows of
        # the blend shapes are the body's own memory, by far the largest constant of an evaluation.
        self.constant("blend_bias", torch.from_numpy(data.v_template.T.flatten()).to(dtype))
        blend = torch.from_numpy(data.blend_shapes).to(dtype)
        if dtype == torch.float64:  # a copy; betas at the precision that was asked for
            blend[:NUM_BETAS] = torch.from_numpy(data.shapedirs.transpose(2, 1, 0))
        self.constant("blend_map", blend.flatten(1))
        weights = torch.from_numpy(data.weights[:, self.order].T.copy()).to(dtype)
        self.constant("weights", weights)
        for name, part in zip(("first_bone", "bones", "shares"), sparse_weights(weights)):
            self.constant(name, part)
        self.constant("faces", torch.from_numpy(data.faces))

    def forward(self, pose: Tensor, betas: Tensor, transl: Tensor | None = None) -> BodyOutput:
        """Pose the body.

        Args:
            pose: (B, 24, 3, 3) rotation matrices, ``global_orient`` first.
            betas: (B, 10).
            transl: (B, 3) metres, or None.

        Returns:
            Vertices (B, V, 3) and kinematic joints (B, 24, 3), metres.
        """
        with torch.autocast(pose.device.type, enabled=False):
            pose, betas = pose.to(self.weights.dtype), betas.to(self.weights.dtype)
            rest = torch.addmm(self.rest_bias, betas, self.rest_map)
            rest = rest.view(len(betas), 2, NUM_JOINTS, 3)
            world = self.chain(pose, rest[:, 1])[:, :, :3]
            rotation, joints = world[..., :3], world[..., 3]
            # A skinning transform takes a rest vertex, so the rest joint is subtracted first.
            shift = joints - (rotation @ rest[:, 0, :, :, None])[..., 0]
            transforms = torch.cat((rotation, shift[..., None]), dim=-1)
            shaped = self._blend_shapes(self.features(pose, betas))
            sparse = (self.first_bone, self.bones, self.shares)
            vertices = linear_blend_skinning(shaped, transforms, self.weights, sparse)
            joints = joints[:, self.to_smpl_order]
            if transl is not None:
                vertices, joints = vertices + transl[:, None], joints + transl[:, None]
            return BodyOutput(vertices=vertices, joints=joints)

    def _blend_shapes(self, features: Tensor) -> Tensor:
        """(B, 217) coefficients to rest vertices with both blend shapes, (B, 3, V)."""
        columns = _COLUMNS_IN_CACHE if features.device.type == "cpu" else len(self.blend_bias)
        tiles = zip(self.blend_bias.split(columns), self.blend_map.split(columns, dim=1))
        if torch.is_grad_enabled():
            shaped = torch.cat([torch.addmm(bias, features, part) for bias, part in tiles], dim=1)
        else:  # straight into place, without a copy of what is as large as the mesh
            shaped = features.new_empty(len(features), len(self.blend_bias))
            for target, (bias, part) in zip(shaped.split(columns, dim=1), tiles):
                torch.addmm(bias, features, part, out=target)
        return shaped.view(len(features), 3, len(self.blend_bias) // 3)


class SMPLJoints(Kinematics):
    """Only the joints of a joint set, without ever building the mesh.

    Skinning and the joint regressor are both linear in the vertices, so for joint k and bone j
    the sum over vertices of ``M[k, v] * weights[v, j] * [v_posed, 1]`` is again an affine
    function of ``[betas, R - I]``. It is formed once for the pairs (k, j) that occur, a few
    dozen for any usual set, and each joint is then a sum over its pairs. Exact, not an
    approximation; 2D pose-guided refinement (paper, Section 3.4) runs on this path.

    Args:
        data: the body.
        joint_set: which joints.
        dtype: of the buffers and of the computation (autocast is ignored inside).
    """

    def __init__(
        self, data: BodyModelData, joint_set: JointSet, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__(data, dtype)
        self.joint_set = joint_set
        pairs = [
            (k, position)
            for k, row in enumerate(joint_set.from_vertices)
            for position, bone in enumerate(self.order)
            if (np.abs(row) * data.weights[:, bone]).any()
        ]
        blend = np.concatenate([data.v_template[..., None], data.shapedirs, data.posedirs], -1)
        rest = _rest_joints(data)
        pad = np.zeros((NUM_JOINTS, 3, data.posedirs.shape[-1]))
        rest, offsets = (
            np.concatenate([part, pad], -1) for part in (rest, _bone_offsets(rest, data.parents))
        )
        rows = [offsets[self.order]]
        mass = np.zeros(len(pairs))
        gather = np.zeros((len(joint_set.names), NUM_JOINTS + len(pairs)))
        gather[:, :NUM_JOINTS] = joint_set.from_joints[:, self.order]
        for i, (k, position) in enumerate(pairs):
            bone = self.order[position]
            share = joint_set.from_vertices[k] * data.weights[:, bone]
            used = np.nonzero(share)[0]
            mass[i] = share.sum()
            moment = np.einsum("v,vcl->cl", share[used], blend[used]) - mass[i] * rest[bone]
            rows.append(moment[None])
            gather[k, NUM_JOINTS + i] = 1.0
        self.affine("blend", np.concatenate(rows).reshape(-1, blend.shape[-1]), dtype)
        self.constant("mass", torch.from_numpy(mass).to(dtype)[:, None])
        self.constant("bones", torch.tensor([p for _, p in pairs], dtype=torch.long))
        self.constant("gather", torch.from_numpy(gather).to(dtype))

    def forward(self, pose: Tensor, betas: Tensor, transl: Tensor | None = None) -> Tensor:
        """The joints of the posed body.

        Args:
            pose: (B, 24, 3, 3) rotation matrices, ``global_orient`` first.
            betas: (B, 10).
            transl: (B, 3) metres, or None; added to every joint as it is.

        Returns:
            (B, J, 3) metres.
        """
        with torch.autocast(pose.device.type, enabled=False):
            pose, betas = pose.to(self.gather.dtype), betas.to(self.gather.dtype)
            moments = torch.addmm(self.blend_bias, self.features(pose, betas), self.blend_map)
            moments = moments.view(len(betas), len(self.blend_bias) // 3, 3)
            world = self.chain(pose, moments[:, :NUM_JOINTS])[:, :, :3]
            terms = world[..., 3]
            if len(self.bones):
                bones = world[:, self.bones]
                parts = (bones[..., :3] @ moments[:, NUM_JOINTS:, :, None])[..., 0]
                terms = torch.cat((terms, parts + bones[..., 3] * self.mass), dim=1)
            joints = self.gather @ terms
            return joints if transl is None else joints + transl[:, None]
