"""Training of the pose lifter on motion capture: poses, random cameras, disturbed keypoints.

Every example is made up as it is needed: a pose of the capture before a random camera
(``genhmr.tokenizer.augment``), a random shape, a crop that misses as a detector's box or the
crop augmentation misses, and keypoints as the backbone would read them.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genhmr.tokenizer.augment import augment_poses
from genhmr.train import parallel
from genhmr.train.averaging import WeightAverage
from genhmr.train.checkpoint import load_weights, save_weights
from genhmr.train.loop import ResumableLoop, cosine_lr, set_lr
from genhmr.train.tokenizer import PosePool
from genhmr.transformer.lifter import PoseLifter
from genhmr.transformer.losses import joints_loss, pose_loss
from genhmr.types import NUM_BETAS, UserError

JointsFn = Callable[[Tensor, Tensor], Tensor]
BOX_MARGIN = 1.2  # side of a person's box over the extent of the keypoints
# The rest of a picture that lies outside the cut the backbone sees: 3 columns of 4 are inside.
_ASPECT = 0.75


def view_keypoints(joints: Tensor, generator: torch.Generator) -> Tensor:
    """Projects people into crops that sit about as well as those of a training.

    The distance is 2 to 9 m, since near cameras foreshorten; the crop is scaled by 0.7 to 1.4 and
    moved by up to a fifth of its side, so that some limbs are cut off.

    Args:
        joints: (B, 25, 3) metres, camera axes (x right, y down), any origin.
        generator: CPU generator.

    Returns:
        (B, 25, 2) in crop units.
    """
    draw = torch.rand(len(joints), 4, generator=generator).to(joints)
    middle = joints - joints.mean(1, keepdim=True)
    depth = 2.0 + 7.0 * draw[:, 0].square()
    places = middle[..., :2] / (middle[..., 2:] + depth[:, None, None]).clamp(min=0.3)
    low, high = places.amin(1), places.amax(1)
    scale = torch.exp((draw[:, 1] - 0.5) * math.log(2.0))
    side = BOX_MARGIN * (high - low).amax(1) * scale
    shift = 0.4 * (draw[:, None, 2:] - 0.5) * scale.clamp(max=1.0)[:, None, None]
    return (places - ((low + high) / 2)[:, None]) / side[:, None, None] + shift


def disturb_keypoints(places: Tensor, generator: torch.Generator) -> Tensor:
    """What a small backbone would have read where the keypoints truly are.

    Calibrated on the confidences (probability mass around a heatmap's peak) and errors of the
    open world's backbone: a keypoint read with confidence c is off by a normal error of about
    0.02 exp(3.2 (0.85 - c)) crop sides per axis; what is outside the cut is found at its edge,
    with less confidence.

    Args:
        places: (B, 25, 2) crop units.
        generator: CPU generator.

    Returns:
        (B, 25, 3), places and confidence.
    """
    batch, count = places.shape[:2]
    normal = torch.randn(batch, count, 5, generator=generator).to(places)
    person = torch.randn(batch, 1, generator=generator).to(places)
    edge = places.new_tensor([0.5 * _ASPECT, 0.5])
    seen = places.clamp(-edge, edge)
    outside = (seen != places).any(-1)
    certainty = torch.sigmoid(0.6 + 0.8 * person + 0.8 * normal[..., 0] - 1.5 * outside)
    spread = 0.02 * torch.exp(3.2 * (0.85 - certainty) + 0.3 * normal[..., 1])
    read = (seen + spread[..., None] * normal[..., 2:4]).clamp(-edge, edge)
    return torch.cat([read, certainty[..., None]], -1)


def train_lifter(
    lifter: PoseLifter,
    poses: Sequence[np.ndarray],
    joints_fn: JointsFn,
    scratch: Path,
    steps: int,
    batch_size: int = 128,
    lr: float = 1e-3,
    warmup: int = 100,
    weight_decay: float = 0.01,
    joint_noise: float = 0.1,
    shares: Sequence[float] | None = None,
    ema_decay: float = 0.998,
    seed: int = 0,
    device: torch.device | str = "cpu",
    checkpoint_every: int = 1000,
    log_every: int = 100,
) -> list[dict[str, float]]:
    """Trains ``lifter`` in place; afterwards it holds the averaged weights.

    Interrupted and called again it goes on from its last checkpoint; under torchrun every process
    draws its share of each batch.

    Args:
        lifter: fresh, or to be trained further.
        poses: arrays (N_i, 24, 3) axis-angle, root in an upright camera frame.
        joints_fn: (pose, betas) -> (B, 25, 3) BODY_25 joints in metres.
        scratch: folder of the checkpoint.
        steps: length of the training and of the learning rate's cosine.
        batch_size: poses a step, of all processes.
        lr: peak rate of AdamW.
        warmup: steps of linear warm-up.
        weight_decay: of AdamW.
        joint_noise: radians, see ``augment_poses``.
        shares: how often each array is drawn; None: in proportion to its size.
        ema_decay: of the average of the weights.
        seed: of poses, cameras and noise.
        device: where to train.
        checkpoint_every, log_every: steps.

    Returns:
        The history: ``pose`` and ``joints_3d`` of ``genhmr.transformer.losses``, means since the
        last entry.

    Raises:
        UserError: unusable poses, or a checkpoint of another training.
    """
    pool = PosePool(poses, shares)
    count = parallel.share(batch_size)
    device = torch.device(device)
    lifter.to(device).train()
    optimiser = torch.optim.AdamW(
        lifter.parameters(), lr=lr, weight_decay=weight_decay, fused=device.type == "cuda"
    )
    average = WeightAverage(lifter, ema_decay)
    generator = torch.Generator()
    settings = [len(pool), steps, batch_size, lr, warmup, weight_decay, joint_noise, shares,
                ema_decay, seed, lifter.width]  # fmt: skip
    loop = ResumableLoop(
        Path(scratch) / "lifter.pt",
        steps,
        {"lifter": lifter, "optimiser": optimiser, "average": average},
        every=checkpoint_every,
        title="pose lifter",
        device=device,
        signature=hashlib.sha256(json.dumps(settings).encode()).hexdigest(),
    )
    sums: dict[str, Tensor] = {}
    since = 0
    for step in loop:
        set_lr(optimiser, cosine_lr(step, steps, lr, warmup))
        generator.manual_seed(parallel.stream(seed, step, parallel.rank()))
        pose = augment_poses(pool.draw(count, generator), generator, joint_noise).to(device)
        betas = torch.randn(count, NUM_BETAS, generator=generator).to(device)
        with torch.no_grad():
            target = joints_fn(pose, betas)
            keypoints = disturb_keypoints(view_keypoints(target, generator), generator)
        lifted, _ = lifter(keypoints)
        valid = torch.ones(count, device=device)
        parts = {
            "pose": pose_loss(lifted, pose, valid),
            "joints_3d": joints_loss(joints_fn(lifted, betas), target, valid),
        }
        optimiser.zero_grad(set_to_none=True)
        (parts["pose"] + parts["joints_3d"]).backward()
        parallel.average_gradients(lifter.parameters())
        torch.nn.utils.clip_grad_norm_(lifter.parameters(), 5.0)
        optimiser.step()
        average.update()
        sums = {name: sums.get(name, 0.0) + value.detach() for name, value in parts.items()}
        since += 1
        if (step + 1) % log_every == 0 or step + 1 == steps:
            loop.log(**{name: float(value) / since for name, value in sums.items()})
            sums, since = {}, 0
    average.swap()
    lifter.eval()
    return loop.history


def save_lifter(path: Path, lifter: PoseLifter, about: dict[str, Any]) -> None:
    """Exports a lifter; ``about`` says how it was made."""
    save_weights(path, lifter.state_dict(), {"kind": "lifter", "width": lifter.width, **about})


def load_lifter(path: Path, lifter: PoseLifter) -> None:
    """Copies exported weights into ``lifter``.

    Raises:
        UserError: the file is missing, damaged or of another width.
    """
    tensors, config = load_weights(path)
    try:
        lifter.load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(
            f"{path} holds a lifter of width {config.get('width')} and {lifter.width} is needed: "
            "rerun the stage lifter."
        ) from error
