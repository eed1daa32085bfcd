"""Claims of the paper by its own tables: every kind of checker, and the shipped list itself."""

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from bench.claims import Cell, Ledger, comparisons, read_claims
from bench.verdicts import Answer, combine, judge_reported
from genhmr.types import UserError
from tests.bench.made_up_claims import CLAIMS, claim_of, ledger_of

ROOT = Path(__file__).parents[2]
REPORTED = ROOT / "bench" / "reported"
PAPER = ROOT.parent / "shared" / "paper" / "genhmr.txt"

# What the paper's tables say against its text; shared with nobody, recomputed by hand from the
# CSVs: gains against another method than the second best, peaks that lie elsewhere, a default that
# loses a column.
AGAINST_ITSELF = {
    "t01-3dpw-pa", "t01-3dpw-mve", "t01-emdb", "t01-emdb-mve", "t05-codes-over-tokens",
    "t09-50-to-100", "t09-50", "t09-50-compromises", "t11-cosine-optimal-at-5",
    "t11-cubic-peaks-at-20", "t11-linear-peaks-at-20", "t11-root-peaks-at-10",
    "t11-root-improves-with-iterations", "t11-cubic-improves-with-iterations", "t15-gain",
    "t16-more-degrades",
}  # fmt: skip
# What it does or implies without saying so, or says only by our reading.
DERIVED_AND_NOT_SO = {
    "t02-more-is-better", "t03-every-step-helps", "t04-07-best-emdb", "t04-broader-is-better",
    "t05-chosen-by-error", "t06-chosen-by-error", "t07-itw-most-evident-hmr2",
    "t07-itw-most-evident-tokenhmr", "t07-more-data-helps", "t08-default-best",
    "t08-low-end-at-2.0", "t11-cosine-plateaus", "t11-linear-plateaus", "t15-is-the-base",
    "t16-4-optimal",
}  # fmt: skip

# Numbers of the rows k = 1, 2, 3 under which each claim is supported, contradicted, undecided.
NUMBERS = {
    "lower": ((50, 52, 56), (53, 52, 56), (52, 52, 56)),
    "best": ((50, 52, 56), (50, 52, 49), (50, 52, 50)),
    "worst": ((50, 52, 56), (50, 57, 56), (50, 56, 56)),
    "ordered": ((50, 52, 56), (50, 58, 56), (50, 56, 56)),
    "slower": ((50, 52, 56), (50, 58, 56), (50, 56, 56)),
    "reduction": ((50, 52, 56), (50, 52, 57)),  # a size fits the rounding or does not
}


@pytest.mark.parametrize(
    ("kind", "place"), [(kind, place) for kind in CLAIMS for place in range(len(NUMBERS[kind]))]
)
def test_the_papers_numbers_support_contradict_or_leave_open(tmp_path, kind, place):
    numbers = NUMBERS[kind][place]
    ledger = ledger_of(tmp_path, numbers)
    parts = comparisons(claim_of(kind), ledger)
    answer = combine([judge_reported(part, ledger) for part in parts])
    assert answer.verdict == ("supported", "contradicted", "undecided")[place], answer


def test_parts_make_a_verdict():
    yes, no, open_, gone = (
        Answer(v, v) for v in ("supported", "contradicted", "undecided", "not run")
    )
    assert combine([yes, yes]).verdict == "supported"
    assert combine([yes, open_, no, gone]).verdict == "contradicted"
    assert combine([yes, open_, gone]).verdict == "not run"
    assert combine([yes, open_]).verdict == "undecided"


def test_a_size_must_be_possible_for_numbers_that_round_to_the_printed_ones(tmp_path):
    ledger = ledger_of(tmp_path, (54.7, 60.0, 70.0))
    claim = {**claim_of("reduction"), "unit": "percent"}
    verdicts = {}
    for stated in ("21.8", "21.9", "22.1", "21.86", "21.7", "22"):
        claim["by"] = {"3dpw_mpjpe": stated}
        (part,) = comparisons(claim, ledger)
        verdicts[stated] = judge_reported(part, ledger).verdict
    # 15.3 of 70.0: between 21.73 % and 21.98 % for any numbers that round to these.
    assert verdicts == {
        "21.8": "supported", "21.9": "supported", "22.1": "contradicted",
        "21.86": "supported", "21.7": "supported", "22": "supported",
    }  # fmt: skip


def test_the_shipped_claims_say_of_the_paper_what_was_found_by_hand():
    ledger, claims = Ledger(REPORTED), read_claims(REPORTED / "claims.yaml")
    assert len(claims) >= 50
    assert {claim["table"] for claim in claims} == {f"{n:02d}" for n in range(1, 17)}
    verdicts = {}
    for claim in claims:
        parts = comparisons(claim, ledger)
        assert parts, claim["id"]
        verdicts[claim["id"]] = combine([judge_reported(p, ledger) for p in parts]).verdict
    contradicted = {name for name, v in verdicts.items() if v == "contradicted"}
    assert contradicted == AGAINST_ITSELF | DERIVED_AND_NOT_SO
    # Cosine and Cubic are printed alike at 10 iterations, 79.1 mm; TokenHMR and 3D Multibodies
    # on 3DPW, 75.8 mm. What Square Root loses of MVE on 3DPW is within 0.2 mm of what Cosine does,
    # and by one iteration of what it does itself from 5 to 10.
    assert {name for name, v in verdicts.items() if v == "undecided"} == {
        "t11-cosine-10", "t01-probabilistic-tokenhmr", "t11-root-improves-least",
        "t11-root-plateaus",
    }  # fmt: skip
    derived = {claim["id"] for claim in claims if claim["origin"] == "derived"}
    assert derived == DERIVED_AND_NOT_SO | {
        "t05-more-codes", "t06-every-step-helps", "t08-low-end-at-1.5", "t10-3d-helps",
        "t11-cubic-plateaus", "t11-root-plateaus", "t15-diminishing-returns",
    }  # fmt: skip


SIGNS = {"gamma": "γ", "tau": "τ", "theta": "θ", "beta": "β", "in": "∈", "times": "×"}
HEADING = "§"


def _plain(text):
    """Words without LaTeX, of one kind of quote mark, dash and space.

    A dash between letters goes, with the spaces beside it: the text has lost those at which a line
    ended, "singleoutput".
    """
    text = re.sub(r"\\(?:mathcal|mathrm|text)\{([^}]*)\}", r"\1", text)
    text = re.sub(r"\\([a-z]+)", lambda name: SIGNS.get(name[1], ""), text)
    text = re.sub(r"[${}\\]", "", text)
    text = re.sub('[‘’“”"]', "'", text)
    text = re.sub(r"\s*[‐‑‒–—−-]\s*", "-", text)
    text = re.sub(r"(?<=[A-Za-z])-(?=[A-Za-z])", "", text)
    text = re.sub(r"\s*×\s*", "×", re.sub(r"\s+", " ", text))
    return re.sub(r" (?=[,.;:)])", "", text).strip()


def _text_of_paper(headings):
    """The paper without tables and captions, which stand amid sentences; headings are marked."""
    paragraphs = []
    for line in PAPER.read_text(encoding="utf-8").splitlines():
        if "\t" in line or re.match(r"(Table|Figure) \d+:", line):
            continue
        heads = any(line.strip() == name or line.startswith(f"{name}. ") for name in headings)
        paragraphs.append(HEADING + line if heads else line)
    return _plain("\n".join(paragraphs))


def _place(quote, text):
    """Where the pieces of a quote begin and end; None where one is missing or out of order."""
    begin = end = None
    for piece in quote.split(" ... "):
        at = text.find(_plain(piece), end or 0)
        if at < 0:
            return None
        begin, end = (at if begin is None else begin), at + len(_plain(piece))
    return begin, end


@pytest.mark.skipif(not PAPER.exists(), reason=f"the paper's text is not here: {PAPER}")
def test_quotes_are_the_papers_words_and_stand_where_they_are_said_to():
    quoted = [claim for claim in read_claims(REPORTED / "claims.yaml") if "quote" in claim]
    paths = {claim["id"]: claim["where"].split(", ") for claim in quoted}
    lines = PAPER.read_text(encoding="utf-8").splitlines()
    text = _text_of_paper({name for path in paths.values() for name in path})
    for claim in quoted:
        pieces, path = claim["quote"].split(" ... "), paths[claim["id"]]
        assert all(len(piece.split()) >= 4 for piece in pieces), claim["id"]
        if re.fullmatch(r"Figure \d+", claim["where"]):
            (caption,) = [line for line in lines if line.startswith(f"{claim['where']}: ")]
            assert _place(claim["quote"], _plain(caption)), claim["id"]
            continue
        place = _place(claim["quote"], text)
        assert place is not None, f"{claim['id']}: the paper does not say: {claim['quote']}"
        begin, end = place
        above = text[text.rfind(HEADING, 0, begin) : end]
        assert above.startswith(HEADING + _plain(path[-1])), f"{claim['id']}: {above[:60]}"
        assert above.count(HEADING) == 1, claim["id"]
        for level, name in enumerate(path):
            at = {
                other[level]: text.rfind(HEADING + _plain(other[level]), 0, begin)
                for other in paths.values()
                if len(other) > level
            }
            assert max(at, key=at.__getitem__) == name, f"{claim['id']}: {name}"


def test_what_only_a_table_prints_stands_in_the_table_of_the_claim():
    for claim in read_claims(REPORTED / "claims.yaml"):
        printed = f"Table {int(claim['table'])}"
        assert ("quote" in claim) != (claim["where"] == printed), claim["id"]


def test_the_second_best_is_that_of_each_column_and_of_the_rows_that_count(tmp_path):
    """Rows k = 1 to 4 of two groups; `among` leaves the other group out."""
    rows = [(1, "a", 50.0, 70.0), (2, "a", 54.0, 75.0), (3, "a", 56.0, 73.0), (4, "b", 51.0, 71.0)]
    frame = pd.DataFrame(rows, columns=["k", "set", "3dpw_mpjpe", "3dpw_mve"])
    frame.to_csv(tmp_path / "table02.csv", index=False)
    shutil.copy(REPORTED / "ledger.yaml", tmp_path)
    claim = {
        "id": "x", "table": "02", "statement": "so", "kind": "reduction", "from": "second_best",
        "to": {"k": 1}, "by": {"3dpw_mpjpe": "4.0", "3dpw_mve": "3.0"},
    }  # fmt: skip

    def verdicts(**changes):
        parts = comparisons(claim | changes, Ledger(tmp_path))
        return [judge_reported(part, Ledger(tmp_path)).verdict for part in parts]

    assert verdicts(among={"set": "a"}) == ["supported", "supported"]  # to k = 2 and to k = 3
    assert verdicts() == ["contradicted", "contradicted"]  # k = 4 is the second best of both
    assert verdicts(by={"3dpw_mpjpe": "1.0", "3dpw_mve": "1.0"}) == ["supported", "supported"]
    best = {"id": "y", "table": "02", "statement": "so", "kind": "best", "row": {"k": 2},
            "columns": ["3dpw_mpjpe"]}  # fmt: skip
    for among, count in (({}, 3), ({"set": "a"}, 2)):
        assert len(comparisons(best | {"among": among}, Ledger(tmp_path))) == count


def test_a_stated_range_holds_for_any_size_in_it(tmp_path):
    ledger = ledger_of(tmp_path, (50, 52, 56))  # 10.71 %
    claim = claim_of("reduction") | {"unit": "percent"}
    verdicts = {}
    for size in ("10 to 20", "5 to 10", "11 to 20", "12 to 20"):
        (part,) = comparisons(claim | {"by": {"3dpw_mpjpe": size}}, ledger)
        verdicts[size] = judge_reported(part, ledger).verdict
    assert verdicts == {
        "10 to 20": "supported", "5 to 10": "contradicted", "11 to 20": "supported",
        "12 to 20": "contradicted",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c.update(kind="nicer"), "claim 'lower' has the kind 'nicer'; choose one of"),
        (lambda c: c.pop("row"), r"lacks \['row'\]"),
        (lambda c: c.update(rows=[]), r"unknown \['rows'\]"),
        (lambda c: c.update(origin="ours"), "has the origin 'ours'; choose stated or derived"),
        (lambda c: c.update(per="k"), r"unknown \['per'\]"),
        (lambda c: c.pop("where"), r"lacks \['where'\]"),
        (lambda c: c.update(where="Experiments"), "'lower' is the paper's but quotes"),
        (lambda c: c.update(where="Table 3"), "quotes nothing; .* 'where: Table 2' if only its"),
        (lambda c: c.update(where="Experiments", quote=""), "quotes nothing; give its words as"),
    ],
)
def test_a_broken_claim_is_one_sentence(tmp_path, edit, message):
    claim = claim_of("lower")
    edit(claim)
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump([claim]))
    with pytest.raises(UserError, match=message):
        read_claims(path)
    path.write_text(yaml.safe_dump([claim_of("lower"), claim_of("lower")]))
    with pytest.raises(UserError, match="'lower' comes twice"):
        read_claims(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"where": "Experiments", "quote": "it is so"},
        {"where": "Table 2"},
        {"where": "Experiments", "origin": "derived"},
        {"where": "Experiments", "origin": "derived", "quote": "it is so"},
    ],
)
def test_a_claim_of_the_paper_has_its_words_or_its_table(tmp_path, changes):
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump([claim_of("lower") | changes]))
    (claim,) = read_claims(path)
    assert claim.items() >= changes.items()


def test_a_claim_on_rows_that_are_not_there_is_one_sentence(tmp_path):
    ledger = ledger_of(tmp_path, (50, 52, 56))
    claim = {**claim_of("best"), "row": {"k": 9}}
    with pytest.raises(UserError, match="'best': .* is not one of the rows"):
        comparisons(claim, ledger)
    cell = Cell("02", (("k", 9),), "3dpw_mpjpe")
    with pytest.raises(UserError, match="has 0 rows with k=9"):
        ledger.value(cell)
    with pytest.raises(UserError, match="table07.csv is missing or damaged"):
        ledger.table("07")
