"""Tables of a run in which something is left out, missing, damaged or diverged."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.layout import Printed, lay_out
from bench.ledger import read_ledger
from bench.params import read_yaml
from bench.plan import build_jobs
from bench.tables import wide, write_tables
from bench.tables_latex import latex
from bench.tidy import Rerun, build_table, load_metrics
from genhmr.types import UserError
from tests.bench.made_up_metrics import image_rows as _images

ROOT = Path(__file__).parents[2]
LEDGER = read_ledger(ROOT / "bench" / "reported")


def test_a_model_that_is_left_out_is_not_run(variants, job, build, tmp_path):
    job["skipped"] = {"transformer/mask-0.3": "left out of this profile"}
    (build / "evaluate" / "mask-0.3" / "per_image.parquet").unlink()
    write_tables(variants, job, build, ROOT / "bench" / "reported", tmp_path / "r")
    table = pd.read_csv(tmp_path / "r" / "tables" / "table04.csv")
    assert table["status"].eq("not run").tolist() == [False, True, False, False]


def test_a_base_that_trains_as_long_as_its_variants_stands_for_itself(variants, build, tmp_path):
    """In profile paper the row of the ablation is the base's own model."""
    params = read_yaml(ROOT / "params.yaml")
    params["profile"] = "paper"
    job = build_jobs(params, variants)["tables.json"]
    assert job["same"] == {"transformer/ablation": "transformer/base"}
    (build / "evaluate" / "ablation" / "per_image.parquet").unlink()
    write_tables(variants, job, build, ROOT / "bench" / "reported", tmp_path / "r")
    table = pd.read_csv(tmp_path / "r" / "tables" / "table04.csv")
    assert table["open-wild_mpjpe"][0] == 101 + 1.5


def test_a_table_that_is_not_rerun_keeps_the_papers_layout(build, variants, job, tmp_path):
    del variants["tables"]["10"]
    write_tables(variants, job, build, ROOT / "bench" / "reported", tmp_path / "r")
    table = pd.read_csv(tmp_path / "r" / "tables" / "table10.csv")
    paper = pd.read_csv(ROOT / "bench" / "reported" / "table10.csv")
    keys = [c for c in paper if not c.endswith(("mpjpe", "mve"))]
    pd.testing.assert_frame_equal(table[keys], paper[keys])
    assert (table["status"] == "not run").all()
    text = (tmp_path / "r" / "tables" / "table10.tex").read_text()
    assert text.count("\\\\\n") >= len(paper) and "not run" in text


def test_a_setting_that_did_not_run_says_so(variants, job):
    images = _images(variants)
    images = images[images["setting"] != "top-20"]
    reported = pd.read_csv(ROOT / "bench" / "reported" / "table12.csv")
    tidy, _ = build_table(
        "12", LEDGER["12"], variants["tables"]["12"], variants["datasets"], job, reported,
        Rerun(images={"base": images}),
    )  # fmt: skip
    missing = tidy[tidy["row"] == "top_k=20"]
    assert (missing["status"] == "not run").all() and missing["rerun"].isna().all()
    assert "--" in latex(Printed(lay_out(tidy, {}), ["top_k"], 12, LEDGER["12"]))


def test_nothing_is_written_before_every_table_can_be_made(variants, job, build, tmp_path):
    variants["tables"]["16"]["rows"][0]["deformable_layers"] = 3
    with pytest.raises(UserError, match="table16.csv has 0 rows"):
        write_tables(variants, job, build, ROOT / "bench" / "reported", tmp_path / "r")
    assert not (tmp_path / "r").exists()


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
        build_table("12", LEDGER["12"], spec, variants["datasets"], job, reported, Rerun())


def test_wide_keeps_one_line_a_row(variants, job):
    reported = pd.read_csv(ROOT / "bench" / "reported" / "table11.csv")
    tidy, keys = build_table(
        "11", LEDGER["11"], variants["tables"]["11"], variants["datasets"], job, reported,
        Rerun(images={"base": _images(variants)}),
    )  # fmt: skip
    assert keys == ["schedule", "ugs_iterations"]
    frame = wide(Printed(lay_out(tidy, {}), keys, 11, LEDGER["11"]))
    assert len(frame) == 18 and frame["schedule"].nunique() == 4


def test_a_diverged_image_is_not_averaged_away(variants, job, build):
    path = build / "evaluate" / "base" / "per_image.parquet"
    frame = pd.read_parquet(path)
    frame.loc[(frame["setting"] == "top-1") & (frame["key"] == "video/00002/0"), "mpjpe"] = np.nan
    frame.to_parquet(path)
    write_tables(variants, job, build, ROOT / "bench" / "reported", build)
    compare = pd.read_csv(build / "compare" / "table12.csv")
    first = compare[compare["row"] == "top_k=1"].set_index("metric")
    assert first.loc["mpjpe", "rerun"].isna().all() and (first["n"] == 4).all()
    assert first.loc["mve", "rerun"].notna().all()


@pytest.mark.parametrize("name", ["evaluate/base/timing.json"])
def test_a_missing_file_is_one_sentence(variants, job, build, name):
    (build / name).unlink()
    with pytest.raises(UserError, match="timing.json is missing or damaged"):
        write_tables(variants, job, build, ROOT / "bench" / "reported", build)
    with pytest.raises(UserError, match="restore bench/reported"):
        (build / name).write_text('{"aiti": {}}')
        write_tables(variants, job, build, build, build)
