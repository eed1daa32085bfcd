"""The shipped open body: format, closedness, symmetry, anatomy and shape space."""

import hashlib
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import smplx
import torch
from scipy.spatial.transform import Rotation
from smplx.utils import Struct
from smplx.vertex_ids import vertex_ids

from genhmr.types import GENDERS
from genhmr.world.body_builder.pose_correctives import pose_body, random_poses
from genhmr.world.body_builder.skeleton import JOINT_NAMES, MIRROR_JOINT, PARENTS

FOLDER = Path(__file__).parents[2] / "datasets" / "open" / "body"
FLIP = np.array([-1.0, 1.0, 1.0])
IDS = vertex_ids["smplh"]  # smplx's own table, not the project's
DENSITY = 1010.0


@pytest.fixture(scope="module", params=GENDERS)
def body(request):
    with np.load(FOLDER / f"{request.param}.npz", allow_pickle=False) as archive:
        arrays = {k: archive[k] for k in archive.files}
    return {k: a.astype(np.float64 if a.dtype.kind == "f" else np.int64) for k, a in arrays.items()}


@pytest.fixture(scope="module")
def twin(body):
    """The mirrored vertex by position."""
    v = body["v_template"]
    key = {tuple(p): i for i, p in enumerate(np.round(v, 6).tolist())}
    return np.array([key[tuple(p)] for p in np.round(v * FLIP, 6).tolist()])


def joints_of(body, vertices=None):
    vertices = body["v_template"] if vertices is None else vertices
    return dict(zip(JOINT_NAMES, body["J_regressor"] @ vertices, strict=True))


def volume(vertices, faces):
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return (a * np.cross(b, c)).sum() / 6


def winding_number(point, vertices, faces):
    """1 inside a closed surface, 0 outside (solid angles, van Oosterom & Strackee 1983)."""
    a, b, c = (vertices[faces[:, k]] - point for k in range(3))
    la, lb, lc = (np.linalg.norm(x, axis=1) for x in (a, b, c))
    dot = [(x * y).sum(axis=1) for x, y in ((a, b), (b, c), (c, a))]
    below = la * lb * lc + dot[0] * lc + dot[1] * la + dot[2] * lb
    above = (a * np.cross(b, c)).sum(axis=1)
    return 2 * np.arctan2(above, below).sum() / (4 * np.pi)


def test_arrays_have_smpls_shapes(body):
    shapes = {
        "v_template": (6890, 3), "shapedirs": (6890, 3, 10), "posedirs": (6890, 3, 207),
        "weights": (6890, 24), "J_regressor": (24, 6890), "f": (13776, 3), "parents": (24,),
    }  # fmt: skip
    assert {k: a.shape for k, a in body.items()} == shapes
    assert all(np.isfinite(a).all() for a in body.values())
    assert body["parents"].tolist() == PARENTS.tolist()
    smpl = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21]
    assert body["parents"].tolist() == smpl
    assert all(MIRROR_JOINT[smpl[j]] == smpl[MIRROR_JOINT[j]] for j in range(1, 24))


def test_surface_is_closed_oriented_and_of_one_piece(body):
    faces = body["f"].tolist()
    edges = Counter((f[i], f[(i + 1) % 3]) for f in faces for i in range(3))
    assert all(n == 1 and (b, a) in edges for (a, b), n in edges.items())
    assert 6890 - len(edges) // 2 + len(faces) == 2
    reached, front, around = {0}, [0], {}
    for a, b in edges:
        around.setdefault(a, []).append(b)
    while front:
        front = [b for a in front for b in around[a] if b not in reached and not reached.add(b)]
    assert len(reached) == 6890


def test_everything_is_mirror_symmetric(body, twin):
    assert np.array_equal(twin[twin], np.arange(6890))
    mirrored = {frozenset(f) for f in twin[body["f"]].tolist()}
    assert mirrored == {frozenset(f) for f in body["f"].tolist()}
    assert np.allclose(body["weights"], body["weights"][twin][:, MIRROR_JOINT], atol=1e-6)
    flipped = body["shapedirs"][twin] * FLIP[:, None]
    assert np.allclose(body["shapedirs"], flipped, atol=1e-6)
    regressor = body["J_regressor"][MIRROR_JOINT][:, twin]
    assert np.allclose(body["J_regressor"], regressor, atol=1e-6)


def test_weights_and_regressor_are_averages(body):
    assert np.allclose(body["weights"].sum(axis=1), 1.0, atol=1e-6)
    assert (body["weights"] >= 0).all() and (body["weights"] > 0).sum(axis=1).max() <= 4
    assert np.allclose(body["J_regressor"].sum(axis=1), 1.0, atol=1e-6)
    assert (body["J_regressor"] >= 0).all()
    assert (body["weights"].argmax(axis=1) == np.arange(24)[:, None]).any(axis=1).all()


def test_joints_sit_inside_the_body_and_in_smpls_proportions(body):
    rng = np.random.default_rng(0)
    for betas in (np.zeros(10), rng.normal(size=10)):
        vertices = body["v_template"] + body["shapedirs"] @ betas
        joints = body["J_regressor"] @ vertices
        inside = [winding_number(j, vertices, body["f"]) for j in joints]
        assert np.allclose(inside, 1.0, atol=1e-6)
    joint = joints_of(body)
    assert 0.06 < joint["left_hip"][0] < 0.09
    assert 0.07 < joint["pelvis"][1] - joint["left_hip"][1] < 0.11
    assert abs(joint["left_shoulder"][1] - joint["left_wrist"][1]) < 0.02  # T-pose
    assert abs(joint["left_ankle"][0] - joint["left_hip"][0]) < 0.09


def test_landmark_ids_hit_the_anatomy(body):
    v, joint = body["v_template"], joints_of(body)
    at = {name: v[index] for name, index in IDS.items()}
    head = v[body["weights"].argmax(axis=1) == JOINT_NAMES.index("head")]
    assert at["nose"][2] > np.quantile(head[:, 2], 0.999) - 1e-3 and abs(at["nose"][0]) < 1e-3
    assert at["nose"][1] > joint["head"][1] - 0.05
    assert 0.02 < at["leye"][0] < 0.05 and at["leye"][1] > at["nose"][1] + 0.02
    assert at["lear"][0] > 0.06 and at["lear"][2] < at["leye"][2] - 0.05
    assert at["LHeel"][2] < joint["left_ankle"][2] and at["LHeel"][1] < joint["left_ankle"][1]
    assert at["LBigToe"][2] > joint["left_foot"][2] + 0.03
    assert at["LSmallToe"][0] > at["LBigToe"][0] + 0.03
    tips = [at["l" + f] for f in ("index", "middle", "ring", "pinky")]
    assert max(t[0] for t in tips) > v[:, 0].max() - 1e-3
    assert all(a[2] > b[2] for a, b in zip(tips, tips[1:], strict=False))  # index is in front
    assert all(t[0] > joint["left_hand"][0] + 0.03 for t in tips)
    assert at["lthumb"][2] > joint["left_wrist"][2] + 0.05
    for name, position in at.items():
        if name[0] in "lL":
            other = ("R" if name[0] == "L" else "r") + name[1:]
            assert np.allclose(position * FLIP, at[other], atol=1e-6)


def test_people_are_plausible_adults(body):
    rng = np.random.default_rng(1)
    height, mass = [], []
    for _ in range(80):
        v = body["v_template"] + body["shapedirs"] @ rng.normal(size=10)
        height.append(np.ptp(v[:, 1]))
        mass.append(DENSITY * volume(v, body["f"]))
    height, mass = np.array(height), np.array(mass)
    assert 1.62 < height.mean() < 1.80 and 0.05 < height.std() < 0.11
    assert 55 < mass.mean() < 90 and 8 < mass.std() < 22
    bmi = np.percentile(mass / height**2, [5, 50, 95])
    assert 15 < bmi[0] < 20 and 20 < bmi[1] < 28 and 27 < bmi[2] < 38


def test_betas_are_not_only_height(body):
    v, directions = body["v_template"], body["shapedirs"]
    rms = 1e3 * np.sqrt((directions**2).sum(axis=1).mean(axis=0))
    assert (np.diff(rms) < 0).all()
    assert rms[1] >= 15 and rms[2] >= 8
    taller = np.array([np.ptp((v + directions[..., k])[:, 1]) for k in range(10)]) - np.ptp(v[:, 1])
    heavier = DENSITY * (
        np.array([volume(v + directions[..., k], body["f"]) for k in range(10)])
        - volume(v, body["f"])
    )
    assert taller[0] > 0.05
    assert ((np.abs(heavier) > 8) & (np.abs(taller) < 0.01)).any()  # stout at the same height


def test_sexes_differ_as_they_should():
    stature, mass = {}, {}
    for gender in GENDERS:
        with np.load(FOLDER / f"{gender}.npz") as archive:
            v, f = archive["v_template"].astype(float), archive["f"].astype(int)
        stature[gender], mass[gender] = np.ptp(v[:, 1]), DENSITY * volume(v, f)
    assert stature["female"] + 0.08 < stature["male"] < stature["female"] + 0.16
    assert mass["female"] < mass["neutral"] < mass["male"]


@pytest.mark.parametrize("gender", GENDERS)
def test_smplx_runs_it_and_agrees_with_the_builder(gender):
    with np.load(FOLDER / f"{gender}.npz") as archive:
        arrays = {k: archive[k] for k in archive.files}
    struct = Struct(
        **{k: arrays[k].astype(np.float64) for k in
           ("v_template", "shapedirs", "posedirs", "weights", "J_regressor")},
        f=arrays["f"].astype(np.int64),
        kintree_table=np.stack([arrays["parents"].astype(np.int64), np.arange(24)]),
    )  # fmt: skip
    model = smplx.SMPL("", data_struct=struct, dtype=torch.float64)
    rng = np.random.default_rng(2)
    betas, pose = rng.normal(size=10), random_poses(1, rng)[0]
    rotvec = torch.from_numpy(Rotation.from_matrix(pose).as_rotvec())
    with torch.no_grad():
        out = model(betas=torch.from_numpy(betas)[None], body_pose=rotvec[1:].reshape(1, 69),
                    global_orient=rotvec[:1])
    vertices = arrays["v_template"].astype(float) + arrays["shapedirs"].astype(float) @ betas
    joints = arrays["J_regressor"].astype(float) @ vertices
    posed, _ = pose_body(vertices, joints, arrays["weights"].astype(float),
                         arrays["posedirs"].astype(float), pose)
    assert np.abs(out.vertices[0].numpy() - posed).max() < 1e-6


def test_joint_regressors_are_averages_of_the_right_places(body):
    with np.load(FOLDER / "regressors.npz", allow_pickle=False) as archive:
        rows, names = archive["J_regressor_h36m"], archive["h36m_names"].tolist()
        coco, coco_names = archive["J_regressor_coco23"], archive["coco_names"].tolist()
    assert rows.shape == (17, 6890) and coco.shape == (23, 6890)
    assert np.allclose(rows.sum(1), 1, atol=1e-6) and np.allclose(coco.sum(1), 1, atol=1e-6)
    assert (rows >= 0).all() and (coco >= 0).all()
    v, joint = body["v_template"], joints_of(body)
    h36m = dict(zip(names, rows @ v, strict=True))
    points = dict(zip(coco_names, coco @ v, strict=True))
    for part in ("Knee", "Ankle", "Shoulder", "Elbow", "Wrist"):
        for letter, side in (("L", "left"), ("R", "right")):
            truth = joint[f"{side}_{part.lower()}"]
            assert np.linalg.norm(h36m[letter + part] - truth) < 0.015
            assert np.linalg.norm(points[f"{side}_{part.lower()}"] - truth) < 0.05
    middle = (joint["left_hip"] + joint["right_hip"]) / 2
    assert np.linalg.norm(h36m["Pelvis"] - middle) < 0.01
    assert 0.10 < h36m["LHip"][0] < 0.14 and np.allclose(h36m["LHip"] * FLIP, h36m["RHip"])
    assert v[:, 1].max() - 0.03 < h36m["HeadTop"][1] <= v[:, 1].max()
    assert joint["spine1"][1] < h36m["Spine"][1] < joint["spine3"][1]
    assert joint["spine3"][1] < h36m["Neck"][1] < h36m["Nose"][1] < h36m["HeadTop"][1]
    assert np.linalg.norm(points["nose"] - v[IDS["nose"]]) < 0.03
    assert points["left_heel"][2] < points["left_ankle"][2] < points["left_big_toe"][2]


def test_readme_names_the_files_as_they_are():
    listed = re.findall(r"^([0-9a-f]{64})  (\S+\.npz)$", (FOLDER / "README.md").read_text(), re.M)
    assert {name for _, name in listed} == {f"{g}.npz" for g in (*GENDERS, "regressors")}
    for digest, name in listed:
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest
    assert sum((FOLDER / name).stat().st_size for _, name in listed) <= 6e6
