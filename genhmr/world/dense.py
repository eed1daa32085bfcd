"""Write a pre-training set of rendered crops as memory-mappable arrays.

Layout: ``images.npy`` (N, S, S, 3) uint8, ``parts.npy`` (N, S, S) uint8, ``normals.npy``
(N, S, S, 3) int8, ``keypoints.npy`` (N, 25, 3) float32 as in `genhmr.types.DenseBatch`, and
``manifest.json``. Poses come from training clips only. The same seed gives the same bytes with
any number of processes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np

from genhmr.body import Bodies, load_bodies
from genhmr.cores import usable_cores

from .blocks import block_generator, run_blocks
from .dense_crops import render_dense
from .motion import PoseSource, load_clips
from .people import make_wardrobes, sample_betas
from .textures import texture_bank

__all__ = ["dense_dataset", "render_dense"]

_BLOCK = 64
_VERSION = 1
_ROLES = ("open-lab", "open-wild", "open-extreme", "open-photo")
_SHAPES = {
    "images": ((3,), "uint8"), "parts": ((), "uint8"), "normals": ((3,), "int8")
}  # fmt: skip


def dense_dataset(
    out: Path,
    count: int,
    size: int = 64,
    seed: int = 0,
    workers: int | None = None,
    body: Path = Path("datasets/open/body"),
    motion: Path = Path("datasets/open/motion"),
) -> None:
    """Render ``count`` labelled crops of training poses into the folder ``out``.

    Args:
        out: folder to make; an existing one is replaced once the new one is complete.
        count: N, number of crops.
        size: S, side of the crops in pixels.
        seed: of everything.
        workers: processes; None for one a core.
        body: folder of the body files.
        motion: folder of the motion clips and their split.

    Raises:
        UserError: body or motion files are missing or broken.
    """
    load_clips(motion)  # reports bad input before anything is written
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, (tail, dtype) in _SHAPES.items():
        _create(partial / f"{name}.npy", (count, size, size, *tail), dtype)
    _create(partial / "keypoints.npy", (count, 25, 3), "float32")
    starts = range(0, count, _BLOCK)
    sizes = [min(_BLOCK, count - start) for start in starts]
    blocks = [(partial, start, n, size, seed) for start, n in zip(starts, sizes)]
    shared = (load_bodies(body), motion, seed)
    processes = workers or usable_cores()
    for _ in run_blocks(_render_block, blocks, sizes, _open_tools, shared, processes,
                        "render pre-training crops"):
        pass
    names = [f"{name}.npy" for name in (*_SHAPES, "keypoints")]
    manifest = {
        "format": "genhmr-dense", "version": _VERSION, "count": count, "size": size,
        "seed": seed, "sha256": {name: _sha256(partial / name) for name in names},
    }  # fmt: skip
    (partial / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)


def _open_tools(bodies: Bodies, motion: Path, seed: int):
    sources = [PoseSource.for_role(motion, role, "train") for role in _ROLES]
    return make_wardrobes(bodies), sources, texture_bank(block_generator(seed, 0))


def _render_block(tools, folder: Path, start: int, n: int, size: int, seed: int) -> None:
    wardrobes, sources, textures = tools
    rng = block_generator(seed, 1, start)
    counts = np.bincount(rng.integers(0, len(sources), n), minlength=len(sources))
    poses = np.concatenate([source.sample(int(k), rng) for source, k in zip(sources, counts)])
    poses = poses[rng.permutation(n)]
    batch = render_dense(wardrobes, poses, sample_betas(n, rng), textures, rng, size)
    for name in (*_SHAPES, "keypoints"):
        array = np.load(folder / f"{name}.npy", mmap_mode="r+")
        array[start : start + n] = getattr(batch, name)
        array.flush()


def _create(path: Path, shape: tuple[int, ...], dtype: str) -> None:
    np.lib.format.open_memmap(path, "w+", dtype, shape).flush()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
