"""Streaming means: exact, and the same in any chunks and any order."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genhmr.metrics import MeanAccumulator
from genhmr.metrics.accumulators import ExactSum

NUMBERS = st.floats(-1e12, 1e12, allow_nan=False)


@settings(max_examples=100, deadline=None)
@given(st.lists(NUMBERS, max_size=30))
def test_sum_is_the_exact_sum_rounded_once(values):
    total = ExactSum()
    total.add(values)
    assert total.total() == float(sum(map(Fraction, values), Fraction(0)))


@settings(max_examples=60, deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=30), st.data())
def test_chunks_order_and_workers_do_not_matter(values, data):
    values = np.array(values)
    whole = MeanAccumulator()
    whole.update({"mpjpe": values, "mve": values**2})
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=4)))
    order = np.array(data.draw(st.permutations(range(len(values)))))
    workers = [MeanAccumulator(), MeanAccumulator()]
    for i, chunk in enumerate(np.split(order, cuts)):
        workers[i % 2].update({"mpjpe": values[chunk], "mve": values[chunk] ** 2})
    workers[0].merge(workers[1])
    assert workers[0].mean() == whole.mean()
    assert workers[0].count == whole.count == len(values)
    np.testing.assert_equal(workers[0].std(), whole.std())


def test_mean_and_std_match_numpy():
    values = np.random.default_rng(0).gamma(4, 20, 1000)
    errors = MeanAccumulator()
    for chunk in np.array_split(values, 7):
        errors.update({"mpjpe": chunk})
    assert errors.mean()["mpjpe"] == pytest.approx(values.mean(), rel=1e-14)
    assert errors.std()["mpjpe"] == pytest.approx(values.std(ddof=1), rel=1e-10)


def test_equal_values_have_no_spread_and_one_value_has_none_to_tell():
    errors = MeanAccumulator()
    errors.update({"a": [0.1]})
    assert math.isnan(errors.std()["a"])
    errors.update({"a": [0.1] * 9})
    assert errors.std()["a"] == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf])
def test_a_broken_sample_is_seen_in_the_mean(special):
    errors = MeanAccumulator()
    errors.update({"a": [1.0, special], "b": [1.0, 2.0]})
    errors.update({"a": [3.0], "b": [3.0]})
    np.testing.assert_equal(errors.mean(), {"a": special, "b": 2.0})
    assert errors.count == 3
    assert math.isnan(errors.std()["a"])


def test_empty():
    errors = MeanAccumulator()
    assert errors.mean() == {} and errors.count == 0
    errors.update({"a": []})
    assert math.isnan(errors.mean()["a"])


def test_batches_that_do_not_fit_together_are_refused():
    errors = MeanAccumulator()
    errors.update({"a": [1.0]})
    with pytest.raises(ValueError, match="metrics changed"):
        errors.update({"b": [1.0]})
    with pytest.raises(ValueError, match="differ in length"):
        MeanAccumulator().update({"a": [1.0], "b": [1.0, 2.0]})
    other = MeanAccumulator()
    other.update({"b": [1.0]})
    with pytest.raises(ValueError, match="cannot merge"):
        errors.merge(other)
    assert errors.count == 1 and errors.mean() == {"a": 1.0}
