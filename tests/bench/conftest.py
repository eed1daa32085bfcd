"""Shared by the tests of scores and of tables: a small open-wild, and made-up metrics."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from bench.params import read_yaml
from bench.tables import write_tables
from tests.bench.made_up_metrics import REPORTED, tables_job, write_metrics, write_open_run

ROOT = Path(__file__).parents[2]
# What loads torch is imported by the fixtures that need it: many files of this folder do without.


@pytest.fixture(scope="session")
def bodies():
    from genhmr.body import load_bodies

    return load_bodies(ROOT / "datasets" / "open" / "body")


@pytest.fixture(scope="session")
def checkout(tmp_path_factory, bodies):
    """A folder with a small open-wild of several sequences where the command looks for it."""
    from genhmr.world.generate import generate
    from tests.bench.prediction_files import DATASET

    folder = tmp_path_factory.mktemp("score")
    (folder / "datasets").mkdir()
    (folder / "datasets" / "open").symlink_to(ROOT / "datasets" / "open")
    root = folder / "datasets" / "raw" / DATASET
    motion = ROOT / "datasets" / "open" / "motion"
    generate(DATASET, root, bodies, motion, {"test": 30}, 3, 64)
    return folder


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A checkout in which every stage has run; returns its folder."""
    from tests.bench.smoke_checkout import finished_checkout

    return finished_checkout(tmp_path_factory)


@pytest.fixture(scope="session")
def truth(checkout, bodies):
    from bench.truth import read_truth
    from tests.bench.prediction_files import DATASET

    return read_truth("3dpw", checkout / "datasets" / "raw" / DATASET, "test", bodies)


@pytest.fixture
def predictions(truth):
    """Parameters that are off by a little, in the order of the ground truth."""
    rng = np.random.default_rng(0)
    pose = truth.pose + 0.1 * rng.standard_normal(truth.pose.shape)
    return {
        "key": np.array(truth.keys),
        "pose": pose.astype(np.float32),
        "betas": truth.betas.copy(),
    }


@pytest.fixture
def variants():
    return read_yaml(ROOT / "variants.yaml")


@pytest.fixture
def job(variants):
    return tables_job(variants)


@pytest.fixture(scope="session")
def measured(tmp_path_factory):
    """Made-up metrics of every model of variants.yaml; read only."""
    folder = tmp_path_factory.mktemp("measured") / "build"
    write_metrics(folder)
    return folder


@pytest.fixture
def build(measured, tmp_path):
    """A copy that a test may damage."""
    return Path(shutil.copytree(measured, tmp_path / "build"))


@pytest.fixture(scope="session")
def written(measured, tmp_path_factory):
    """The tables of the made-up metrics, without an open run; read only."""
    results = tmp_path_factory.mktemp("written") / "results"
    variants = read_yaml(ROOT / "variants.yaml")
    write_tables(variants, tables_job(variants), measured, REPORTED, results)
    return results


@pytest.fixture(scope="session")
def written_beside(measured, tmp_path_factory):
    """The same beside a made-up open run, in which some rows did not run: as shipped; read only."""
    folder = tmp_path_factory.mktemp("beside")
    variants, results = read_yaml(ROOT / "variants.yaml"), folder / "results"
    write_open_run(folder / "build", results)
    write_tables(variants, tables_job(variants), measured, REPORTED, results)
    return results
