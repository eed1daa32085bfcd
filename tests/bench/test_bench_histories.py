"""Losses that are kept with a committed run: few enough, evenly chosen, keys as they were."""

import json

import pytest

from bench.histories import ROWS, SIZE, keep_history, thin
from bench.report.readers import read_history


def logged(folder, count, keys=3):
    """A history of ``count`` rows, as a training of ``10 * count`` steps leaves it."""
    folder.mkdir()
    rows = [
        {"step": 10 * i + 9, "loss": 3.123456789 / (i + 1), "mask": 6.0}
        | {f"term_{k}": 1.23456789e-7 * i for k in range(keys)}
        for i in range(count)
    ]
    (folder / "history.json").write_text(json.dumps(rows))
    return rows


def kept(folder):
    return json.loads((folder / "history.json").read_text())


def test_a_short_history_stays_whole_but_for_its_digits(tmp_path):
    rows = logged(tmp_path / "model", 12)
    keep_history(tmp_path / "model", tmp_path)
    found = kept(tmp_path)
    assert [row["step"] for row in found] == [row["step"] for row in rows]
    assert [list(row) for row in found] == [list(row) for row in rows]
    assert [row["loss"] for row in found] == pytest.approx([r["loss"] for r in rows], rel=1e-4)
    assert found[0]["loss"] == 3.1235
    assert read_history(tmp_path / "history.json")["term_2"].iloc[-1] == pytest.approx(1.3580e-6)


@pytest.mark.parametrize(("count", "keys"), [(1000, 1), (75, 40), (5000, 17)])
def test_a_long_history_is_thinned_evenly_and_ends_where_it_ended(tmp_path, count, keys):
    logged(tmp_path / "model", count, keys)
    keep_history(tmp_path / "model", tmp_path)
    steps = [row["step"] for row in kept(tmp_path)]
    size = (tmp_path / "history.json").stat().st_size
    assert size < SIZE and len(steps) <= ROWS
    assert size > 0.9 * SIZE or len(steps) == ROWS  # no more was left out than had to be
    assert steps[-1] == 10 * count - 1
    gaps = {after - before for before, after in zip(steps, steps[1:])}
    assert max(gaps) - min(gaps) <= 10
    assert steps[0] <= max(gaps)


def test_a_model_without_a_history_leaves_none(tmp_path):
    (tmp_path / "shipped").mkdir()
    keep_history(tmp_path / "shipped", tmp_path)
    logged(tmp_path / "silent", 0)
    keep_history(tmp_path / "silent", tmp_path)
    assert not (tmp_path / "history.json").exists()


def test_thinning_to_one_row_keeps_the_last():
    assert thin([1, 2, 3], 1) == [3]
    assert thin([1, 2, 3, 4], 2) == [2, 4]
