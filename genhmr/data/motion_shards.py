"""Motion shards: the poses of many clips as arrays that load in one go.

A shard is a folder::

    poses.npy      (N, 24, 3) float32 axis-angle, root in an upright camera frame
    clips.npy      (N,) int32, the clip of each pose
    frames.npy     (N,) int32, the frame of each pose in its clip
    betas.npy      (C, 10) float32, the body shape of each clip
    manifest.json  format version, data set, split, stride, clip keys and genders, sha256

"Upright camera frame" means that the world's up becomes the camera's -y and the heading is
kept: a camera held level, as most cameras are. The world's x axis becomes the camera's x.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from genhmr.data.digest import sha256_of
from genhmr.types import NUM_JOINTS, MotionClip, UserError

FORMAT_VERSION = 1
# World to camera (x right, y down, z forward), per vertical axis of the world.
TO_UPRIGHT_CAMERA = {
    "z": Rotation.from_rotvec([np.pi / 2, 0.0, 0.0]),
    "y": Rotation.from_rotvec([np.pi, 0.0, 0.0]),
}
_ROW_FILES = {
    "poses.npy": (np.float32, (NUM_JOINTS, 3)),
    "clips.npy": (np.int32, ()),
    "frames.npy": (np.int32, ()),
}


def upright_camera_poses(poses: np.ndarray, up: str) -> np.ndarray:
    """Express the roots of world poses in an upright camera frame.

    Args:
        poses: (F, 24, 3) axis-angle.
        up: vertical axis of the world, "y" or "z".

    Returns:
        (F, 24, 3) float32; the root's angle is at most pi.
    """
    turned = np.array(poses, dtype=np.float32)
    root = TO_UPRIGHT_CAMERA[up] * Rotation.from_rotvec(np.asarray(poses[:, 0], np.float64))
    turned[:, 0] = root.as_rotvec()
    return turned


def write_motion_shard(
    clips: Iterable[MotionClip], out: Path, dataset: str, split: str, stride: int = 1
) -> int:
    """Write a shard, clip by clip, whole or not at all; same clips, same bytes.

    Args:
        clips: as a motion reader yields them.
        out: folder of the shard; an older shard there is replaced.
        dataset: name for the manifest.
        split: name for the manifest.
        stride: keep every ``stride``-th frame, from the first.

    Returns:
        Number of poses.

    Raises:
        UserError: no clips, or two clips of the same name.
        ValueError: stride below 1.
    """
    if stride < 1:
        raise ValueError(f"stride must be at least 1, not {stride}")
    building = out.with_name(out.name + ".building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        keys: list[str] = []
        genders: list[str] = []
        betas: list[np.ndarray] = []
        count = 0
        raw = {name: open(building / f"{name}.raw", "wb") for name in _ROW_FILES}
        try:
            for clip in clips:
                poses = upright_camera_poses(clip.poses[::stride], clip.up)
                rows = len(poses)
                frames = np.arange(rows, dtype=np.int32) * stride
                index = np.full(rows, len(keys), np.int32)
                for name, array in zip(_ROW_FILES, (poses, index, frames)):
                    raw[name].write(array.astype(_ROW_FILES[name][0]).tobytes())
                keys.append(clip.key)
                genders.append(clip.gender)
                betas.append(clip.betas.astype(np.float32))
                count += rows
        finally:
            for file in raw.values():
                file.close()
        if not keys or len(set(keys)) != len(keys):
            raise UserError(f"{dataset} {split}: {len(set(keys))} names for {len(keys)} clips.")
        for name, (dtype, shape) in _ROW_FILES.items():
            _finish_npy(building / f"{name}.raw", building / name, dtype, (count, *shape))
        np.save(building / "betas.npy", np.stack(betas))
        manifest = {
            "format_version": FORMAT_VERSION,
            "kind": "motion",
            "dataset": dataset,
            "split": split,
            "stride": stride,
            "count": count,
            "keys": keys,
            "genders": genders,
            "sha256": {n: sha256_of(building / n) for n in (*_ROW_FILES, "betas.npy")},
        }
        text = json.dumps(manifest, indent=1, sort_keys=True)
        (building / "manifest.json").write_text(text + "\n")
        shutil.rmtree(out, ignore_errors=True)
        os.replace(building, out)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return count


class MotionShard:
    """A shard opened for reading.

    Attributes:
        poses: (N, 24, 3) float32 axis-angle, root in an upright camera frame; memory-mapped.
        clips: (N,) int32, row of ``keys`` and ``clip_betas``.
        frames: (N,) int32, frame number in the clip.
        keys: clip names.
        genders: gender of each clip.
        clip_betas: (C, 10) float32.
        manifest: the content of ``manifest.json``.
    """

    def __init__(self, path: Path):
        """Open a shard and verify its checksums.

        Raises:
            UserError: no shard there, one of another format, or changed bytes.
        """
        remedy = "run the data stage again"
        try:
            self.manifest = json.loads((path / "manifest.json").read_text())
            version = (self.manifest["kind"], self.manifest["format_version"])
            sums = self.manifest["sha256"]
            for name in (*_ROW_FILES, "betas.npy"):
                if sums[name] != sha256_of(path / name):
                    raise ValueError(f"{name} does not match its checksum")
            arrays = {
                n.removesuffix(".npy"): np.load(path / n, mmap_mode="r", allow_pickle=False)
                for n in sums
            }
            self.keys = tuple(self.manifest["keys"])
            self.genders = tuple(self.manifest["genders"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is not a whole motion shard ({error}): {remedy}.") from error
        if version != ("motion", FORMAT_VERSION):
            raise UserError(f"{path} has format {version}, which cannot be read here: {remedy}.")
        self.poses, self.clips, self.frames = (arrays[n] for n in ("poses", "clips", "frames"))
        self.clip_betas = arrays["betas"]

    def __len__(self) -> int:
        return len(self.poses)

    @property
    def betas(self) -> np.ndarray:
        """(N, 10) float32, the body shape of every pose."""
        return self.clip_betas[self.clips]


def _finish_npy(raw: Path, path: Path, dtype: type, shape: tuple[int, ...]) -> None:
    """Put the npy header, whose length is known only now, before the rows."""
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    with open(path, "wb") as file, open(raw, "rb") as rows:
        np.lib.format.write_array_header_1_0(file, header)
        shutil.copyfileobj(rows, file)
    raw.unlink()
