"""Shared by the body tests: the shipped bodies, and smplx as an independent oracle."""

from __future__ import annotations

from pathlib import Path

import pytest
import smplx
import torch

from genhmr.body import Bodies, axis_angle_to_matrix, export_smpl_pickle, load_bodies

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def bodies() -> Bodies:
    return load_bodies(REPOSITORY / "datasets" / "open" / "body")


@pytest.fixture(scope="session")
def smplx_folder(bodies: Bodies, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder as smplx wants it, written by our exporter."""
    root = tmp_path_factory.mktemp("models")
    (root / "smpl").mkdir()
    export_smpl_pickle(bodies.neutral, root / "smpl" / "SMPL_NEUTRAL.pkl")
    return root


@pytest.fixture(scope="session")
def oracle(smplx_folder: Path) -> torch.nn.Module:
    return smplx.create(str(smplx_folder), model_type="smpl", gender="neutral")


def random_pose(batch: int, seed: int, dtype: torch.dtype = torch.float32) -> tuple:
    """(B, 24, 3, 3) and (B, 10): any root rotation, large joint angles, large shapes."""
    generator = torch.Generator().manual_seed(seed)
    axis_angle = 0.6 * torch.randn(batch, 24, 3, generator=generator, dtype=torch.float64)
    axis_angle[:, 0] *= 3
    betas = 2 * torch.randn(batch, 10, generator=generator, dtype=torch.float64)
    return axis_angle_to_matrix(axis_angle).to(dtype), betas.to(dtype)


@pytest.fixture(scope="session")
def posed() -> tuple:
    return random_pose(8, seed=0)


@pytest.fixture(scope="session")
def posed_double() -> tuple:
    return random_pose(4, seed=3, dtype=torch.float64)
