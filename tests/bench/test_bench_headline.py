"""The headline plot: what it shows of the tidy frame and of the verdicts."""

import pandas as pd
import pytest

from bench.figures_headline import (
    draw_headline,
    relative_changes,
    verdict_counts,
    whose_lines,
)
from genhmr.types import UserError


def _numbers():
    rows = []
    for table, key in (("02", "ugs_iterations"), ("03", "refinement_iterations")):
        for step, paper, rerun in ((1, 80.0, 200.0), (3, 72.0, 210.0), (5, 60.0, None)):
            for role, name, real in (("wild", "open-wild", "3DPW"), ("extreme", "open-x", "EMDB")):
                scale = 2 if role == "extreme" else 1
                rows.append((table, f"{key}={step}", paper * scale, role, name, real, "mpjpe",
                             rerun))  # fmt: skip
                rows.append((table, f"{key}={step}", 1.0, role, name, real, "mve", 1.0))
            rows.append((table, f"{key}={step}", 0.1, None, "this machine", "A5000", "aiti", 0.2))
    columns = ["table", "row", "reported", "role", "dataset", "stands_for", "metric", "rerun"]
    numbers = pd.DataFrame(rows, columns=columns)
    images = numbers["role"].map({"wild": 1000, "extreme": 993})
    return numbers.assign(open_run=2 * numbers["rerun"], open_n=images, n=200)


def test_changes_are_relative_to_the_first_row_of_each_set():
    changes = relative_changes(_numbers(), "03")
    for role in ("wild", "extreme"):
        own = changes[changes["role"] == role]
        assert own["x"].tolist() == [1, 3, 5]
        assert own["reported"].tolist() == pytest.approx([0, -10, -25])
        assert own["rerun"].tolist()[:2] == pytest.approx([0, 5])
        assert own["rerun"].isna().tolist() == [False, False, True]
        assert own["open_run"].tolist()[:2] == pytest.approx([0, 5])


def test_where_the_first_row_failed_there_is_nothing_to_compare_with():
    numbers = _numbers()
    numbers.loc[numbers["row"] == "refinement_iterations=1", "rerun"] = None
    assert relative_changes(numbers, "03")["rerun"].isna().all()


def test_each_run_is_named_with_its_images_and_one_that_is_not_there_is_not():
    names = whose_lines(relative_changes(_numbers(), "03"), "mini")
    assert names == {
        "reported": "reported, the paper's sets",
        "open_run": "committed open run, 993 to 1000 images a set",
        "rerun": "this rerun (mini), 200 images a set",
    }
    alone = relative_changes(_numbers().drop(columns=["open_run", "open_n"]), "02")
    assert list(whose_lines(alone, "open")) == ["reported", "rerun"]


def test_what_was_not_judged_is_counted_together():
    verdicts = ["supported", "not run", "too short", "undecided", "supported"]
    claims = pd.DataFrame({"rerun": verdicts})
    assert verdict_counts(claims, "rerun") == {
        "supported": 2, "contradicted": 0, "undecided": 1, "not judged": 2
    }  # fmt: skip


def test_the_picture_needs_numbers_and_claims(tmp_path):
    with pytest.raises(UserError, match="numbers.csv is missing or damaged: rerun"):
        draw_headline({"profile": "mini"}, tmp_path, tmp_path / "headline.png")
    _numbers().to_csv(tmp_path / "numbers.csv", index=False)
    (tmp_path / "claims").mkdir()
    claims = pd.DataFrame({"paper": ["supported"] * 4, "rerun": ["undecided"] * 4})
    claims = claims.assign(open_run="contradicted", origin="stated")
    claims.to_csv(tmp_path / "claims" / "claims.csv", index=False)
    draw_headline({"profile": "mini"}, tmp_path, tmp_path / "headline.png")
    assert (tmp_path / "headline.png").stat().st_size > 10_000
