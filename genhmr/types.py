"""Frozen dataclasses handed between the rooms of the house.

Conventions used everywhere in the suite:

* Lengths are metres in the model and millimetres in metrics. Angles are radians.
* The camera frame is OpenCV's: x right, y down, z forward. ``global_orient`` and
  ``transl`` are expressed in that frame unless a docstring says "world".
* Rotations between rooms are matrices, (..., 3, 3); axis-angle only on disk.
* Shape letters: B batch, L tokens, K codes, D code width, J joints, V vertices,
  H W image, C channels, T iterations, F frames, N records.
* ``pose`` is (B, 24, 3, 3): index 0 is ``global_orient``, 1..23 are ``body_pose``.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # who plans or prints needs these types and not their libraries
    import numpy as np
    import torch
    from torch import Tensor

NUM_JOINTS = 24
NUM_BETAS = 10
NUM_KEYPOINTS = 25  # BODY_25, the layout of every 2D keypoint in the suite
GENDERS = ("neutral", "male", "female")


class UserError(Exception):
    """Bad input from outside: one clear sentence naming the file and the remedy.

    The command line prints it without a traceback and exits with code 2.
    """


def restore(path: Path, otherwise: str) -> str:
    """How a damaged or missing file comes back, as the end of a sentence.

    Args:
        path: of the file; what lies under ``datasets/open`` is shipped, so git has it.
        otherwise: the remedy for a file from elsewhere.
    """
    parts = Path(path).parts
    for i in range(len(parts) - 1):
        if parts[i : i + 2] == ("datasets", "open"):
            return f"restore it with `git checkout {'/'.join(parts[i : i + 3])}`"
    return otherwise


@dataclass(frozen=True)
class BodyOutput:
    """What a body model returns.

    Attributes:
        vertices: (B, V, 3) metres.
        joints: (B, 24, 3) metres, the kinematic joints of SMPL.
    """

    vertices: Tensor
    joints: Tensor


@dataclass(frozen=True)
class PersonFrame:
    """One person in one image, as a reader yields it; coordinates of the original image.

    Attributes:
        key: unique and stable in the data set, e.g. ``"downtown_walk_00/00017/0"``.
        image: path of the image file.
        center: (2,) float32, centre of the person's box in pixels.
        box_size: side of the square box in pixels, margin already included
            (the set's convention, 1.2x the extent unless its reader says otherwise).
        intrinsics: (3, 3) float32; NaN where the set has no camera.
        pose: (24, 3) float32 axis-angle, root in the camera frame; NaN where unknown.
        betas: (10,) float32; NaN where unknown.
        transl: (3,) float32 metres in the camera frame; NaN where unknown.
        gender: "neutral", "male" or "female": the body of the ground truth.
        keypoints_2d: (25, 3) float32, BODY_25 x, y in pixels and confidence in [0, 1]
            (confidence 0 where unknown).
        joints_3d: (24, 4) float32, SPIN's ``S`` layout (LSP-14 + MPII/H36M), metres in the
            camera frame and a confidence; confidence 0 where the set has none.
    """

    key: str
    image: Path
    center: np.ndarray
    box_size: float
    intrinsics: np.ndarray
    pose: np.ndarray
    betas: np.ndarray
    transl: np.ndarray
    gender: str
    keypoints_2d: np.ndarray
    joints_3d: np.ndarray


@dataclass(frozen=True)
class MotionClip:
    """One motion-capture clip, as a mocap reader yields it.

    Attributes:
        key: unique and stable in the data set, e.g. ``"CMU/01/01_01_poses"``.
        poses: (F, 24, 3) float32 axis-angle, SMPL joints; the root is in the set's world frame.
        trans: (F, 3) float32 metres, world.
        betas: (10,) float32.
        gender: "neutral", "male" or "female".
        fps: frames per second.
        up: the vertical axis of the world frame, "y" or "z".
    """

    key: str
    poses: np.ndarray
    trans: np.ndarray
    betas: np.ndarray
    gender: str
    fps: float
    up: str


def moved(tensor: Tensor, device: torch.device | str) -> Tensor:
    """The tensor on another device; from page-locked memory to a GPU without waiting for it."""
    return tensor.to(device, non_blocking=str(device) != "cpu")


@dataclass(frozen=True)
class CropBatch:
    """Square person crops with their targets, all in the augmented crop's own camera.

    Attributes:
        images: (B, 3, S, S) float32, ImageNet-normalised RGB.
        keypoints_2d: (B, 25, 3) BODY_25; x right and y down in units of the crop side with the
            origin at its centre (so [-0.5, 0.5] is inside), and a confidence.
        pose: (B, 24, 3, 3) rotation matrices, root in the (rotated) crop's camera frame;
            identity where ``has_smpl`` is False.
        betas: (B, 10).
        has_smpl: (B,) bool.
        joints_3d: (B, 24, 4) SPIN layout, metres, rotated with the crop; confidence 0 if absent.
        index: (B,) int64, row in the shard's annotations.
    """

    images: Tensor
    keypoints_2d: Tensor
    pose: Tensor
    betas: Tensor
    has_smpl: Tensor
    joints_3d: Tensor
    index: Tensor

    def to(self, device: torch.device | str) -> "CropBatch":
        """The same batch on another device."""
        return CropBatch(**{f.name: moved(getattr(self, f.name), device) for f in fields(self)})

    def pin_memory(self) -> "CropBatch":
        """The same batch in page-locked memory, from which it moves to a GPU without waiting."""
        return CropBatch(**{f.name: getattr(self, f.name).pin_memory() for f in fields(self)})


@dataclass(frozen=True)
class DenseBatch:
    """Rendered crops with dense labels, for pre-training the backbone.

    Attributes:
        images: (B, S, S, 3) uint8 RGB.
        parts: (B, S, S) uint8, 0 background, 1..24 the SMPL joint that owns the surface point.
        normals: (B, S, S, 3) int8, camera-frame unit normals times 127; 0 on the background.
        keypoints: (B, 25, 3) float32, BODY_25 in pixels of the crop and visibility
            (1 visible, 0.5 occluded, 0 outside the crop).
    """

    images: np.ndarray
    parts: np.ndarray
    normals: np.ndarray
    keypoints: np.ndarray


@dataclass(frozen=True)
class SamplingTrace:
    """Everything uncertainty-guided sampling did, for the tables and Figures 5 and 6.

    Attributes:
        tokens: (B, L) int64, the final tokens.
        masks: (T, B, L) bool, True where the token was [MASK] at the start of iteration t.
        confidences: (T, B, L) float, probability of the token held after iteration t.
        tokens_per_iteration: (T, B, L) int64.
    """

    tokens: Tensor
    masks: Tensor
    confidences: Tensor
    tokens_per_iteration: Tensor


@dataclass(frozen=True)
class RefinementTrace:
    """The path of 2D pose-guided refinement.

    Attributes:
        latents: (B, L, D) after the last step.
        pose: (P+1, B, 24, 3, 3), the pose before the first and after every step.
        cam: (P+1, B, 3), the camera likewise.
        loss: (P, B) the guidance objective before each step.
    """

    latents: Tensor
    pose: Tensor
    cam: Tensor
    loss: Tensor
