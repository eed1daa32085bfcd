"""Provenance: what is written beside the results, and when it is not."""

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from bench import provenance
from bench.explain_chain import took
from bench.provenance import describe, edits, recorded
from bench.stage import scratch_folder


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


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Runs a training as a stage does, as far as the scratch folder; its record, None if killed.

    ``until`` says when it is killed: "begun", "scratch" or "checkpoint"; ``data`` is an input.
    """
    commits = iter("abcdefgh")
    monkeypatch.setattr(provenance, "_changed_paths", lambda: [])
    monkeypatch.setattr(provenance, "_git", lambda *_: next(commits) * 40)
    scratch, shard = tmp_path / "scratch" / "base", tmp_path / "manifest.json"

    def run(until="", job=None, data="1"):
        job = job or {"steps": 9}
        shard.write_text(data)
        try:
            with recorded(tmp_path / "records", "train-transformer", job, "base", scratch):
                if until == "begun":
                    raise Killed
                with scratch_folder(scratch, job, [shard]) as own:
                    if until == "scratch":
                        raise Killed
                    (own / "last.pt").write_text("state")
                    if until:
                        raise Killed
        except Killed:
            return None
        assert not list((tmp_path / "scratch").rglob("*")), "nothing is left of a finished training"
        return json.loads((tmp_path / "records" / "train-transformer-base.json").read_text())

    return run


def _commits(record):
    return [run["commit"][0] for run in record.get("went_on_from", ())] + [record["commit"][0]]


def test_a_training_that_went_on_names_the_runs_it_went_on_from(train):
    train("checkpoint")
    train("checkpoint")
    record = train()
    assert _commits(record) == ["a", "b", "c"]
    runs = record["went_on_from"]
    assert [set(run) for run in runs] == [{"started", "commit", "uncommitted_changes"}] * 2
    assert f"; went on from {runs[0]['started'][:10]}, commit aaaaaaaaaa; went on" in took(record)
    assert _commits(train()) == ["d"], "a new training starts afresh"


def test_runs_of_one_day_and_commit_are_told_once(train):
    train("checkpoint")
    record = train()
    record["went_on_from"] *= 3
    assert took(record).count("went on from") == 1


def test_what_left_no_checkpoint_is_not_named(train):
    train("begun")
    train("scratch")
    assert _commits(train()) == ["c"]


def test_a_checkpoint_on_other_data_is_not_named(train):
    """The job is the same, the scratch folder is not: the training starts from the beginning."""
    train("checkpoint", data="1")
    train("checkpoint", data="2")
    assert _commits(train(data="2")) == ["b", "c"]


def test_a_run_of_other_settings_between_is_left_out(train):
    """It failed before it came to the checkpoints of the first, which the third goes on from."""
    train("checkpoint")
    train("begun", job={"steps": 8})
    assert _commits(train()) == ["a", "c"]


def test_a_damaged_note_stops_no_training(train, tmp_path):
    train("checkpoint")
    (tmp_path / "scratch" / "base.runs.json").write_text("")
    assert _commits(train()) == ["b"]


def test_the_other_processes_note_no_run(train, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    train("begun")
    assert not (tmp_path / "scratch").exists()


def test_a_record_names_the_code_that_ran(tmp_path, monkeypatch):
    """And not what was committed while it ran."""
    commits = iter(["before", "after"])
    monkeypatch.setattr(provenance, "_git", lambda *a: next(commits) if "HEAD" in a else "")
    with recorded(tmp_path, "tables", {}):
        pass
    assert json.loads((tmp_path / "tables.json").read_text())["commit"] == "before"
