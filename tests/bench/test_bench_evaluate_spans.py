"""Spans of a stopped evaluation: a chain from the first batch on, whoever wrote them."""

import pandas as pd
import pytest

from bench.evaluate_spans import MeasuredSpans


@pytest.fixture(autouse=True)
def a_span_a_batch(monkeypatch):
    monkeypatch.setattr("bench.evaluate_spans.EVERY_S", 0.0)


def measure(spans, batch, values):
    spans.tables += [pd.DataFrame({"mpjpe": [value]}) for value in values]
    spans.end_batch(batch)


def test_batches_without_a_chosen_image_and_a_half_written_span(tmp_path):
    spans = MeasuredSpans(tmp_path / "s", "wild", 9)
    measure(spans, 0, [1.0, 2.0])
    measure(spans, 1, [])
    (tmp_path / "s" / "wild" / "000002-000003.77.part").mkdir()
    again = MeasuredSpans(tmp_path / "s", "wild", 9)
    assert again.begin == 2
    measure(again, 2, [3.0])
    assert MeasuredSpans(tmp_path / "s", "lab", 9).begin == 0, "another set"
    assert again.join(3, tmp_path)["mpjpe"].tolist() == [1.0, 2.0, 3.0]


def test_a_worker_that_outlived_its_parent_does_no_harm(tmp_path):
    """It writes the span that the run which goes on writes too, or spans of other lengths."""
    first, second = (MeasuredSpans(tmp_path / "s", "wild", 9) for _ in range(2))
    for spans in (first, second):
        measure(spans, 0, [1.0])
    second.tables.append(pd.DataFrame({"mpjpe": [2.0]}))
    measure(second, 2, [3.0])
    measure(first, 1, [2.0])
    measure(first, 2, [3.0])
    for spans in (first, second, MeasuredSpans(tmp_path / "s", "wild", 9)):
        if spans.begin == 2:
            measure(spans, 2, [3.0])
        assert spans.join(3, tmp_path)["mpjpe"].tolist() == [1.0, 2.0, 3.0]
