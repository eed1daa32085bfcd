"""A checkout in which every stage of a small smoke profile has run."""

import fcntl
import os
import shutil
from pathlib import Path

import yaml
from click.testing import CliRunner

from bench.__main__ import cli
from bench.inputs import GROUPS
from bench.params import read_yaml

ROOT = Path(__file__).parents[2]
ROLES = ("lab", "photo", "web", "synth", "wild", "extreme", "mocap", "yoga")
TRANSFORMERS = ("base", "ablation", "tokens-48", "sd-itw-bl")


def small(variants):
    """The smoke profile with two tokenizers, four settings and a handful of images."""
    smoke = variants["profiles"]["smoke"]
    smoke["images"] = {
        "lab": {"train": 12, "test": 4},
        "photo": {"train": 12},
        "web": {"train": 8},
        "synth": {"train": 8},
        "wild": {"test": 4},
        "extreme": {"test": 4},
    }
    smoke["clips"] = {"mocap": {"train": 4}, "yoga": {"train": 2, "val": 1}}
    smoke["poses"] = {"mocap": {"train": 0, "test": 30}, "yoga": {"train": 0, "val": 20}}
    smoke["backbone"] |= {"images": 24, "batch": 4, "steps": 2, "dim": 48, "depth": 1, "heads": 2}
    smoke["tokenizer"] |= {"steps": 2, "batch": 8, "width": 32}
    smoke["transformer"] |= {"steps": 2, "batch": 4, "ablation_steps": 1, "ablation_batch": 4}
    smoke["transformer"]["width"] = 32
    smoke["transformer"]["features"] = 16
    smoke["evaluation"] = {"batch": 3, "timing": 1, "ablation_images": 2}
    kept = ("base", "t48", "mixed-t48", "t384")
    variants["tokenizers"] = {k: variants["tokenizers"][k] for k in kept}
    kept = (*TRANSFORMERS, "layers-2")
    variants["transformers"] = {k: variants["transformers"][k] for k in kept}
    kept = ("default", "headline", "refinement", "cosine-1", "top-2")
    settings = variants["evaluations"]["base"]["settings"]
    variants["evaluations"]["base"]["settings"] = {k: settings[k] for k in kept}
    variants["tables"] = {
        "02": dict(variants["tables"]["02"], rows=variants["tables"]["02"]["rows"][:1]),
        "03": variants["tables"]["03"],
        "06": dict(variants["tables"]["06"], rows=variants["tables"]["06"]["rows"][:1]),
        "07": dict(variants["tables"]["07"], rows=variants["tables"]["07"]["rows"][1:]),
        "12": dict(variants["tables"]["12"], rows=variants["tables"]["12"]["rows"][1:2]),
        "14": dict(variants["tables"]["14"], rows=variants["tables"]["14"]["rows"][:2]),
        "16": dict(variants["tables"]["16"], rows=variants["tables"]["16"]["rows"][:2]),
    }
    return variants


def run_every_stage(folder):
    """Make ``folder`` a checkout of the small smoke profile, and run every stage in it."""
    (folder / "datasets").mkdir()
    (folder / "datasets" / "open").symlink_to(ROOT / "datasets" / "open")
    for code in ("bench", "genhmr"):
        (folder / code).symlink_to(ROOT / code)
    params = read_yaml(ROOT / "params.yaml")
    params["profile"], params["device"] = "smoke", "cpu"
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    variants = small(read_yaml(ROOT / "variants.yaml"))
    (folder / "variants.yaml").write_text(yaml.safe_dump(variants, sort_keys=False))
    shutil.copy(ROOT / "dvc.yaml", folder)
    here = os.getcwd()
    os.chdir(folder)
    try:
        commands = [["plan"], *(["data", role] for role in ROLES), ["pretrain"], ["train-lifter"]]
        commands += [["inputs", group] for group in GROUPS]
        for name in variants["tokenizers"]:
            commands += [["train-tokenizer", name], ["evaluate-tokenizer", name]]
        for name in variants["transformers"]:
            commands += [["train-transformer", name], ["evaluate", name]]
        commands += [["tables"], ["claims"], ["figures"], ["report"]]
        for command in commands:
            result = CliRunner().invoke(cli, command, catch_exceptions=False)
            assert result.exit_code == 0, (command, result.output)
    finally:
        os.chdir(here)


def finished_checkout(tmp_path_factory):
    """A copy of what :func:`run_every_stage` makes, once for all workers of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # of this run, above those of its workers
    whole, part = base / "finished", base / "finished.part"
    with open(base / "finished.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            run_every_stage(part)
            part.rename(whole)
    return shutil.copytree(whole, tmp_path_factory.mktemp("run") / "checkout", symlinks=True)
