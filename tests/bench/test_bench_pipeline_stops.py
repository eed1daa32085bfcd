"""What a stage refuses (names, files, settings), and what it makes of being stopped."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import bench.evaluate
from bench.__main__ import cli
from bench.data import prepare
from bench.evaluate import score_model
from bench.tokenizers import make_tokenizer
from genhmr.data import shard_writer
from genhmr.data.warp import read_image
from genhmr.train.checkpoint import GENHMR_FILE, load_weights, save_weights
from genhmr.types import UserError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["data", "sea"], "choose one of extreme, lab"),
        (["train-tokenizer", "huge"], "no job"),
        (["evaluate", "x"], "choose one of ablation, base"),
    ],
)
def test_an_unknown_name_is_one_sentence(run, monkeypatch, command, message):
    monkeypatch.chdir(run)
    with pytest.raises(SystemExit) as stop:
        cli.main(command, standalone_mode=False)
    assert stop.value.code == 2
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 2 and message in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_damaged_weights_are_one_sentence(run, monkeypatch):
    monkeypatch.chdir(run)
    path = Path("build/models/transformer/base/genhmr.safetensors")
    good = path.read_bytes()
    before = Path("build/evaluate/base/per_image.parquet").read_bytes()
    path.write_bytes(good[:1000])
    try:
        result = CliRunner().invoke(cli, ["evaluate", "base"])
    finally:
        path.write_bytes(good)
    assert result.exit_code == 2 and "genhmr.safetensors" in result.output
    assert Path("build/evaluate/base/per_image.parquet").read_bytes() == before


def test_a_stage_that_fails_leaves_the_old_output(run, monkeypatch, tmp_path):
    """The second split is missing: the first must not replace what was there, and is not lost."""
    monkeypatch.chdir(run)
    out, scratch = Path("build/data/lab"), tmp_path / "scratch"
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    job = json.loads(Path("build/plan/data/lab.json").read_text())
    assert list(job["counts"]) == ["test", "train"]
    source = job["splits"]["train"]
    job["splits"]["train"] = "sea"
    job["source"] = "licensed"  # read what was generated, generate nothing
    with pytest.raises(UserError, match="no split 'sea'"):
        prepare(job, out, scratch)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    assert not Path("build/data/lab.part").exists()
    job["splits"]["train"] = source
    read = []
    monkeypatch.setattr(
        shard_writer, "read_image", lambda path, real=read_image: read.append(path) or real(path)
    )
    prepare(job, out, scratch)
    assert len(read) == 12, "the pictures of the split that was whole are not read again"
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    assert not scratch.exists()


def test_a_stopped_evaluation_goes_on_where_it_was(run, monkeypatch, tmp_path):
    """Every batch is measured once, and the outputs are those of a run that was not stopped."""
    monkeypatch.chdir(run)
    monkeypatch.setattr("bench.evaluate_spans.EVERY_S", 0.0)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    jobs = [json.loads(Path(f"build/plan/{kind}/base.json").read_text())
            for kind in ("evaluate", "transformer")]  # fmt: skip
    measured, real = [], bench.evaluate._score_batch

    def stop_at(place):
        def score_batch(work, of, batch, spans):
            if len(measured) == place:
                raise KeyboardInterrupt
            measured.append((of.role, *batch.index.tolist()))
            real(work, of, batch, spans)

        monkeypatch.setattr(bench.evaluate, "_score_batch", score_batch)

    scratch, out = tmp_path / "scratch", tmp_path / "out"
    for place in (1, 3):  # within the first set, and within the second
        stop_at(place)
        with pytest.raises(KeyboardInterrupt):
            score_model(*jobs, Path("build"), out, scratch)
        assert not out.exists() and scratch.exists()
    stop_at(None)
    score_model(*jobs, Path("build"), out, scratch)
    assert not scratch.exists() and len(measured) == len(set(measured)) == 6
    whole = run / "build" / "evaluate" / "base"
    assert {p.name for p in out.iterdir()} == {p.name for p in whole.iterdir()}
    for file in out.iterdir():
        assert file.name == "timing.json" or file.read_bytes() == (whole / file.name).read_bytes()
    # Other weights: what was measured with the former ones is not taken.
    stop_at(len(measured) + 1)
    with pytest.raises(KeyboardInterrupt):
        score_model(*jobs, Path("build"), out, scratch)
    copy = tmp_path / "build"
    shutil.copytree("build", copy)
    path = copy / "models/transformer/base" / GENHMR_FILE
    tensors, config = load_weights(path)
    save_weights(path, tensors | {"transformer.mask_embedding": torch.ones(32)}, config)
    measured.clear()
    stop_at(None)
    score_model(*jobs, copy, tmp_path / "other", scratch)
    assert len(measured) == 6


def test_shipped_weights_of_other_sizes_are_refused(run, monkeypatch):
    monkeypatch.chdir(run)
    path = Path("build/plan/tokenizer/t48.json")
    job = json.loads(path.read_text())
    job["weights"] = str(ROOT / "datasets/open/weights/tokenizer.safetensors")
    with pytest.raises(UserError, match="was trained with.*this job asks for.*num_tokens"):
        make_tokenizer(job, Path("build"), Path("build/x"), Path("build/scratch/x"))
    assert not Path("build/x").exists()


def test_torchrun_starts_trainings_only(run, monkeypatch):
    monkeypatch.chdir(run)
    monkeypatch.setenv("WORLD_SIZE", "2")
    result = CliRunner().invoke(cli, ["tables"])
    assert result.exit_code == 2 and "without torchrun" in result.output
