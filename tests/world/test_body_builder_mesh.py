"""The open body's mesh, regressors, shape space and people, on spheres and without anny."""

import io
from collections import Counter

import numpy as np
import pytest

from genhmr.world.body_builder import population, shape_space
from genhmr.world.body_builder.archive import npz_bytes, write_all
from genhmr.world.body_builder.decimate import decimate
from genhmr.world.body_builder.regressors import fit_regressor, regression_error, symmetrise
from genhmr.world.body_builder.vertex_order import LANDMARK_IDS, landmark_order

FLIP = np.array([-1.0, 1.0, 1.0])


def sphere(levels=3):
    """An octahedron split ``levels`` times: closed and mirror-symmetric in x, 4^(l+1)+2 points."""
    points = [np.array(p, float) for p in
              [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]]
    faces = [(0, 2, 4), (2, 1, 4), (1, 3, 4), (3, 0, 4), (2, 0, 5), (1, 2, 5), (3, 1, 5), (0, 3, 5)]
    for _ in range(levels):
        middle, finer = {}, []

        def half(a, b, middle=middle):
            key = (min(a, b), max(a, b))
            if key not in middle:
                middle[key] = len(points)
                p = points[a] + points[b]
                points.append(p / np.linalg.norm(p))
            return middle[key]

        for a, b, c in faces:
            ab, bc, ca = half(a, b), half(b, c), half(c, a)
            finer += [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
        faces = finer
    vertices = np.array(points)
    twin = np.array([int(np.linalg.norm(vertices - v * FLIP, axis=1).argmin()) for v in vertices])
    return vertices, np.array(faces), twin


def directed_edges(faces):
    return Counter((int(f[i]), int(f[(i + 1) % 3])) for f in faces for i in range(3))


@pytest.mark.parametrize("target", [200, 131, 66])
def test_decimation_is_exact_closed_and_symmetric(target):
    vertices, faces, mirror = sphere()
    kept, new = decimate(vertices, faces, target, mirror)
    edges = directed_edges(new)
    assert len(kept) == target and set(np.unique(new)) == set(range(target))
    assert len(new) == 2 * target - 4  # Euler characteristic 2: still one closed sphere
    assert all(count == 1 and edges[(b, a)] == 1 for (a, b), count in list(edges.items()))
    twin = np.searchsorted(kept, mirror[kept])
    assert np.array_equal(kept[twin], mirror[kept])
    mirrored = {frozenset(twin[list(f)]) for f in new}
    assert mirrored == {frozenset(f) for f in new.tolist()}
    assert shape_space.mesh_volume(vertices[kept], new) > 0.85 * 4 / 3 * np.pi


def test_decimation_empties_hidden_pockets_first():
    vertices, faces, mirror = sphere()
    hidden = vertices[:, 1] > 0.8
    plain, _ = decimate(vertices, faces, 220, mirror)
    emptied, _ = decimate(vertices, faces, 220, mirror, cavity=hidden)
    assert hidden[emptied].sum() < 0.3 * hidden[plain].sum()


def test_decimation_keeps_important_regions_denser():
    vertices, faces, mirror = sphere()
    weight = np.where(vertices[:, 1] > 0, 50.0, 1.0)
    kept, _ = decimate(vertices, faces, 120, mirror, importance=weight)
    assert (vertices[kept, 1] > 0.05).sum() > 1.5 * (vertices[kept, 1] < -0.05).sum()


def test_decimation_says_when_nothing_is_left_to_collapse():
    vertices, faces, mirror = sphere(1)
    with pytest.raises(ValueError, match="no legal collapse"):
        decimate(vertices, faces, 3, mirror)


def test_volume_of_an_octahedron():
    vertices, faces, _ = sphere(0)
    assert shape_space.mesh_volume(vertices + 5.0, faces) == pytest.approx(4 / 3)


def test_landmarks_are_swapped_into_their_ids():
    rng = np.random.default_rng(14)
    chosen = rng.permutation(6890)[: len(LANDMARK_IDS)]
    landmarks = dict(zip(LANDMARK_IDS, chosen.tolist(), strict=True))
    landmarks["nose"] = LANDMARK_IDS["leye"]  # a landmark that sits on another one's id
    order = landmark_order(6890, landmarks)
    assert all(order[LANDMARK_IDS[name]] == vertex for name, vertex in landmarks.items())
    assert np.array_equal(np.sort(order), np.arange(6890))
    with pytest.raises(ValueError, match="share a vertex"):
        landmark_order(6890, {**landmarks, "nose": landmarks["lear"]})


def test_regressor_recovers_a_known_joint_on_new_bodies():
    rng = np.random.default_rng(9)
    template, _, _ = sphere(2)
    modes = rng.normal(size=(6, *template.shape)) * 0.05
    bodies = template + np.einsum("nk,kvc->nvc", rng.normal(size=(40, 6)), modes)
    truth = np.zeros((2, len(template)))
    truth[0, [3, 10, 20]] = [0.5, 0.3, 0.2]
    truth[1, [40, 41]] = 0.5
    joints = np.einsum("pv,nvc->npc", truth, bodies)
    rows = fit_regressor(bodies[:25], joints[:25], candidates=60, stride=1, locality=1e-4)
    assert (rows >= 0).all() and np.allclose(rows.sum(axis=1), 1.0)
    assert regression_error(rows, bodies[25:], joints[25:]).max() < 2e-3
    drifted = joints[25:] + np.array([0.0, 0.3, 0.4])
    assert np.allclose(regression_error(truth, bodies[25:], drifted), 0.5)


def test_symmetrised_regressor_commutes_with_the_mirror():
    rng = np.random.default_rng(10)
    template, _, mirror = sphere(1)
    rows = rng.random((2, len(template)))
    rows = symmetrise(rows / rows.sum(1, keepdims=True), np.array([1, 0]), mirror)
    assert np.allclose((rows @ template)[[1, 0]], (rows @ template) * FLIP)
    assert np.allclose(rows.sum(axis=1), 1.0)


def test_shape_space_finds_planted_symmetric_directions():
    rng = np.random.default_rng(11)
    template, faces, mirror = sphere(2)
    modes = rng.normal(size=(2, *template.shape))
    modes = modes + modes[:, mirror] * FLIP
    scale = np.array([0.3, 0.05])
    coordinates = rng.normal(size=(400, 2)) * scale
    people = template + np.einsum("nk,kvc->nvc", coordinates, modes)
    space = shape_space.fit_shape_space(people, mirror, components=2)
    rebuilt = space.mean + np.einsum("vck,nk->nvc", space.directions, space.betas)
    assert np.allclose(rebuilt, people, atol=1e-8)
    assert space.explained == pytest.approx(1.0)
    assert np.allclose(space.betas.std(axis=0, ddof=1), 1.0)
    assert np.allclose(space.mean, space.mean[mirror] * FLIP)
    lopsided = people + np.array([0.2, 0.0, 0.0])
    assert np.allclose(shape_space.fit_shape_space(lopsided, mirror, 2).mean, space.mean)
    rms = shape_space.per_beta_rms(space.directions)
    expected = scale * np.sqrt((modes**2).sum(-1).mean(-1))
    assert rms[0] == pytest.approx(expected[0], rel=0.15) and rms[0] > rms[1]
    top = int(space.mean[:, 1].argmax())
    assert space.directions[top, 1, 0] > 0 or abs(space.directions[top, 1, 0]) < 0.2 * rms[0]


def test_points_linear_in_the_betas_are_recovered():
    rng = np.random.default_rng(12)
    betas, mean = rng.normal(size=(30, 4)), rng.normal(size=(5, 3))
    directions = rng.normal(size=(5, 3, 4))
    points = mean + np.einsum("pcs,ns->npc", directions, betas)
    fitted_mean, fitted = shape_space.linear_in_betas(points, betas)
    assert np.allclose(fitted_mean, mean) and np.allclose(fitted, directions)


def test_population_is_reproducible_adult_and_symmetric():
    people = [population.sample_population(300, "neutral", np.random.default_rng(3))
              for _ in range(2)]
    for first, second in zip(*people, strict=True):
        assert all(np.array_equal(first[k], second[k]) for k in first)
    phenotypes, local = people[0]
    assert 0.35 < (phenotypes["gender"] > 0.5).mean() < 0.65
    assert phenotypes["age"].min() > 0.667  # Anny's "young" adult starts at 2/3
    races = sum(phenotypes[k] for k in ("african", "asian", "caucasian"))
    assert np.allclose(races, 1.0)
    for label in local:
        if label.startswith("l-"):
            assert np.array_equal(local[label], local["r-" + label[2:]])
    assert np.corrcoef(phenotypes["weight"], local["measure-waist-circ-incr"])[0, 1] > 0.5
    male, _ = population.sample_population(50, "male", np.random.default_rng(0))
    female, _ = population.sample_population(50, "female", np.random.default_rng(0))
    assert male["gender"].max() <= 0.2 and female["gender"].min() >= 0.8


def test_archives_depend_on_the_arrays_only(tmp_path):
    arrays = {"b": np.arange(6).reshape(2, 3).astype(np.float32), "a": np.array(["x", "yy"])}
    content = npz_bytes(arrays)
    assert content == npz_bytes(dict(reversed(arrays.items())))
    loaded = np.load(io.BytesIO(content), allow_pickle=False)
    assert all(np.array_equal(loaded[k], arrays[k]) for k in arrays)
    digests = write_all(tmp_path / "new", {"one.npz": arrays, "two.npz": arrays})
    assert digests["one.npz"] == digests["two.npz"]
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["one.npz", "two.npz"]
