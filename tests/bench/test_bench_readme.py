"""README.md says how many claims hold: the committed verdicts have the same counts."""

import io
import re

import pandas as pd

from bench.status import claims_of_paper, in_direction
from tests.bench.committed import ROOT, committed


def _claims(path):
    return pd.read_csv(io.BytesIO(committed(path)), dtype=str, keep_default_na=False)


def _counts(claims, side):
    stated = claims_of_paper(claims)
    signs = sum(in_direction(line, line[side]) for line in stated.to_dict("records"))
    found = stated[side].value_counts()
    words = ("supported", "contradicted", "undecided")
    return [signs, *(int(found.get(word, 0)) for word in words)]


def test_the_counts_of_verdicts_are_those_of_the_committed_runs():
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    mini = _claims("results/claims/claims.csv")
    whole, own = len(claims_of_paper(mini)), len(mini)
    for side, run in (("open_run", "the committed run"), ("rerun", "`mini`")):
        signs, good, bad, left = _counts(mini, side)
        said = rf"{run} supports {good} \({signs} of them in direction alone[^)]*\), "
        said += rf"contradicts {bad} and leaves {left} undecided"
        assert re.search(said, text), said
    _, good, bad, left = _counts(mini, "paper")
    said = f"own tables support {good}, contradict {bad} and leave {left} open"
    assert said in text
    assert f"Of {whole} claims of the paper the committed run" in text
    assert f"{whole} statements of the paper, with its words and their place" in text
    assert f"and {own - whole} checks of our own" in text
    kept = _claims("results/open/claims/claims.csv")
    assert _counts(kept, "rerun") == _counts(mini, "open_run"), "results/open is of other rules"
