"""The whole text of `python -m bench explain`, on made-up metrics, shards and records."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.explain import explain
from bench.explain_chain import job_of, made_by, stated_by, took
from bench.inputs import read_jobs
from bench.params import read_yaml
from bench.pipeline import read_pipeline, stages_of
from bench.plan import build_jobs, write_plan
from bench.provenance import job_digest, record_name

ROOT = Path(__file__).parents[2]
RECORD = {
    "command": "python -m bench x", "job_sha256": "", "started": "2026-11-25T19:07:52+00:00",
    "seconds": 12.5, "commit": "9d92f3ce48a7e3db29d39649995498c5ecf99815", "gpu": None, "cores": 2,
    "processor": "AMD EPYC", "uncommitted_changes": ["params.yaml"],
}  # fmt: skip


def _sha(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


@pytest.fixture
def street(build, tmp_path, monkeypatch):
    """A checkout of profile open in which everything looks as if it had run; its text by cell."""
    monkeypatch.chdir(tmp_path)
    for name in ("bench", "genhmr", "dvc.yaml", "variants.yaml"):
        Path(name).symlink_to(ROOT / name)
    Path("datasets").mkdir()
    Path("datasets/open").symlink_to(ROOT / "datasets" / "open")
    variants, pipeline = read_yaml(ROOT / "variants.yaml"), read_pipeline(ROOT / "dvc.yaml")
    params = read_yaml(ROOT / "params.yaml") | {"profile": "open"}
    write_plan(build_jobs(params, variants), Path("build/plan"))
    jobs = read_jobs(Path("build/plan"))
    for job in (job for path, job in jobs.items() if path.startswith("data/")):
        for split in job["counts"]:
            manifest = Path("build/data") / job["role"] / split / "manifest.json"
            manifest.parent.mkdir(parents=True)
            manifest.write_text(f"{job['role']} {split}")
    for path in ("transformer/base", "transformer/base/seed-1", "tokenizer/t48"):
        folder = Path("build/models") / path
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ("genhmr" if "trans" in path else "tokenizer")).with_suffix(
            ".safetensors"
        ).write_text(path)
    timing = Path("build/evaluate/base/timing.json")
    timing.write_text(json.dumps(json.loads(timing.read_text()) | {"device": "cpu"}))
    Path("results/provenance").mkdir(parents=True)
    for stage in stages_of(pipeline, variants):
        kind, _, key = stage.partition("@")
        if job_of(stage) in jobs:
            record = RECORD | {"job_sha256": job_digest(jobs[job_of(stage)])}
            Path(f"results/provenance/{record_name(kind, key)}.json").write_text(json.dumps(record))
    shutil.copytree(ROOT / "results" / "open", "results/open")
    return lambda place: explain(place, variants, pipeline, Path("build"), Path("results"))


def test_the_jobs_and_what_they_resolve_to_are_printed(street):
    text = street("2:5:3dpw:mpjpe")
    job = json.loads(Path("build/plan/transformer/base.json").read_text())
    after = text.split("  build/plan/transformer/base.json\n")[1].split("  build/plan/")[0]
    words = " ".join(after.split())
    for key in ("steps", "batch", "lr", "geometry_scale"):
        assert f"train.{key}={job['train'][key]}" in words
    for name, weight in job["losses"].items():
        assert f"losses.{name}={weight}" in words
    assert "tokenizer=base" in words and "seeds=[0, 1, 2]" in words and "mask_tau=1.0" in words
    assert "model.scales=[1, 4, 8]" in words and "model.layers=4" in words
    for name in ("evaluate/base", "backbone/base", "lifter/base", "tokenizer/base", "data/wild"):
        assert f"\n  build/plan/{name}.json\n" in text
    assert "setting   cosine-5, of build/plan/evaluate/base.json" in text
    assert "ugs.iters=5" in text and "counts.test=1000" in text
    assert "PLANNED OTHERWISE" not in text


def test_every_shard_of_the_chain_has_its_hash(street):
    text = street("2:5:3dpw:mpjpe")
    for split, use in (
        ("wild/test", "evaluate@base"),
        ("lab/train", "evaluate@base (mean pose), transformer@base"),
        ("photo/train", "evaluate@base (mean pose), transformer@base"),
        ("mocap/train", "lifter, tokenizer@base"), ("yoga/train", "lifter, tokenizer@base"),
    ):  # fmt: skip
        digest = _sha(f"build/data/{split}/manifest.json")
        assert f"  build/data/{split}, manifest sha256 {digest}: {use}\n" in text
    own = text.split("the committed run")[0]
    assert own.count("manifest sha256") == 5, "other test sets are not in this number"
    tokenizer = street("6:48:moyo:mve").split("the committed run")[0]
    assert f"yoga/val, manifest sha256 {_sha('build/data/yoga/val/manifest.json')}" in tokenizer
    assert tokenizer.count("manifest sha256") == 2


def test_every_seed_of_the_model_has_its_hash(street):
    text = street("2:5:3dpw:mpjpe")
    for folder in ("base", "base/seed-1"):
        path = f"build/models/transformer/{folder}/genhmr.safetensors"
        assert f"{path}, sha256 {_sha(path)}" in text


def test_a_time_is_that_of_the_evaluation(street):
    text = street("2:5:aiti")
    assert "AITI, one image at a time" in text and "reported  0.102 s on an RTX A5000" in text
    interval = "(95 %: 0.0046 to 0.0054 s between rounds)"  # of 0.91 to 1.09
    assert f"rerun     0.0050 s {interval} on this machine's cpu: the first image of " in text
    assert "the first image of extreme/test, median of" in text
    assert "timing.json, cosine-5/0)" in text and "2 x AMD EPYC" in text
    assert "rerun     0.0200 s" in street("3:10:aiti")
    kept = json.loads(Path("results/open/measured/evaluate/base/timing.json").read_text())["aiti"]
    assert f"in which cosine-5/0 is {kept['cosine-5/0']:.4f} s\n" in text
    Path("build/evaluate/base/timing.json").unlink()
    assert "rerun     none: build/evaluate/base/timing.json is missing" in street("2:5:aiti")


@pytest.mark.parametrize(
    ("ends", "told"),
    [((None, None), ""), ((0.0361, 0.0394), " (95 %: 0.0361 to 0.0394 s between rounds)")],
)
def test_a_time_of_the_committed_run_has_the_interval_of_its_rounds(street, ends, told):
    """Pieces that were timed before rounds were kept have none."""
    path = Path("results/open/numbers.csv")
    numbers = pd.read_csv(path, dtype={"table": str})
    timed = (numbers["metric"] == "aiti") & (numbers["row"] == "ugs_iterations=5")
    numbers.loc[timed, ["low", "high"]] = ends
    numbers.to_csv(path, index=False)
    value = numbers.loc[timed, "rerun"].item()
    assert f"number    {value:.4f} s{told}; not comparable: other hardware" in street("2:5:aiti")


def test_a_reported_method_says_its_number_and_that_it_is_not_run(street):
    shutil.rmtree("build")
    text = street("1:HMR2.0:3dpw:mve")
    assert "reported  84.1 mm\n" in text
    assert "rerun     none: this row is reported in the paper only, its method is not in" in text
    assert "none: the paper leaves this cell empty" in street("1:Virtual Marker:h36m:mpjpe")


def test_the_committed_run_is_shown_with_its_n_and_records(street):
    text = street("2:5:3dpw:mpjpe").split("the committed run")[1]
    frame = pd.read_parquet("results/open/measured/evaluate/base/per_image.parquet")
    own = frame[(frame["setting"] == "cosine-5") & (frame["role"] == "wild")]
    mean = own["mpjpe"].astype(float).mean()
    assert f"number    {mean:.2f} mm (95 %: " in text and f"open-wild, n = {len(own)};" in text
    assert f"sha256 {_sha('results/open/measured/evaluate/base/per_image.parquet')}" in text
    assert f"whose mean is {mean:.2f} mm\n" in text
    shards = json.loads(Path("results/open/pieces.json").read_text())["transformer/base"]["shards"]
    for split, digest in shards.items():
        assert f"{split}, manifest sha256 {digest[:16]}" in text
    for name, stage in (("evaluate-base", "evaluate@base"), ("data-photo", "data@photo")):
        record = json.loads(Path(f"results/open/provenance/{name}.json").read_text())
        line = next(line for line in text.splitlines() if line.startswith(f"  {stage} "))
        assert record["commit"][:10] in line and record["started"][:10] in line
    seeds = street("5:2048,256:amass:mpjpe").split("the committed run")[1]
    assert "3 seeds; " in seeds and "tokenizer@c2048x256 " in seeds


def test_a_committed_number_that_its_errors_do_not_have_is_told(street):
    path = "results/open/measured/evaluate/base/per_image.parquet"
    frame = pd.read_parquet(path)
    frame.assign(mpjpe=frame["mpjpe"] + np.float32(1)).to_parquet(path)
    assert ": NOT THIS NUMBER" in street("2:5:3dpw:mpjpe")


def test_the_committed_run_is_shown_where_nothing_has_run(street):
    """Of a variant that profile mini only touches, and before there is a plan."""
    Path("build/evaluate/loss-mask/per_image.parquet").unlink()
    text = street("10:1,0,0,0,1:3dpw:mpjpe")
    assert "rerun     none: build/evaluate/loss-mask/per_image.parquet is missing" in text
    assert "n = 1000;" in text and "transformer@loss-mask " in text
    shutil.rmtree("build")
    text = street("10:1,0,0,0,1:3dpw:mpjpe")
    assert "build/plan is missing, run `python -m bench plan`" in text and "n = 1000;" in text
    shutil.rmtree("results/open")
    assert "number    none: no run is committed" in street("10:1,0,0,0,1:3dpw:mpjpe")


def test_a_record_of_another_job_is_no_record_of_this_number(street):
    path = Path("build/plan/transformer/base.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"mask_tau": 0.5}))
    told = [line for line in street("2:5:3dpw:mpjpe").splitlines() if "PLANNED OTHERWISE" in line]
    assert len(told) == 1 and told[0].startswith("  transformer@base ")


def test_shipped_weights_tell_their_own_training(street):
    params = read_yaml(ROOT / "params.yaml") | {"profile": "open", "weights": "shipped"}
    write_plan(build_jobs(params, read_yaml(ROOT / "variants.yaml")), Path("build/plan"))
    text = street("2:5:3dpw:mpjpe")
    after = text.split("  build/plan/transformer/base.json\n")[1].split("  build/plan/")[0]
    assert "nothing is trained; of its training datasets/open/weights/genhmr.safetensors" in after
    stated = stated_by(ROOT / "datasets" / "open" / "weights" / "genhmr.safetensors")
    assert f"train.steps={stated['train']['steps']}" in after
    assert "mask_tau" not in after and "seeds" not in after, "the plan's were not used"
    assert stated_by(ROOT / "README.md") == {"training": "not readable"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [([], "commit 9d92f3ce48, "), (["params.yaml"], "9d92f3ce48 with uncommitted params.yaml, "),
     (["bench/a.py", "params.yaml"], " with uncommitted bench/a.py, params.yaml, "),
     (True, " with uncommitted changes, "), (False, "commit 9d92f3ce48, "), (None, "ce48, ")],
)  # fmt: skip
def test_records_and_kept_seeds_of_either_age_are_told(changed, words):
    """Those of results/open hold a bool, newer ones the paths; a kept seed as its training."""
    made = {"ended": "2026-11-24T01:02:03+00:00", "commit": RECORD["commit"], "seconds": 99.5,
            "uncommitted_changes": changed}  # fmt: skip
    record = RECORD | {"uncommitted_changes": changed, "taken": {"1": made, "2": made}}
    line = made_by("transformer@base", record)
    assert f"{words}2026-11-25, 12.5 s, 2 x AMD EPYC; seed 1 from 2026-11-24, " in line
    assert took(record).count(f"{words}99.5 s") == 2
    assert "no commit" in made_by("x", record | {"commit": None})
