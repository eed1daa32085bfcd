"""The report on a run that has more, less, other data, or damaged files."""

import json
import shutil

import pandas as pd
import pytest

from genhmr.types import UserError
from tests.bench.made_up_report import (
    JOB,
    Page,
    keep_run,
    make_run,
    report,
    write_json,
    write_numbers,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folders ``results`` and ``build`` of a made-up run."""
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def copy(run, tmp_path):
    """The same folders, to be damaged."""
    results, build = (tmp_path / folder.name for folder in run)
    shutil.copytree(run[0], results)
    shutil.copytree(run[1], build)
    return results, build


def test_licensed_data_have_no_open_world_banner(copy, tmp_path):
    job = JOB | {"source": "licensed", "short": []}
    html = report(copy, tmp_path / "report", job)
    assert "These are not 3DPW" not in html
    assert "Short trainings rank nothing" not in html


def test_columns_and_runs_that_may_be_there_are_shown(copy, run, tmp_path):
    results, build = copy
    path = results / "compare" / "table02.csv"
    pd.read_csv(path).assign(low=240.5, high=260.5, seeds=3).to_csv(path, index=False)
    write_numbers(results)
    html = report((results, build), tmp_path / "report", reference=run[0])
    assert "[240.5, 260.5]" in html
    assert "n = 12, 3 seeds" in html
    assert "open run" in html
    assert "committed open run" in html
    assert "no record of its crops and weights" in html
    assert "<b>mean pose</b>: the mean pose and shape of the training sets" in html


def test_what_a_run_does_not_have_is_absent(copy, tmp_path):
    results, build = copy
    for folder in ("figures", "scores", "provenance"):
        shutil.rmtree(results / folder)
    shutil.rmtree(build)
    summary = json.loads((results / "summary.json").read_text())
    write_json(results / "summary.json", {"tokenizers": summary["tokenizers"]})
    job = JOB | {"skipped": {"transformer/base": "left out"}}
    page = Page(report((results, build), tmp_path / "report", job))
    sections = {attrs.get("id") for tag, attrs in page.elements if tag == "section"}
    assert sections == {"short", "curves", "tables", "claims"}


BROKEN = [
    ("results/summary.json", "tables"),
    ("results/numbers.csv", "tables"),
    ("results/compare/table07.csv", "tables"),
    ("results/claims/claims.csv", "claims"),
    ("results/claims/ranking.csv", "claims"),
    ("build/evaluate/base/per_image.parquet", "evaluate base"),
    ("build/evaluate/base/timing.json", "evaluate base"),
    ("build/evaluate/base/trace.npz", "evaluate base"),
]


@pytest.mark.parametrize(("name", "stage"), BROKEN)
def test_a_missing_file_is_one_sentence_and_leaves_the_page(copy, tmp_path, name, stage):
    out = tmp_path / "report"
    out.mkdir()
    (out / "index.html").write_text("before")
    (tmp_path / name).unlink()
    with pytest.raises(UserError) as told:
        report(copy, out)
    assert str(told.value) == f"{tmp_path / name} is missing: run `python -m bench {stage}`."
    assert (out / "index.html").read_text() == "before"
    assert not out.with_name("report.part").exists()


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        *BROKEN,
        ("results/provenance/evaluate-base.json", "evaluate base"),
        ("results/figures/figure05.png", "figures"),
        ("results/scores/mine/summary.csv", "score"),
        ("build/models/tokenizer/t48/history.json", "train-tokenizer t48"),
        ("build/evaluate-tokenizer/t48<i>/codebook.json", "evaluate-tokenizer t48<i>"),
        ("build/models/transformer/base/seed-1/history.json", "train-transformer base"),
    ],
)
@pytest.mark.parametrize("content", ["[1]", "", "a,b\n1,2\n"])
def test_a_damaged_file_is_one_sentence(copy, tmp_path, name, stage, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError) as told:
        report(copy, tmp_path / "report")
    said = str(told.value)
    assert said.startswith(f"{tmp_path / name} is damaged")
    assert f"`python -m bench {stage}`" in said
    assert "\n" not in said
    assert not (tmp_path / "report").exists()


def test_marks_of_another_run_are_not_shown(copy, tmp_path):
    path = copy[0] / "compare" / "table03.csv"
    path.write_text(path.read_text().replace("250.0", "255.0"))
    with pytest.raises(UserError, match=r"numbers.csv is of another run than compare/table03.csv"):
        report(copy, tmp_path / "report")


@pytest.mark.parametrize("name", ["numbers.csv", "summary.json"])
def test_a_damaged_committed_run_comes_back_from_git(copy, tmp_path, name):
    keep_run(copy[0], tmp_path / "open")
    (tmp_path / "open" / name).write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=f"open/{name} is damaged .*: restore it from git"):
        report(copy, tmp_path / "report", reference=tmp_path / "open")


def test_numbers_of_two_runs_are_not_mixed(copy, tmp_path):
    path = copy[0] / "summary.json"
    path.write_text(path.read_text().replace('"mpjpe": ', '"mpjpe": 1'))
    with pytest.raises(UserError, match="of another run"):
        report(copy, tmp_path / "report")
