"""What rounding hides of a claim, and how wide an interval of few sequences and seeds is."""

from dataclasses import replace

import numpy as np
import pytest
import yaml
from scipy.stats import t as student

from bench.claims import comparisons, read_claims
from bench.intervals import Draws, bootstrap, bootstrap_means
from bench.status import Chance
from bench.verdicts import judge_reported, judge_rerun
from genhmr.types import UserError
from tests.bench.made_up_claims import claim_of, ledger_of
from tests.bench.test_bench_claims_rerun import apart, samples_of


@pytest.mark.parametrize(
    ("numbers", "verdict"),
    [
        ((50.0, 53.0, 55.9), "undecided"),  # gains 2.9 and 3.0, of four numbers rounded to 0.1
        ((50.0, 53.0, 55.8), "contradicted"),
        ((50.0, 53.0, 56.2), "supported"),
    ],
)
def test_gains_that_rounding_could_turn_decide_nothing(tmp_path, numbers, verdict):
    """From 2 to 1 less is gained than from 3 to 2, each number within 0.05 of the printed one."""
    ledger = ledger_of(tmp_path, numbers)
    claim = claim_of("slower") | {"large": [{"k": 3}, {"k": 2}]}
    (part,) = comparisons(claim, ledger)
    answer = judge_reported(part, ledger)
    assert answer.verdict == verdict, answer
    assert ("within the rounding" in answer.detail) == (verdict == "undecided")


def test_two_numbers_that_are_printed_apart_are_apart(tmp_path):
    ledger = ledger_of(tmp_path, (50.0, 50.1, 56.0))
    (part,) = comparisons(claim_of("lower"), ledger)
    assert judge_reported(part, ledger).verdict == "supported"


def test_gains_by_one_count_are_compared_where_the_counts_differ(tmp_path):
    """From 2 to 1 it gains 3 mm, from 3 to 2 it gains 6."""
    ledger = ledger_of(tmp_path, (50, 53, 59))
    claim = claim_of("slower") | {"small": [{"k": 3}, {"k": 2}], "large": [{"k": 2}, {"k": 1}]}
    whole, each = (comparisons(claim | more, ledger)[0] for more in ({}, {"per": "k"}))
    assert [weight for weight, _ in whole.terms] == [1, -1, -1, 1]
    assert [weight for weight, _ in each.terms] == [1, -1, -1, 1], "one step each"
    claim["small"] = [{"k": 3}, {"k": 1}]
    whole, each = (comparisons(claim | more, ledger)[0] for more in ({}, {"per": "k"}))
    assert [weight for weight, _ in each.terms] == [0.5, -0.5, -1, 1]
    assert judge_reported(whole, ledger).verdict == "contradicted"  # 9 mm beside 3
    assert judge_reported(each, ledger).verdict == "contradicted"  # 4.5 mm a count beside 3
    assert each.label.endswith("by one of k") and "by one" not in whole.label


@pytest.mark.parametrize("numbers", [(50, 53, 59), (57, 53, 59), (60, 53, 57)])
def test_a_benefit_diminishes_only_where_there_is_one(tmp_path, numbers):
    """From 3 to 2 it gains more than from 3 to 1 by one; in the last case 3 to 1 gains nothing."""
    claim = claim_of("slower") | {
        "small": [{"k": 3}, {"k": 2}], "large": [{"k": 3}, {"k": 1}], "per": "k", "benefit": True,
    }  # fmt: skip
    ledger = ledger_of(tmp_path, numbers)
    (part,) = comparisons(claim, ledger)
    (plain,) = comparisons({k: v for k, v in claim.items() if k != "benefit"}, ledger)
    measured = samples_of(numbers, 0.1)
    for judged, asked in ((judge_reported(part, ledger), judge_reported(plain, ledger)),
                          (judge_rerun(part, measured), judge_rerun(plain, measured))):  # fmt: skip
        assert asked.verdict == "contradicted", "6 or 4 mm in one step"
        lost = numbers[0] > numbers[2]
        assert judged.verdict == ("undecided" if lost else "contradicted")
        assert judged.detail.startswith("no benefit was shown that could diminish: ") == lost


def test_the_end_of_few_draws_is_students():
    """Of normal means the expanded percentile is t's: 2.262 x 5 / 3 x sqrt(9 / 10) for ten."""
    deviation, drawn = 5.0, 10
    rng = np.random.default_rng(0)
    values = rng.standard_normal(drawn)
    values = deviation * (values - values.mean()) / values.std(ddof=1)
    # Percentile bootstraps divide by n; the expansion undoes it.
    means = rng.normal(0, values.std() / np.sqrt(drawn), 400_000)
    draws = Draws(0.0, means, "sequences", drawn, np.zeros(1))
    half = student.ppf(0.975, drawn - 1) * deviation / np.sqrt(drawn)
    assert draws.end(0.975) == pytest.approx(half, rel=0.02)
    assert draws.end(0.025) == pytest.approx(-half, rel=0.02)
    found = bootstrap(values, np.arange(drawn))
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.15)


@pytest.mark.parametrize("drawn", [5, 9])
def test_an_end_beyond_all_draws_is_students(drawn):
    """One part of twelve: no draw lies so far out, and the smallest of them is no end."""
    rng = np.random.default_rng(2)
    draws = Draws(0.0, rng.standard_normal(10_000), "sequences", drawn, np.zeros(1))
    share = 0.025 / 12
    half = student.ppf(1 - share, drawn - 1) * np.sqrt(drawn / (drawn - 1))
    assert draws.end(1 - share) == pytest.approx(half, rel=0.03)
    assert draws.end(share) == pytest.approx(-half, rel=0.03)
    assert half > np.abs(draws.means).max()


def test_seeds_and_sequences_add_as_independent_errors():
    """Eight sequences that agree to 2 mm, three trainings 1 mm apart: hypot of both widths."""
    rng = np.random.default_rng(1)
    level = rng.normal(0, 2, 8)
    names = np.repeat(range(8), 5)
    values = level[names][:, None] + np.array([-1.0, 0.0, 1.0])
    alone, both = (bootstrap_means(v, names) for v in (values[:, 1], values))
    assert both.mean == pytest.approx(alone.mean) and both.trainings.shape == (3,)
    seeds = student.ppf(0.975, 2) / np.sqrt(3)
    for share in (0.025, 0.975):
        away = np.hypot(alone.end(share) - alone.mean, seeds)
        assert abs(both.end(share) - both.mean) == pytest.approx(away, rel=1e-6)


def test_one_sequence_whose_mean_counts_has_no_interval():
    found = bootstrap(np.arange(4.0), np.zeros(4), aggregate="sequences")
    assert found.mean == 1.5 and np.isnan([found.low, found.high]).all()


@pytest.mark.parametrize("one", [True, False])
def test_no_interval_no_verdict(tmp_path, one):
    """One image only, or one that diverged in one of two trainings."""
    ledger = ledger_of(tmp_path, (50, 52, 56))
    (part,) = comparisons(claim_of("lower"), ledger)
    whole = samples_of((50, 52, 56), 0.1)

    def measured(cell):
        own = whole(cell)
        values = own.values[:1] if one else own.values.copy()
        if not one and dict(cell.keys)["k"] == 2:
            values.iloc[3] = np.nan
        return replace(own, values=values, sequences=own.sequences[: len(values)])

    for found in (measured, apart(measured, Chance(0.1, 3))):
        answer = judge_rerun(part, found)
        assert answer.verdict == "undecided"
        assert ("one image has no interval" if one else "an image diverged") in answer.detail


def test_seeds_and_images_are_judged_together(tmp_path):
    """2 mm exceed either alone, what seeds change (1.9) and images (about 1.3), and not both."""
    ledger = ledger_of(tmp_path, (50, 52, 56))
    (part,) = comparisons(claim_of("lower"), ledger)
    images = samples_of((50, 52, 56), 4.0)
    alone = judge_rerun(part, apart(images, Chance(0.01, 3)))
    assert alone.verdict == "supported", alone
    seeds = judge_rerun(part, apart(samples_of((50, 52, 56), 0.01), Chance(0.3, 3)))
    assert seeds.verdict == "supported", seeds
    both = judge_rerun(part, apart(images, Chance(0.3, 3)))
    assert both.verdict == "undecided" and "seeds and images change" in both.detail, both


@pytest.mark.parametrize("k", [2, None])
def test_gains_by_one_count_need_two_counts(tmp_path, k):
    other = {} if k is None else {"k": k}
    claim = claim_of("slower") | {"per": "k", "small": [{"k": 2}, other]}
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump([claim]))
    with pytest.raises(UserError, match="compares gains per k, which each of its pairs of rows"):
        read_claims(path)
