"""Tables from a fixed per-image frame: numbers, layout and status."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.layout import lay_out
from bench.params import read_yaml
from bench.plan import build_jobs
from bench.status import Mean, judge, mean_of, seed_spreads, trained_alike
from bench.tables import wide, write_tables
from bench.tables_latex import Printed, latex
from bench.tidy import Rerun, build_table, load_metrics
from genhmr.types import UserError

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def variants():
    return read_yaml(ROOT / "variants.yaml")


def _job(variants):
    return build_jobs(read_yaml(ROOT / "params.yaml"), variants)["tables.json"]


@pytest.fixture
def job(variants):
    return _job(variants)


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
                    key = f"video/{image:05d}/0"
                    rows.append((setting, step, role, 0, key, value, value / 2, value + 10))
    columns = ["setting", "step", "role", "seed", "key", "mpjpe", "pa_mpjpe", "mve"]
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Made-up metrics of every model of variants.yaml."""
    folder = tmp_path_factory.mktemp("measured") / "build"
    variants = read_yaml(ROOT / "variants.yaml")
    images = _images(variants)
    for offset, name in enumerate(variants["transformers"]):
        (folder / "evaluate" / name).mkdir(parents=True)
        own = images.assign(mpjpe=images["mpjpe"] + 100 * offset)
        own = pd.concat([own, own[own["setting"] == "headline"].assign(setting="refined-20")])
        own.to_parquet(folder / "evaluate" / name / "per_image.parquet")
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
def build(measured, tmp_path):
    """A copy that a test may damage."""
    return Path(shutil.copytree(measured, tmp_path / "build"))


@pytest.fixture(scope="module")
def written(measured, tmp_path_factory):
    """The tables of the made-up metrics; read only."""
    results = tmp_path_factory.mktemp("written") / "results"
    variants = read_yaml(ROOT / "variants.yaml")
    write_tables(variants, _job(variants), measured, ROOT / "bench" / "reported", results)
    return results


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


def test_a_table_of_trainings_takes_each_row_from_its_own_model(written, variants):
    order = list(variants["transformers"])
    default = 101 + 1.5  # the setting after mean-pose, images 0 to 3
    for number, models in (
        ("04", ["ablation", "mask-0.3", "mask-0.5", "mask-0.7"]),
        ("09", ["ablation", *(f"anneal-{p}" for p in (75, 100, 125, 150, 200))]),
        ("14", ["tokens-48", "ablation", "tokens-192", "tokens-384"]),
        ("16", ["layers-2", "ablation", "layers-6", "layers-8"]),
    ):
        table = pd.read_csv(written / "tables" / f"table{number}.csv")
        expected = [default + 100 * order.index(name) for name in models]
        assert table["open-wild_mpjpe"].tolist() == expected, number


def test_the_papers_marks_and_differences_are_recomputed(written):
    """Second best and gains of Table 1 from its own numbers, not from its text."""
    text = (written / "tables" / "table01.tex").read_text()
    row = next(line for line in text.splitlines() if line.startswith("probabilistic & GenHMR"))
    assert "\\textbf{32.6}$_{\\Delta +11.9}$" in row and "\\textbf{22.4}$_{\\Delta +10.3}$" in row
    assert "\\underline{44.5}" in text and "\\underline{32.7}" in text
    table = pd.read_csv(written / "tables" / "table01.csv").set_index("method")
    assert table.loc["GenHMR", "reported_EMDB_mve_delta"] == 36.5
    assert table["reported_EMDB_mve_delta"].notna().sum() == 1
    seven = pd.read_csv(written / "tables" / "table07.csv")
    own = seven[seven["method"] == "GenHMR"]
    assert own["reported_3DPW_mve_delta"].tolist() == [15.6, 19.0], "within its training data"


def test_losses_and_scales_are_checked_off_with_their_differences(written):
    text = (written / "tables" / "table10.tex").read_text()
    body = text.split("\\midrule")[1].split("\\bottomrule")[0].strip().splitlines()
    assert body[0].startswith("$\\checkmark$ & " * 5) and "Delta" not in body[0]
    assert body[4].startswith("$\\times$ & $\\times$ & $\\times$ & $\\checkmark$ & $\\checkmark$")
    assert "1160.6$_{\\Delta +1092.5}$" in body[4]
    table = pd.read_csv(written / "tables" / "table15.csv")
    assert table["reported_3DPW_mpjpe_delta"].tolist()[1:] == [3.0, 1.5, 0.5, 0.5, 1.0, 1.5]
    gain = table["open-wild_mpjpe"] - table["open-wild_mpjpe"][0]
    np.testing.assert_allclose(table["open-wild_mpjpe_delta"][1:], gain[1:])


def test_short_trainings_are_not_ranked(written):
    for number, ranked in (("02", True), ("16", False), ("06", False)):
        text = (written / "tables" / f"table{number}.tex").read_text()
        body = text.split("\\midrule")[1].split("\\bottomrule")[0]
        reruns, papers = [], []
        for line in body.strip().splitlines():
            cells = line.split("&")[1:]
            half = len(cells) // 2
            reruns += ["textbf" in cell for cell in cells[:half]]
            papers += ["textbf" in cell for cell in cells[half:]]
        assert any(reruns) == ranked and any(papers), number


def test_methods_that_are_not_in_the_suite_keep_their_reported_row(written):
    table = pd.read_csv(written / "tables" / "table01.csv")
    assert table["method"].tolist()[-1] == "GenHMR" and len(table) == 11
    ran = table["method"] == "GenHMR"
    assert (table.loc[~ran, "status"] == "not run").all()
    assert table.loc[~ran, "open-lab_mpjpe"].isna().all()
    assert table.loc[ran, "open-wild_mpjpe"].notna().all()
    table = pd.read_csv(written / "tables" / "table07.csv")
    assert table["status"].eq("not run").tolist() == [True, True, False, True, True, False]


def test_every_row_of_a_transformer_table_is_rerun(written):
    for number in (2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16):
        compare = pd.read_csv(written / "compare" / f"table{number:02d}.csv")
        assert (compare["n"] > 0).all(), number


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


def test_every_reported_number_appears_once_in_the_comparison(written):
    for number in (f"{n:02d}" for n in range(1, 17)):
        reported = pd.read_csv(ROOT / "bench" / "reported" / f"table{number}.csv")
        numbers = reported[[c for c in reported if c.endswith(("mpjpe", "mve", "aiti_s"))]]
        compare = pd.read_csv(written / "compare" / f"table{number}.csv")
        np.testing.assert_allclose(
            np.sort(compare["reported"]), np.sort(numbers.to_numpy().ravel())
        )
        columns = ["row", "dataset", "metric", "reported", "rerun", "low", "high"]
        columns += ["n", "seeds", "status"]
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


def test_one_document_holds_all_tables(written):
    text = (written / "tables" / "all.tex").read_text()
    assert text.count("\\toprule") == text.count("\\resizebox") == 16
    assert text.count("{") == text.count("}") and text.count("\\begin{document}") == 1
    places = [text.index(f"\\textbf{{Table {n}. ") for n in range(1, 17)]
    assert places == sorted(places)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="LaTeX is not installed")
@pytest.mark.parametrize("name", ["all", "table01", "table10", "table15"])
def test_latex_compiles(written, tmp_path, name):
    shutil.copy(written / "tables" / f"{name}.tex", tmp_path)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"],
        cwd=tmp_path, capture_output=True, text=True, errors="replace",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-1000:]
    assert "Overfull" not in done.stdout


def test_a_setting_that_did_not_run_says_so(variants, job):
    images = _images(variants)
    images = images[images["setting"] != "top-20"]
    reported = pd.read_csv(ROOT / "bench" / "reported" / "table12.csv")
    tidy, _ = build_table(
        "12", variants["tables"]["12"], variants["datasets"], job, reported,
        Rerun(images={"base": images}),
    )  # fmt: skip
    missing = tidy[tidy["row"] == "top_k=20"]
    assert (missing["status"] == "not run").all() and missing["rerun"].isna().all()
    assert "--" in latex(Printed(lay_out(tidy, {}), ["top_k"], "t"))


def test_two_writings_are_byte_identical(written, build, variants, job, tmp_path):
    write_tables(variants, job, build, ROOT / "bench" / "reported", tmp_path / "again")
    for path in written.rglob("*"):
        if path.is_file():
            other = tmp_path / "again" / path.relative_to(written)
            assert path.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("number", range(1, 17))
def test_every_table_is_what_it_was(written, number):
    """CSV and LaTeX, letter by letter. After a wanted change: GOLDEN=write pytest -k it_was."""
    for folder, suffix in (("tables", "csv"), ("tables", "tex"), ("compare", "csv")):
        name = Path(folder) / f"table{number:02d}.{suffix}"
        kept = GOLDEN / name
        if os.environ.get("GOLDEN") == "write":
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(written / name, kept)
        assert (written / name).read_text() == kept.read_text(), (
            f"{name} is no longer {kept.relative_to(ROOT)}"
        )


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


def test_nothing_is_written_before_every_table_can_be_made(variants, job, build, tmp_path):
    variants["tables"]["16"]["rows"][0]["deformable_layers"] = 3
    with pytest.raises(UserError, match="table16.csv has 0 rows"):
        write_tables(variants, job, build, ROOT / "bench" / "reported", tmp_path / "r")
    assert not (tmp_path / "r").exists()


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
        build_table("12", spec, variants["datasets"], job, reported, Rerun())


def test_wide_keeps_one_line_a_row(variants, job):
    reported = pd.read_csv(ROOT / "bench" / "reported" / "table11.csv")
    tidy, keys = build_table(
        "11", variants["tables"]["11"], variants["datasets"], job, reported,
        Rerun(images={"base": _images(variants)}),
    )  # fmt: skip
    assert keys == ["schedule", "ugs_iterations"]
    frame = wide(lay_out(tidy, {}), keys)
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


def test_status_names_every_reason(job):
    licensed = job | {"source": "licensed", "profile": "paper", "shipped": [], "short": []}
    one = licensed | {"scale": {"tokens": 1, "codes": 1, "code_dim": 1}}
    ran, model = Mean(50.0, 49.0, 51.0, 5, 1), "transformer/base"
    assert judge(one, model, Mean(), 50.0, 0.4) == "not run"
    assert judge(one, model, ran, 50.0, None) == (
        "not comparable: no spread over seeds was measured"
    )
    mini = licensed | {"shipped": ["transformer/base"]}
    text = judge(mini, model, ran, 50.0, 0.4)
    assert text == "not comparable: weights of the open world, sizes scaled down"
    assert "open world, sizes scaled down" in judge(job, model, ran, 50.0, 0.4)
    assert "an image diverged" in judge(one, model, Mean(n=5), 50.0, 0.4)
    turned = one | {"turned": ["ugs.iters=20"]}
    assert judge(turned, model, ran, 50.0, 0.4) == "not comparable: ugs.iters=20"
    assert judge(turned, "tokenizer/base", ran, 50.0, 0.4) == "reproduced"
    text = judge(one, model, ran, 50.0, 0.4, refined=True)
    assert text == "not comparable: 2D detections simulated from the ground truth"
    assert judge(one | {"detections": "openpose"}, model, ran, 50.0, 0.4, True) == "reproduced"


def test_reproduced_is_what_seeds_and_rounding_explain(job):
    licensed = job | {"source": "licensed", "profile": "paper", "shipped": [], "short": []}
    one = licensed | {"scale": {"tokens": 1, "codes": 1, "code_dim": 1}}
    for rerun, status in ((50.44, "reproduced"), (49.56, "reproduced"), (50.46, "off"), (9, "off")):
        assert judge(one, "transformer/base", Mean(rerun, n=5), 50.0, 0.4) == status


def test_the_spread_of_seeds_is_a_prediction_interval():
    """Three trainings of means 50, 51, 52: t(2) = 4.303, s = 1, times sqrt(4 / 3)."""
    frame = pd.DataFrame(
        [("default", 0, "wild", seed, f"v/{i:05d}/0", 50.0 + seed + i - 1.5, 1.0, 2.0)
         for seed in range(3) for i in range(4)],
        columns=["setting", "step", "role", "seed", "key", "mpjpe", "pa_mpjpe", "mve"],
    )  # fmt: skip
    spreads = seed_spreads(frame)
    assert spreads["wild", "mpjpe"] == pytest.approx(4.3027 * np.sqrt(4 / 3), rel=1e-4)
    assert spreads["wild", "mve"] == 0
    assert seed_spreads(frame, pairs=True)["wild", "mpjpe"] == pytest.approx(
        4.3027 * np.sqrt(2), rel=1e-4
    )
    assert seed_spreads(frame[frame["seed"] == 0]) == {} == seed_spreads(None)
    assert seed_spreads(frame.drop(columns="setting")) == spreads  # a tokenizer has no settings


def test_chance_is_measured_on_trainings_of_equal_length(job):
    def frame(seeds):
        return pd.DataFrame({"seed": range(seeds), "setting": "default"})

    images = {"base": frame(3), "ablation": frame(1), "layers-2": frame(1)}
    for model in ("transformer/base", "transformer/layers-2"):
        assert trained_alike(images, {}, model) is images["base"], "there is no better one"
    images["ablation"] = frame(3)
    assert trained_alike(images, {}, "transformer/layers-2") is images["ablation"]
    assert trained_alike(images, {}, "transformer/ablation") is images["ablation"]
    assert trained_alike(images, {}, "transformer/base") is images["base"]
    assert trained_alike({}, {}, "transformer/base") is None
    several = pd.DataFrame({"key": range(4), "seed": [0, 0, 1, 1]})
    poses = {"t48": pd.DataFrame({"key": range(4)}), "c2048x256": several}
    assert trained_alike(images, poses, "tokenizer/t48") is several
    assert trained_alike(images, {"t48": poses["t48"]}, "tokenizer/t48") is None


def test_several_seeds_widen_the_interval():
    """Images that all agree: over one training there is nothing to draw, over three there is."""
    rows = [(seed, f"v{i}/00000/0", 50.0 + 2 * seed) for seed in range(3) for i in range(8)]
    frame = pd.DataFrame(rows, columns=["seed", "key", "mpjpe"])
    one = mean_of(frame[frame["seed"] == 1], "mpjpe")
    assert (one.rerun, one.low, one.high, one.n, one.seeds) == (52.0, 52.0, 52.0, 8, 1)
    three = mean_of(frame, "mpjpe")
    assert three.rerun == 52.0 and (three.n, three.seeds) == (8, 3)
    # The mean of three draws of {-2, 0, 2} has the standard deviation sqrt(8 / 9).
    assert three.low == pytest.approx(52 - 2, abs=0.1) and three.high == pytest.approx(54, abs=0.1)


def test_images_are_drawn_by_video_and_poses_by_clip():
    """Frames of a video are near copies: as if they were clips, the interval would be too small."""
    rows = [(f"v{i % 8}/{i:05d}/0", 50.0 + 2 * (i % 8)) for i in range(64)]
    poses = pd.DataFrame(rows, columns=["key", "mpjpe"])
    by_clip, by_video = mean_of(poses, "mpjpe"), mean_of(poses.assign(setting="default"), "mpjpe")
    assert by_video.rerun == by_clip.rerun == 57
    assert by_video.high - by_video.low > 2 * (by_clip.high - by_clip.low)


@pytest.mark.parametrize("name", ["evaluate/base/timing.json"])
def test_a_missing_file_is_one_sentence(variants, job, build, name):
    (build / name).unlink()
    with pytest.raises(UserError, match="timing.json is missing or damaged"):
        write_tables(variants, job, build, ROOT / "bench" / "reported", build)
    with pytest.raises(UserError, match="restore bench/reported"):
        (build / name).write_text('{"aiti": {}}')
        write_tables(variants, job, build, build, build)
