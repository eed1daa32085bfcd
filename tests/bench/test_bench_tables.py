"""Tables from a fixed per-image frame: numbers, layout and status."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.plan import build_jobs, read_yaml
from bench.tables import _status, build_table, load_metrics, wide, write_tables
from bench.tables_latex import latex
from genhmr.types import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def variants():
    return read_yaml(ROOT / "variants.yaml")


@pytest.fixture
def job(variants):
    return build_jobs(read_yaml(ROOT / "params.yaml"), variants)["tables.json"]


def _images(variants):
    """Per-image rows whose mean is known: the row's rank plus an offset per image."""
    rows = []
    settings = ["mean-pose", *variants["evaluations"]["base"]["settings"]]
    for rank, setting in enumerate(settings):
        steps = [0, 1, 3, 5, 10, 20] if setting == "refinement" else [0]
        for step in steps:
            for role in ("lab", "wild", "extreme"):
                for image in range(4):
                    value = 100.0 + rank - step + image
                    rows.append((setting, step, role, f"i{image}", value, value / 2, value + 10))
    columns = ["setting", "step", "role", "key", "mpjpe", "pa_mpjpe", "mve"]
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture
def build(tmp_path, variants):
    folder = tmp_path / "build"
    (folder / "evaluate" / "base").mkdir(parents=True)
    _images(variants).to_parquet(folder / "evaluate" / "base" / "per_image.parquet")
    aiti = {f"cosine-{t}/0": t / 1000 for t in (1, 3, 5, 10, 15, 20)}
    aiti |= {f"refinement/{p}": p / 500 for p in (0, 1, 3, 5, 10, 20)}
    (folder / "evaluate" / "base" / "timing.json").write_text(json.dumps({"aiti": aiti}))
    for index, name in enumerate(variants["tokenizers"]):
        (folder / "evaluate-tokenizer" / name).mkdir(parents=True)
        rows = [
            (r, f"p{i}", 20.0 + index + i, 9.0, 25.0) for r in ("mocap", "yoga") for i in (0, 2)
        ]
        columns = ["role", "key", "mpjpe", "pa_mpjpe", "mve"]
        path = folder / "evaluate-tokenizer" / name / "per_pose.parquet"
        pd.DataFrame(rows, columns=columns).to_parquet(path)
    return folder


@pytest.fixture
def written(build, variants, job, tmp_path):
    write_tables(variants, job, build, ROOT / "bench" / "reported", tmp_path / "results")
    return tmp_path / "results"


def test_table_2_is_the_mean_over_images_beside_the_paper(written):
    table = pd.read_csv(written / "tables" / "table02.csv")
    assert table["ugs_iterations"].tolist() == [1, 3, 5, 10, 15, 20]
    # cosine-1 is the fourth setting after mean-pose; images add 0..3, so 1.5 on average
    assert table["open-wild_mpjpe"].tolist() == [104 + 1.5 + i for i in range(6)]
    assert table["reported_3DPW_mpjpe"].tolist() == [73.5, 70.2, 68.1, 67.8, 67.6, 67.4]
    assert table["aiti_s"].tolist() == [0.001, 0.003, 0.005, 0.01, 0.015, 0.02]
    assert (table["n_open-wild"] == 4).all()


def test_table_3_takes_the_refinement_step(written):
    table = pd.read_csv(written / "tables" / "table03.csv")
    first = table["open-lab_mpjpe"][0]
    assert (first - table["open-lab_mpjpe"]).tolist() == [0, 1, 3, 5, 10, 20]
    assert table["reported_Human3.6M_mpjpe"].tolist() == [37.1, 36.2, 35.1, 34.3, 33.2, 33.5]


def test_tokenizer_tables_use_their_own_models(written, variants):
    order = list(variants["tokenizers"])
    table = pd.read_csv(written / "tables" / "table06.csv")
    expected = [21.0 + order.index(n) for n in ("t48", "c2048x256", "t192", "t384")]
    assert table["open-mocap_mpjpe"].tolist() == expected


def test_every_reported_number_appears_once_in_the_comparison(written):
    for number in (f"{n:02d}" for n in range(1, 17)):
        reported = pd.read_csv(ROOT / "bench" / "reported" / f"table{number}.csv")
        numbers = reported[[c for c in reported if c.endswith(("mpjpe", "mve", "aiti_s"))]]
        compare = pd.read_csv(written / "compare" / f"table{number}.csv")
        np.testing.assert_allclose(
            np.sort(compare["reported"]), np.sort(numbers.to_numpy().ravel())
        )
        columns = ["row", "dataset", "metric", "reported", "rerun", "n", "status"]
        assert compare.columns.tolist() == columns


def test_open_world_numbers_are_stamped_and_never_carry_a_licensed_name(written):
    for path in (written / "compare").glob("*.csv"):
        compare = pd.read_csv(path)
        ran = compare["n"] > 0
        assert compare.loc[ran, "status"].str.startswith("not comparable").all()
        assert (compare.loc[~ran, "status"] == "not run").all()
        assert compare.loc[~ran, "rerun"].isna().all()
        assert compare["dataset"].str.startswith(("open-", "this machine")).all()
    for path in (written / "tables").glob("*.csv"):
        named = [c for c in pd.read_csv(path) if any(n in c for n in ("3DPW", "EMDB", "Human3"))]
        assert all(c.startswith("reported_") for c in named)


def test_tables_that_are_not_rerun_keep_the_papers_layout(written, variants):
    for number in {f"{n:02d}" for n in range(1, 17)} - set(variants["tables"]):
        table = pd.read_csv(written / "tables" / f"table{number}.csv")
        paper = pd.read_csv(ROOT / "bench" / "reported" / f"table{number}.csv")
        keys = [c for c in paper if not c.endswith(("mpjpe", "mve"))]
        pd.testing.assert_frame_equal(table[keys], paper[keys])
        assert (table["status"] == "not run").all()
        text = (written / "tables" / f"table{number}.tex").read_text()
        assert text.count("\\\\\n") >= len(paper) and "not run" in text


def test_one_document_holds_all_tables(written):
    text = (written / "tables" / "all.tex").read_text()
    assert text.count("\\toprule") == text.count("\\resizebox") == 16
    assert text.count("{") == text.count("}") and text.count("\\begin{document}") == 1
    places = [text.index(f"\\textbf{{Table {n}. ") for n in range(1, 17)]
    assert places == sorted(places)


def test_a_setting_that_did_not_run_says_so(variants, job):
    images = _images(variants)
    images = images[images["setting"] != "top-20"]
    reported = pd.read_csv(ROOT / "bench" / "reported" / "table12.csv")
    tidy = build_table(
        "12", variants["tables"]["12"], variants["datasets"], job, reported, images, {}, {}
    )
    missing = tidy[tidy["row"] == "top_k=20"]
    assert (missing["status"] == "not run").all() and missing["rerun"].isna().all()
    assert "--" in latex(tidy, ["top_k"], "t")


def test_two_writings_are_byte_identical(written, build, variants, job, tmp_path):
    write_tables(variants, job, build, ROOT / "bench" / "reported", tmp_path / "again")
    for path in written.rglob("*"):
        if path.is_file():
            other = tmp_path / "again" / path.relative_to(written)
            assert path.read_bytes() == other.read_bytes()


def test_short_trainings_are_stamped(written, job):
    assert "tokenizer/t48" in job["short"] and "tokenizer/base" not in job["short"]
    compare = pd.read_csv(written / "compare" / "table06.csv")
    assert compare["status"].str.contains("too short to rank").all()
    assert (
        not pd.read_csv(written / "compare" / "table02.csv")["status"].str.contains("short").any()
    )


def test_latex_has_rules_headers_and_balanced_environments(written):
    for path in (written / "tables").glob("*.tex"):
        text = path.read_text()
        for word in ("\\toprule", "\\midrule", "\\bottomrule", "(rerun)", "(reported)"):
            assert word in text
        assert text.count("\\begin{") == text.count("\\end{")
        body = text.split("\\midrule")[1].split("\\bottomrule")[0]
        widths = {line.count("&") for line in body.strip().splitlines() if "\\\\" in line}
        assert len(widths) == 1


def test_summary_holds_baseline_and_headline(written):
    summary = json.loads((written / "summary.json").read_text())
    lab = summary["base"]["open-lab"]
    assert set(lab) == {"mean-pose", "default", "headline"} and lab["default"]["n"] == 4


@pytest.mark.parametrize("content", [None, b"not parquet"])
def test_unreadable_metrics_are_one_sentence(tmp_path, content):
    path = tmp_path / "per_image.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match="per_image.parquet"):
        load_metrics(path)


def test_a_row_that_the_paper_does_not_have_is_refused(variants, job):
    reported = pd.read_csv(ROOT / "bench" / "reported" / "table12.csv")
    spec = dict(variants["tables"]["12"], rows=[{"top_k": 3, "setting": "top-2"}])
    with pytest.raises(UserError, match="table12.csv has 0 rows"):
        build_table("12", spec, variants["datasets"], job, reported, _images(variants), {}, {})


def test_wide_keeps_one_line_a_row(variants, job):
    reported = pd.read_csv(ROOT / "bench" / "reported" / "table11.csv")
    tidy = build_table(
        "11",
        variants["tables"]["11"],
        variants["datasets"],
        job,
        reported,
        _images(variants),
        {},
        {},
    )
    frame = wide(tidy, ["schedule", "ugs_iterations"])
    assert len(frame) == 18 and frame["schedule"].nunique() == 4


def test_a_diverged_image_is_not_averaged_away(variants, job, build):
    path = build / "evaluate" / "base" / "per_image.parquet"
    frame = pd.read_parquet(path)
    frame.loc[(frame["setting"] == "top-1") & (frame["key"] == "i2"), "mpjpe"] = np.nan
    frame.to_parquet(path)
    write_tables(variants, job, build, ROOT / "bench" / "reported", build)
    compare = pd.read_csv(build / "compare" / "table12.csv")
    first = compare[compare["row"] == "top_k=1"].set_index("metric")
    assert first.loc["mpjpe", "rerun"].isna().all() and (first["n"] == 4).all()
    assert first.loc["mve", "rerun"].notna().all()


def test_status_names_every_reason(job):
    licensed = job | {"source": "licensed", "profile": "paper", "shipped": [], "short": []}
    one = {"tokens": 1, "codes": 1, "code_dim": 1}
    assert _status(licensed | {"scale": one}, 5, "transformer/base") == "rerun"
    assert _status(licensed | {"scale": one}, 0, "transformer/base") == "not run"
    mini = licensed | {"shipped": ["transformer/base"]}
    text = _status(mini, 5, "transformer/base")
    assert text == "not comparable: weights of the open world, sizes scaled down"
    assert "open world, sizes scaled down" in _status(job, 5, "transformer/base")


@pytest.mark.parametrize("name", ["evaluate/base/timing.json"])
def test_a_missing_file_is_one_sentence(variants, job, build, name):
    (build / name).unlink()
    with pytest.raises(UserError, match="timing.json is missing or damaged"):
        write_tables(variants, job, build, ROOT / "bench" / "reported", build)
    with pytest.raises(UserError, match="restore bench/reported"):
        (build / name).write_text('{"aiti": {}}')
        write_tables(variants, job, build, build, build)
