"""Timing helpers against known costs and a textbook regression."""

import numpy as np
import pytest
from scipy import optimize, stats

from genhmr.inference import timing
from genhmr.inference.timing import fit_line, measure_aiti, time_callable, time_stage


@pytest.fixture
def spend(monkeypatch):
    """A clock that only moves when told to: the tests do not depend on how busy the machine is."""
    now = [0.0]

    def wait(seconds):
        now[0] += seconds

    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    return wait


def test_warm_up_calls_are_not_timed():
    calls = []
    seconds = time_callable(lambda: calls.append(1), repeats=4, warmup=3)
    assert len(calls) == 7 and seconds.shape == (4,) and (seconds >= 0).all()


def test_each_call_is_timed_alone(spend):
    costs = iter([9.0, 1.0, 2.0, 4.0])
    assert time_callable(lambda: spend(next(costs)), repeats=3, warmup=1).tolist() == [1, 2, 4]


def test_line_and_intervals_equal_the_covariance_formula():
    rng = np.random.default_rng(0)
    x = np.repeat([1.0, 3, 5, 10, 20], 4)
    y = 0.3 + 0.02 * x + 0.01 * rng.standard_normal(len(x))
    line = fit_line(x, y)
    (b, a), covariance = optimize.curve_fit(lambda t, b, a: a + b * t, x, y)
    t = stats.t.ppf(0.975, len(x) - 2)
    assert line.intercept == pytest.approx(a) and line.slope == pytest.approx(b)
    half = t * np.sqrt(np.diag(covariance))
    assert line.slope_interval == pytest.approx((b - half[0], b + half[0]), rel=1e-5)
    assert line.intercept_interval == pytest.approx((a - half[1], a + half[1]), rel=1e-5)
    assert line.residual == pytest.approx(np.std(y - a - b * x), rel=1e-6)


def test_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    x = np.arange(8.0)
    hits = 0
    for _ in range(400):
        low, high = fit_line(x, 2 + 3 * x + rng.standard_normal(8)).slope_interval
        hits += low <= 3 <= high
    assert 0.91 <= hits / 400 <= 0.985


def test_stage_is_the_median_and_the_line_through_all_rounds(spend):
    rounds = {1: iter([0, 3.0, 3.5, 30]), 3: iter([0, 7.0, 7.5, 8]), 6: iter([0, 13.0, 13.5, 14])}
    times = time_stage(lambda n: spend(next(rounds[n])), [1, 3, 6], repeats=3, warmup=1)
    assert times.iterations == (1, 3, 6)
    assert times.seconds == pytest.approx((3.5, 7.5, 13.5))
    x, y = [1, 1, 1, 3, 3, 3, 6, 6, 6], [3, 3.5, 30, 7, 7.5, 8, 13, 13.5, 14]
    assert times.line.slope == pytest.approx(np.polyfit(x, y, 1)[0])


def test_aiti_reports_all_three_stages(spend):
    encoded, sampling, refinement = measure_aiti(
        lambda: spend(0.5),
        lambda t: spend(0.2 + 0.1 * t),
        lambda p: spend(0.3 * p),
        (1, 2, 4),
        (1, 3),
        repeats=2,
        warmup=1,
    )
    assert encoded == pytest.approx([0.5, 0.5])
    assert sampling.rounds == pytest.approx(np.array([[0.3, 0.3], [0.4, 0.4], [0.6, 0.6]]))
    assert sampling.seconds == pytest.approx((0.3, 0.4, 0.6))
    assert sampling.line.intercept == pytest.approx(0.2)
    assert refinement.seconds == pytest.approx((0.3, 0.9))
    assert refinement.line.slope == pytest.approx(0.3)


def test_what_is_done_after_a_round_is_not_timed(spend):
    """A progress bar that takes as long as it likes changes no number."""
    rounds = []

    def measure(after_round):
        return measure_aiti(
            lambda: spend(0.5),
            lambda t: spend(0.2 + 0.1 * t),
            lambda p: spend(0.3 * p),
            (1, 2, 4),
            (1, 3),
            repeats=5,
            warmup=2,
            after_round=after_round,
        )

    plain = measure(lambda: None)
    shown = measure(lambda: (spend(100.0), rounds.append(1)))
    assert len(rounds) == 3 * 5
    assert shown[0] == pytest.approx(plain[0])
    for one, other in zip(shown[1:], plain[1:]):
        assert one.seconds == pytest.approx(other.seconds)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError):
        fit_line([1, 2], [1, 2])
    with pytest.raises(ValueError):
        fit_line([2, 2, 2], [1, 2, 3])
    with pytest.raises(ValueError):
        time_callable(lambda: None, repeats=0)
