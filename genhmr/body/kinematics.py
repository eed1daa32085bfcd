"""The kinematic chain of SMPL, level by level, and the constants a body layer keeps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from genhmr.body.model_files import BodyModelData
from genhmr.types import NUM_JOINTS


@dataclass(frozen=True)
class _Level:
    """Joints of equal depth: where they and their parents stand in the level-ordered list."""

    start: int
    stop: int
    parents: slice | Tensor  # positions within the previous level


def _levels(parents: np.ndarray) -> tuple[list[int], list[_Level]]:
    """Sort the tree by depth.

    Returns:
        The joint of every position in level order, and the levels below the root.
    """
    depth = np.zeros(len(parents), dtype=int)
    for joint in range(1, len(parents)):
        depth[joint] = depth[parents[joint]] + 1
    order: list[int] = [0]
    levels: list[_Level] = []
    previous = [0]
    for d in range(1, depth.max() + 1):
        joints = [int(j) for j in np.nonzero(depth == d)[0]]
        positions = [previous.index(int(parents[j])) for j in joints]
        run = list(range(positions[0], positions[0] + len(positions)))
        # A run of neighbours is a view; anything else has to be gathered.
        where = slice(run[0], run[-1] + 1) if positions == run else torch.tensor(positions)
        levels.append(_Level(len(order), len(order) + len(joints), where))
        order += joints
        previous = joints
    return order, levels


class Kinematics(nn.Module):
    """What mesh and joints share: the blend-shape input and the kinematic chain."""

    def __init__(self, data: BodyModelData, dtype: torch.dtype) -> None:
        super().__init__()
        order, levels = _levels(data.parents)
        self.order, self._levels = order, levels
        for i, level in enumerate(levels):  # buffers, so that they follow the layer to its device
            if isinstance(level.parents, Tensor):
                self.constant(f"parents_{i}", level.parents)
        position = np.argsort(order)
        self.constant("to_smpl_order", torch.from_numpy(position))
        self.constant("to_level_order", torch.tensor(order))
        self.constant("identity", torch.eye(3, dtype=dtype))
        bottom = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=dtype)
        self.constant("bottom", bottom.expand(1, NUM_JOINTS, 1, 4).clone())

    def constant(self, name: str, value: Tensor) -> None:
        """Keep a tensor that moves with the layer and stays out of checkpoints."""
        self.register_buffer(name, value.contiguous(), persistent=False)

    def features(self, pose: Tensor, betas: Tensor) -> Tensor:
        """(B, 24, 3, 3) and (B, 10) to the blend-shape coefficients [betas, R - I], (B, 217)."""
        return torch.cat((betas, (pose[:, 1:] - self.identity).flatten(1)), dim=1)

    def chain(self, pose: Tensor, offsets: Tensor) -> Tensor:
        """Forward kinematics.

        Args:
            pose: (B, 24, 3, 3), SMPL order.
            offsets: (B, 24, 3) joint minus parent at rest, level order (the root: its place).

        Returns:
            (B, 24, 4, 4) world transforms of the joints, level order.
        """
        local = torch.cat((pose[:, self.to_level_order], offsets[..., None]), dim=-1)
        local = torch.cat((local, self.bottom.expand(len(pose), -1, -1, -1)), dim=-2)
        world = [local[:, :1]]
        for i, level in enumerate(self._levels):
            run = isinstance(level.parents, slice)
            parents = level.parents if run else getattr(self, f"parents_{i}")
            world.append(world[-1][:, parents] @ local[:, level.start : level.stop])
        return torch.cat(world, dim=1)

    def affine(self, name: str, rows: np.ndarray, dtype: torch.dtype) -> None:
        """Keep (N, 1 + C) rows as ``<name>_bias`` (N,) and ``<name>_map`` (C, N) for addmm."""
        table = torch.from_numpy(np.ascontiguousarray(rows.T)).to(dtype)
        self.constant(f"{name}_bias", table[0].clone())
        self.constant(f"{name}_map", table[1:].clone())
