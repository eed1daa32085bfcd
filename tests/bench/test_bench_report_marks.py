"""The report's tables: best, second best, differences, and the committed run with its counts."""

import re

import numpy as np
import pandas as pd
import pytest

from bench.layout import lay_out
from bench.ledger import read_ledger, read_reported
from bench.report.beside import complete
from bench.report.readers import read_comparison, read_numbers
from bench.report.tables import paper_table
from bench.tidy import build_table, read_rerun
from tests.bench.made_up_report import ROOT, keep_run, make_run, report


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folders ``results`` and ``build`` of a made-up run."""
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def html(run, tmp_path_factory):
    """The page with a committed run beside this one."""
    folder = tmp_path_factory.mktemp("out")
    keep_run(run[0], folder / "open")
    return report(run, folder / "report", reference=folder / "open")


def table(html, number):
    """Heading and rows of one table, each row as its cells of numbers (HTML)."""
    body = re.search(rf'<details id="table-{number}".*?</details>', html, re.DOTALL)[0]
    head, rows = body.split("</thead>")
    cells = [re.findall(r'<td class="number (\w+)">(.*?)</td>', row)
             for row in re.findall(r"<tr>(.*?)</tr>", rows, re.DOTALL)]  # fmt: skip
    return head, cells


def test_best_and_second_of_every_side_are_marked(html):
    _, rows = table(html, "01")  # underlined in the paper, so it is here
    first, second = (dict(cells[:3]) for cells in rows)
    assert first["paper"] == "<u>70.5</u>"
    assert second["paper"] == '<strong>69.5</strong> <small class="delta">Δ +1.0</small>'
    assert first["own"] == "<strong>250.0</strong>"
    assert second["own"] == '<u>251.0</u> <small class="delta">Δ -1.0</small>'
    assert first["open"] == "<u>243.0</u>"  # the other way round than this run
    assert second["open"] == '<strong>242.0</strong> <small class="delta">Δ +1.0</small>'


def test_what_the_paper_does_not_underline_has_a_best_alone(html):
    _, rows = table(html, "02")
    assert "<u>" not in str(rows) and "delta" not in str(rows)
    assert [dict(cells[:3])["own"] for cells in rows] == ["<strong>250.0</strong>", "251.0"]


def test_differences_are_to_the_row_that_the_table_names(html):
    _, rows = table(html, "10")
    first, second = (dict(cells[:3]) for cells in rows)
    assert "Δ" not in first["own"] + first["paper"]
    assert second["own"] == '251.0 <small class="delta">Δ +1.0</small>'
    assert 'Δ -1.0' in second["open"] and 'Δ -1.0' in second["paper"]  # fmt: skip


def test_times_and_rows_that_are_alone_have_no_mark(html):
    _, rows = table(html, "02")
    assert ("own", "0.020") in rows[0] and ("paper", "0.100") in rows[0]
    _, rows = table(html, "07")  # one row of it ran
    assert "<strong>" not in str([cell for cells in rows for cell in cells if cell[0] == "own"])


def test_a_page_shows_the_marks_of_the_tables_stage_and_no_other(tmp_path):
    """By the statuses of numbers.csv, as in the LaTeX: the report computes no mark of its own."""
    results, build = make_run(tmp_path)
    path = results / "numbers.csv"
    numbers = pd.read_csv(path, dtype={"table": str}, keep_default_na=False, na_values=[""])
    assert (numbers["rerun_mark"] == "best").any()
    numbers.assign(rerun_mark="").to_csv(path, index=False)
    _, rows = table(report((results, build), tmp_path / "report"), "01")
    assert "<strong>69.5</strong>" in str(rows) and "<strong>250.0</strong>" not in str(rows)


def test_marks_of_short_trainings_are_left_out_by_the_rule_that_is_shared(job, variants, build):
    """From per-image metrics: the models of Table 16 are trained for ten steps in mini."""
    rerun = read_rerun(build, variants, job)
    ledger, marks = read_ledger(ROOT / "bench" / "reported"), {}
    for number in ("02", "16"):
        paper = read_reported(ROOT / "bench" / "reported" / f"table{number}.csv")
        spec, sets = variants["tables"][number], variants["datasets"]
        tidy, _ = build_table(number, ledger[number], spec, sets, job, paper, rerun)
        marks[number] = set(lay_out(tidy, {})["rerun_mark"])
    assert marks == {"02": {"", "best"}, "16": {""}}


def test_every_table_has_a_column_of_the_committed_run_and_its_counts(html):
    for number in read_ledger(ROOT / "bench" / "reported"):
        head, rows = table(html, number)
        sides = re.findall(r'<th scope="col" class="number (\w+)">', head)
        assert sides and sides == ["paper", "own", "open"] * (len(sides) // 3)
        assert all([kind for kind, _ in cells] == sides for cells in rows)
        ran = number not in ("04", "16")
        assert ("open run n = 99, 3 seeds" in head) == ran
        assert ("rerun n = 12" in head) == ran
        # Of Table 7 the made-up runs have one row, of Tables 4 and 16 none.
        rows_of = {"07": "has 1 of the 2 rows", "04": "has no row yet", "16": "has no row yet"}
        assert f"The committed open run {rows_of.get(number, 'has 2 of the 2 rows')}." in head


def test_without_a_committed_run_there_is_no_column_of_it(tmp_path):
    run = make_run(tmp_path / "run")
    path = run[0] / "compare" / "table01.csv"
    pd.read_csv(path).assign(open_run=9.0, open_n=5).to_csv(path, index=False)  # it was there once
    head, rows = table(report(run, tmp_path / "report"), "01")
    assert "open run" not in head and "rerun n = 12" in head
    assert {kind for cells in rows for kind, _ in cells} == {"paper", "own"}


def test_the_marks_of_the_page_are_those_of_the_committed_results():
    """Of the results in this repository: every best of numbers.csv is a bold number, no other."""
    results = ROOT / "results"
    numbers = read_numbers(results / "numbers.csv")
    kept = read_numbers(results / "open" / "numbers.csv")
    for number, entry in read_ledger(ROOT / "bench" / "reported").items():
        compared = read_comparison(results / "compare" / f"table{number}.csv")
        whole = complete(compared, number, numbers, kept, results / "numbers.csv")
        page = paper_table(number, entry, whole).split("</thead>")[1]
        own, other = (frame[frame["table"] == number] for frame in (numbers, kept))
        best = [(own["reported_mark"] == "best").sum(), (own["rerun_mark"] == "best").sum(),
                (other["rerun_mark"] == "best").sum()]  # fmt: skip
        told = [len(re.findall(f'<td class="number {kind}"><strong>', page))
                for kind in ("paper", "own", "open")]  # fmt: skip
        assert told == best, number
        # Joined by role: the same numbers as the tables stage put into the comparison.
        assert (whole["open_n"] == compared["open_n"]).all()
        assert np.allclose(whole["open_run"], compared["open_run"], atol=0.006, equal_nan=True)
