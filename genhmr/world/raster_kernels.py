"""The compiled loops of the renderer; see `genhmr.world.render` for the recipe and conventions."""

from __future__ import annotations

import numpy as np

from .kernels import kernel

NEAR = 0.05  # metres; a triangle that reaches nearer is dropped, not clipped


@kernel
def vertex_normals(vertices, faces):
    """Area-weighted unit normals, (V, 3) float32."""
    normals = np.zeros_like(vertices)
    for t in range(faces.shape[0]):
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        ux = vertices[b, 0] - vertices[a, 0]
        uy = vertices[b, 1] - vertices[a, 1]
        uz = vertices[b, 2] - vertices[a, 2]
        wx = vertices[c, 0] - vertices[a, 0]
        wy = vertices[c, 1] - vertices[a, 1]
        wz = vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx
        for k in (a, b, c):
            normals[k, 0] += nx
            normals[k, 1] += ny
            normals[k, 2] += nz
    for i in range(normals.shape[0]):
        x, y, z = normals[i, 0], normals[i, 1], normals[i, 2]
        scale = np.float32(1.0) / (np.sqrt(x * x + y * y + z * z) + np.float32(1e-12))
        normals[i, 0] = x * scale
        normals[i, 1] = y * scale
        normals[i, 2] = z * scale
    return normals


@kernel
def project(vertices, matrix, samples):
    """Screen position in samples and inverse depth, (V, 3) float32; inverse depth 0 if too near."""
    screen = np.empty((vertices.shape[0], 3), np.float32)
    for i in range(vertices.shape[0]):
        x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        if z < NEAR:
            screen[i, 0] = 0.0
            screen[i, 1] = 0.0
            screen[i, 2] = 0.0
            continue
        w = 1.0 / z
        screen[i, 0] = samples * ((matrix[0, 0] * x + matrix[0, 1] * y) * w + matrix[0, 2])
        screen[i, 1] = samples * ((matrix[1, 0] * x + matrix[1, 1] * y) * w + matrix[1, 2])
        screen[i, 2] = w
    return screen


@kernel
def fill(screen, faces, inverse_depth, face):
    """Draw the faces into the buffers in place; a nearer surface wins."""
    height, width = face.shape
    for t in range(faces.shape[0]):
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        za, zb, zc = screen[a, 2], screen[b, 2], screen[c, 2]
        if za == 0 or zb == 0 or zc == 0:
            continue
        ax, ay = np.float64(screen[a, 0]), np.float64(screen[a, 1])
        bx, by = np.float64(screen[b, 0]), np.float64(screen[b, 1])
        cx, cy = np.float64(screen[c, 0]), np.float64(screen[c, 1])
        # y points down, so an outward counter-clockwise face has a negative signed area.
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area >= 0:
            continue
        left = max(0, int(np.ceil(min(ax, bx, cx) - 0.5)))
        right = min(width - 1, int(np.floor(max(ax, bx, cx) - 0.5)))
        top = max(0, int(np.ceil(min(ay, by, cy) - 0.5)))
        bottom = min(height - 1, int(np.floor(max(ay, by, cy) - 0.5)))
        if right < left or bottom < top:
            continue
        scale = 1.0 / area
        step_b = (cy - ay) * scale
        step_c = (ay - by) * scale
        for y in range(top, bottom + 1):
            dy = y + 0.5 - ay
            dx = left + 0.5 - ax
            wb = (dx * (cy - ay) - dy * (cx - ax)) * scale
            wc = (dy * (bx - ax) - dx * (by - ay)) * scale
            for x in range(left, right + 1):
                if wb >= 0 and wc >= 0 and wb + wc <= 1:
                    w = np.float32(za + wb * (zb - za) + wc * (zc - za))
                    if w > inverse_depth[y, x]:
                        inverse_depth[y, x] = w
                        face[y, x] = t
                wb += step_b
                wc += step_c


@kernel
def merge(near, face, near_added, face_added, first_face):
    """Keep the nearer of two buffers in the first, in place; added faces count from first_face.

    Returns the number of samples that the added buffer covers by itself.
    """
    covered = 0
    for y in range(face.shape[0]):
        for x in range(face.shape[1]):
            if face_added[y, x] >= 0:
                covered += 1
                if near_added[y, x] > near[y, x]:
                    near[y, x] = near_added[y, x]
                    face[y, x] = first_face + face_added[y, x]
    return covered


@kernel
def count_between(face, first, last):
    """Number of samples whose face index is in [first, last)."""
    count = 0
    for y in range(face.shape[0]):
        for x in range(face.shape[1]):
            if first <= face[y, x] < last:
                count += 1
    return count


@kernel
def surface(near, face, depth, full):
    """Depth of the nearest surface in pixels that are half covered, and which are covered whole."""
    samples = face.shape[0] // depth.shape[0]
    for y in range(depth.shape[0]):
        for x in range(depth.shape[1]):
            covered, nearest = 0, np.float32(0)
            for j in range(y * samples, (y + 1) * samples):
                for i in range(x * samples, (x + 1) * samples):
                    if face[j, i] >= 0:
                        covered += 1
                        nearest = max(nearest, near[j, i])
            if covered > 0 and 2 * covered >= samples * samples:
                depth[y, x] = np.float32(1) / nearest
            full[y, x] = covered == samples * samples


@kernel
def resolve(near, face, screen, faces, normals, albedo, parts, light, image, label, normal):
    """Shade the samples and average them over the pixels of ``image``, in place.

    ``light`` rows: direction to the sun, up, sun colour, sky colour, ground colour.
    """
    height, width = label.shape
    samples = face.shape[0] // height
    share = np.float32(1.0 / (samples * samples))
    for y in range(height):
        for x in range(width):
            covered = 0
            red, green, blue = np.float32(0), np.float32(0), np.float32(0)
            sx, sy, sz = np.float32(0), np.float32(0), np.float32(0)
            nearest = np.float32(0)
            owner = 0
            for j in range(y * samples, (y + 1) * samples):
                for i in range(x * samples, (x + 1) * samples):
                    t = face[j, i]
                    if t < 0:
                        continue
                    covered += 1
                    a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
                    ax, ay, bx, by = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1]
                    ux, uy, vx, vy = bx - ax, by - ay, screen[c, 0] - ax, screen[c, 1] - ay
                    dx, dy = np.float32(i + 0.5) - ax, np.float32(j + 0.5) - ay
                    area = ux * vy - uy * vx
                    wb = (dx * vy - dy * vx) / area
                    wc = (dy * ux - dx * uy) / area
                    # Screen weights times inverse depth, normalised: weights on the surface.
                    wa = (np.float32(1) - wb - wc) * screen[a, 2]
                    wb = wb * screen[b, 2]
                    wc = wc * screen[c, 2]
                    total = np.float32(1) / (wa + wb + wc)
                    wa, wb, wc = wa * total, wb * total, wc * total
                    nx = wa * normals[a, 0] + wb * normals[b, 0] + wc * normals[c, 0]
                    ny = wa * normals[a, 1] + wb * normals[b, 1] + wc * normals[c, 1]
                    nz = wa * normals[a, 2] + wb * normals[b, 2] + wc * normals[c, 2]
                    unit = np.float32(1) / (np.sqrt(nx * nx + ny * ny + nz * nz) + np.float32(1e-9))
                    nx, ny, nz = nx * unit, ny * unit, nz * unit
                    sx, sy, sz = sx + nx, sy + ny, sz + nz
                    sun = nx * light[0, 0] + ny * light[0, 1] + nz * light[0, 2]
                    sun = max(sun, np.float32(0))
                    up = nx * light[1, 0] + ny * light[1, 1] + nz * light[1, 2]
                    up = np.float32(0.5) + np.float32(0.5) * up
                    down = np.float32(1) - up
                    red += (wa * albedo[a, 0] + wb * albedo[b, 0] + wc * albedo[c, 0]) * (
                        sun * light[2, 0] + up * light[3, 0] + down * light[4, 0])
                    green += (wa * albedo[a, 1] + wb * albedo[b, 1] + wc * albedo[c, 1]) * (
                        sun * light[2, 1] + up * light[3, 1] + down * light[4, 1])
                    blue += (wa * albedo[a, 2] + wb * albedo[b, 2] + wc * albedo[c, 2]) * (
                        sun * light[2, 2] + up * light[3, 2] + down * light[4, 2])
                    if near[j, i] > nearest:
                        nearest = near[j, i]
                        owner = parts[a] if wa >= wb and wa >= wc else (
                            parts[b] if wb >= wc else parts[c])
            if covered == 0:
                continue
            bare = np.float32(1) - covered * share
            image[y, x, 0] = bare * image[y, x, 0] + share * red
            image[y, x, 1] = bare * image[y, x, 1] + share * green
            image[y, x, 2] = bare * image[y, x, 2] + share * blue
            if 2 * covered >= samples * samples:
                label[y, x] = owner
                unit = np.float32(1) / (np.sqrt(sx * sx + sy * sy + sz * sz) + np.float32(1e-9))
                normal[y, x, 0] = sx * unit
                normal[y, x, 1] = sy * unit
                normal[y, x, 2] = sz * unit
