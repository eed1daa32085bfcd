"""Convert every source clip and write ``datasets/open/motion``.

The two recordings by CMU come from Debian's ``assimp-testmodels``, the DeepMimic clips from
the ``pybullet`` wheel; see ``datasets/open/motion/README.md``.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from genhmr.types import NUM_BETAS, MotionClip, UserError
from genhmr.world.motion_builder.bvh import read_cmu
from genhmr.world.motion_builder.deepmimic import read_deepmimic
from genhmr.world.poses import Y_UP_TO_Z_UP, turn_world
from genhmr.world.writers.amass import write_amass_clip

FPS = 30.0
DEEPMIMIC_CLIPS = (
    "backflip", "cartwheel", "crawl", "dance_a", "dance_b", "getup_facedown", "getup_faceup",
    "jump", "kick", "punch", "roll", "run", "spin", "spinkick", "walk",
)  # fmt: skip
# Recording -> clip name -> first and last (excluded) frame at 30 fps. 01_03 is cut where the
# subject goes from one activity to the next: stooped climbing, hanging, climbing, swinging.
CMU_CLIPS: dict[str, dict[str, tuple[int, int | None]]] = {
    "01_01": {"01_01": (0, None)},
    "01_03": {
        "01_03_climb_a": (0, 400),
        "01_03_hang": (400, 600),
        "01_03_climb_b": (600, 880),
        "01_03_swing": (880, None),
    },
}


def to_clip(key: str, poses: np.ndarray, pelvis: np.ndarray, rest_pelvis: np.ndarray) -> MotionClip:
    """A z-up clip of the mean body from y-up poses.

    Args:
        key: clip name with its folders.
        poses: (F, 24, 3) axis-angle, y-up.
        pelvis: (F, 3) metres, y-up, the path of joint 0.
        rest_pelvis: (3,) joint 0 of the rest body: ``trans`` moves the body from there.
    """
    poses, pelvis = turn_world(poses, pelvis, Y_UP_TO_Z_UP)
    return MotionClip(
        key=key,
        poses=poses.astype(np.float32),
        trans=(pelvis - rest_pelvis).astype(np.float32),
        betas=np.zeros(NUM_BETAS, np.float32),
        gender="neutral",
        fps=FPS,
        up="z",
    )


def convert(pybullet: Path, bvh: Path, rest_pelvis: np.ndarray) -> list[MotionClip]:
    """All clips of both sources.

    Args:
        pybullet: folder with ``humanoid3d_*.txt``.
        bvh: folder with ``01_01.bvh`` and ``01_03.bvh``.
        rest_pelvis: (3,) joint 0 of the rest body, metres.

    Raises:
        UserError: a source file is missing or broken.
    """
    clips = []
    for name in DEEPMIMIC_CLIPS:
        poses, pelvis = read_deepmimic(pybullet / f"humanoid3d_{name}.txt", FPS)
        key = f"DeepMimic/humanoid3d/{name}_poses"
        clips.append(to_clip(key, poses, pelvis, rest_pelvis))
    for recording, parts in CMU_CLIPS.items():
        poses, pelvis = read_cmu(bvh / f"{recording}.bvh", FPS)
        for name, (first, last) in parts.items():
            key = f"CMU/01/{name}_poses"
            clips.append(to_clip(key, poses[first:last], pelvis[first:last], rest_pelvis))
    return clips


@click.command(help="Convert DeepMimic and CMU clips to the AMASS layout.")
@click.option("--pybullet", type=click.Path(path_type=Path), required=True)
@click.option("--bvh", type=click.Path(path_type=Path), required=True)
@click.option("--body", type=click.Path(path_type=Path), default="datasets/open/body/neutral.npz")
@click.option("--out", type=click.Path(path_type=Path), default="datasets/open/motion")
def main(pybullet: Path, bvh: Path, body: Path, out: Path) -> None:
    """Run the conversion; a :class:`UserError` becomes one line and exit code 2."""
    try:
        with np.load(body) as arrays:
            rest_pelvis = arrays["J_regressor"][0] @ arrays["v_template"]
        for clip in convert(pybullet, bvh, rest_pelvis):
            path = write_amass_clip(clip, out)
            click.echo(f"{path}: {len(clip.poses)} frames")
    except UserError as error:
        click.echo(f"Error: {error}", err=True)
        raise SystemExit(2) from error
