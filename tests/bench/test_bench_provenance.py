"""Provenance: what is written beside the results, and when it is not."""

import hashlib
import json
import subprocess

import pytest

from bench.provenance import describe, recorded


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
    git("add", ".")
    git("commit", "-m", "start")
    before = describe()
    assert len(before["commit"]) == 40 and before["uncommitted_changes"] is False
    (tmp_path / "notes.txt").write_text("y")
    assert describe()["uncommitted_changes"] is False  # not part of what computes
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    assert describe()["uncommitted_changes"] is True
