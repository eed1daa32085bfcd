"""The report on a made-up run: whole, escaped, self-contained, the same twice; no model."""

import json
import re
import shutil

import pandas as pd
import pytest

from tests.bench.made_up_report import HOSTILE, TABLES, Page, claims, make_run, report, write_json


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folders ``results`` and ``build`` of a made-up run."""
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def html(run, tmp_path_factory):
    return report(run, tmp_path_factory.mktemp("out") / "report")


def test_the_page_is_balanced_and_its_ids_are_unique(html):
    page = Page(html)
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    for _, attrs in page.elements:
        for name in ("href", "xlink:href"):
            if attrs.get(name, "").startswith("#"):
                assert attrs[name][1:] in ids
    assert {tag for tag, _ in page.elements} >= {"main", "nav", "header", "section", "figure"}


def test_times_are_told_as_fitted_lines(html):
    assert "T iterations of sampling 1.0 + 4.0 T ms and of refinement 1.0 + 4.0 T ms" in html


def test_every_table_is_there_with_its_state(html):
    page = Page(html)
    ids = {attrs.get("id") for tag, attrs in page.elements if tag == "details"}
    assert {f"table-{number}" for number in TABLES} <= ids
    assert len(TABLES) == 16
    said = re.findall(r'<details id="table-(\d\d)".*?<span class="state \w+">(.*?)</span>', html)
    states = dict(said)
    assert states["04"] == "not run"
    assert states["07"] == "1 of 2 rows rerun"
    assert states["02"] == "2 of 2 rows rerun"


def test_every_claim_is_there_once(html):
    page = Page(html)
    for name in claims()["id"]:
        assert page.words.count(name) == 1
        rows = [attrs for tag, attrs in page.elements if attrs.get("id") == f"claim-{name}"]
        assert len(rows) == 1
        assert name.endswith(rows[0]["data-rerun"].replace(" ", "-"))
    for number in ("02", "11"):
        assert sum(word.startswith(f"words of {number} ") for word in page.words) == 1
    assert sum(tag == "q" for tag, _ in page.elements) == 2, "the others are numbers of a table"


def test_the_committed_run_judges_beside_this_one(run, tmp_path):
    results, build = tmp_path / "results", run[1]
    shutil.copytree(run[0], results)
    beside = claims().assign(open_run="contradicted", open_run_detail=HOSTILE)
    beside.to_csv(results / "claims" / "claims.csv", index=False)
    path = results / "claims" / "ranking.csv"
    pd.read_csv(path, dtype=str).assign(tau=["0.5", ""], open_tau=["", "-0.5"]).to_csv(path)
    html = report((results, build), tmp_path / "report")
    page = Page(html)
    assert "6 claims of the paper by the committed open run: 6 contradicted." in page.words
    rows = [attrs for _, attrs in page.elements if str(attrs.get("id")).startswith("claim-t")]
    assert len(rows) == 8 and {attrs["data-open-run"] for attrs in rows} == {"contradicted"}
    # What the script filters by is how a browser calls data-open-run.
    assert {attrs["name"] for tag, attrs in page.elements if tag == "select"} == {
        "paper", "openRun", "rerun", "table"
    }  # fmt: skip
    assert "table 2: 0.5 to 0.5. Of the committed open run: table 11: -0.5 to -0.5." in html


def test_reported_and_rerun_stand_side_by_side(html):
    pair = r'<td class="number paper">70\.5</td><td class="number own"><strong>250\.0</strong></td>'
    assert re.search(pair, html)
    assert "beside 3DPW" in html
    assert "not comparable: open world" in html
    assert '<th scope="row" class="stick">✓</th>' in html  # flags of Table 10, as it prints them


def test_the_banner_says_what_the_numbers_are_not(html):
    assert "These are not 3DPW, EMDB or Human3.6M numbers." in html
    assert "Short trainings rank nothing." in html
    assert "tokenizer/t48" in html


def test_hostile_words_stay_words(html):
    assert html.count("<script") == 1
    scripts = [tag for tag, _ in Page(html).elements if tag == "script"]
    assert scripts == ["script"]
    assert any(HOSTILE in word for word in Page(html).words)
    assert not any("onload" in attrs for _, attrs in Page(html).elements)


def test_nothing_is_loaded(html):
    for tag, attrs in Page(html).elements:
        for name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster"):
            value = attrs.get(name, "")
            assert value == "" or value.startswith(("#", "data:")), (tag, name, value[:60])
    assert "@import" not in html
    assert "url(http" not in html
    assert "default-src 'none'" in html


def test_plots_take_their_colours_and_letters_from_the_page(html):
    plots = re.findall(r'<svg class="plot".*?</svg>', html, re.DOTALL)
    assert len(plots) > 15
    for plot in plots:
        assert 'role="img" aria-label="' in plot
        assert not re.search(r"#[0-9a-f]{6}", plot)
        assert "font-family" not in plot
        assert "<style" not in plot
        assert "<text" in plot  # labelled
    assert "prefers-color-scheme: dark" in html
    assert "MPJPE (mm)" in html
    assert "sampling iterations" in html


def test_pictures_are_inside_and_told(html):
    images = [attrs for tag, attrs in Page(html).elements if tag == "img"]
    assert len(images) == 2
    assert images[0]["src"].startswith("data:image/jpeg")
    assert images[0]["width"] == "1200"
    assert images[1]["src"].startswith("data:image/png")
    assert all(attrs["alt"] for attrs in images)
    assert "Figure 12" not in html


def test_the_same_run_makes_the_same_bytes(run, html, tmp_path):
    results, build = tmp_path / "results", run[1]
    shutil.copytree(run[0], results)
    record = json.loads((results / "provenance" / "evaluate-base.json").read_text())
    record |= {"command": "python -m bench report", "started": "2030-01-01T00:00:00+00:00"}
    write_json(results / "provenance" / "report.json", record)  # of the report before
    assert report((results, build), tmp_path / "again") == html
