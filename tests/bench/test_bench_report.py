"""The report on a made-up run: whole, escaped, self-contained, the same twice; no model."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bench.report.page import write_report
from bench.tidy import read_ledger
from genhmr.types import UserError

ROOT = Path(__file__).parents[2]
TABLES = list(read_ledger(ROOT / "bench" / "reported"))
HOSTILE = "<script>alert(1)</script>\" onload='x' & $x^2$"
NAMES = {"lab": "open-lab", "wild": "open-wild", "extreme": "open-extreme"}
JOB = {
    "profile": "mini",
    "source": "open",
    "names": NAMES,
    "scale": {"tokens": 2, "codes": 1},
    "short": ["tokenizer/t48"],
    "shipped": ["transformer/base"],
    "skipped": {"transformer/layers-2": "left out"},
}
# Keys of the rows that plots read, and what stands in for all other tables.
ROWS = {
    "02": ["ugs_iterations=1", "ugs_iterations=5"],
    "03": ["refinement_iterations=0", "refinement_iterations=10"],
    "05": ["codes=1024, code_dim=256", "codes=2048, code_dim=256"],
    "06": ["tokens=48", "tokens=96"],
    "10": ["l_mask=1, l_theta=0", "l_mask=0, l_theta=1"],
    "11": ["schedule=cosine, ugs_iterations=1", "schedule=linear, ugs_iterations=5"],
}
VOID = {"meta", "link", "img", "br", "input"}


def compared(number):
    """A table of two rows and two sets; tables 4 and 16 are not run, one status is hostile."""
    lines = []
    ran = number not in ("04", "16")
    for place, row in enumerate(ROWS.get(number, ["method=A, venue=B, 2024", "method=GenHMR"])):
        for dataset in ("open-wild beside 3DPW", "open-extreme beside EMDB"):
            for metric in ("mpjpe", "mve"):
                own = ran and not (number == "07" and place == 0)
                status = "not comparable: open world" if own else "not run"
                lines.append([row, dataset, metric, 70.5 - place, 250.0 + place if own else None,
                              12 * own, HOSTILE if number == "12" else status])  # fmt: skip
        if number in ("02", "03"):
            lines.append([row, "this machine beside RTX A5000", "aiti", 0.1, 0.02, 1,
                          "not comparable: other hardware"])  # fmt: skip
    columns = ["row", "dataset", "metric", "reported", "rerun", "n", "status"]
    return pd.DataFrame(lines, columns=columns)


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def claims():
    words = ("supported", "contradicted", "undecided", "not run")
    return pd.DataFrame(
        [
            {"id": f"t{number}-{word.replace(' ', '-')}", "table": number, "kind": "best",
             "statement": f"it {word} <b>", "paper": "supported", "paper_detail": "all 1 parts",
             "rerun": word, "rerun_detail": HOSTILE}
            for number in ("02", "11") for word in words
        ]
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folders ``results`` and ``build`` of a made-up run."""
    folder = tmp_path_factory.mktemp("run")
    results, build = folder / "results", folder / "build"
    for number in TABLES:
        path = results / "compare" / f"table{number}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        compared(number).to_csv(path, index=False)
    rng = np.random.default_rng(0)
    keys = [f"walk_{i // 2:02d}/{i:05d}/0" for i in range(12)]
    frames = []
    for role in NAMES:
        for setting in ("mean-pose", "default", "headline"):
            errors = {name: rng.uniform(50, 90, 12) for name in ("mpjpe", "pa_mpjpe", "mve")}
            about = {"setting": setting, "step": 0, "role": role, "seed": 0, "key": keys}
            frames.append(pd.DataFrame(about | errors))
    base = build / "evaluate" / "base"
    base.mkdir(parents=True)
    images = pd.concat(frames)
    images.to_parquet(base / "per_image.parquet")
    summary = {"base": {}, "tokenizers": {"t48<i>": {"open-mocap": {
        "mpjpe": 9.0, "pa_mpjpe": 8.0, "mve": 7.0, "n": 3}}}}  # fmt: skip
    for (role, setting), own in images.groupby(["role", "setting"]):
        means = own[["mpjpe", "pa_mpjpe", "mve"]].mean().round(2).to_dict()
        summary["base"].setdefault(NAMES[role], {})[setting] = {**means, "n": len(own)}
    write_json(results / "summary.json", summary)
    loop = {"per_iteration_s": 0.004}
    timing = {"aiti": {}, "backbone_s": 0.01, "device": "cpu"}
    write_json(base / "timing.json", timing | {"sampling": loop, "refinement": loop})
    masks = np.tri(10, 48, -1, bool)
    np.savez(base / "trace.npz", masks=~masks, confidences=masks.astype("float32"))
    (results / "claims").mkdir()
    claims().to_csv(results / "claims" / "claims.csv", index=False)
    ranking = {"table": ["02", "11"], "column": ["3dpw_mve"] * 2, "rows": 3, "tau": 0.5, "p": 0.1}
    pd.DataFrame(ranking).to_csv(results / "claims" / "ranking.csv", index=False)
    record = {"command": f"python -m bench evaluate {HOSTILE}", "seconds": 3.5, "commit": "a" * 40,
              "started": "2026-01-02T03:04:05+00:00", "packages": {"torch": HOSTILE},
              "processor": HOSTILE, "cores": 2, "gpu": None, "python": "3.11"}  # fmt: skip
    write_json(results / "provenance" / "evaluate-base.json", record)
    for model in ("tokenizer/t48", "transformer/base", "transformer/base/seed-1", "lifter"):
        history = [{"step": 10 * i, "loss": 3 / (i + 1)} for i in range(400)]
        write_json(build / "models" / model / "history.json", history)
    scored = [
        {"protocol": p, "metric": m, "unit": "mm", "mean": 60.0, "low": 58, "high": 62, "n": 12}
        | {"total": 12}
        for p in ("genhmr", HOSTILE)
        for m in ("mpjpe", "mve")
    ]
    (results / "scores" / "mine").mkdir(parents=True)
    pd.DataFrame(scored).to_csv(results / "scores" / "mine" / "summary.csv", index=False)
    (results / "figures").mkdir()
    for name, size in (("gallery-open-wild", (1500, 600)), ("figure05", (90, 40))):
        pixels = rng.integers(0, 255, (*size[::-1], 3), np.uint8)
        Image.fromarray(pixels).save(results / "figures" / f"{name}.png")
    return results, build


@pytest.fixture(scope="module")
def html(run, tmp_path_factory):
    return report(run, tmp_path_factory.mktemp("out") / "report")


@pytest.fixture
def copy(run, tmp_path):
    """The same folders, to be damaged."""
    results, build = (tmp_path / folder.name for folder in run)
    shutil.copytree(run[0], results)
    shutil.copytree(run[1], build)
    return results, build


def report(run, out, job=JOB, reference=None):
    write_report(job, *run, out, reference)
    return (out / "index.html").read_text(encoding="utf-8")


class Page(HTMLParser):
    """Elements with their attributes; fails on an end that closes something else."""

    def __init__(self, html):
        super().__init__()
        self.open, self.elements, self.words = [], [], []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), f"an attribute of {tag} comes twice"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)


def test_the_page_is_balanced_and_its_ids_are_unique(html):
    page = Page(html)
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    for _, attrs in page.elements:
        for name in ("href", "xlink:href"):
            if attrs.get(name, "").startswith("#"):
                assert attrs[name][1:] in ids
    assert {tag for tag, _ in page.elements} >= {"main", "nav", "header", "section", "figure"}


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


def test_the_committed_run_judges_beside_this_one(run, tmp_path):
    results, build = tmp_path / "results", run[1]
    shutil.copytree(run[0], results)
    beside = claims().assign(open_run="contradicted", open_run_detail=HOSTILE)
    beside.to_csv(results / "claims" / "claims.csv", index=False)
    path = results / "claims" / "ranking.csv"
    pd.read_csv(path, dtype=str).assign(tau=["0.5", ""], open_tau=["", "-0.5"]).to_csv(path)
    html = report((results, build), tmp_path / "report")
    page = Page(html)
    assert "8 claims by the committed open run: 8 contradicted." in page.words
    rows = [attrs for _, attrs in page.elements if str(attrs.get("id")).startswith("claim-t")]
    assert len(rows) == 8 and {attrs["data-open-run"] for attrs in rows} == {"contradicted"}
    # What the script filters by is how a browser calls data-open-run.
    assert {attrs["name"] for tag, attrs in page.elements if tag == "select"} == {
        "paper", "openRun", "rerun", "table"
    }  # fmt: skip
    assert "table 2: 0.5 to 0.5. Of the committed open run: table 11: -0.5 to -0.5." in html


def test_reported_and_rerun_stand_side_by_side(html):
    assert re.search(r'<td class="number paper">70\.5</td><td class="number own">250\.0</td>', html)
    assert "beside 3DPW" in html
    assert "not comparable: open world" in html
    assert '<th scope="row" class="stick">✓</th>' in html  # flags of Table 10, as it prints them


def test_the_banner_says_what_the_numbers_are_not(html):
    assert "These are not 3DPW, EMDB or Human3.6M numbers." in html
    assert "Short trainings rank nothing." in html
    assert "tokenizer/t48" in html


def test_licensed_data_have_no_open_world_banner(copy, tmp_path):
    job = JOB | {"source": "licensed", "short": []}
    html = report(copy, tmp_path / "report", job)
    assert "These are not 3DPW" not in html
    assert "Short trainings rank nothing" not in html


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


def test_columns_and_runs_that_may_be_there_are_shown(copy, run, tmp_path):
    results, build = copy
    path = results / "compare" / "table02.csv"
    pd.read_csv(path).assign(low=240.5, high=260.5, seeds=3).to_csv(path, index=False)
    html = report((results, build), tmp_path / "report", reference=run[0])
    assert "[240.5, 260.5]" in html
    assert "n = 12, 3 seeds" in html
    assert "open run" in html
    assert "committed open run" in html


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


def test_numbers_of_two_runs_are_not_mixed(copy, tmp_path):
    path = copy[0] / "summary.json"
    path.write_text(path.read_text().replace('"mpjpe": ', '"mpjpe": 1'))
    with pytest.raises(UserError, match="of another run"):
        report(copy, tmp_path / "report")
