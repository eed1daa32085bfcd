"""The renderer against brute force, closed forms and its own promises."""

import numpy as np
import pytest

from genhmr.world.camera import Camera, intrinsics, look_at
from genhmr.world.props import box, ellipsoid, in_camera
from genhmr.world.render import Light, Mesh, draw, vertex_normals

FLAT = Light(
    direction=np.array([0.0, -1.0, 0.0]), up=np.array([0.0, -1.0, 0.0]), sun=np.zeros(3),
    sky=np.ones(3), ground=np.ones(3),
)  # fmt: skip


def camera_at(position, target, size=40, focal=50.0):
    rotation, translation = look_at(np.asarray(position, float), np.asarray(target, float))
    return Camera(rotation, translation, intrinsics(focal, size, size), size, size)


def with_parts(mesh, label):
    parts = np.full(len(mesh.vertices), label, np.uint8)
    return Mesh(mesh.vertices, mesh.faces, mesh.albedo, parts)


def sphere(centre, radius, rings=60, segments=120):
    theta = np.linspace(0, np.pi, rings + 1)[:, None]
    phi = np.linspace(0, 2 * np.pi, segments, endpoint=False)[None]
    unit = np.stack(np.broadcast_arrays(np.sin(theta) * np.cos(phi), np.cos(theta),
                                        np.sin(theta) * np.sin(phi)), -1).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(rings), np.arange(segments), indexing="ij")
    a, b = i * segments + j, i * segments + (j + 1) % segments
    faces = np.concatenate([np.stack([a, b, a + segments], -1).reshape(-1, 3),
                            np.stack([b, b + segments, a + segments], -1).reshape(-1, 3)])
    vertices = (unit * radius + centre).astype(np.float32)
    return Mesh(vertices, faces.astype(np.int32), np.full(vertices.shape, 0.5, np.float32),
                np.ones(len(vertices), np.uint8))


def brute_force_depth(meshes, matrix, size):
    """Moeller-Trumbore on every pixel and triangle: depth (H, W) and the nearest mesh (H, W)."""
    column, row = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    rays = np.stack([column, row, np.ones_like(row)], -1) @ np.linalg.inv(matrix).T
    depth, owner = np.full((size, size), np.inf), np.full((size, size), -1)
    for index, mesh in enumerate(meshes):
        for triangle in mesh.vertices[mesh.faces].astype(float):
            e1, e2 = triangle[1] - triangle[0], triangle[2] - triangle[0]
            p = np.cross(rays, e2)
            det = p @ e1
            with np.errstate(divide="ignore", invalid="ignore"):
                u = -(p @ triangle[0]) / det
                q = np.cross(-triangle[0], e1)
                v = rays @ q / det
                t = (e2 @ q) / det
                hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0) & (t < depth)
            depth[hit], owner[hit] = t[hit], index
    return depth, owner


def test_depth_and_owner_equal_ray_casting():
    camera = camera_at([1.2, 1.5, -3.0], [0, 0.5, 0])
    boxes = [box(np.array([0.2, 0.5, 0.1]), np.array([0.8, 1.0, 0.5]), 0.7, np.ones(3) * 0.5),
             box(np.array([-0.3, 0.8, -0.6]), np.array([0.3, 0.9, 0.4]), -0.4, np.ones(3) * 0.5),
             ellipsoid(np.array([0.3, 1.1, -0.5]), np.array([0.5, 0.3, 0.6]), np.ones(3) * 0.5)]
    meshes = [with_parts(in_camera(m, camera), i + 1) for i, m in enumerate(boxes)]
    # A turned and scaled crop is drawn by the same call.
    crop = np.array([[1.1, -0.5, 6.0], [0.5, 1.1, -9.0], [0, 0, 1]])
    matrix = crop @ camera.intrinsics
    picture = draw(meshes, matrix, FLAT, np.zeros((40, 40, 3), np.float32), samples=1)
    depth, owner = brute_force_depth(meshes, matrix, 40)
    assert {0, 1, 2} <= set(owner.ravel())
    same = picture.parts == owner + 1
    assert same.mean() > 0.995  # a pixel centre on an edge may go either way
    covered = same & (owner >= 0)
    np.testing.assert_allclose(picture.depth[covered], depth[covered], rtol=2e-5)
    assert np.isinf(picture.depth[same & (owner < 0)]).all()


def test_sphere_has_the_silhouette_depth_and_normals_of_a_sphere():
    radius, distance, size, focal = 0.5, 3.0, 200, 300.0
    ball = sphere(np.array([0, 0, distance]), radius)
    matrix = intrinsics(focal, size, size)
    picture = draw([ball], matrix, FLAT, np.zeros((size, size, 3), np.float32))
    # A sphere on the axis projects to a disc of radius f r / sqrt(d^2 - r^2).
    area = np.pi * (focal * radius) ** 2 / (distance**2 - radius**2)
    assert picture.image.sum() / 3 / 0.5 == pytest.approx(area, rel=0.01)  # anti-aliased coverage
    ys, xs = np.nonzero(picture.parts)
    rays = np.stack([(xs + 0.5 - 100) / focal, (ys + 0.5 - 100) / focal, np.ones(len(xs))], -1)
    unit = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    along = unit[:, 2] * distance
    inside = radius**2 - (distance**2 - along**2)
    central = inside > 0.3 * radius**2
    t = along - np.sqrt(np.maximum(inside, 0))
    normals = (unit * t[:, None] - [0, 0, distance]) / radius
    got = picture.normals[ys, xs][central]
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-5)
    assert (got * normals[central]).sum(1).min() > np.cos(np.deg2rad(2))
    depth = picture.depth[ys, xs][central]
    np.testing.assert_allclose(depth, (unit[:, 2] * t)[central], atol=0.01)


def test_shading_is_lambert_plus_hemisphere():
    matrix = intrinsics(50.0, 20, 20)
    front = box(np.array([0.0, 0.0, 3.0]), np.array([4.0, 4.0, 1.0]), 0.0, np.ones(3))
    front = Mesh(front.vertices, front.faces, np.full((24, 3), 0.5, np.float32), front.parts)
    direction = np.array([0.0, -0.6, -0.8])
    light = Light(direction, np.array([0.0, -1.0, 0.0]), np.array([1.0, 0.5, 0.0]),
                  np.array([0.2, 0.2, 0.4]), np.array([0.4, 0.2, 0.0]))
    picture = draw([front], matrix, light, np.zeros((20, 20, 3), np.float32))
    # The visible side faces the camera: normal (0, 0, -1), half sky and half ground.
    expected = 0.5 * (0.8 * np.array([1.0, 0.5, 0.0]) + 0.5 * np.array([0.6, 0.4, 0.4]))
    np.testing.assert_allclose(picture.image[10, 10], expected, atol=1e-5)


def test_visible_share_counts_what_others_hide():
    matrix = intrinsics(50.0, 40, 40)
    back = box(np.array([0.0, 0.0, 4.0]), np.array([2.0, 2.0, 0.1]), 0.0, np.ones(3))
    front = box(np.array([-1.0, 0.0, 2.0]), np.array([2.0, 4.0, 0.1]), 0.0, np.ones(3))
    background = np.zeros((40, 40, 3), np.float32)
    picture = draw([back, front], matrix, FLAT, background)
    assert picture.visible == (pytest.approx(0.5, abs=0.03), 1.0)
    assert draw([back], matrix, FLAT, background).visible == (1.0,)
    aside = box(np.array([50.0, 0.0, 4.0]), np.ones(3), 0.0, np.ones(3))
    assert draw([aside], matrix, FLAT, background).visible == (0.0,)


def test_background_stays_and_drawing_repeats_exactly():
    rng = np.random.default_rng(0)
    background = rng.random((30, 40, 3), dtype=np.float32)
    kept = background.copy()
    matrix = intrinsics(40.0, 40, 30)
    mesh = with_parts(ellipsoid(np.array([0.0, 0.0, 3.0]), np.ones(3), np.ones(3) * 0.3), 7)
    first, second = (draw([mesh], matrix, FLAT, background) for _ in range(2))
    np.testing.assert_array_equal(background, kept)
    bare = np.isinf(first.depth) & (np.abs(first.image - background).max(-1) == 0)
    assert 0.5 < bare.mean() < 0.9
    assert set(np.unique(first.parts)) == {0, 7}
    for name in ("image", "parts", "normals", "depth"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_meshes_behind_the_camera_and_back_faces_are_not_drawn():
    matrix = intrinsics(40.0, 20, 20)
    background = np.zeros((20, 20, 3), np.float32)
    behind = ellipsoid(np.array([0.0, 0.0, -3.0]), np.ones(3), np.ones(3))
    assert draw([behind], matrix, FLAT, background).image.max() == 0
    ball = ellipsoid(np.array([0.0, 0.0, 3.0]), np.ones(3), np.ones(3))
    inside_out = Mesh(ball.vertices, ball.faces[:, ::-1].copy(), ball.albedo, ball.parts)
    far_side = draw([inside_out], matrix, FLAT, background)
    near_side = draw([ball], matrix, FLAT, background)
    assert far_side.depth[10, 10] > 3 > near_side.depth[10, 10]


def test_vertex_normals_point_out_of_props():
    for mesh in (box(np.zeros(3), np.array([1.0, 2.0, 0.5]), 0.6, np.ones(3)),
                 ellipsoid(np.zeros(3), np.array([1.0, 2.0, 0.5]), np.ones(3))):
        normals = vertex_normals(mesh.vertices, mesh.faces)
        outward = (normals * mesh.vertices).sum(1)
        assert (outward > 0).all()
