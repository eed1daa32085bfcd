"""What a stage refuses (names, files, settings), and what it makes of being stopped."""

import json
import os
import shutil
from contextlib import nullcontext
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


def test_a_stage_that_fails_leaves_the_old_output(run, monkeypatch):
    """The second split is missing: the first must not replace what was there, and is not lost."""
    monkeypatch.chdir(run)
    out, begun = Path("build/data/lab"), Path("build/data/lab.begun")
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    job = json.loads(Path("build/plan/data/lab.json").read_text())
    assert list(job["counts"]) == ["test", "train"]
    source = job["splits"]["train"]
    job["splits"]["train"] = "sea"
    job["source"] = "licensed"  # read what was generated, generate nothing
    with pytest.raises(UserError, match="no split 'sea'"):
        prepare(job, out)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    assert begun.exists() and not Path("build/data/lab.part").exists()
    (begun / "shards" / "val").mkdir()  # as of a run with other splits
    job["splits"]["train"] = source
    read = []
    monkeypatch.setattr(
        shard_writer, "read_image", lambda path, real=read_image: read.append(path) or real(path)
    )
    prepare(job, out)
    assert len(read) == 12, "the pictures of the split that was whole are not read again"
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    assert not begun.exists()


@pytest.fixture
def stopping(run, monkeypatch, tmp_path):
    """Evaluates the base with a span a batch; stops before a batch if told to."""
    monkeypatch.chdir(run)
    monkeypatch.setattr("bench.evaluate_spans.EVERY_S", 0.0)
    log, real = tmp_path / "measured.txt", bench.evaluate._score_batch

    def evaluate(out, *stops, build=Path("build"), made_from=("same",)):
        """Returns the batches that were measured, as set and first image."""
        log.write_text("")

        def score_batch(work, of, batch, spans):
            place = f"{of.role} {batch.index[0]}"
            if place in stops:
                raise KeyboardInterrupt
            real(work, of, batch, spans)
            with log.open("a") as file:  # other processes do too
                file.write(f"{place}\n")

        monkeypatch.setattr(bench.evaluate, "_score_batch", score_batch)
        jobs = [json.loads((build / f"plan/{kind}/base.json").read_text())
                for kind in ("evaluate", "transformer")]  # fmt: skip
        stopped = pytest.raises(KeyboardInterrupt) if stops else nullcontext()
        with stopped:
            score_model(*jobs, build, out, tmp_path / "scratch", {"made from": made_from})
        assert out.exists() != bool(stops) and (tmp_path / "scratch").exists() != out.exists()
        return sorted(log.read_text().splitlines())

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield evaluate
    torch.set_num_threads(threads)


BATCHES = sorted(f"{role} {first}" for role in ("lab", "wild", "extreme") for first in (0, 3))


@pytest.mark.parametrize("cores", [1, 2])
def test_a_stopped_evaluation_goes_on_where_it_was(run, stopping, monkeypatch, tmp_path, cores):
    """Every batch is measured once, and the outputs are those of a run that was not stopped."""
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    out = tmp_path / "out"
    measured = stopping(out, "extreme 3", "wild 3") + stopping(out, "wild 3")
    measured += stopping(out)
    assert sorted(measured) == BATCHES
    whole = run / "build" / "evaluate" / "base"
    assert {p.name for p in out.iterdir()} == {p.name for p in whole.iterdir()}
    for file in out.iterdir():
        assert file.name == "timing.json" or file.read_bytes() == (whole / file.name).read_bytes()


def test_an_evaluation_of_other_weights_or_code_takes_nothing(stopping, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    stopping(tmp_path / "out", "wild 3")
    assert "lab 0" in stopping(tmp_path / "out", "wild 3", made_from=("other",))
    copy = tmp_path / "build"
    shutil.copytree("build", copy)
    path = copy / "models/transformer/base" / GENHMR_FILE
    tensors, config = load_weights(path)
    save_weights(path, tensors | {"transformer.mask_embedding": torch.ones(32)}, config)
    assert stopping(tmp_path / "out", build=copy, made_from=("other",)) == BATCHES


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
