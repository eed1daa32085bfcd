"""Provenance: what is written beside the results, and when it is not."""

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

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
