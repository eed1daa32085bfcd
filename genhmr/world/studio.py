"""What every role needs to take pictures, made once per process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genhmr.body import Bodies
from genhmr.types import GENDERS, MotionClip

from .blocks import block_generator
from .motion import TRAIN_MIXES, PoseSource, load_clips, load_split
from .people import Wardrobe, make_wardrobes
from .takes import clips_of_role
from .textures import texture_bank

# Places of the roles and splits in the tree of random numbers.
LAB, PHOTO, WILD, EXTREME, WEB, SYNTH = 10, 11, 12, 13, 14, 15
SPLIT_NUMBER = {"train": 0, "val": 1, "test": 2}


@dataclass(frozen=True)
class Studio:
    """Bodies, motion and textures.

    Attributes:
        wardrobes: by gender, of the genders that appear.
        clips: all recorded clips by key.
        split: from `genhmr.world.motion.load_split`.
        textures: (T, 128, 128) the texture bank.
        seed: of the data set.
    """

    wardrobes: Mapping[str, Wardrobe]
    clips: Mapping[str, MotionClip]
    split: Mapping
    textures: np.ndarray
    seed: int

    def clips_of(self, role: str, split: str) -> list[MotionClip]:
        """The recorded clips of a role in a split."""
        return clips_of_role(self.clips, self.split, role, split)

    def poses_of(self, role: str, split: str) -> PoseSource:
        """Random single poses of a role in a split; augmented if it is "train"."""
        mix = TRAIN_MIXES[role] if split == "train" else None
        return PoseSource(self.clips_of(role, split), mix)

    def generator(self, *path: int) -> np.random.Generator:
        """The random numbers of one block, whichever process works on it."""
        return block_generator(self.seed, 1, *path)


def open_studio(
    bodies: Bodies, motion: Path, seed: int, genders: Sequence[str] = GENDERS
) -> Studio:
    """Load and prepare.

    Args:
        bodies: the three bodies.
        motion: folder of the clips and their split.
        seed: of the data set.
        genders: of the bodies that will appear.

    Raises:
        UserError: motion files are missing or broken.
    """
    textures = texture_bank(block_generator(seed, 0))
    wardrobes = make_wardrobes(bodies, genders)
    return Studio(wardrobes, load_clips(motion), load_split(motion), textures, seed)
