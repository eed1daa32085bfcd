"""Symmetric edge-collapse simplification of a closed mesh to an exact vertex count.

Quadric error metrics after Garland & Heckbert (1997), restricted to half-edge collapses: a
vertex is only ever merged *onto* a neighbour, so every kept vertex is a vertex of the source
and blend shapes and skinning weights stay plain row selections.  A collapse and its mirror
image are done together or not at all, which keeps the mesh exactly symmetric.
"""

from __future__ import annotations

import heapq

import numpy as np

_MIN_COSINE = 0.3  # a collapse must not turn a triangle further than this
_MIN_SLIVER = 0.02  # double area over squared longest edge, below which a triangle is a sliver
_CAVITY_WEIGHT = 1e-4  # hidden pockets are emptied first
_NEVER = 1e6  # cost of pulling the visible skin into a pocket
_EDGE_WEIGHT = 1e-2  # squared length against quadric error (in mm^2-like units)


def decimate(
    vertices: np.ndarray,
    faces: np.ndarray,
    target: int,
    mirror: np.ndarray,
    importance: np.ndarray | None = None,
    cavity: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Simplify a closed, mirror-symmetric triangle mesh.

    Args:
        vertices: (N, 3) positions; vertices that no face uses are ignored.
        faces: (T, 3) triangles of a closed manifold.
        target: number of vertices to keep.
        mirror: (N,) index of the mirrored vertex, itself on the midline.
        importance: (N,) weight of the error at each vertex, 1 by default.
        cavity: (N,) bool, vertices that nobody sees; collapsed first.

    Returns:
        (target,) indices of the kept vertices, ascending, and the new faces over them.

    Raises:
        ValueError: no legal collapse is left before the target is reached.
    """
    mesh = _CollapseMesh(
        np.asarray(vertices, np.float64),
        np.asarray(faces, np.int64),
        mirror,
        np.ones(len(vertices)) if importance is None else importance,
        np.zeros(len(vertices), bool) if cavity is None else cavity,
    )
    while mesh.count > target:
        mesh.collapse_next(budget=mesh.count - target)
    return mesh.result()


class _CollapseMesh:
    """Adjacency, quadrics and the queue of candidate collapses."""

    def __init__(self, vertices, faces, mirror, importance, cavity):
        n = len(vertices)
        self.vertices, self.faces, self.mirror = vertices, faces.copy(), mirror
        self.importance, self.cavity = importance, cavity
        self.homogeneous = np.concatenate([vertices, np.ones((n, 1))], axis=1)
        self.neighbours = [set() for _ in range(n)]
        self.incident = [set() for _ in range(n)]
        for face, (a, b, c) in enumerate(faces.tolist()):
            for u, v, w in ((a, b, c), (b, c, a), (c, a, b)):
                self.neighbours[u] |= {v, w}
                self.incident[u].add(face)
        self.alive_face = np.ones(len(faces), bool)
        self.alive = np.zeros(n, bool)
        self.alive[np.unique(faces)] = True
        self.count = int(self.alive.sum())
        self.quadrics = self._initial_quadrics()
        self.version = np.zeros(n, np.int64)
        self.queue: list[tuple] = []
        for u in np.flatnonzero(self.alive).tolist():
            for v in sorted(self.neighbours[u]):
                self._push(u, v)

    def _initial_quadrics(self) -> np.ndarray:
        a, b, c = (self.vertices[self.faces[:, k]] for k in range(3))
        normal = np.cross(b - a, c - a)
        area = np.linalg.norm(normal, axis=1, keepdims=True)
        normal = normal / np.maximum(area, 1e-12)
        plane = np.concatenate([normal, -(normal * a).sum(1, keepdims=True)], axis=1)
        outer = plane[:, :, None] * plane[:, None, :] * area[:, :, None]
        quadrics = np.zeros((len(self.vertices), 4, 4))
        for k in range(3):
            np.add.at(quadrics, self.faces[:, k], outer)
        quadrics *= self.importance[:, None, None]
        quadrics[self.cavity] *= 1e-6
        return quadrics

    def _push(self, u: int, v: int) -> None:
        # The midline may only collapse along itself.
        if self.mirror[u] == u and self.mirror[v] != v:
            return
        heapq.heappush(
            self.queue, (self._cost(u, v), u, v, int(self.version[u]), int(self.version[v]))
        )

    def _cost(self, u: int, v: int) -> float:
        if self.cavity[v] and not self.cavity[u]:
            return _NEVER
        x = self.homogeneous[v]
        error = float(x @ (self.quadrics[u] + self.quadrics[v]) @ x)
        length = float(np.sum((self.vertices[u] - self.vertices[v]) ** 2))
        scale = _CAVITY_WEIGHT if self.cavity[u] else 1.0
        return 1e6 * error + scale * _EDGE_WEIGHT * length * float(self.importance[u])

    def _legal(self, u: int, v: int) -> bool:
        """Keeps the surface a closed manifold (link condition) without flips or slivers."""
        if self.count <= 4 or len(self.neighbours[u] & self.neighbours[v]) != 2:
            return False  # a tetrahedron is the smallest closed surface
        if self.cavity[u]:
            return True
        for face in self.incident[u]:
            corners = self.faces[face].tolist()
            if v in corners:
                continue
            old = [self.vertices[x] for x in corners]
            new = [self.vertices[v] if x == u else self.vertices[x] for x in corners]
            n_old = np.cross(old[1] - old[0], old[2] - old[0])
            n_new = np.cross(new[1] - new[0], new[2] - new[0])
            size_old, size_new = np.linalg.norm(n_old), np.linalg.norm(n_new)
            if size_new < 1e-12 or n_old @ n_new < _MIN_COSINE * size_old * size_new:
                return False
            longest = max(float(np.sum((new[i] - new[i - 1]) ** 2)) for i in range(3))
            if size_new < _MIN_SLIVER * longest:
                return False
        return True

    def _snapshot(self, u: int, v: int) -> dict:
        touched = self.neighbours[u] | {u, v}
        return {
            "sets": {x: (set(self.neighbours[x]), set(self.incident[x])) for x in touched},
            "faces": {f: self.faces[f].copy() for f in self.incident[u]},
            "quadric": self.quadrics[v].copy(),
            "uv": (u, v),
        }

    def _restore(self, snapshot: dict) -> None:
        for x, (neighbours, incident) in snapshot["sets"].items():
            self.neighbours[x], self.incident[x] = neighbours, incident
        for face, corners in snapshot["faces"].items():
            self.faces[face], self.alive_face[face] = corners, True
        u, v = snapshot["uv"]
        self.quadrics[v], self.alive[u] = snapshot["quadric"], True
        self.count += 1

    def _collapse(self, u: int, v: int) -> None:
        for face in list(self.incident[u]):
            corners = self.faces[face].tolist()
            if v in corners:
                for x in corners:
                    self.incident[x].discard(face)
                self.alive_face[face] = False
            else:
                self.faces[face] = [v if x == u else x for x in corners]
                self.incident[v].add(face)
        for x in self.neighbours[u]:
            self.neighbours[x].discard(u)
            if x != v:
                self.neighbours[x].add(v)
                self.neighbours[v].add(x)
        self.quadrics[v] += self.quadrics[u]
        self.alive[u] = False
        self.count -= 1

    def _refresh(self, v: int) -> None:
        around = sorted(self.neighbours[v])
        for x in [*around, v]:
            self.version[x] += 1
        for x in around:
            for y in sorted(self.neighbours[x]):
                self._push(x, y)
                if y == v:
                    self._push(v, x)

    def collapse_next(self, budget: int) -> None:
        """Try the cheapest candidate; do it and its mirror image if both are legal."""
        if not self.queue:
            raise ValueError(f"no legal collapse left at {self.count} vertices")
        _, u, v, version_u, version_v = heapq.heappop(self.queue)
        stale = self.version[u] != version_u or self.version[v] != version_v
        if stale or not (self.alive[u] and self.alive[v]) or v not in self.neighbours[u]:
            return
        twin_u, twin_v = int(self.mirror[u]), int(self.mirror[v])
        if twin_u == u:
            if self._legal(u, v):
                self._collapse(u, v)
                self._refresh(v)
            return
        if budget < 2 or twin_u == v or twin_u in self.neighbours[u]:
            return
        if not (self.alive[twin_u] and self.alive[twin_v] and self._legal(u, v)):
            return
        snapshot = self._snapshot(u, v)
        self._collapse(u, v)
        if twin_v in self.neighbours[twin_u] and self._legal(twin_u, twin_v):
            self._collapse(twin_u, twin_v)
            self._refresh(v)
            if twin_v != v:
                self._refresh(twin_v)
        else:
            self._restore(snapshot)

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        kept = np.flatnonzero(self.alive)
        renumber = np.full(len(self.vertices), -1)
        renumber[kept] = np.arange(len(kept))
        return kept, renumber[self.faces[self.alive_face]]
