"""What the command writes: summaries, intervals, comparisons; and what it never replaces."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from bench.__main__ import cli
from bench.intervals import bootstrap
from bench.keys import sequence_of
from bench.score_folder import require_place, result_folder
from bench.score_report import compare, summarise
from bench.stage import whole_folder
from genhmr.types import UserError
from tests.bench.prediction_files import DATASET, measure, write


def test_all_protocols_at_once_with_their_picture(
    checkout, predictions, tmp_path, monkeypatch
):
    monkeypatch.chdir(checkout)
    path = write(tmp_path / "p.npz", predictions)
    out = tmp_path / "out"
    result = CliRunner().invoke(
        cli, ["score", str(path), "--dataset", DATASET, "--protocol", "all", "--out", str(out)]
    )
    assert result.exit_code == 0, result.output
    summary = pd.read_csv(out / "summary.csv")
    assert set(summary["protocol"]) == {
        "genhmr", "spin", "hmr2", "tokenhmr", "pare", "fastmetro", "bedlam", "camerahmr", "wham",
        "gvhmr", "vqhps", "mega",
    }  # fmt: skip
    assert summary[summary["metric"] == "mpjpe"]["mean"].round(3).nunique() >= 5
    assert (out / "protocols.png").stat().st_size > 5000
    frames = pd.read_parquet(out / "per_image.parquet").set_index(["protocol", "key"])["mpjpe"]
    moved = summary[summary["metric"] == "mpjpe"].set_index("protocol")
    gap = frames["vqhps"] - frames["genhmr"]
    assert moved.loc["vqhps", "shift"] == pytest.approx(gap.mean())
    assert moved.loc["vqhps", "shift_low"] <= gap.mean() <= moved.loc["vqhps", "shift_high"]
    width = moved["high"] - moved["low"]
    assert (moved["shift_high"] - moved["shift_low"] < width)[1:].all(), "pairs move together"
    assert moved.loc["genhmr", "shift"] == 0 and np.isnan(moved.loc["genhmr", "shift_low"])
    told = json.loads((out / "about.json").read_text())["protocols"]
    assert "SMPL_to_J19 on posed vertices" in told["hmr2"]
    assert "frames that stand in for those of the test split with campose_valid" in told["genhmr"]


def test_summary_has_a_line_for_each_number(checkout, bodies, predictions, tmp_path):
    scores = measure(checkout, bodies, write(tmp_path / "p.npz", predictions), ("spin", "wham"))
    summary = summarise(scores)
    assert len(summary) == 6 and (summary["n"] == len(predictions["key"])).all()
    own = scores.frames[scores.frames["protocol"] == "wham"]["mpjpe"]
    line = summary[(summary["protocol"] == "wham") & (summary["metric"] == "mpjpe")]
    assert line["mean"].item() == pytest.approx(own.mean())


@pytest.mark.parametrize(
    ("key", "sequence"),
    [
        ("downtown_walk_00/00017/0", "downtown_walk_00"),
        ("P1_14_outdoor_climb/00017/0", "P1_14_outdoor_climb"),
        ("images/S9_Walking 1.60457274_000123.jpg/17", "S9_Walking 1"),
    ],
)
def test_frames_of_one_video_are_one_sequence(key, sequence):
    assert sequence_of(key) == sequence


def test_intervals_are_of_sequences_and_repeat():
    """Twenty sequences of fifty equal frames: the interval is that of twenty numbers."""
    rng = np.random.default_rng(0)
    level = rng.normal(100, 10, 20)
    values, names = np.repeat(level, 50), np.repeat(np.arange(20), 50)
    found = bootstrap(values, names, seed=1)
    assert found == bootstrap(values, names, seed=1) and found.unit == "sequences"
    assert found.mean == pytest.approx(level.mean())
    half = 1.96 * level.std() / np.sqrt(20)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.15)
    order = rng.permutation(1000)
    assert bootstrap(values[order], names[order], seed=1).low == pytest.approx(found.low)
    # A long sequence weighs by its frames, or counts once.
    values, names = np.array([0.0, 0.0, 0.0, 8.0]), np.array(["a", "a", "a", "b"])
    assert bootstrap(values, names).mean == 2.0
    assert bootstrap(values, names, aggregate="sequences").mean == 4.0
    assert bootstrap(values, names).unit == "frames"
    assert np.isnan(bootstrap(values[:1], names[:1]).low)


def test_two_files_are_compared_in_pairs(checkout, bodies, predictions, tmp_path):
    ours = measure(checkout, bodies, write(tmp_path / "a.npz", predictions))
    rng = np.random.default_rng(7)
    pose = predictions["pose"] + 0.1 * rng.standard_normal(predictions["pose"].shape)
    worse = {name: values[3:] for name, values in {**predictions, "pose": pose}.items()}
    theirs = measure(checkout, bodies, write(tmp_path / "b.npz", worse))
    table = compare(ours, theirs).set_index("metric")
    common = ours.frames.merge(theirs.frames, on="key")
    gap = (common["mpjpe_x"] - common["mpjpe_y"]).mean()
    assert table.loc["mpjpe", "mean"] == pytest.approx(gap)
    assert table.loc["mpjpe", "n"] == len(predictions["key"]) - 3
    assert table.loc["mpjpe", "high"] < 0
    same = compare(ours, ours)
    assert (same["mean"] == 0).all() and (same["low"] == 0).all()


def test_a_comparison_tells_of_both_files(checkout, predictions, tmp_path, monkeypatch):
    monkeypatch.chdir(checkout)
    ours = write(tmp_path / "a.npz", predictions)
    count = len(predictions["key"])
    two = {k: np.concatenate([v, v]) for k, v in predictions.items()}
    two["sample"] = np.repeat([0, 1], count)
    keep = np.tile(np.arange(count) > 0, 2)
    theirs = write(tmp_path / "b.npz", {k: v[keep] for k, v in two.items()})
    result = CliRunner().invoke(
        cli, ["score", str(ours), "--dataset", DATASET, "--against", str(theirs), "--out",
              str(tmp_path / "out")],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "MISSING: 1 frames have no prediction in b.npz" in result.output
    assert "NOT ALIKE: best of 1 beside best of 2" in result.output
    about = json.loads((tmp_path / "out" / "about.json").read_text())
    assert about["against"]["hypotheses"] == 2
    assert about["against"]["missing"]["genhmr"] == [predictions["key"][0]]


def test_a_result_replaces_nothing_but_a_result(
    checkout, predictions, tmp_path, monkeypatch
):
    monkeypatch.chdir(checkout)
    path = write(tmp_path / "p.npz", predictions)
    precious = tmp_path / "thesis" / "chapter.txt"
    precious.parent.mkdir()
    precious.write_text("x")

    def run(out):
        return CliRunner().invoke(cli, ["score", str(path), "--dataset", DATASET, "--out", out])

    for out in (str(precious.parent), str(precious), ".", "..", str(tmp_path)):
        result = run(out)
        assert result.exit_code == 2 and "is no result of score" in result.output, (out, result)
    result = run(str(precious / "below"))
    assert result.exit_code == 2 and f"{precious} is a file" in result.output
    for out in ("/proc/x/y", "/dev/full/a", str(tmp_path / ("n" * 300)), "/proc/self/x"):
        result = run(out)
        assert result.exit_code == 2 and "another" in result.output, (out, result.output)
        assert f"bench: {out} cannot be " in result.output
        assert len(result.output.strip().splitlines()) == 1, "before anything is scored"
    assert precious.read_text() == "x" and path.exists() and (checkout / "datasets").is_dir()
    assert run(str(tmp_path / "new")).exit_code == 0
    (tmp_path / "new" / "summary.csv").unlink()
    assert run(str(tmp_path / "new")).exit_code == 0
    assert (tmp_path / "new" / "summary.csv").exists()


def test_a_place_is_tried_and_left_as_it_was(tmp_path):
    (tmp_path / "a").mkdir()
    require_place(tmp_path / "a" / "b" / "c")
    assert [path.name for path in tmp_path.rglob("*")] == ["a"]


def test_a_disk_that_fills_up_is_one_sentence_and_leaves_nothing(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    with pytest.raises(UserError, match="out cannot be written .No space left on device.: name an"):
        with result_folder(tmp_path / "out") as part:
            (part / "new").touch()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "old"]


def test_outputs_never_replace_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    for out in (".", "..", "../../" + tmp_path.name):
        with pytest.raises(ValueError, match="not a folder for outputs"):
            with whole_folder(Path(out)):
                raise AssertionError("the block must not run")
    assert (tmp_path / "a").is_dir()
