"""Which rotations the tokenizer's networks see, and the order in which they see the joints.

``"global"`` (default): every joint by its orientation in the camera frame, the product of SMPL's
rotations from the root down. ``"local"``: SMPL's own rotations relative to the parent. ``"trunk"``:
trunk, shoulders and hips as in "global", the limbs as in "local". The maps between them are exact.

With local rotations two root tokens alone hold the heading of the whole body, and errors add up
along limbs; with global ones all tokens tell the heading together, and a token says how a limb
stands in the picture, which an image shows without knowing the root.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genhmr.constants import indices
from genhmr.types import NUM_JOINTS

FRAMES = {
    "local": (0,),
    "trunk": (0, 1, 2, 3, 6, 9, 12, 13, 14, 15, 16, 17),
    "global": tuple(range(24)),
}
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
# Left foot up to the pelvis, down to the right foot; spine to head; left arm; right arm.
CHAIN_ORDER = (
    (10, 7, 4, 1, 0, 2, 5, 8, 11)
    + (3, 6, 9, 12, 15)
    + (13, 16, 18, 20, 22)
    + (14, 17, 19, 21, 23)
)


def local_to_global(rotations: Tensor) -> Tensor:
    """Rotation of every joint relative to its parent -> relative to the frame of the root's parent.

    Args:
        rotations: (..., 24, 3, 3), index 0 is ``global_orient``.
    """
    world: list[Tensor] = [rotations[..., 0, :, :]]
    for joint in range(1, NUM_JOINTS):
        world.append(world[PARENTS[joint]] @ rotations[..., joint, :, :])
    return torch.stack(world, dim=-3)


def local_to_frames(pose: Tensor, absolute: tuple[int, ...]) -> Tensor:
    """SMPL pose -> the rotations the networks see.

    Args:
        pose: (B, 24, 3, 3).
        absolute: joints that are described in the camera frame; the others keep SMPL's rotation
            relative to the parent. Closed under "parent of".

    Returns:
        (B, 24, 3, 3).
    """
    with torch.autocast(pose.device.type, enabled=False):
        chosen = indices(absolute, pose.device)
        frames = pose.clone()
        frames[:, chosen] = local_to_global(pose)[:, chosen]
        return frames


def frames_to_local(frames: Tensor, absolute: tuple[int, ...]) -> Tensor:
    """Inverse of :func:`local_to_frames`; one batched product, no chain."""
    with torch.autocast(frames.device.type, enabled=False):
        known = tuple(joint for joint in absolute if joint != 0)
        joints = indices(known, frames.device)
        parents = frames[:, indices(tuple(PARENTS[joint] for joint in known), frames.device)]
        pose = frames.clone()
        pose[:, joints] = parents.transpose(-1, -2) @ frames[:, joints]
        return pose
