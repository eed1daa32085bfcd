"""Each protocol against the sentence that describes it, written out by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from genhmr.body import SMPL, axis_angle_to_matrix, load_bodies
from genhmr.body.joints import EXTRA19_NAMES, H36M17_NAMES, LSP14_NAMES, SPIN24_NAMES
from genhmr.metrics import PRESETS, Evaluator, Protocol, SharedEvaluator, presets_for, protocol_for
from genhmr.metrics.protocols import Regressor
from genhmr.types import UserError

REPOSITORY = Path(__file__).resolve().parents[2]
GENDERS = ["male", "neutral", "female", "male"]


@pytest.fixture(scope="module")
def bodies():
    return load_bodies(REPOSITORY / "datasets" / "open" / "body")


@pytest.fixture(scope="module")
def layers(bodies):
    return {gender: SMPL(bodies.get(gender), torch.float64) for gender in set(GENDERS)}


@pytest.fixture(scope="module")
def sample():
    """Predicted and true (pose, betas): a true pose and a prediction that is off."""
    generator = torch.Generator().manual_seed(0)
    truth = 0.5 * torch.randn(4, 24, 3, generator=generator)
    pred = truth + 0.15 * torch.randn(4, 24, 3, generator=generator)
    betas = torch.randn(2, 4, 10, generator=generator)
    return axis_angle_to_matrix(pred), betas[0], axis_angle_to_matrix(truth), betas[1]


def by_hand(bodies, layers, sample, row, gender, joints, root, centre_vertices=True):
    """MPJPE and MVE of one row: numpy, one sample, names instead of index tables."""
    pred_pose, pred_betas, true_pose, true_betas = (value[row : row + 1] for value in sample)
    pred = layers["neutral"](pred_pose, pred_betas)
    true = layers[gender](true_pose, true_betas)
    measured = []
    for body in (pred, true):
        vertices, kinematic = body.vertices[0].numpy(), body.joints[0].numpy()
        h36m = bodies.regressor_h36m @ vertices
        named = dict(zip(H36M17_NAMES, h36m))
        places = {
            "h36m14": [h36m[i] for i, n in enumerate(H36M17_NAMES)
                       if n not in ("Pelvis", "Spine", "Nose")],
            "h36m17": list(h36m),
            "extra14": [bodies.regressor_extra19[i] @ vertices
                        for i, n in enumerate(EXTRA19_NAMES) if n in LSP14_NAMES[:12]]
            + [bodies.regressor_extra19[EXTRA19_NAMES.index(n)] @ vertices
               for n in ("NeckLSP", "HeadH36M")],
            "smpl24": list(kinematic),
            "smpl24_regressed": list(bodies.neutral.J_regressor @ vertices),
        }[joints]  # fmt: skip
        hips = [named["LHip"], named["RHip"]] if joints.startswith("h36m") else places[1:3]
        origin = {
            "pelvis": named["Pelvis"] if joints.startswith("h36m")
            else bodies.regressor_extra19[EXTRA19_NAMES.index("PelvisMPII")] @ vertices
            if joints == "extra14" else places[0],
            "mean_of_hips": (hips[0] + hips[1]) / 2,
            "vertex_centroid": vertices.mean(0),
        }[root]
        measured.append((np.array(places) - origin, vertices - origin * centre_vertices))
    (pred_joints, pred_vertices), (true_joints, true_vertices) = measured
    return (
        1000 * np.linalg.norm(pred_joints - true_joints, axis=1).mean(),
        1000 * np.linalg.norm(pred_vertices - true_vertices, axis=1).mean(),
    )


CASES = {
    "lab": (protocol_for("open-lab"), "h36m14", "pelvis", GENDERS, True),
    "wild": (protocol_for("open-wild"), "h36m14", "pelvis", GENDERS, True),
    "extreme": (protocol_for("open-extreme"), "smpl24", "mean_of_hips", GENDERS, True),
    "mocap": (protocol_for("open-mocap"), "smpl24", "pelvis", ["neutral"] * 4, True),
    "pare": (protocol_for("3dpw", "pare"), "h36m14", "pelvis", ["neutral"] * 4, False),
    "hmr2": (protocol_for("3dpw", "hmr2"), "extra14", "pelvis", GENDERS, True),
    "wham": (protocol_for("3dpw", "wham"), "h36m14", "mean_of_hips", GENDERS, True),
    "mega": (protocol_for("3dpw", "mega"), "h36m17", "vertex_centroid", GENDERS, True),
    "tokenhmr": (
        protocol_for("emdb", "tokenhmr"), "smpl24_regressed", "mean_of_hips", GENDERS, True,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_protocol_measures_what_it_says(bodies, layers, sample, case):
    protocol, joints, root, genders, centre_vertices = CASES[case]
    found = Evaluator(protocol, bodies)(*sample, GENDERS)
    expected = [
        by_hand(bodies, layers, sample, row, gender, joints, root, centre_vertices)
        for row, gender in enumerate(genders)
    ]
    # The bodies are float32 (3e-4 mm), the metrics are not.
    np.testing.assert_allclose(found["mpjpe"], [e[0] for e in expected], atol=2e-3)
    np.testing.assert_allclose(found["mve"], [e[1] for e in expected], atol=2e-3)
    assert (found["pa_mpjpe"] <= found["mpjpe"] + 1e-9).all()
    assert all(values.dtype == np.float64 for values in found.values())


def test_perfect_prediction_has_no_error(bodies, sample):
    # One of each kind: joint set and root are all that can go wrong here.
    everything = [p for kinds in PRESETS.values() for p in kinds.values()]
    kinds = {(p.joints, p.root): p for p in everything if p.truth_joints == "body"}
    assert len(kinds) == 7
    for protocol in kinds.values():
        found = Evaluator(protocol, bodies)(*sample[2:], *sample[2:], ["neutral"] * 4)
        for name, values in found.items():
            np.testing.assert_allclose(values, 0, atol=1e-3, err_msg=f"{protocol} {name}")


def test_choices_that_make_published_numbers_differ_do_differ(bodies, sample):
    mean = {
        name: Evaluator(protocol_for("3dpw", name), bodies)(*sample, GENDERS)["mpjpe"].mean()
        for name in ("spin", "hmr2", "fastmetro", "wham", "mega")
    }
    assert len({round(value, 2) for value in mean.values()}) == 5


def spin_markers(bodies, layer, pose, betas) -> torch.Tensor:
    """``S`` of an npz file, filled from names."""
    vertices = layer(pose, betas).vertices.numpy()
    places = dict(zip(H36M17_NAMES, np.moveaxis(bodies.regressor_h36m @ vertices, 1, 0)))
    places["HeadH36M"], places["PelvisMPII"] = places["HeadTop"], places["Pelvis"]
    markers = np.full((len(pose), 24, 4), np.nan)
    for i, name in enumerate(SPIN24_NAMES):
        if name in places and name != "HeadTop":
            markers[:, i, :3], markers[:, i, 3] = places[name], 1
    return torch.from_numpy(markers)


def test_marker_joints_give_the_same_error_as_the_body_they_came_from(bodies, layers, sample):
    pred_pose, pred_betas, gt_pose, gt_betas = sample
    markers = spin_markers(bodies, layers["neutral"], gt_pose, gt_betas)
    from_body = Evaluator(protocol_for("h36m"), bodies)(*sample, ["neutral"] * 4)
    evaluator = Evaluator(protocol_for("h36m", "spin"), bodies)
    found = evaluator(pred_pose, pred_betas, None, None, ["neutral"] * 4, markers)
    np.testing.assert_allclose(found["mpjpe"], from_body["mpjpe"], atol=2e-3)
    np.testing.assert_allclose(found["pa_mpjpe"], from_body["pa_mpjpe"], atol=2e-3)
    assert np.isnan(found["mve"]).all()
    hips = dataclasses.replace(protocol_for("h36m", "spin"), root="mean_of_hips")
    reference = dataclasses.replace(protocol_for("h36m"), root="mean_of_hips")
    np.testing.assert_allclose(
        Evaluator(hips, bodies)(*sample, ["neutral"] * 4, markers)["mpjpe"],
        Evaluator(reference, bodies)(*sample, ["neutral"] * 4)["mpjpe"],
        atol=2e-3,
    )


def test_missing_ground_truth_and_wrong_lengths_are_refused(bodies, sample):
    pred = sample[:2]
    with pytest.raises(ValueError, match="needs joints_3d"):
        Evaluator(protocol_for("h36m", "spin"), bodies)(*sample, GENDERS)
    with pytest.raises(ValueError, match="needs a ground-truth body"):
        Evaluator(protocol_for("3dpw"), bodies)(*pred, None, None, GENDERS)
    with pytest.raises(ValueError, match="4 predictions, 4 truths, 3 genders"):
        Evaluator(protocol_for("3dpw"), bodies)(*sample, GENDERS[:3])
    shorter = [part[:2] for part in sample[2:]]
    for name in ("genhmr", "fastmetro"):  # gendered and neutral truth
        for genders in (["neutral"] * 4, ["neutral"] * 2):
            message = f"4 predictions, 2 truths, {len(genders)} genders"
            with pytest.raises(ValueError, match=message):
                Evaluator(protocol_for("3dpw", name), bodies)(*pred, *shorter, genders)


@pytest.mark.parametrize("name", ["genhmr", "fastmetro"])
@pytest.mark.parametrize("genders", [GENDERS, ["neutral"] * 4])
def test_bodies_posed_together_are_those_posed_one_by_one(bodies, sample, name, genders):
    """Four predictions and four truths in one product, or one after the other."""
    evaluator = Evaluator(protocol_for("3dpw", name), bodies)
    together = evaluator(*sample, genders)
    alone = evaluator.measure(*sample[:2], evaluator.pose_truth(*sample[2:], genders))
    for metric, values in together.items():
        np.testing.assert_allclose(values, alone[metric], atol=1e-3, err_msg=metric)
        assert (values > 1).all(), "they differ, so a swapped or shifted row would show"


def test_protocols_are_data():
    assert protocol_for("3dpw") is protocol_for("open-wild")
    with pytest.raises(UserError, match="'coco' has no evaluation protocol"):
        protocol_for("coco")
    with pytest.raises(ValueError, match="'joint0' is not one of"):
        Protocol("h36m14", "joint0")
    with pytest.raises(ValueError, match="spin24 ground truth needs"):
        Protocol("smpl24", "pelvis", truth_joints="spin24")
    with pytest.raises(dataclasses.FrozenInstanceError):
        protocol_for("3dpw").root = "mean_of_hips"
    with pytest.raises(UserError, match="'hmr2' is not defined on emdb; choose genhmr, tokenhmr"):
        protocol_for("emdb", "hmr2")
    on_the_lab = {"genhmr", "spin", "hmr2", "bedlam", "h36m-p1", "h36m-p2"}
    assert set(presets_for("open-lab")) == on_the_lab
    line = protocol_for("emdb").describe()
    assert "smpl24" in line and "mean_of_hips" in line and "gendered" in line


def test_hmr2_without_its_regressor_is_one_sentence(bodies):
    licensed = dataclasses.replace(bodies, regressor_extra19=None)
    with pytest.raises(UserError, match="SMPL_to_J19.pkl"):
        Evaluator(protocol_for("3dpw", "hmr2"), licensed)


def test_the_open_stand_in_for_smpl_to_j19_lies_where_its_names_say(bodies):
    """Rest pose of the open body: left is +x, up is +y."""
    places = dict(zip(EXTRA19_NAMES, bodies.regressor_extra19 @ bodies.neutral.v_template))
    np.testing.assert_allclose(bodies.regressor_extra19.sum(1), 1.0, atol=1e-3)
    for part in ("Ankle", "Knee", "Hip", "Wrist", "Elbow", "Shoulder"):
        left, right = places[f"L{part}"], places[f"R{part}"]
        assert left[0] > 0.03 and abs(left[0] + right[0]) < 0.02 and abs(left[1] - right[1]) < 0.02
    heights = [places[n][1] for n in ("LAnkle", "LKnee", "PelvisMPII", "ThoraxMPII", "HeadTop")]
    assert heights == sorted(heights)


def test_several_protocols_share_the_posed_bodies_and_change_nothing(bodies, sample):
    protocols = {n: p for n, p in presets_for("3dpw").items()}
    found = SharedEvaluator(protocols, bodies)(*sample, GENDERS)
    assert set(found) == set(protocols)
    for name, protocol in protocols.items():
        alone = Evaluator(protocol, bodies)(*sample, GENDERS)
        for metric, values in alone.items():
            np.testing.assert_array_equal(found[name][metric], values)


def test_a_regressor_reads_only_the_vertices_that_have_a_weight():
    rng = np.random.default_rng(5)
    matrix = rng.normal(size=(4, 30)) * (rng.random((4, 30)) < 0.2)
    vertices = torch.from_numpy(rng.normal(size=(3, 30, 3))).float()
    unused = torch.from_numpy(np.flatnonzero(~matrix.any(0)))
    vertices[:, unused] = float("nan")
    joints = Regressor(matrix)(vertices)
    expected = matrix @ np.nan_to_num(vertices.double().numpy())
    np.testing.assert_allclose(joints.numpy(), expected, rtol=0, atol=1e-6)
