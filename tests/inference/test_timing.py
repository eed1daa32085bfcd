"""Timing helpers against known costs and a textbook regression."""

import time

import numpy as np
import pytest
from scipy import optimize, stats

from genhmr.inference.timing import fit_line, measure_aiti, time_callable, time_stage


def test_warm_up_calls_are_not_timed():
    calls = []
    seconds = time_callable(lambda: calls.append(1), repeats=4, warmup=3)
    assert len(calls) == 7 and seconds.shape == (4,) and (seconds >= 0).all()


def test_sleep_is_measured():
    seconds = time_callable(lambda: time.sleep(0.01), repeats=3, warmup=0)
    assert np.median(seconds) >= 0.01


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


def test_stage_cost_grows_with_iterations():
    times = time_stage(lambda n: time.sleep(0.002 + 0.002 * n), [1, 3, 6], repeats=3, warmup=1)
    assert times.iterations == (1, 3, 6)
    assert times.seconds[0] < times.seconds[1] < times.seconds[2]
    assert 0.0015 < times.line.slope < 0.01


def test_aiti_reports_all_three_stages():
    encoded, sampling, refinement = measure_aiti(
        lambda: time.sleep(0.001),
        lambda t: time.sleep(0.0005 * t),
        lambda p: time.sleep(0.001 * p),
        (1, 2, 4),
        (1, 3),
        repeats=2,
        warmup=1,
    )
    assert encoded >= 0.001
    assert len(sampling.seconds) == 3 and len(refinement.seconds) == 2


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError):
        fit_line([1, 2], [1, 2])
    with pytest.raises(ValueError):
        fit_line([2, 2, 2], [1, 2, 3])
    with pytest.raises(ValueError):
        time_callable(lambda: None, repeats=0)
