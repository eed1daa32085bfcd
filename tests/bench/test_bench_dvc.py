"""DVC over a finished checkout: nothing runs twice, and one knob reruns what it concerns."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bench.params import read_yaml
from bench.plan import build_jobs, write_plan

ROOT = Path(__file__).parents[2]


def dvc(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "DVC_NO_ANALYTICS": "1"},
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """The code as it is, and outputs of every stage made up: DVC compares contents, not sense."""
    folder = tmp_path_factory.mktemp("dvc")
    ignore = shutil.ignore_patterns("__pycache__", "tests")
    for name in ("genhmr", "bench"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ("body", "motion", "weights"):
        (folder / "datasets" / "open" / name).mkdir(parents=True)
        (folder / "datasets" / "open" / name / "x").write_text(name)
    for name in ("backbone", "tokenizer", "genhmr"):
        (folder / f"datasets/open/weights/{name}.safetensors").write_text(name)
    for name in ("dvc.yaml", "params.yaml", "variants.yaml", ".dvcignore"):
        shutil.copy(ROOT / name, folder)
    params, variants = read_yaml(folder / "params.yaml"), read_yaml(folder / "variants.yaml")
    here = os.getcwd()
    os.chdir(folder)
    try:
        write_plan(build_jobs(params, variants), Path("build/plan"))
        outs = [f"build/data/{name}" for name in variants["datasets"]]
        outs += [f"build/models/tokenizer/{name}" for name in variants["tokenizers"]]
        outs += [f"build/evaluate-tokenizer/{name}" for name in variants["tokenizers"]]
        outs += [f"build/models/transformer/{name}" for name in variants["transformers"]]
        outs += [f"build/evaluate/{name}" for name in variants["transformers"]]
        outs += ["build/models/backbone", "build/models/lifter"]
        outs += ["results/tables", "results/compare"]
        outs += ["results/figures", "results/claims", "results/report"]
        for out in outs:
            Path(out).mkdir(parents=True)
            (Path(out) / "made.txt").write_text(out)
        for name in ("results/summary.json", "results/numbers.csv", "results/open/README.md"):
            Path(name).parent.mkdir(exist_ok=True)
            Path(name).write_text("{}\n")
        dvc("init", "--no-scm", "-q")
        dvc("commit", "-f", "-q")
    finally:
        os.chdir(here)
    return folder


def _would_run() -> set[str]:
    lines = dvc("repro", "--dry").splitlines()
    return {line.split("'")[1] for line in lines if line.startswith("Running stage")}


def test_nothing_runs_twice(checkout, monkeypatch):
    monkeypatch.chdir(checkout)
    assert "up to date" in dvc("repro")
    assert _would_run() == set()


def test_sampling_iterations_train_nothing(checkout, monkeypatch):
    monkeypatch.chdir(checkout)
    kept = Path("params.yaml").read_text()
    params = yaml.safe_load(kept)
    params["ugs"]["iters"] = 10
    Path("params.yaml").write_text(yaml.safe_dump(params))
    try:
        assert _would_run() == {"plan"}
        dvc("repro", "plan")
        kinds = {name.partition("@")[0] for name in _would_run()}
        assert kinds == {"evaluate", "tables", "claims", "figures", "report"}
    finally:
        Path("params.yaml").write_text(kept)
        dvc("repro", "plan")
    assert _would_run() == set()


@pytest.mark.parametrize(
    ("path", "stages"),
    [
        ("genhmr/data/detections.py", {"evaluate@base"}),
        ("genhmr/tokenizer/model.py", {"transformer@base", "evaluate@base", "tokenizer@t48"}),
        ("genhmr/metrics/functional.py", {"evaluate@base", "evaluate-tokenizer@t48"}),
        ("genhmr/train/loop.py", {"backbone", "tokenizer@t48", "transformer@base"}),
        ("datasets/open/body/x", {"data@wild", "backbone", "tokenizer@t48", "figures"}),
        ("bench/reported/table02.csv", {"tables", "claims"}),
    ],
)
def test_an_edit_reaches_the_stages_that_use_it(checkout, monkeypatch, path, stages):
    monkeypatch.chdir(checkout)
    kept = Path(path).read_bytes()
    Path(path).write_bytes(kept + b"\n# edited\n")
    try:
        assert stages <= _would_run()
    finally:
        Path(path).write_bytes(kept)


def test_an_edited_variant_reruns_itself_its_evaluation_and_the_tables(checkout, monkeypatch):
    """`_would_run` stops at what may change: what is behind it follows if it does."""
    monkeypatch.chdir(checkout)
    kept = Path("variants.yaml").read_text()
    variants = yaml.safe_load(kept)
    variants["transformers"]["layers-6"]["layers"] = 5
    Path("variants.yaml").write_text(yaml.safe_dump(variants, sort_keys=False))
    try:
        dvc("repro", "plan")
        assert _would_run() == {"transformer@layers-6", "evaluate@layers-6", "tables", "claims"}
    finally:
        Path("variants.yaml").write_text(kept)
        dvc("repro", "plan")
    assert _would_run() == set()


def test_shipped_weights_are_no_reason_to_train_tokenizer_variants(checkout, monkeypatch):
    """New GenHMR weights rerun their export and what starts with their lifter."""
    monkeypatch.chdir(checkout)
    path = Path("datasets/open/weights/genhmr.safetensors")
    kept = path.read_bytes()
    path.write_bytes(b"other")
    try:
        again = _would_run()
    finally:
        path.write_bytes(kept)
    assert {"lifter", "transformer@base"} <= again
    assert not any("tokenizer" in name or name.startswith(("data", "backbone")) for name in again)
