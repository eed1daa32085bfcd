"""results/open: the third column of every comparison, kept in pieces that add up."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from bench.__main__ import cli
from bench.keep import keep, pieces_of
from bench.kept import about_kept
from bench.params import read_yaml
from bench.plan import build_jobs
from bench.tables import write_tables
from genhmr.types import UserError

ROOT = Path(__file__).parents[2]
REPORTED = ROOT / "bench" / "reported"


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)  # where the plan's paths of the shipped weights start


@pytest.fixture
def variants():
    return read_yaml(ROOT / "variants.yaml")


def planned(*models, **knobs):
    usual = {"profile": "open", "weights": "shipped", "seeds": 2, "models": list(models)}
    return read_yaml(ROOT / "params.yaml") | usual | knobs


def measure(params, variants, build, results, mpjpe, shard="shard"):
    """What the stages of a run leave: errors of eight frames of four videos, and their records."""
    jobs = build_jobs(params, variants)
    for model, piece in pieces_of(jobs).items():
        if model not in mpjpe:  # planned and not run
            continue
        folder = build / piece.scored
        folder.mkdir(parents=True, exist_ok=True)
        job, rows = jobs[f"{piece.scored}.json"], []
        for role in job["sets"]:
            for index in range(8):
                key, error = f"video{index // 2}/{index:05d}/0", mpjpe[model] + index / 3
                if model.startswith("tokenizer"):
                    for seed in range(job.get("models", 1)):
                        own = error + seed / 10
                        rows.append((role, seed, key, own, own / 2, own))
                    continue
                for name, setting in job["settings"].items():
                    if role in setting["sets"]:
                        for step in setting["report"] if len(setting["report"]) > 1 else [0]:
                            for seed in range(job["models"]):
                                own = error + seed / 10
                                rows.append((name, step, role, seed, key, own, own / 2, own))
        columns = ["setting", "step", "role", "seed", "key", "mpjpe", "pa_mpjpe", "mve"]
        frame = pd.DataFrame(rows, columns=columns[-len(rows[0]) :])
        if job.get("models", 1) == 1 and model.startswith("tokenizer"):
            frame = frame.drop(columns="seed")
        frame.to_parquet(folder / piece.table)
        if "headline" in job.get("settings", {}):
            aiti = {"cosine-1/0": 0.25, "refinement/5": 0.5}
            (folder / "timing.json").write_text(json.dumps({"aiti": aiti}))
        (results / "provenance").mkdir(parents=True, exist_ok=True)
        for stem, digest in piece.records.items():
            record = {"job_sha256": digest, "seconds": mpjpe[model]}
            (results / "provenance" / f"{stem}.json").write_text(json.dumps(record))
        for role in piece.roles:
            (build / "data" / role / "train").mkdir(parents=True, exist_ok=True)
            (build / "data" / role / "train" / "manifest.json").write_text(shard)
    return build, REPORTED, results


def open_run(results, table, metric="mpjpe", role="wild"):
    """The kept numbers of a table, by row."""
    kept = pd.read_csv(results / "open" / "numbers.csv", dtype={"table": str})
    kept = kept[(kept["table"] == table) & (kept["metric"] == metric) & (kept["role"] == role)]
    return kept.set_index("row")["rerun"].dropna().round(3).to_dict()


def verdict(results, claim):
    claims = pd.read_csv(results / "open" / "claims" / "claims.csv")
    return claims.set_index("id").loc[claim, "rerun"]


def test_pieces_add_up(variants, tmp_path):
    """A second piece joins the first: rows of both, and claims that need both get a verdict."""
    results = tmp_path / "results"
    first = planned("ablation", "c*", "t48")
    values = {"transformer/ablation": 100, "tokenizer/c1024x256": 40, "tokenizer/c2048x128": 39,
              "tokenizer/c2048x256": 38, "tokenizer/c4096x256": 37, "tokenizer/t48": 50}
    kept = keep(first, variants, *measure(first, variants, tmp_path / "1", results, values))
    assert kept == sorted(values)
    mean = 7 / 6 + 0.05  # of index / 3 and of the two seeds
    assert open_run(results, "10") == {
        "l_mask=1, l_theta=1, l_3d=1, l_2d=1, l_beta=1": round(100 + mean, 3)
    }
    assert len(open_run(results, "05", role="mocap")) == 4
    # Three seeds a tenth of a millimetre apart: two trainings differ by up to 0.61.
    assert verdict(results, "t05-more-codes") == "supported"
    assert verdict(results, "t10-delta-mask") == "not run"
    second = planned("loss-mask", "mask-0.3")
    more = {"transformer/loss-mask": 80, "transformer/mask-0.3": 120}
    kept = keep(second, variants, *measure(second, variants, tmp_path / "2", results, more))
    assert set(kept) == {*values, *more}
    assert sorted(open_run(results, "10").values()) == [round(80 + mean - 0.05, 3),
                                                        round(100 + mean, 3)]  # fmt: skip
    assert verdict(results, "t10-delta-mask") == "contradicted"
    ranking = pd.read_csv(results / "open" / "claims" / "ranking.csv")
    assert set(ranking["table"]) == {5}  # the only table with three rows
    readme = (results / "open" / "README.md").read_text()
    assert "Variants: 3 trained, 600 steps each, from the shipped backbone" in readme
    assert "with `profile: open` and `weights: shipped` in" in readme
    assert "loss-mask," not in readme and " loss-3d," in readme and "Base: the shipped" in readme
    record = results / "open" / "provenance" / "train-transformer-ablation.json"
    assert json.loads(record.read_text())["seconds"] == 100


def test_a_piece_that_would_be_another_today_goes_only_if_told(variants, tmp_path):
    results = tmp_path / "results"
    params = planned("mask-0.3", "mask-0.5")
    values = {"transformer/mask-0.3": 90, "transformer/mask-0.5": 91}
    keep(params, variants, *measure(params, variants, tmp_path / "1", results, values))
    variants["transformers"]["mask-0.3"]["mask_tau"] = 0.31
    later = planned("tau-0.5-0.1", device="cpu")  # another machine
    folders = measure(later, variants, tmp_path / "2", results, {"transformer/tau-0.5-0.1": 92})
    with pytest.raises(UserError, match="open would lose transformer/mask-0.3: other settings"):
        keep(later, variants, *folders)
    assert "mask-0.5" in (results / "open" / "pieces.json").read_text()
    kept = keep(later, variants, *folders, drop=True)
    assert kept == ["transformer/mask-0.5", "transformer/tau-0.5-0.1"]
    assert not (results / "open" / "measured" / "evaluate" / "mask-0.3").exists()
    assert not (results / "open" / "provenance" / "evaluate-mask-0.3.json").exists()


def test_pieces_of_other_images_are_not_mixed(variants, tmp_path):
    results = tmp_path / "results"
    first, second = planned("mask-0.3"), planned("mask-0.5")
    values = {"transformer/mask-0.3": 90, "transformer/mask-0.5": 91}
    keep(first, variants, *measure(first, variants, tmp_path / "1", results,
                                   {"transformer/mask-0.3": 90}))  # fmt: skip
    folders = measure(second, variants, tmp_path / "2", results, values, "other shard")
    with pytest.raises(UserError, match="would lose transformer/mask-0.3"):
        keep(second, variants, *folders)


def test_rows_without_stored_errors_go_only_if_told(variants, tmp_path):
    """As results/open was before pieces were stored."""
    results, params = tmp_path / "results", planned("mask-0.3")
    (results / "open").mkdir(parents=True)
    (results / "open" / "numbers.csv").write_text("table\n")
    folders = measure(params, variants, tmp_path / "1", results, {"transformer/mask-0.3": 90})
    with pytest.raises(UserError, match="would lose all rows from before errors were stored"):
        keep(params, variants, *folders)
    assert keep(params, variants, *folders, drop=True) == ["transformer/mask-0.3"]


def test_a_score_of_another_training_is_not_kept(variants, tmp_path):
    """An evaluation job says nothing of how long its model was trained: the records do."""
    results = tmp_path / "results"
    for names, value in ((["t48"], {"tokenizer/t48": 500}),
                         (["mask-0.3"], {"transformer/mask-0.3": 90})):  # fmt: skip
        params = planned(*names)
        folders = measure(params, variants, tmp_path / "1", results, value)
        keep(params, variants, *folders, drop=True)
        variants["profiles"]["open"]["tokenizer"]["steps"] += 1
        with pytest.raises(UserError, match="was trained and scored as params.yaml plans"):
            keep(params, variants, *folders)


def test_what_a_piece_follows_from_is_in_its_signature(variants, monkeypatch, tmp_path):
    """Own settings, those of what lies below, data sizes and the shipped weights, no other."""
    before = pieces_of(build_jobs(planned(), variants))
    assert set(before["transformer/tokens-48"].records) == {
        "train-transformer-tokens-48", "evaluate-tokens-48", "train-tokenizer-mixed-t48",
        "pretrain", "train-lifter", "data-lab", "data-photo", "data-mocap", "data-yoga",
        "data-wild", "data-extreme",
    }  # fmt: skip

    def changed(edit, **knobs):
        edited = read_yaml(ROOT / "variants.yaml")
        edit(edited)
        after = pieces_of(build_jobs(planned(**knobs), edited))
        return {name for name in before if before[name].signature != after[name].signature}

    def set_codes(edited):
        edited["tokenizers"]["mixed-t48"]["codes"] = 1024

    def set_images(edited):
        edited["profiles"]["open"]["images"]["web"]["train"] = 9

    def set_poses(edited):
        edited["profiles"]["open"]["poses"]["mocap"]["train"] = 9

    assert changed(lambda edited: None) == changed(lambda edited: None, device="cpu") == set()
    on_motion = {f"transformer/{kind}" for kind in ("codes-1024x256", "codes-2048x128",
                 "codes-4096x256", "tokens-48", "tokens-192", "tokens-384")}  # fmt: skip
    assert changed(set_poses) == on_motion | {n for n in before if n.startswith("tokenizer/")}
    assert changed(set_codes) == {"tokenizer/mixed-t48", "transformer/tokens-48"}
    assert changed(set_images) == {"transformer/sd-itw", "transformer/sd-itw-bl"}
    real = Path.read_bytes

    def other(path):
        return b"other" if path.name == "backbone.safetensors" else real(path)

    monkeypatch.setattr(Path, "read_bytes", other)
    assert changed(lambda edited: None) == {n for n in before if n.startswith("transformer/")}


def test_a_kept_run_is_the_third_column(variants, tmp_path):
    """The comparison shows the paper's number, the kept one and the rerun's, with their counts."""
    results, params = tmp_path / "results", planned("base", "ablation")
    values = {"transformer/base": 70, "transformer/ablation": 90, "tokenizer/base": 9}
    keep(params, variants, *measure(params, variants, tmp_path / "1", results, values))
    rerun = {name: value + 7 for name, value in values.items()}
    build, *_ = measure(params, variants, tmp_path / "2", results, rerun)
    job = build_jobs(params, variants)["tables.json"]
    write_tables(variants, job, build, REPORTED, results)
    compare = pd.read_csv(results / "compare" / "table04.csv")
    row = compare[(compare["row"] == "tau_upper=1.0") & (compare["metric"] == "mpjpe")]
    assert np.allclose(row["rerun"] - row["open_run"], 7) and (row["open_n"] == 8).all()
    others = compare[compare["row"] != "tau_upper=1.0"]
    assert others["open_run"].isna().all() and (others["open_n"] == 0).all()
    timed = pd.read_csv(results / "compare" / "table02.csv")
    timed = timed[(timed["metric"] == "aiti") & (timed["row"] == "ugs_iterations=1")]
    assert timed["open_run"].tolist() == [0.25]
    for number in (1, 2, 4):
        text = (results / "tables" / f"table{number:02d}.tex").read_text()
        assert text.index("{Reported}") < text.index("{Open run}") < text.index("{Rerun}")
    crop = build_jobs(params, variants)["evaluate/base.json"]["crop"]
    about = f"crops of {crop} x {crop * 3 // 4} pixels, base of commit "
    assert about_kept(results / "open").startswith(about)
    assert f"(results/open, {about}" in text, "its crops and base need not be the rerun's"
    (results / "open" / "numbers.csv").write_text("no,table\n")
    with pytest.raises(UserError, match="numbers.csv is damaged"):
        write_tables(variants, job, build, REPORTED, results)


def test_the_command_sets_the_kept_verdicts_beside_its_own(variants, tmp_path, monkeypatch):
    """Trainings of one length; the kept ones contradict a claim, the rerun has one of its rows."""
    first, second = planned("ablation", "loss-mask"), planned("ablation")
    both = {"transformer/base": 70, "tokenizer/base": 9, "transformer/ablation": 100}
    results = tmp_path / "results"
    every = both | {"transformer/loss-mask": 80}
    keep(first, variants, *measure(first, variants, tmp_path / "1", results, every))
    build, *_ = measure(second, variants, tmp_path / "2", results, both)
    (tmp_path / "build").symlink_to(build)
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "reported").symlink_to(REPORTED)
    (tmp_path / "variants.yaml").symlink_to(ROOT / "variants.yaml")
    plan = tmp_path / "build" / "plan"
    plan.mkdir(exist_ok=True)
    (plan / "tables.json").write_text(json.dumps(build_jobs(second, variants)["tables.json"]))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["claims"])
    assert done.exit_code == 0, done.output
    line = pd.read_csv(results / "claims" / "claims.csv").set_index("id").loc["t10-delta-mask"]
    assert (line["open_run"], line["rerun"]) == ("contradicted", "not run")
    assert "the committed open run: " in done.output
    assert "open_tau" in pd.read_csv(results / "claims" / "ranking.csv")


def test_losses_and_use_of_the_codes_are_kept_where_they_were_written(variants, tmp_path):
    """Of the first seed; pieces from before they were written add up with those that have them."""
    results = tmp_path / "results"
    old, new = planned("mask-0.3"), planned("t48", "mask-0.5")
    values = {"transformer/mask-0.3": 90}
    keep(old, variants, *measure(old, variants, tmp_path / "1", results, values))
    values = {"tokenizer/t48": 9, "transformer/mask-0.5": 91}
    folders = measure(new, variants, tmp_path / "2", results, values)
    history = [{"step": 19, "loss": 2.5, "mask": 6.25}, {"step": 39, "loss": 1.5, "mask": 6.0}]
    for model in values:
        for folder, rows in ((model, history), (f"{model}/seed-1", history[:1])):
            path = folders[0] / "models" / folder / "history.json"
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps(rows))
    used = {"mocap": [{"codes": 2048, "tokens": 96, "used": 0.5, "perplexity": 400.25}]}
    codebook = Path("evaluate-tokenizer", "t48", "codebook.json")
    (folders[0] / codebook).write_text(json.dumps(used))
    keep(new, variants, *folders)
    measured = results / "open" / "measured"
    for stored in ("evaluate-tokenizer/t48", "evaluate/mask-0.5"):
        assert json.loads((measured / stored / "history.json").read_text()) == history
    assert json.loads((measured / codebook).read_text()) == used
    assert {path.name for path in (measured / "evaluate" / "mask-0.3").iterdir()} == {
        "per_image.parquet"
    }
    # They stay when another piece joins.
    third = planned("mask-0.7")
    keep(third, variants, *measure(third, variants, tmp_path / "3", results,
                                   {"transformer/mask-0.7": 92}))  # fmt: skip
    assert (measured / "evaluate" / "mask-0.5" / "history.json").exists()
    assert (measured / codebook).exists()


def test_only_a_finished_open_run_with_the_papers_settings_is_kept(variants, tmp_path):
    results, params = tmp_path / "results", planned("ablation")
    values = {"transformer/ablation": 90}
    folders = measure(params, variants, tmp_path / "1", results, values)
    with pytest.raises(UserError, match="profile mini on open data is planned: only a run of"):
        keep(params | {"profile": "mini"}, variants, *folders)
    turned = params | {"ugs": params["ugs"] | {"iters": 10}}
    with pytest.raises(UserError, match="ugs.iters=10 in params.yaml: a run is kept with the"):
        keep(turned, variants, *folders)
    nothing = r"no model in .*/1/evaluate\* was trained and scored as params.yaml plans"
    with pytest.raises(UserError, match=nothing):
        keep(planned("ablation", seeds=3), variants, *folders)  # of another length
    (tmp_path / "1" / "evaluate" / "ablation" / "per_image.parquet").unlink()
    with pytest.raises(UserError, match=nothing):
        keep(params, variants, *folders)
    assert not (results / "open").exists()
