"""The 24 joints of SMPL's kinematic tree, and where they sit among Anny's 104 bones.

Body axes of the finished model, as in SMPL: x towards the body's left, y up, z forwards.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from genhmr.body.joints import SMPL24_FLIP, SMPL24_NAMES

JOINT_NAMES = SMPL24_NAMES
PARENTS = np.array(
    [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21]
)
MIRROR_JOINT = np.array(SMPL24_FLIP)  # an involution, identity on the midline

# SMPL's hip joint centres sit about 0.07 m from the midline and 0.09 m below the pelvis joint;
# Anny's thigh bones start at 0.11 m, level with its root.  The factors below move the joints
# there in proportion to the body, so that tall and broad people keep the relation.
_HIP_WIDTH_FACTOR = 0.68
_PELVIS_RISE_FACTOR = 1.1

_MIDLINE_OWNER = {
    "root": "pelvis", "spine05": "pelvis", "spine04": "pelvis", "spine03": "spine1",
    "spine02": "spine2", "spine01": "spine3", "neck01": "neck", "neck02": "neck",
    "neck03": "neck", "head": "head",
}  # fmt: skip
_SIDE_OWNER = {
    "pelvis": "pelvis", "upperleg01": "{}_hip", "upperleg02": "{}_hip", "lowerleg01": "{}_knee",
    "lowerleg02": "{}_knee", "foot": "{}_ankle", "clavicle": "{}_collar",
    "shoulder01": "{}_collar", "upperarm01": "{}_shoulder", "upperarm02": "{}_shoulder",
    "lowerarm01": "{}_elbow", "lowerarm02": "{}_elbow", "wrist": "{}_wrist",
    "finger1-1": "{}_wrist", "eye": "head",
}  # fmt: skip
_SIDE_PREFIX_OWNER = {"toe": "{}_foot", "metacarpal": "{}_wrist", "finger": "{}_hand"}


def joint_of_bone(bone: str) -> int:
    """The SMPL joint that carries the skin of one Anny bone.

    Args:
        bone: Anny's name, e.g. ``"lowerarm02.L"``.

    Returns:
        Index into ``JOINT_NAMES``.

    Raises:
        KeyError: the bone is not part of Anny's rig.
    """
    base, _, side = bone.partition(".")
    if not side:
        return JOINT_NAMES.index(_MIDLINE_OWNER[base])
    template = _SIDE_OWNER.get(base)
    if template is None:
        template = next(
            (owner for prefix, owner in _SIDE_PREFIX_OWNER.items() if base.startswith(prefix)), None
        )
    if template is None:
        raise KeyError(bone)
    return JOINT_NAMES.index(template.format({"L": "left", "R": "right"}[side]))


def joint_targets(heads: np.ndarray, bones: Sequence[str]) -> np.ndarray:
    """Where the 24 joints belong, given the T-posed heads of Anny's bones.

    Args:
        heads: (N, 104, 3) metres, bone heads in the T-pose.
        bones: the 104 bone names.

    Returns:
        (N, 24, 3) metres.
    """
    index = {name: i for i, name in enumerate(bones)}

    def head(name: str) -> np.ndarray:
        return heads[:, index[name]]

    joints = np.zeros((len(heads), len(JOINT_NAMES), 3))

    def put(name: str, position: np.ndarray) -> None:
        joints[:, JOINT_NAMES.index(name)] = position

    for side, letter in (("left", "L"), ("right", "R")):
        hip = head(f"upperleg01.{letter}").copy()
        hip[:, 0] *= _HIP_WIDTH_FACTOR
        put(f"{side}_hip", hip)
        put(f"{side}_knee", head(f"lowerleg01.{letter}"))
        put(f"{side}_ankle", head(f"foot.{letter}"))
        put(f"{side}_foot", np.mean([head(f"toe{k}-1.{letter}") for k in range(1, 6)], axis=0))
        put(f"{side}_collar",
            0.4 * head(f"clavicle.{letter}") + 0.6 * head(f"shoulder01.{letter}"))
        put(f"{side}_shoulder", head(f"upperarm01.{letter}"))
        put(f"{side}_elbow", head(f"lowerarm01.{letter}"))
        put(f"{side}_wrist", head(f"wrist.{letter}"))
        put(f"{side}_hand", np.mean([head(f"finger{k}-1.{letter}") for k in range(2, 6)], axis=0))

    hips = 0.5 * (head("upperleg01.L") + head("upperleg01.R"))
    pelvis = 0.5 * (head("root") + hips)
    pelvis[:, 1] = hips[:, 1] + _PELVIS_RISE_FACTOR * (head("spine04") - head("root"))[:, 1]
    put("pelvis", pelvis)
    # The spine joints stay near the borders between the skin regions they separate.
    put("spine1", 0.8 * head("spine03") + 0.2 * head("spine02"))
    put("spine2", 0.8 * head("spine02") + 0.2 * head("spine01"))
    put("spine3", head("spine01"))
    put("neck", head("neck01"))
    put("head", head("head"))
    return joints
