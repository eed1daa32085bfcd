"""DVC experiments as a user types them, on a repository of its own and the smallest pipeline."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bench.params import read_yaml

ROOT = Path(__file__).parents[2]
CODE = ("bench", "genhmr", "dvc.yaml", "params.yaml", "variants.yaml", ".dvcignore", ".gitignore")


def run(*command, check=True):
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=500,
        env={
            **os.environ,
            "DVC_NO_ANALYTICS": "1",
            # The commands of the stages are `python -m bench`: this Python, this folder's code.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        },
    )
    assert not check or done.returncode == 0, (command, done.stdout[-3000:], done.stderr[-3000:])
    return done


def dvc(*arguments, check=True):
    return run(sys.executable, "-m", "dvc", *arguments, check=check)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """The code in a git repository, with one tokenizer and one transformer, and a finished run."""
    folder = tmp_path_factory.mktemp("experiments")
    ignore = shutil.ignore_patterns("__pycache__")
    for name in CODE:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name, **({"ignore": ignore} if copy is shutil.copytree else {}))
    for name in ("datasets/open", "results/open"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "datasets" / "body").mkdir()
    shutil.copy(ROOT / "datasets" / "body" / "README.md", folder / "datasets" / "body")
    variants = read_yaml(folder / "variants.yaml")
    for kind in ("tokenizers", "transformers"):
        variants[kind] = {"base": variants[kind]["base"]}
    variants["profiles"]["smoke"].pop("only")
    settings = variants["evaluations"]["base"]["settings"]
    kept = ("default", "headline", "refinement", "cosine-1", "cosine-3", "top-2")
    variants["evaluations"]["base"]["settings"] = {name: settings[name] for name in kept}
    tables = variants["tables"]
    tables["02"]["rows"], tables["12"]["rows"] = tables["02"]["rows"][:2], tables["12"]["rows"][1:2]
    variants["tables"] = {number: tables[number] for number in ("02", "03", "12")}
    (folder / "variants.yaml").write_text(yaml.safe_dump(variants, sort_keys=False))
    params = read_yaml(folder / "params.yaml") | {"profile": "smoke", "device": "cpu"}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    here = os.getcwd()
    os.chdir(folder)
    try:
        run("git", "init", "-q")
        run("git", "config", "user.email", "t@example.org")
        run("git", "config", "user.name", "t")
        dvc("init", "-q")
        run("git", "add", "-A")
        run("git", "commit", "-qm", "code")
        dvc("repro", "-q")
        run("git", "add", "-A")
        run("git", "commit", "-qm", "results")
    finally:
        os.chdir(here)
    return folder


def _experiments() -> dict[str, dict]:
    """Name -> parameters of the experiments that `dvc exp show` lists."""
    shown = json.loads(dvc("exp", "show", "--json").stdout)
    found = {}
    for entry in shown:
        for experiment in entry.get("experiments") or []:
            revision = experiment["revs"][0]
            values = revision["data"]["params"]["params.yaml"]["data"]
            found[experiment.get("name") or revision["name"]] = values
    return found


def test_sampling_iterations_are_an_experiment_that_trains_nothing(repository, monkeypatch):
    monkeypatch.chdir(repository)
    done = dvc("exp", "run", "-n", "ten", "-S", "ugs.iters=10")
    for stage in ("transformer@base", "tokenizer@base", "backbone", "lifter", "data@wild"):
        assert f"Running stage '{stage}'" not in done.stdout
    assert "Running stage 'evaluate@base'" in done.stdout
    assert _experiments()["ten"]["ugs"]["iters"] == 10
    drawn = dvc("plots", "diff", "HEAD", "-o", "drawn").stdout
    assert "drawn" in drawn and (repository / "drawn" / "index.html").exists()


def test_more_refinement_changes_refined_numbers_alone(repository, monkeypatch):
    monkeypatch.chdir(repository)
    dvc("exp", "run", "-n", "refined", "-S", "refine.iters=20", "-S", "ugs.iters=5")
    changed = dvc("metrics", "diff", "--json").stdout
    assert "headline" in changed, changed
    assert "default" not in changed and "mean-pose" not in changed


def test_a_queue_of_experiments_runs(repository, monkeypatch):
    monkeypatch.chdir(repository)
    dvc("exp", "run", "--queue", "-S", "ugs.iters=1,3", "-S", "refine.iters=10")
    dvc("exp", "run", "--run-all")
    iterations = {values["ugs"]["iters"] for values in _experiments().values()}
    assert {1, 3} <= iterations


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("profile=huge", "unknown profile 'huge'"),
        ("ugs.iters=0", "'ugs.iters' is 0; it must be greater than 0"),
        ("data.source=licensed", "datasets/body"),
        ("seeds=-1", "'seeds' is -1"),
    ],
)
def test_what_cannot_run_says_why_and_leaves_the_results(repository, monkeypatch, change, sentence):
    monkeypatch.chdir(repository)
    # A failed experiment leaves its change behind; written out, because git takes a file of the
    # same size and second for unchanged.
    run("git", "reset", "-q", "--hard")
    Path("params.yaml").write_text(run("git", "show", "HEAD:params.yaml").stdout)
    before = Path("results/summary.json").read_bytes()
    done = dvc("exp", "run", "-S", change, check=False)
    said = done.stdout + done.stderr
    assert done.returncode != 0 and sentence in said, said[-2000:]
    assert Path("results/summary.json").read_bytes() == before
