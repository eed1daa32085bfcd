"""Stages and their parts without the whole street: no run of the pipeline is needed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from bench.__main__ import cli
from bench.backbone import backbone_config, make_backbone
from bench.data import prepare
from bench.params import read_yaml
from bench.plan import build_jobs, write_plan
from bench.stage import spread
from genhmr.image.pretrained import VIT_H, backbone_from_weights
from genhmr.image.vit import ViTBackbone
from genhmr.train.checkpoint import load_weights
from genhmr.types import UserError

ROOT = Path(__file__).parents[2]


def test_a_published_backbone_is_imported(tmp_path):
    """As profile paper does, on a small file with ViTPose's names."""
    params, variants = read_yaml(ROOT / "params.yaml"), read_yaml(ROOT / "variants.yaml")
    params["profile"] = "paper"
    job = build_jobs(params, variants)["backbone/base.json"]
    full = backbone_config(job)
    assert full == VIT_H
    job["image_size"] = [64, 48]
    job["model"] |= {"dim": 32, "depth": 1, "heads": 2}
    with pytest.raises(UserError, match="vitpose-h.pth does not exist"):
        make_backbone(job | {"import": str(tmp_path / "vitpose-h.pth")}, tmp_path / "o", tmp_path)
    assert not (tmp_path / "o").exists()
    state = {
        name.removeprefix("vit.").replace("norm.", "last_norm.", name.startswith("vit.norm.")): t
        for name, t in ViTBackbone.from_config(backbone_config(job)).state_dict().items()
    }
    position = state["pos_embed"]
    state["pos_embed"] = torch.cat([torch.zeros_like(position[:, :1]), position], 1)
    torch.save(state, tmp_path / "small.pth")
    make_backbone(job | {"import": str(tmp_path / "small.pth")}, tmp_path / "o", tmp_path)
    tensors, config = load_weights(tmp_path / "o" / "backbone.safetensors")
    imported = backbone_from_weights(tensors, config)
    assert imported.config.patch_padding == 2 and imported.config.drop_path == 0.55
    torch.testing.assert_close(
        imported.vit.blocks[0].mlp.fc1.weight,
        state["blocks.0.mlp.fc1.weight"],
        rtol=1e-3,
        atol=1e-4,
    )


@pytest.mark.parametrize("name", ["base", "layers-2"])  # shipped; to be trained
def test_a_stage_that_is_started_too_early_says_what_must_run_first(tmp_path, monkeypatch, name):
    jobs = build_jobs(read_yaml(ROOT / "params.yaml"), read_yaml(ROOT / "variants.yaml"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "datasets").symlink_to(ROOT / "datasets")
    write_plan(jobs, Path("build/plan"))
    missing = ["build/models/backbone/backbone.safetensors",
               "build/models/tokenizer/base/tokenizer.safetensors",
               "build/data/lab/train/manifest.json"]  # fmt: skip
    for path in missing[: 2 if name == "base" else 3]:
        result = CliRunner().invoke(cli, ["train-transformer", name])
        assert result.exit_code == 2 and not Path(f"build/models/transformer/{name}").exists()
        assert result.output.startswith(f"bench: {path} is missing: run the stage that makes it")
        Path(path).parent.mkdir(parents=True)
        Path(path).write_bytes(b"")


def test_licensed_without_files_says_what_is_missing(tmp_path, monkeypatch):
    params, variants = read_yaml(ROOT / "params.yaml"), read_yaml(ROOT / "variants.yaml")
    params["data"]["source"] = "licensed"
    monkeypatch.chdir(tmp_path)
    job = build_jobs(params, variants)["data/wild.json"]
    with pytest.raises(UserError, match="datasets/body"):
        prepare(job, tmp_path / "out")
    job["bodies"] = str(ROOT / "datasets/open/body")
    with pytest.raises(UserError, match="datasets/raw/3dpw is missing.*3DPW"):
        prepare(job, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_spread_takes_an_even_choice():
    assert list(spread(range(10), 5)) == [0, 2, 4, 6, 8]
    assert list(spread(range(3), 0)) == [0, 1, 2] == list(spread(range(3), 9))


def test_plan_command_prints_what_will_run(tmp_path, monkeypatch):
    for name in ("params.yaml", "variants.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["plan"])
    assert result.exit_code == 0 and "8 data sets" in result.output and "min" in result.output
    assert (tmp_path / "build" / "plan" / "tables.json").exists()
    write_plan({"a.json": {}}, tmp_path / "build" / "plan")
    assert not (tmp_path / "build" / "plan" / "tables.json").exists()


@pytest.mark.parametrize("watched", [False, True])
def test_a_command_leaves_its_exit_code_and_a_profiler_its_profile(tmp_path, watched):
    profile = tmp_path / "profile"
    by = ["-m", "cProfile", "-o", str(profile)] if watched else []
    for arguments, code in ((["--help"], 0), (["no-such-command"], 2)):
        profile.unlink(missing_ok=True)
        done = subprocess.run(
            [sys.executable, *by, "-m", "bench", *arguments], cwd=ROOT, capture_output=True
        )
        # cProfile writes its file, and then ends as if all were well, whatever the command said.
        assert done.returncode == (0 if watched and profile.stat().st_size else code)
        assert done.stdout if code == 0 else b"No such command" in done.stderr
