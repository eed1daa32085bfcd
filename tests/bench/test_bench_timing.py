"""The timing of one image: it shows how far it is, and what it writes."""

import json
import statistics

import pytest
import torch

from bench import evaluate_extras
from bench.evaluate_extras import write_timing


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
    assert timing["aiti"].keys() - timing["rounds"].keys() == {"refinement/0"}
    for place, seconds in timing["rounds"].items():
        assert len(seconds) == job["timing"]
        assert statistics.median(seconds) == pytest.approx(timing["aiti"][place], abs=2e-9)


def test_a_short_timing_shows_nothing(job, tmp_path, capsys):
    write_timing(job, Model(), None, Batch, "cpu", tmp_path)
    assert capsys.readouterr().err == ""
