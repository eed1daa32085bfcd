"""The timing of one image: it shows how far it is, and what it writes."""

import json
import statistics

import numpy as np
import pytest
import torch

from bench import evaluate_extras
from bench.evaluate_extras import write_timing
from genhmr.inference.timing import StageTimes, fit_line


class Model:
    """Counts what is asked of it."""

    def __init__(self):
        self.encoded = 0

    def encode_image(self, image):
        self.encoded += 1
        return image


class Batch:
    images, keypoints_2d = torch.zeros(1, 3, 8, 8), torch.zeros(1, 25, 3)


@pytest.fixture
def job(monkeypatch):
    monkeypatch.setattr(evaluate_extras, "sample", lambda *_: None)
    monkeypatch.setattr(evaluate_extras, "sample_pose", lambda *_: None)
    monkeypatch.setattr(evaluate_extras, "refine", lambda *_: None)
    headline = {"ugs": {"iters": 5}, "refine": {"iters": 10}}
    return {"settings": {"headline": headline}, "timing": 4, "seed": 0}


def test_a_bar_counts_the_rounds_in_the_style_of_the_house(job, monkeypatch, tmp_path, capsys):
    made = []

    class Bar(evaluate_extras.tqdm):
        def __init__(self, *args, **options):
            made.append((self, dict(options)))
            super().__init__(*args, **options | {"delay": 0, "mininterval": 0})

    monkeypatch.setattr(evaluate_extras, "tqdm", Bar)
    model = Model()
    write_timing(job, model, None, Batch, "cpu", tmp_path)
    ((bar, options),) = made
    assert bar.n == bar.total == 3 * job["timing"]
    assert options["mininterval"] == 2 and options["delay"] == 2
    shown = capsys.readouterr()
    assert "time one image: 100%" in shown.err and shown.out == ""
    assert model.encoded == 1 + 3 + job["timing"]  # once to sample from, three to warm up
    timing = json.loads((tmp_path / "timing.json").read_text())
    assert {"cosine-20/0", "refinement/10"} <= set(timing["aiti"])
    assert timing["aiti"].keys() == timing["rounds"].keys()
    for place, seconds in timing["rounds"].items():
        assert len(seconds) == job["timing"]
        assert statistics.median(seconds) == pytest.approx(timing["aiti"][place], abs=2e-9)


def test_a_short_timing_shows_nothing(job, tmp_path, capsys):
    write_timing(job, Model(), None, Batch, "cpu", tmp_path)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("iters", [5, 7])
def test_the_rounds_of_refinement_hold_all_that_comes_before(job, monkeypatch, tmp_path, iters):
    """Image side and sampling differ from round to round, and the times of Table 3 with them."""
    encoded = np.array([0.1, 0.2, 0.3])
    scatter = np.array([0.0, 0.01, 0.05])
    counts, steps = (1, 3, 5, 10, 15, 20), (1, 3, 5, 10, 20)

    def stage(numbers, cost, noise):
        rounds = np.stack([cost * n + noise for n in numbers])
        line = fit_line(np.repeat(numbers, 3), rounds.ravel())
        return StageTimes(numbers, tuple(np.median(rounds, 1)), line, rounds)

    sampling, refinement = stage(counts, 0.02, scatter), stage(steps, 0.01, scatter[::-1])
    monkeypatch.setattr(evaluate_extras, "measure_aiti", lambda *_, **__: (
        encoded, sampling, refinement))  # fmt: skip
    job["settings"]["headline"]["ugs"]["iters"] = iters
    write_timing(job, Model(), None, Batch, "cpu", tmp_path)
    timing = json.loads((tmp_path / "timing.json").read_text())
    before = encoded + 0.02 * iters + scatter
    assert timing["rounds"]["refinement/0"] == pytest.approx(before)
    assert timing["rounds"]["refinement/10"] == pytest.approx(before + 0.1 + scatter[::-1])
    assert timing["aiti"]["refinement/0"] == pytest.approx(0.2 + 0.02 * iters + 0.01)
    if iters == 5:
        assert timing["rounds"]["refinement/0"] == timing["rounds"]["cosine-5/0"]
