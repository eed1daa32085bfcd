"""Cameras, places, light and clothes."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from genhmr.body import load_bodies
from genhmr.body.joints import SMPLX_VERTEX_IDS
from genhmr.world.background import Place, draw_place, sample_place
from genhmr.world.camera import Camera, intrinsics, look_at
from genhmr.world.camera_paths import EXTREME_STYLE, WILD_STYLE, handheld_path, lab_cameras
from genhmr.world.lighting import Development, develop, sample_development, sample_lighting
from genhmr.world.people import Wardrobe
from genhmr.world.props import in_camera
from genhmr.world.regions import ELSEWHERE, body_regions
from genhmr.world.render import Mesh, draw
from genhmr.world.scene import (
    Actor,
    Stage,
    _shadows,
    keypoint_visibility,
    photograph_view,
    view_of,
)
from genhmr.world.textures import TEXTURE_SIZE, texture_bank

BODY = Path(__file__).resolve().parents[2] / "datasets" / "open" / "body"


@pytest.fixture(scope="module")
def bodies():
    return load_bodies(BODY)


def test_look_at_centres_the_target_and_keeps_up_up():
    position, target = np.array([2.0, 1.5, -3.0]), np.array([0.3, 0.9, 0.4])
    rotation, translation = look_at(position, target)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    camera = Camera(rotation, translation, intrinsics(100.0, 64, 48), 64, 48)
    np.testing.assert_allclose(camera.project(target), [32, 24], atol=1e-9)
    assert camera.to_camera(target)[2] == pytest.approx(np.linalg.norm(target - position))
    assert camera.project(target + [0, 0.1, 0])[1] < 24  # up in the world is up in the picture
    left = np.cross([0.0, 1.0, 0.0], target - position)  # left of the viewing direction
    assert camera.project(target + 0.1 * left)[0] < 32
    np.testing.assert_allclose(
        (camera.extrinsics @ np.append(target, 1))[:3], camera.to_camera(target), atol=1e-12)
    rolled, _ = look_at(position, target, roll=0.3)
    turn = Rotation.from_matrix(rolled @ rotation.T).as_rotvec()
    np.testing.assert_allclose(turn, [0, 0, -0.3], atol=1e-12)


def test_place_pixels_equal_ray_plane_intersections():
    colours = np.zeros((6, 2, 3), np.float32)
    colours[:, :, 0] = (np.arange(6) / 10 + 0.1)[:, None]  # the surface is coded in red
    place = Place(np.array([3.0, 4.0]), 2.5, True, np.zeros(6, np.int32), np.ones(6, np.float32),
                  colours, np.ones((2, 3), np.float32))
    rotation, translation = look_at(np.array([1.0, 1.2, 0.5]), np.array([-2.0, 0.9, -1.0]), 0.2)
    matrix = intrinsics(20.0, 50, 40)
    camera = Camera(rotation, translation, matrix, 50, 40)
    image = draw_place(place, camera, np.zeros((1, 128, 128), np.float32), matrix, 50, 40,
                       np.ones(3), np.zeros((0, 4)))
    centre = np.array([1.0, 1.2, 0.5])
    planes = [(0, -3.0), (0, 3.0), (2, -4.0), (2, 4.0), (1, 0.0), (1, 2.5)]
    shade = [0.9, 1.0, 0.9, 1.0, 1.0, 1.1]
    found = set()
    for row in range(0, 40, 3):
        for column in range(0, 50, 3):
            ray = rotation.T @ np.array([(column + 0.5 - 25) / 20, (row + 0.5 - 20) / 20, 1.0])
            distances = [(value - centre[axis]) / ray[axis] for axis, value in planes]
            surface = int(np.argmin([t if t > 0 else np.inf for t in distances]))
            found.add(surface)
            assert image[row, column, 0] == pytest.approx(
                shade[surface] * (surface / 10 + 0.1), abs=1e-5)
    assert found >= {0, 2, 4, 5}


def test_open_place_has_sky_above_its_walls():
    rng = np.random.default_rng(0)
    place = sample_place(rng, 4, indoor=False)
    low = Place(place.half_size, 1.0, False, place.texture, place.scale, place.colours * 0,
                place.sky)
    rotation, translation = look_at(np.array([0.0, 1.6, 0.0]), np.array([5.0, 1.6, 1.0]))
    matrix = intrinsics(40.0, 40, 40)
    image = draw_place(low, Camera(rotation, translation, matrix, 40, 40),
                       np.zeros((4, 128, 128), np.float32), matrix, 40, 40, np.ones(3),
                       np.zeros((0, 4)))
    assert image[:15].min() > 0.1
    assert image[25:].max() == 0


def test_textures_tile_without_a_seam_and_fill_the_range():
    bank = texture_bank(np.random.default_rng(0), 20)
    assert bank.shape == (20, TEXTURE_SIZE, TEXTURE_SIZE) and bank.dtype == np.float32
    assert (bank.min((1, 2)) == 0).all() and (bank.max((1, 2)) == 1).all()
    clouds = bank[:2]  # smooth patterns: the step over the border is like any other step
    steps = np.abs(np.diff(clouds, axis=2)).max()
    assert np.abs(clouds[:, :, 0] - clouds[:, :, -1]).max() <= 1.5 * steps
    np.testing.assert_array_equal(bank, texture_bank(np.random.default_rng(0), 20))


def test_develop_is_monotone_noisy_as_asked_and_repeatable():
    ramp = np.repeat(np.linspace(0, 1.5, 64, dtype=np.float32)[None, :, None], 48, 0)
    ramp = np.repeat(ramp, 3, 2)
    clean = Development(1.0, 1.0, 0.0, 0.0, (0.0, 0.0), 0)
    picture = develop(ramp, clean, np.random.default_rng(0))
    assert (np.diff(picture[0, :, 0].astype(int)) >= 0).all()
    assert picture[0, 0, 0] == 0 and picture[0, -1, 0] > 220
    noisy = Development(1.0, 1.0, 6.0, 0.0, (0.0, 0.0), 0)
    first, second = (develop(ramp, noisy, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    middle = (first.astype(float) - picture)[:, 10:40]
    assert middle.std() == pytest.approx(6.0, rel=0.1)
    bright = develop(ramp, Development(2.0, 1.0, 0.0, 0.0, (0.0, 0.0), 0),
                     np.random.default_rng(0))
    assert bright.mean() > picture.mean() + 10
    moved = develop(ramp * (np.arange(48)[:, None, None] == 24),
                    Development(1.0, 1.0, 0.0, 0.0, (0.0, 4.0), 0), np.random.default_rng(0))
    assert (moved[:, 40, 0] > 0).sum() >= 3  # a line smears along the motion
    for harshness in (0.0, 1.0):
        settings = sample_development(np.random.default_rng(2), harshness)
        assert settings.exposure > 0 and settings.noise > 0


def test_regions_follow_the_anatomy(bodies):
    for gender in ("neutral", "male", "female"):
        data = bodies.get(gender)
        eyes = np.array([SMPLX_VERTEX_IDS["leye"], SMPLX_VERTEX_IDS["reye"]])
        regions = body_regions(data.v_template, data.weights, data.J_regressor, eyes)
        on = [c != ELSEWHERE for c in (regions.arm, regions.leg, regions.trunk)]
        on.append(regions.head[:, 0] != ELSEWHERE)
        assert (np.sum(on, 0) == 1).all()  # every vertex belongs to one region
        for limb, joints in (("arm", (16, 18, 20)), ("leg", (1, 4, 7))):
            # The coordinate is 0, 1, 2 at the joints: look at the vertices around them.
            value = getattr(regions, limb)
            for k, joint in enumerate(joints):
                place = data.J_regressor[joint] @ data.v_template
                distance = np.linalg.norm(data.v_template - place, axis=1)
                nearest = np.argsort(np.where(value != ELSEWHERE, distance, np.inf))[:20]
                assert np.median(value[nearest]) == pytest.approx(k, abs=0.2)
        assert 2 <= regions.eyes.sum() < 200 and 1 <= regions.lips.sum() < 200
        assert regions.rest[regions.lips, 1].mean() < regions.rest[regions.eyes, 1].mean()
        left = regions.rest[:, 0] > 0
        assert on[0][left].sum() == pytest.approx(on[0][~left].sum(), rel=0.05)


def test_looks_differ_repeat_and_stand_off_the_skin(bodies):
    wardrobe = Wardrobe(bodies, "female")
    looks = [wardrobe.sample_appearance(np.random.default_rng(seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(looks[0].albedo, looks[1].albedo)
    assert np.abs(looks[0].albedo - looks[2].albedo).max() > 0.05
    assert all(look.albedo.min() > 0 and look.albedo.max() <= 0.9 for look in looks)
    people = wardrobe.pose(np.zeros((1, 24, 3)), np.zeros((1, 10)), np.zeros((1, 3)))
    dressed = wardrobe.dress(people.vertices[0], looks[0])
    moved = np.linalg.norm(dressed - people.vertices[0], axis=1)
    np.testing.assert_allclose(moved, looks[0].offset, atol=1e-5)
    assert moved.max() < 0.03


def test_wardrobe_measures_the_body_it_poses(bodies):
    wardrobe = Wardrobe(bodies, "male")
    data = bodies.get("male")
    rng = np.random.default_rng(0)
    betas = rng.normal(size=(2, 10))
    transl = rng.normal(size=(2, 3))
    people = wardrobe.pose(rng.normal(0, 0.3, (2, 24, 3)), betas, transl)
    shaped = data.v_template + np.einsum("vcl,nl->nvc", data.shapedirs, betas)
    pelvis = np.einsum("v,nvc->nc", data.J_regressor[0], shaped)
    np.testing.assert_allclose(wardrobe.rest_pelvis(betas), pelvis, atol=1e-9)
    np.testing.assert_allclose(people.joints[:, 0], pelvis + transl, atol=1e-5)
    np.testing.assert_allclose(people.keypoints[:, 0], people.vertices[:, 332], atol=1e-6)
    np.testing.assert_allclose(people.keypoints[:, 4], people.joints[:, 21], atol=1e-6)
    hips = np.einsum("kv,nvc->nkc", bodies.regressor_h36m, people.vertices)
    np.testing.assert_allclose(people.spin[:, 14], hips[:, 0], atol=1e-4)


def test_keypoints_behind_things_and_outside_are_told():
    depth = np.full((20, 20), np.inf, np.float32)
    depth[:, :10] = 2.0
    points = np.tile(np.array([0.0, 0.0, 3.0]), (25, 1))
    points[1, 2] = 2.1  # neck: within the thickness of the surface
    pixels = np.tile(np.array([5.0, 5.0]), (25, 1))
    pixels[2] = [15.0, 5.0]  # nothing there
    pixels[3] = [-1.0, 5.0]
    pixels[4] = [5.0, 20.0]
    visible = keypoint_visibility(points, pixels, depth)
    assert visible[0] == 0.5 and visible[1] == 1 and visible[2] == 1
    assert visible[3] == 0 and visible[4] == 0


def test_only_the_first_person_keeps_labels(bodies):
    wardrobe = Wardrobe(bodies, "neutral")
    people = wardrobe.pose(np.zeros((1, 24, 3)), np.zeros((1, 10)), np.array([[0.0, 1.2, 0.0]]))
    look = wardrobe.sample_appearance(np.random.default_rng(0))

    def actor(x):
        shift = np.float32([x, 0, 0])
        mesh = Mesh(people.vertices[0] + shift, wardrobe.faces, look.albedo, wardrobe.parts)
        return Actor(mesh, people.joints[0] + shift)

    rng = np.random.default_rng(0)
    stage = Stage(sample_place(rng, 4, True), sample_lighting(rng, True), ())
    rotation, translation = look_at(np.array([0.0, 1.0, 6.0]), np.array([0.0, 1.0, 0.0]))
    matrix = intrinsics(60.0, 64, 64)
    camera = Camera(rotation, translation, matrix, 64, 64)
    view = view_of([actor(-1.2), actor(1.2)], stage, [], camera, matrix, 64, 64)
    bank = texture_bank(rng, 4)
    picture = photograph_view(view, bank)
    # Where people cover a pixel whole the place is not drawn, and the picture is the same.
    shadows = np.concatenate([_shadows(person, stage.lighting) for person in view.actors])
    place = draw_place(stage.place, camera, bank, matrix, 64, 64, stage.lighting.on_surfaces,
                       shadows)
    people = [in_camera(person.mesh, camera) for person in view.actors]
    whole = draw(people, matrix, stage.lighting.seen_by(camera), place).image
    assert np.array_equal(picture.image, whole) and view.cover.full.any()
    assert picture.parts[:, :28].max() > 0 and picture.parts[:, 36:].max() == 0
    assert np.isfinite(picture.depth[:, 36:]).any()
    assert (np.abs(picture.normals).max(-1) > 0)[picture.parts == 0].sum() == 0
    assert len(picture.visible) == 2 and min(picture.visible) > 0.9


def test_lab_cameras_stand_still_and_others_follow_the_person():
    first, second = lab_cameras(192), lab_cameras(192)
    for a, b in zip(first, second):
        np.testing.assert_array_equal(a.extrinsics, b.extrinsics)
        np.testing.assert_allclose(a.project(np.array([0.0, 0.95, 0.0])), [96, 96], atol=1e-6)
    middles = np.stack([np.linspace(-1, 1, 30), np.full(30, 0.9), np.zeros(30)], 1)
    travel = {}
    for name, style in (("wild", WILD_STYLE), ("extreme", EXTREME_STYLE)):
        paths = [handheld_path(middles, 1.6, 10.0, np.array([20.0, 20.0]), style, 192,
                               np.random.default_rng(seed)) for seed in range(12)]
        seen = np.array([[c.project(m) for c, m in zip(path, middles)] for path in paths])
        size = np.array([paths[0][0].width, paths[0][0].height])
        assert ((seen > 0) & (seen < size)).all(-1).mean() > 0.85
        tilt = [np.arcsin(-c.rotation[2, 1]) for path in paths for c in path]
        turn = [Rotation.from_matrix(path[-1].rotation @ path[0].rotation.T).magnitude()
                for path in paths]
        travel[name] = (np.std(tilt), np.mean(turn))
    assert travel["extreme"][0] > 2 * travel["wild"][0]
    assert travel["extreme"][1] > travel["wild"][1]
