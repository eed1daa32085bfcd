"""Provenance: what is written beside the results, and when it is not."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from bench import provenance
from bench.explain_chain import took
from bench.provenance import describe, edits, recorded


def test_a_stage_that_ends_well_leaves_its_record(tmp_path):
    job = {"b": 1, "a": [2]}
    with recorded(tmp_path / "provenance", "evaluate", job, "base"):
        pass
    record = json.loads((tmp_path / "provenance" / "evaluate-base.json").read_text())
    assert record["command"] == "python -m bench evaluate base"
    assert record["job_sha256"] == hashlib.sha256(b'{"a": [2], "b": 1}').hexdigest()
    assert 0 <= record["seconds"] < 60 and record["peak_memory_mb"] > 10
    assert record["packages"]["numpy"] and record["cores"] >= 1


def test_a_stage_that_fails_leaves_none(tmp_path):
    with pytest.raises(RuntimeError), recorded(tmp_path, "tables", {}):
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_only_the_first_process_speaks(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with recorded(tmp_path, "pretrain", {}):
        pass
    assert not list(tmp_path.iterdir())


def test_commit_and_edits_are_those_of_the_checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert describe()["commit"] is None  # no repository

    def git(*arguments):
        subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments],
            check=True, capture_output=True,
        )  # fmt: skip

    git("init")
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "a b.py").write_text("")
    git("add", ".")
    git("commit", "-m", "start")
    before = describe()
    assert len(before["commit"]) == 40 and before["uncommitted_changes"] == []
    (tmp_path / "notes.txt").write_text("y")
    assert describe()["uncommitted_changes"] == []  # not part of what computes
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    assert describe()["uncommitted_changes"] == ["params.yaml"]
    (tmp_path / "bench" / "a b.py").rename(tmp_path / "bench" / "b.py")
    git("add", ".")
    assert describe()["uncommitted_changes"] == ["bench/a b.py", "bench/b.py", "params.yaml"]


def test_records_of_either_kind_say_what_was_changed():
    """Records that are committed in results/open hold true or false."""
    assert edits({"uncommitted_changes": ["params.yaml"]}) == " with uncommitted params.yaml"
    assert edits({"uncommitted_changes": True}) == " with uncommitted changes"
    for none in ([], None, False):
        assert edits({"uncommitted_changes": none}) == ""
    assert edits({}) == ""


def test_a_write_that_is_cut_short_leaves_the_former_record(tmp_path, monkeypatch):
    with recorded(tmp_path, "tables", {"a": 1}):
        pass
    before = (tmp_path / "tables.json").read_text()

    def cut(path, text):
        with path.open("w") as file:
            file.write(text[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", cut)
    with pytest.raises(OSError), recorded(tmp_path, "tables", {"a": 2}):
        pass
    assert (tmp_path / "tables.json").read_text() == before
    assert [path.name for path in tmp_path.glob("*.json")] == ["tables.json"]


class Killed(BaseException):
    """What is killed writes no record and tidies nothing."""


def _train(folder, job, stopped=False, checkpoint=True, scratch="base"):
    """A training whose run ends, or is killed after it left a checkpoint; its record."""
    scratch = folder / "scratch" / scratch
    try:
        with recorded(folder / "records", "train-transformer", job, "base", scratch):
            if checkpoint:
                (scratch / "digest").mkdir(parents=True, exist_ok=True)
                (scratch / "digest" / "last.pt").write_text("state")
            if stopped:
                raise Killed
            shutil.rmtree(scratch, ignore_errors=True)
    except Killed:
        return None
    return json.loads((folder / "records" / "train-transformer-base.json").read_text())


def test_a_training_that_went_on_names_the_runs_it_went_on_from(tmp_path, monkeypatch):
    commits = iter(["a" * 40, "a" * 40, "b" * 40])
    monkeypatch.setattr(
        provenance, "describe",
        lambda: {"commit": next(commits), "uncommitted_changes": ["params.yaml"], "gpu": None},
    )  # fmt: skip
    _train(tmp_path, {"steps": 9}, stopped=True)
    _train(tmp_path, {"steps": 9}, stopped=True)
    monkeypatch.setattr(provenance, "describe", lambda: {"commit": "b" * 40})
    record = _train(tmp_path, {"steps": 9})
    assert record["commit"] == "b" * 40
    runs = record["went_on_from"]
    assert [set(run) for run in runs] == [{"started", "commit", "uncommitted_changes"}] * 2
    assert [run["commit"] for run in runs] == ["a" * 40] * 2
    told = f"; went on from {runs[0]['started'][:10]}, commit aaaaaaaaaa with uncommitted params"
    assert took(record).count(told) == 1, "once, however often it was stopped on that day"
    again = _train(tmp_path, {"steps": 9})
    assert "went_on_from" not in again and took(again) == "", "a new training starts afresh"
    assert not list((tmp_path / "scratch").rglob("*.json"))


@pytest.mark.parametrize("other", [{"checkpoint": False}, {"job": {"steps": 8}}])
def test_what_left_nothing_to_go_on_from_is_not_named(tmp_path, other):
    """Killed before its first checkpoint; or a training with other settings."""
    _train(tmp_path, **{"job": {"steps": 9}, "stopped": True} | other)
    assert "went_on_from" not in _train(tmp_path, {"steps": 9}, checkpoint=False)


def test_the_other_processes_note_no_run(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    _train(tmp_path, {}, stopped=True)
    assert not list((tmp_path / "scratch").rglob("*.json"))
