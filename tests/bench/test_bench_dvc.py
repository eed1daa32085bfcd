"""DVC over a finished checkout: nothing runs twice, and one knob reruns what it concerns."""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from bench.inputs import GROUPS, write_inputs
from bench.params import read_yaml
from bench.plan import build_jobs, write_plan

ROOT = Path(__file__).parents[2]
NOTED = [f"inputs-{group}" for group in GROUPS]


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
    (folder / "datasets" / "body").mkdir(parents=True)
    (folder / "datasets" / "body" / "README.md").write_text("none yet")
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
        for path in Path("build/data").iterdir():
            for split in ("train", "test", "val"):
                (path / split).mkdir()
                (path / split / "manifest.json").write_text("{}\n")
        for group in GROUPS:
            write_inputs(group, Path("build"))
        for name in ("results/summary.json", "results/numbers.csv", "results/open/README.md"):
            Path(name).parent.mkdir(exist_ok=True)
            Path(name).write_text("{}\n")
        dvc("init", "--no-scm", "-q")
        dvc("commit", "-f", "-q")
    finally:
        os.chdir(here)
    return folder


def _would_run() -> set[str]:
    """Stages that `dvc repro` would start for sure; what is behind them follows if they change."""
    lines = dvc("repro", "--dry").splitlines()
    return {line.split("'")[1] for line in lines if line.startswith("Running stage")}


@contextmanager
def edited(path, content):
    """Another content of a file, and its inputs noted; afterwards all as it was."""
    kept = Path(path).read_bytes()
    Path(path).write_bytes(content)
    try:
        if str(path).endswith(".yaml"):
            dvc("repro", "plan")
        dvc("repro", "--single-item", *NOTED)  # the data are made up and cannot be made again
        yield
    finally:
        Path(path).write_bytes(kept)
        if str(path).endswith(".yaml"):
            dvc("repro", "plan")
        dvc("repro", "--single-item", *NOTED)


def test_nothing_runs_twice(checkout, monkeypatch, tmp_path):
    """Nor is any command of a stage so much as started: every one begins with `python`."""
    monkeypatch.chdir(checkout)
    stages = yaml.safe_load(Path("dvc.yaml").read_text())["stages"].values()
    assert all(stage.get("do", stage)["cmd"].startswith("python -m bench") for stage in stages)
    started, python = tmp_path / "started", tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$*" >> {started}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    said = dvc("repro")
    assert "up to date" in said and "Running stage" not in said
    assert not started.exists(), started.read_text()
    dvc("repro", "--force", "--single-item", "plan")  # the list would have had it
    assert started.read_text() == "-m bench plan\n"
    assert _would_run() == set()


def test_sampling_iterations_train_nothing(checkout, monkeypatch):
    monkeypatch.chdir(checkout)
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["ugs"]["iters"] = 10
    with edited("params.yaml", yaml.safe_dump(params).encode()):
        kinds = {name.partition("@")[0] for name in _would_run()}
        assert kinds == {"evaluate", "tables", "claims", "figures", "report"}


@pytest.mark.parametrize(
    ("path", "some", "none"),
    [
        ("genhmr/data/detections.py", {"evaluate@base", "evaluate@layers-6"},
         {"transformer", "tokenizer", "lifter", "evaluate-tokenizer"}),
        ("genhmr/tokenizer/model.py", {"transformer@base", "evaluate@base", "tokenizer@t48",
                                       "lifter"}, {"backbone"}),
        ("genhmr/metrics/functional.py", {"evaluate@base", "evaluate-tokenizer@t48"},
         {"transformer", "tokenizer", "lifter", "backbone"}),
        ("genhmr/world/background.py", {"data@wild", "data@photo"},
         {"tokenizer", "lifter", "transformer", "evaluate", "evaluate-tokenizer"}),
        ("genhmr/train/loop.py", {"backbone", "tokenizer@t48", "transformer@base"},
         {"data", "evaluate", "evaluate-tokenizer"}),
        ("genhmr/train/transformer.py", {"transformer@layers-6"},
         {"tokenizer", "backbone", "lifter", "evaluate"}),
        ("bench/report/svg.py", {"report"}, {"transformer", "tokenizer", "evaluate", "tables"}),
        ("datasets/open/body/x", {"data@wild", "backbone", "tokenizer@t48", "figures"}, set()),
        ("bench/reported/table02.csv", {"tables", "claims"}, {"evaluate", "transformer"}),
        # New GenHMR weights rerun their export and what starts with their lifter.
        ("datasets/open/weights/genhmr.safetensors", {"lifter", "transformer@base"},
         {"tokenizer", "backbone", "data"}),
        ("build/data/web/train/manifest.json", {"transformer@sd-itw", "evaluate@sd-itw-bl"},
         {"tokenizer", "backbone", "lifter"}),
    ],
)  # fmt: skip
def test_an_edit_reaches_the_stages_that_use_it(checkout, monkeypatch, path, some, none):
    monkeypatch.chdir(checkout)
    with edited(path, Path(path).read_bytes() + b"\n"):
        again = _would_run()
    assert some <= again
    assert not none & {stage.partition("@")[0] for stage in again}
    if path.startswith("build/data/web"):
        assert "transformer@layers-6" not in again


def test_an_edited_variant_reruns_itself_its_evaluation_and_the_tables(checkout, monkeypatch):
    """`_would_run` stops at what may change: what is behind it follows if it does."""
    monkeypatch.chdir(checkout)
    variants = yaml.safe_load(Path("variants.yaml").read_text())
    variants["transformers"]["layers-6"]["layers"] = 5
    with edited("variants.yaml", yaml.safe_dump(variants, sort_keys=False).encode()):
        assert _would_run() == {"transformer@layers-6", "tables", "claims"}


def test_a_tokenizer_waits_for_motion_alone_and_the_backbone_for_no_data(checkout, monkeypatch):
    monkeypatch.chdir(checkout)
    names = set(dvc("dag", "--dot", "tokenizer@base").replace('"', " ").split())
    assert {"data@mocap", "data@yoga", "inputs-motion"} <= names
    assert not {"data@lab", "data@wild", "inputs-images"} & names
    names = set(dvc("dag", "--dot", "backbone").replace('"', " ").split())
    assert "inputs-world" in names and not any(name.startswith("data@") for name in names)


def test_after_all_edits_are_taken_back_nothing_runs(checkout, monkeypatch):
    monkeypatch.chdir(checkout)
    assert _would_run() == set()
