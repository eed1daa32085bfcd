"""The whole street once, in one process: generate, shard, train, evaluate, print, draw."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from bench.__main__ import cli
from bench.evaluate import score_model
from bench.evaluate_tokenizer import score_tokenizer
from bench.tokenizers import make_tokenizer
from genhmr.train.checkpoint import GENHMR_FILE, load_weights
from genhmr.train.model_files import load_genhmr, save_genhmr
from tests.bench.smoke_checkout import TRANSFORMERS

ROOT = Path(__file__).parents[2]


def test_every_image_has_every_setting_once(run):
    frame = pd.read_parquet(run / "build" / "evaluate" / "base" / "per_image.parquet")
    assert not frame[["mpjpe", "pa_mpjpe", "mve"]].isna().any().any()
    counts = frame.groupby(["role", "setting", "step"]).size()
    per_role = counts.groupby("role").nunique()
    assert (per_role == 1).all(), "all settings score the same images"
    everywhere = {"mean-pose", "lifted", "default", "headline", "refinement"}
    settings = frame.groupby("role")["setting"].agg(set)
    assert settings["lab"] == everywhere, "Tables 2 and 12 do not print the lab"
    assert settings["wild"] == settings["extreme"] == everywhere | {"cosine-1", "top-2"}
    assert set(frame[frame["setting"] == "refinement"]["step"]) == {0, 1, 3, 5, 10, 20}


def test_sets_side_by_side_give_what_sets_in_turn_give(run, monkeypatch, tmp_path):
    monkeypatch.chdir(run)
    jobs = [json.loads(Path(f"build/plan/{kind}/tokens-48.json").read_text())
            for kind in ("evaluate", "transformer")]  # fmt: skip
    frames = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for cores in (1, 2):
            monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
            score_model(*jobs, Path("build"), tmp_path / str(cores), tmp_path / "scratch", {})
            frames.append(pd.read_parquet(tmp_path / str(cores) / "per_image.parquet"))
    finally:
        torch.set_num_threads(threads)
    pd.testing.assert_frame_equal(*frames)
    assert set(frames[0]["role"]) == {"wild", "extreme"}


@pytest.mark.parametrize(("role", "dataset"), [("wild", "open-wild"), ("extreme", "open-extreme")])
def test_the_scores_of_the_predictions_are_those_of_the_tables(run, monkeypatch, role, dataset):
    """Two ways to the same numbers: the evaluation stage, and `score` on what it predicted."""
    monkeypatch.chdir(run)
    path = Path("build/evaluate/base") / f"predictions-{role}.npz"
    result = CliRunner().invoke(cli, ["score", str(path), "--dataset", dataset, "--out", "s"])
    assert result.exit_code == 0 and "MISSING" not in result.output, result.output
    scored = pd.read_parquet("s/per_image.parquet").set_index("key").sort_index()
    frame = pd.read_parquet("build/evaluate/base/per_image.parquet")
    own = frame[(frame["setting"] == "headline") & (frame["role"] == role)]
    own = own.set_index("key").sort_index()
    for metric in ("mpjpe", "pa_mpjpe", "mve"):
        np.testing.assert_allclose(scored[metric], own[metric], rtol=0, atol=5e-3)


def test_a_variant_is_trained_on_its_own_data_and_scored_by_its_own_setting(run):
    for name in TRANSFORMERS[1:]:
        model = run / "build" / "models" / "transformer" / name
        assert json.loads((model / "history.json").read_text())[-1]["step"] == 0, "one step"
    frame = pd.read_parquet(run / "build" / "evaluate" / "sd-itw-bl" / "per_image.parquet")
    assert set(frame["setting"]) == {"mean-pose", "lifted", "refinement"}
    assert set(frame["role"]) == {"lab", "wild", "extreme"}
    whole = pd.read_parquet(run / "build" / "evaluate" / "base" / "per_image.parquet")
    last = (frame["setting"] == "refinement") & (frame["step"] == 20)
    for role, own in frame[last].groupby("role"):
        everybody = whole[(whole["role"] == role) & (whole["setting"] == "default")]["key"]
        assert len(own) == 2 and set(own["key"]) < set(everybody), "two of four, spread evenly"
    assert not (run / "build" / "evaluate" / "sd-itw-bl" / "timing.json").exists()
    tokens = load_genhmr(run / "build" / "models" / "transformer" / "tokens-48").tokenizer
    assert tokens.num_tokens == 24
    compare = pd.read_csv(run / "results" / "compare" / "table07.csv")
    ran = compare["n"] > 0
    assert set(compare.loc[ran, "row"]) == {"training_data=SD + ITW + BL, method=GenHMR"}


def test_a_model_that_is_left_out_leaves_a_note_and_no_number(run):
    for folder in ("models/transformer/layers-2", "evaluate/layers-2", "models/tokenizer/t384",
                   "evaluate-tokenizer/t384"):  # fmt: skip
        names = [path.name for path in (run / "build" / folder).iterdir()]
        assert names == ["skipped.json"]
    records = {path.name for path in (run / "results" / "provenance").iterdir()}
    assert "train-transformer-base.json" in records
    assert "train-transformer-layers-2.json" not in records
    table = pd.read_csv(run / "results" / "tables" / "table16.csv").set_index("deformable_layers")
    assert table.loc[2, "status"] == "not run" and np.isnan(table.loc[2, "open-wild_mpjpe"])
    assert table.loc[4, "open-wild_mpjpe"] > 0


def test_a_licensed_set_of_some_variants_alone_may_be_missing(run, tmp_path, monkeypatch):
    """Without BEDLAM the models trained on it are left out, and the tables still come."""
    shutil.copytree(run, tmp_path / "copy", symlinks=True)
    monkeypatch.chdir(tmp_path / "copy")
    path = Path("build/plan/data/synth.json")
    job = json.loads(path.read_text()) | {"optional": True, "raw": "datasets/raw/bedlam"}
    path.write_text(json.dumps(job))
    for command in (["data", "synth"], ["train-transformer", "sd-itw-bl"],
                    ["evaluate", "sd-itw-bl"], ["tables"], ["claims"]):  # fmt: skip
        result = CliRunner().invoke(cli, command, catch_exceptions=False)
        assert result.exit_code == 0, result.output
    assert "datasets/raw/bedlam is missing" in Path(
        "build/evaluate/sd-itw-bl/skipped.json"
    ).read_text()
    table = pd.read_csv("results/tables/table07.csv")
    assert (table["status"] == "not run").all()
    # A model of other data is trained as before, up to the missing set.
    result = CliRunner().invoke(cli, ["train-transformer", "ablation"], catch_exceptions=False)
    assert result.exit_code == 0 and "missing" not in result.output


def test_a_smoke_run_ranks_nothing(run):
    """Every claim has its verdict from the paper's tables, and none from four steps of training."""
    verdicts = pd.read_csv(run / "results" / "claims" / "claims.csv")
    assert len(verdicts) >= 50 and set(verdicts["rerun"]) == {"not run"}
    assert set(verdicts["paper"]) == {"supported", "contradicted", "undecided"}


def test_a_number_is_walked_back_to_what_made_it(run, monkeypatch):
    monkeypatch.chdir(run)
    result = CliRunner().invoke(cli, ["explain", "3:10:3dpw:mpjpe"])
    assert result.exit_code == 0, result.output
    frame = pd.read_parquet("build/evaluate/base/per_image.parquet")
    own = frame[(frame["setting"] == "refinement") & (frame["step"] == 10)]
    own = own[own["role"] == "wild"]
    assert f"rerun     {own['mpjpe'].mean():.2f} mm on open-wild, n = {len(own)}" in result.output
    weights = Path("build/models/transformer/base/genhmr.safetensors")
    assert hashlib.sha256(weights.read_bytes()).hexdigest()[:16] in result.output
    assert "trained here, too briefly to rank" in result.output
    for line in ("python -m bench evaluate base", "python -m bench data wild"):
        assert line in result.output
    assert "  genhmr/inference: predict.py, refinement.py, sampling.py, timing.py" in result.output
    assert "has no record" not in result.output


def test_settings_that_agree_give_equal_numbers(run):
    frame = pd.read_parquet(run / "build" / "evaluate" / "base" / "per_image.parquet")
    key = ["role", "key"]
    default = frame[frame["setting"] == "default"].set_index(key)["mpjpe"].sort_index()
    refinement = frame[frame["setting"] == "refinement"]
    start = refinement[refinement["step"] == 0].set_index(key)["mpjpe"].sort_index()
    tenth = refinement[refinement["step"] == 10].set_index(key)["mpjpe"].sort_index()
    headline = frame[frame["setting"] == "headline"].set_index(key)["mpjpe"].sort_index()
    np.testing.assert_allclose(default, start, rtol=0, atol=1e-9)
    np.testing.assert_allclose(headline, tenth, rtol=0, atol=1e-9)
    assert not np.allclose(start, tenth)


def test_timings_grow_with_iterations_and_have_all_rows(run):
    timing = json.loads((run / "build" / "evaluate" / "base" / "timing.json").read_text())
    assert timing["sampling"]["per_iteration_s"] > 0 and timing["backbone_s"] > 0
    assert {f"cosine-{t}/0" for t in (1, 3, 5, 10, 15, 20)} <= set(timing["aiti"])
    assert {f"refinement/{p}" for p in (0, 1, 3, 5, 10, 20)} <= set(timing["aiti"])


def test_tables_and_pictures_are_there(run):
    for number in ("02", "03", "06", "12"):
        table = pd.read_csv(run / "results" / "tables" / f"table{number}.csv")
        ran = table[table["status"] != "not run"]
        assert len(ran) and not ran.drop(columns="note", errors="ignore").isna().any(axis=None)
        assert ran["status"].str.contains("smoke run").all()
    names = {p.name for p in (run / "results" / "figures").iterdir()}
    galleries = {f"gallery-{s}.png" for s in ("open-lab", "open-wild", "open-extreme")}
    figures = {f"figure{n:02d}.png" for n in (4, 5, 6, 7, 9, 10, 11, 12)}
    assert names == galleries | figures | {"headline.png"}
    summary = json.loads((run / "results" / "summary.json").read_text())
    assert set(summary["base"]) == {"open-lab", "open-wild", "open-extreme"}


def test_failures_are_the_largest_errors_and_the_gallery_is_not_chosen(run):
    folder = run / "build" / "evaluate" / "base"
    frame = pd.read_parquet(folder / "per_image.parquet")
    own = frame[(frame["setting"] == "headline") & (frame["role"] == "wild")]["mpjpe"]
    with np.load(folder / "failures-wild.npz") as failures, np.load(
        folder / "gallery-wild.npz"
    ) as gallery:
        worst = failures["mpjpe"][:, -1]
        np.testing.assert_allclose(worst, np.sort(own)[::-1][: len(worst)], rtol=1e-6)
        assert gallery["step"][0].tolist() == [0, 1, 3, 5, 10]
        assert gallery["pose"].shape[1:] == (5, 24, 3, 3) and len(gallery["image"]) == 4


def test_the_report_shows_what_ran(run):
    page = (run / "results" / "report" / "index.html").read_text()
    assert page.count("<details") >= 16 and "<svg" in page and "smoke" in page
    assert "not 3DPW" in page or "no number of 3DPW" in page or "open world" in page


def test_a_second_run_gives_the_same_bytes(run):
    """Same seed, same machine: shards, models, metrics and tables, AITI aside."""
    files = ["models/tokenizer/t48/tokenizer.safetensors", "evaluate/base/per_image.parquet"]
    files += ["models/transformer/base/genhmr.safetensors", "data/lab/test/manifest.json"]
    before = {name: (run / "build" / name).read_bytes() for name in files}
    assert not list((run / "build" / "scratch").rglob("*.pt")), "a finished training tidies up"
    here = os.getcwd()
    os.chdir(run)
    try:
        for command in (["data", "lab"], ["train-tokenizer", "t48"], ["train-transformer", "base"]):
            assert CliRunner().invoke(cli, command).exit_code == 0
        assert CliRunner().invoke(cli, ["evaluate", "base"]).exit_code == 0
    finally:
        os.chdir(here)
    for name in files:
        assert (run / "build" / name).read_bytes() == before[name], name


def test_the_exported_model_holds_what_was_trained_and_no_more(run):
    tensors, _ = load_weights(run / "build/models/transformer/base/genhmr.safetensors")
    rooms = {name.split(".")[0] for name in tensors}
    assert rooms == {"backbone", "pyramid", "transformer", "heads", "guide"}


def test_a_frozen_backbone_is_left_to_its_own_file(run, tmp_path):
    model = load_genhmr(run / "build/models/transformer/base")
    model.transformer.requires_grad_(True)
    save_genhmr(tmp_path, model, {}, {})
    tensors, _ = load_weights(tmp_path / GENHMR_FILE)
    assert "transformer.mask_embedding" in tensors
    assert not any(name.startswith(("backbone.", "tokenizer.")) for name in tensors)


def test_a_tokenizer_of_several_seeds_is_scored_seed_by_seed(run, monkeypatch, tmp_path):
    monkeypatch.chdir(run)
    plan, build = Path("build/plan"), Path("build")
    job = json.loads((plan / "tokenizer" / "t48.json").read_text())
    model = tmp_path / "model"
    make_tokenizer(job | {"seeds": [job["seed"], 5]}, build, model, tmp_path / "scratch")
    alone = Path("build/models/tokenizer/t48/tokenizer.safetensors").read_bytes()
    assert (model / "tokenizer.safetensors").read_bytes() == alone
    assert (model / "seed-1" / "tokenizer.safetensors").read_bytes() != alone
    assert (model / "seed-1" / "history.json").exists()
    job = json.loads((plan / "evaluate-tokenizer" / "t48.json").read_text())
    score_tokenizer(job | {"models": 2}, model, build / "data", tmp_path / "scored")
    every = pd.read_parquet(tmp_path / "scored" / "per_pose.parquet")
    one = pd.read_parquet("build/evaluate-tokenizer/t48/per_pose.parquet")
    assert "seed" not in one
    first, second = (every[every["seed"] == seed].drop(columns="seed") for seed in (0, 1))
    pd.testing.assert_frame_equal(first.reset_index(drop=True), one)
    assert len(second) == len(one) and (second["mpjpe"].to_numpy() != one["mpjpe"]).all()
