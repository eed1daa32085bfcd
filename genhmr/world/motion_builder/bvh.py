"""BVH files of the CMU motion-capture database (cgspeed conversion) to SMPL rotations.

The first frame of a cgspeed BVH is a T-pose. It calibrates the retargeting: whatever a
BVH joint's rotation is in that frame corresponds to the rest pose of SMPL.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from genhmr.types import NUM_JOINTS, UserError
from genhmr.world.motion_builder.retarget import share_arm, share_equally

SMPL_PARENTS = (
    -1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21,
)  # fmt: skip
# SMPL joint -> joint of the CMU skeleton. Neck and collars are shared out below; toes, whose
# single marker is noise, and hands stay at rest.
CMU_JOINTS = {
    0: "Hips", 1: "LeftUpLeg", 2: "RightUpLeg", 3: "LowerBack", 4: "LeftLeg", 5: "RightLeg",
    6: "Spine", 7: "LeftFoot", 8: "RightFoot", 9: "Spine1", 15: "Head", 16: "LeftArm",
    17: "RightArm", 18: "LeftForeArm", 19: "RightForeArm", 20: "LeftHand", 21: "RightHand",
}  # fmt: skip
# cgspeed writes the ASF unit, 1 / 0.45 inch.
CMU_METRES = 0.0254 / 0.45


@dataclass(frozen=True)
class Bvh:
    """A parsed BVH file.

    Attributes:
        names: joint names.
        parents: index of the parent of each joint, -1 for the root.
        rotations: (F, N, 3, 3) local rotation matrices.
        positions: (F, 3) root position in the file's unit.
        frame_time: seconds.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    rotations: np.ndarray
    positions: np.ndarray
    frame_time: float

    def global_rotations(self) -> np.ndarray:
        """(F, N, 3, 3) rotations from joint frames to the world."""
        world = np.empty_like(self.rotations)
        for j, parent in enumerate(self.parents):
            local = self.rotations[:, j]
            world[:, j] = local if parent < 0 else world[:, parent] @ local
        return world


def read_bvh(path: Path) -> Bvh:
    """Parse a BVH file whose root has position channels and whose joints have rotations.

    Raises:
        UserError: the file is not BVH or its frames are incomplete.
    """
    names: list[str] = []
    parents: list[int] = []
    channels: list[list[str]] = []
    stack: list[int] = []
    opened = -1  # the joint whose brace comes next; an end site counts as its parent
    try:
        lines = iter(path.read_text().splitlines())
        for line in lines:
            word, *rest = line.split() or [""]
            if word in ("ROOT", "JOINT"):
                names.append(rest[0])
                parents.append(stack[-1] if stack else -1)
                channels.append([])
                opened = len(names) - 1
            elif word == "{":
                stack.append(opened)
            elif word == "}":
                stack.pop()
            elif word == "CHANNELS":
                channels[stack[-1]] = rest[1:]
            elif word == "MOTION":
                break
        num_frames = int(next(lines).split()[-1])
        frame_time = float(next(lines).split()[-1])
        values = np.array([line.split() for line in lines if line.strip()], dtype=np.float64)
        if values.shape != (num_frames, sum(map(len, channels))) or not num_frames:
            raise ValueError(f"{values.shape} numbers for {num_frames} frames")
    except (OSError, ValueError, IndexError, StopIteration) as error:
        raise UserError(f"{path} is not a complete BVH file ({error!r}).") from error
    rotations = np.tile(np.eye(3), (num_frames, len(names), 1, 1))
    positions = np.zeros((num_frames, 3))
    column = 0
    for j, joint_channels in enumerate(channels):
        order = ""
        columns = []
        for channel in joint_channels:
            if channel.endswith("rotation"):
                order += channel[0]  # upper case: intrinsic, as BVH composes them
                columns.append(column)
            elif parents[j] < 0:
                positions[:, "XYZ".index(channel[0])] = values[:, column]
            column += 1
        if order:
            rotations[:, j] = Rotation.from_euler(order, values[:, columns], True).as_matrix()
    return Bvh(tuple(names), tuple(parents), rotations, positions, frame_time)


def read_cmu(path: Path, fps: float = 30.0) -> tuple[np.ndarray, np.ndarray]:
    """Read one cgspeed BVH as SMPL pose, calibrated by its T-pose frame, which is dropped.

    Args:
        path: a BVH file with the CMU skeleton.
        fps: frame rate of the result; frames are taken at the nearest whole step.

    Returns:
        (F, 24, 3) axis-angle with the root in a y-up world, and the pelvis (F, 3) in metres.

    Raises:
        UserError: not BVH, or not the CMU skeleton.
    """
    bvh = read_bvh(path)
    missing = sorted(set(CMU_JOINTS.values()) - set(bvh.names))
    if missing:
        raise UserError(f"{path} does not have the CMU skeleton: no joint {missing[0]}.")
    columns = [bvh.names.index(name) for name in CMU_JOINTS.values()]
    step = max(1, round(1.0 / (bvh.frame_time * fps)))
    world = bvh.global_rotations()[:, columns]
    calibrated = world[1::step] @ world[0].transpose(0, 2, 1)
    smpl = dict(zip(CMU_JOINTS, calibrated.transpose(1, 0, 2, 3)))

    def relative(parent: int, child: int) -> np.ndarray:
        return smpl[parent].transpose(0, 2, 1) @ smpl[child]

    local = np.tile(np.eye(3), (len(calibrated), NUM_JOINTS, 1, 1))
    local[:, 0] = smpl[0]
    for j in CMU_JOINTS.keys() - {0, 15, 16, 17}:
        local[:, j] = relative(SMPL_PARENTS[j], j)
    local[:, [12, 15]] = share_equally(relative(9, 15), 2)[:, None]
    for collar, shoulder, outward in ((13, 16, 1.0), (14, 17, -1.0)):
        local[:, collar], local[:, shoulder] = share_arm(relative(9, shoulder), outward)
    poses = Rotation.from_matrix(local.reshape(-1, 3, 3)).as_rotvec()
    return poses.reshape(len(local), NUM_JOINTS, 3), bvh.positions[1::step] * CMU_METRES
