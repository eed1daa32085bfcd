"""A trained base becomes the shipped weights, with the records of what it follows from."""

import json
from pathlib import Path

import pytest
import torch

from bench.params import read_yaml
from bench.plan import build_jobs
from bench.provenance import job_digest
from bench.ship import ship
from genhmr.train.checkpoint import (
    BACKBONE_FILE,
    GENHMR_FILE,
    TOKENIZER_FILE,
    load_weights,
    save_weights,
)
from genhmr.train.model_files import load_genhmr
from genhmr.types import UserError

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "datasets" / "open" / "weights"
RECORDS = {
    "pretrain": "backbone/base", "train-lifter": "lifter/base",
    "train-tokenizer-base": "tokenizer/base", "train-transformer-base": "transformer/base",
}  # fmt: skip


@pytest.fixture
def jobs():
    params = read_yaml(ROOT / "params.yaml") | {"profile": "open"}
    return build_jobs(params, read_yaml(ROOT / "variants.yaml"))


@pytest.fixture
def run(tmp_path, jobs):
    """What a run of profile open leaves: a base that trained its backbone on, and records."""
    folder, records = tmp_path / "build/models/transformer/base", tmp_path / "provenance"
    folder.mkdir(parents=True)
    records.mkdir()
    pretrained, about = load_weights(SHIPPED / BACKBONE_FILE)
    rest, sizes = load_weights(SHIPPED / GENHMR_FILE)
    moved = {n: 1.5 * t for n, t in pretrained.items() if n.startswith("backbone.")}
    save_weights(folder / BACKBONE_FILE, pretrained, about)
    save_weights(folder / GENHMR_FILE, rest | moved, sizes)
    (folder / TOKENIZER_FILE).write_bytes((SHIPPED / TOKENIZER_FILE).read_bytes())
    for name, key in RECORDS.items():
        record = {"job_sha256": job_digest(jobs[f"{key}.json"]), "gpu": name}
        (records / f"{name}.json").write_text(json.dumps(record))
    return tmp_path / "build", records


def test_the_shipped_model_is_the_trained_one_and_stores_nothing_twice(jobs, run, tmp_path):
    build, records = run
    size = ship(jobs, build, records, tmp_path / "weights")
    trained = load_genhmr(build / "models/transformer/base").state_dict()
    shipped = load_genhmr(tmp_path / "weights").state_dict()
    assert trained.keys() == shipped.keys()
    assert all(torch.equal(trained[name], shipped[name]) for name in trained)
    names = load_weights(tmp_path / "weights" / GENHMR_FILE)[0]
    assert names and not any(name.startswith("backbone.") for name in names)
    files = sorted(path.name for path in (tmp_path / "weights").glob("*"))
    assert files == sorted([BACKBONE_FILE, GENHMR_FILE, TOKENIZER_FILE, "provenance"])
    assert size == sum(p.stat().st_size for p in (tmp_path / "weights").glob("*.safetensors"))
    kept = {p.stem: json.loads(p.read_text()) for p in (tmp_path / "weights/provenance").iterdir()}
    assert {name: record["gpu"] for name, record in kept.items()} == {n: n for n in RECORDS}


def test_shipping_again_replaces_the_weights_and_their_records(jobs, run, tmp_path):
    build, records = run
    ship(jobs, build, records, tmp_path / "weights")
    before = {p.name: p.read_bytes() for p in (tmp_path / "weights").glob("*.safetensors")}
    (tmp_path / "weights/provenance/of-another.json").write_text("{}")
    ship(jobs, build, records, tmp_path / "weights")
    assert {p.name: p.read_bytes() for p in (tmp_path / "weights").glob("*.safetensors")} == before
    assert {p.stem for p in (tmp_path / "weights/provenance").iterdir()} == set(RECORDS)


@pytest.mark.parametrize("name", RECORDS)
def test_a_training_that_is_not_the_planned_one_is_refused(jobs, run, tmp_path, name):
    build, records = run
    (records / f"{name}.json").write_text(json.dumps({"job_sha256": "another"}))
    with pytest.raises(UserError, match=f"{name}.json is not of {RECORDS[name]} as .* plan it"):
        ship(jobs, build, records, tmp_path / "weights")
    (records / f"{name}.json").unlink()
    with pytest.raises(UserError, match=f"{name}.json is not of"):
        ship(jobs, build, records, tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


def test_what_is_shipped_already_and_what_did_not_run_is_refused(jobs, run, tmp_path):
    build, records = run
    params, variants = read_yaml(ROOT / "params.yaml"), read_yaml(ROOT / "variants.yaml")
    licensed = {"data": {"source": "licensed"}}
    for knobs in ({}, {"profile": "smoke"}, {"weights": "trained"}, {"profile": "paper"} | licensed,
                  {"profile": "open"} | licensed, {"profile": "open", "weights": "shipped"}):
        with pytest.raises(UserError, match="only a base that profile open trained"):
            ship(build_jobs(params | knobs, variants), build, records, tmp_path / "weights")
    (build / "models/transformer/base" / GENHMR_FILE).unlink()
    with pytest.raises(UserError, match="genhmr.safetensors is missing: run the stage"):
        ship(jobs, build, records, tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


def test_the_records_beside_the_shipped_weights_are_of_the_jobs_planned_with_one_seed():
    params = read_yaml(ROOT / "params.yaml") | {"profile": "open", "seeds": 1}
    jobs = build_jobs(params, read_yaml(ROOT / "variants.yaml"))
    for name, key in RECORDS.items():
        record = json.loads((SHIPPED / "provenance" / f"{name}.json").read_text())
        assert record["job_sha256"] == job_digest(jobs[f"{key}.json"])
