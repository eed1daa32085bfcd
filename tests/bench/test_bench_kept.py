"""What the committed run says beside a rerun."""

import pandas as pd
import pytest

from bench.claims_report import latex
from bench.kept import about_kept, attach_order, attach_verdicts, read_kept_claims
from genhmr.types import UserError

VERDICTS = pd.DataFrame(
    {"id": ["a", "b"], "table": "02", "statement": ["one", "100 % & more"],
     "origin": ["stated", "derived"], "judged": "whole", "paper": "supported",
     "paper_detail": "all 1 parts", "rerun": ["not run", "undecided"], "rerun_detail": "short"}
)  # fmt: skip
ORDER = pd.DataFrame(
    {"table": ["02", "05"], "column": ["3dpw_mve"] * 2,
     "rerun_on": ["mve on open-wild"] * 2, "rows": [6, 4], "tau": [0.2, 1.0],
     "p": [0.5, 0.08]}
)  # fmt: skip


@pytest.fixture
def kept(tmp_path):
    """A committed run that has judged one claim, and ranked Tables 5 and 10."""
    (tmp_path / "claims").mkdir()
    (tmp_path / "numbers.csv").touch()
    judged = VERDICTS.iloc[:1].assign(rerun="contradicted", rerun_detail="by 3 mm")
    judged.to_csv(tmp_path / "claims" / "claims.csv", index=False)
    ranked = ORDER.assign(table=["05", "10"], tau=[0.9, -0.3], rows=[4, 3])
    ranked.to_csv(tmp_path / "claims" / "ranking.csv", index=False)
    return tmp_path


def test_verdicts_stand_between_the_papers_and_the_reruns(kept):
    beside = attach_verdicts(VERDICTS, read_kept_claims(kept)[0])
    own = [c for c in beside if c not in ("open_run", "open_run_detail")]
    pd.testing.assert_frame_equal(beside[own], VERDICTS)
    columns = list(beside)
    assert columns.index("paper_detail") < columns.index("open_run") < columns.index("rerun")
    assert beside["open_run"].tolist() == ["contradicted", "not run"]
    assert beside["open_run_detail"].tolist() == ["by 3 mm", "a claim added since that run"]


def test_the_order_of_rows_is_that_of_either_run(kept):
    beside = attach_order(ORDER, read_kept_claims(kept)[1])
    assert beside["table"].tolist() == ["02", "05", "10"]
    assert beside["tau"].tolist()[:2] == [0.2, 1.0] and pd.isna(beside["tau"][2])
    assert beside["open_tau"].tolist()[1:] == [0.9, -0.3] and pd.isna(beside["open_tau"][0])
    last = beside.to_csv(index=False).splitlines()[3]
    assert last == "10,3dpw_mve,mve on open-wild,,,,3,-0.3,0.08"


def test_the_page_in_latex_has_a_column_for_each_side(kept):
    beside = attach_verdicts(VERDICTS, read_kept_claims(kept)[0])
    with_run, without = latex(beside, "profile mini"), latex(VERDICTS, "profile mini")
    assert "Table & Claim & own numbers & open run & rerun" in with_run
    assert "2 & one & supported & contradicted & not run" in with_run
    assert "Open run: the committed run" in with_run
    assert "2 & one & supported & not run" in without and "pen run" not in without
    assert "{rp{8.6cm}lll}" in with_run and "{rp{10cm}ll}" in without


def test_nothing_kept_is_nothing_beside(tmp_path):
    assert read_kept_claims(tmp_path) is None


@pytest.mark.parametrize("name", ["claims.csv", "ranking.csv"])
def test_a_damaged_kept_run_is_named(kept, name):
    (kept / "claims" / name).write_text("id,table\n")
    with pytest.raises(UserError, match="claims is damaged: restore results/open"):
        read_kept_claims(kept)


def test_a_kept_run_says_what_it_was_made_with(tmp_path):
    assert about_kept(tmp_path) == "", "kept before that was noted"
    about = tmp_path / "about.json"
    about.write_text('{"crop": 64, "commit": "94e1122"}')
    assert about_kept(tmp_path) == "crops of 64 x 48 pixels, base of commit 94e1122"
    for damaged in ("{", '{"crop": null, "commit": ""}', "[]"):
        about.write_text(damaged)
        with pytest.raises(UserError, match="about.json is damaged: restore results/open"):
            about_kept(tmp_path)
