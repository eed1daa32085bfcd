"""When a rerun counts as reproduced: the reasons against, the spread of seeds, the intervals."""

import numpy as np
import pandas as pd
import pytest

from bench.ledger import read_ledger, read_reported
from bench.params import read_yaml
from bench.plan import build_jobs
from bench.status import Mean, chance_of, judge, mean_of, trained_alike
from bench.tidy import Rerun, build_table
from tests.bench.made_up_metrics import ROOT, image_rows


def test_status_names_every_reason(job):
    licensed = job | {"source": "licensed", "profile": "paper", "shipped": [], "short": []}
    one = licensed | {"scale": {"tokens": 1, "codes": 1, "code_dim": 1}}
    ran, model = Mean(50.0, 49.0, 51.0, 5, 1), "transformer/base"
    assert judge(one, model, Mean(), 50.0, 0.05, 0.4) == "not run"
    assert judge(one, model, ran, 50.0, 0.05, None) == (
        "not comparable: no spread over seeds was measured"
    )
    mini = licensed | {"shipped": ["transformer/base"]}
    text = judge(mini, model, ran, 50.0, 0.05, 0.4)
    assert text == "not comparable: weights of the open world, sizes scaled down"
    assert "open world, sizes scaled down" in judge(job, model, ran, 50.0, 0.05, 0.4)
    assert "an image diverged" in judge(one, model, Mean(n=5), 50.0, 0.05, 0.4)
    turned = one | {"turned": ["ugs.iters=20"]}
    assert judge(turned, model, ran, 50.0, 0.05, 0.4) == "not comparable: ugs.iters=20"
    assert judge(turned, "tokenizer/base", ran, 50.0, 0.05, 0.4) == "reproduced"
    text = judge(one, model, ran, 50.0, 0.05, 0.4, refined=True)
    assert text == "not comparable: 2D detections simulated from the ground truth"
    detected = one | {"detections": "openpose"}
    assert judge(detected, model, ran, 50.0, 0.05, 0.4, refined=True) == "reproduced"


def test_reproduced_is_what_seeds_and_rounding_explain(job):
    licensed = job | {"source": "licensed", "profile": "paper", "shipped": [], "short": []}
    one = licensed | {"scale": {"tokens": 1, "codes": 1, "code_dim": 1}}
    for rerun, status in ((50.44, "reproduced"), (49.56, "reproduced"), (50.46, "off"), (9, "off")):
        assert judge(one, "transformer/base", Mean(rerun, n=5), 50.0, 0.05, 0.4) == status
    lacking, far = ("MPII", "COCO"), Mean(9, n=5)
    told = judge(one, "transformer/base", far, 50.0, 0.05, 0.4, not_read=lacking)
    assert told == "off: trained without MPII and COCO"
    assert judge(one, "tokenizer/base", far, 50.0, 0.05, 0.4, not_read=lacking) == "off"
    near = Mean(50.1, n=5)
    told = judge(one, "transformer/base", near, 50.0, 0.05, 0.4, not_read=lacking)
    assert told == "reproduced"


def seed_spreads(alike, pairs=False, setting="default", step=0):
    return {key: own.spread(pairs) for key, own in chance_of(alike, setting, step).items()}


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


def test_seeds_tell_of_the_setting_that_they_were_scored_with():
    """Means 50, 51, 52 of the default, and 50, 53, 56 after five steps of refinement."""
    rows = [(*inference, "wild", seed, f"v/{i:05d}/0", 50.0 + apart * seed, 1.0, 2.0)
            for inference, apart in ((("default", 0), 1), (("refinement", 5), 3))
            for seed in range(3) for i in range(4)]  # fmt: skip
    columns = ["setting", "step", "role", "seed", "key", "mpjpe", "pa_mpjpe", "mve"]
    frame = pd.DataFrame(rows, columns=columns)
    one = chance_of(frame)["wild", "mpjpe"].deviation
    assert one == pytest.approx(1)
    assert chance_of(frame, "refinement", 5)["wild", "mpjpe"].deviation == pytest.approx(3)
    assert chance_of(frame, "refinement", 7) == {}, "not scored"
    wide, usual = (seed_spreads(frame, True, *of)["wild", "mpjpe"]
                   for of in (("refinement", 5), ("default", 0)))  # fmt: skip
    assert wide == pytest.approx(3 * usual)


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
    """Images that all agree: one training has no width, three have that of their seeds."""
    rows = [(seed, f"v{i}/00000/0", 50.0 + 2 * seed) for seed in range(3) for i in range(8)]
    frame = pd.DataFrame(rows, columns=["seed", "key", "mpjpe"])
    one = mean_of(frame[frame["seed"] == 1], "mpjpe")
    assert (one.rerun, one.low, one.high, one.n, one.seeds) == (52.0, 52.0, 52.0, 8, 1)
    three = mean_of(frame, "mpjpe")
    assert three.rerun == 52.0 and (three.n, three.seeds) == (8, 3)
    half = 4.3027 * 2 / np.sqrt(3)  # t(2) times the standard error of {50, 52, 54}
    assert three.low == pytest.approx(52 - half, abs=1e-3)
    assert three.high == pytest.approx(52 + half, abs=1e-3)


def test_images_are_drawn_by_video_and_poses_by_clip():
    """Frames of a video are near copies: as if they were clips, the interval would be too small."""
    rows = [(f"v{i % 8}/{i:05d}/0", 50.0 + 2 * (i % 8)) for i in range(64)]
    poses = pd.DataFrame(rows, columns=["key", "mpjpe"])
    by_clip, by_video = mean_of(poses, "mpjpe"), mean_of(poses.assign(setting="default"), "mpjpe")
    assert by_video.rerun == by_clip.rerun == 57
    assert by_video.high - by_video.low > 2 * (by_clip.high - by_clip.low)


def test_a_licensed_run_of_profile_paper_can_be_judged(variants):
    """With README's command: its seeds give the spread that `reproduced` and `off` need."""
    params = read_yaml(ROOT / "params.yaml") | {"profile": "paper", "data": {"source": "licensed"}}
    jobs = build_jobs(params, variants)
    several = {name: job["seeds"] for name, job in jobs.items() if len(job.get("seeds", ())) > 1}
    assert several == {"transformer/base.json": [0, 1, 2], "tokenizer/c2048x256.json": [0, 1, 2]}

    reported = ROOT / "bench" / "reported"

    def statuses(seeds):
        rows = image_rows(variants)
        # Of one cell the paper's number, some millimetres from seed to seed.
        own = (rows["setting"] == "cosine-5") & (rows["role"] == "wild")
        rows.loc[own, "mpjpe"] = 68.1
        frames = [rows.assign(seed=seed, mpjpe=rows["mpjpe"] + seed - 1) for seed in range(seeds)]
        tidy, _ = build_table(
            "02", read_ledger(reported)["02"], variants["tables"]["02"], variants["datasets"],
            jobs["tables.json"], read_reported(reported / "table02.csv"),
            Rerun(images={"base": pd.concat(frames)}),
        )  # fmt: skip
        return tidy[tidy["metric"] != "aiti"].set_index(["row", "role", "metric"])["status"]

    judged = statuses(len(several["transformer/base.json"]))
    assert set(judged) == {"reproduced", "off: trained without MPI-INF-3DHP and MPII"}
    assert judged["ugs_iterations=5", "wild", "mpjpe"] == "reproduced"
    assert set(statuses(1)) == {"not comparable: no spread over seeds was measured"}
