"""AITI with its rounds: the interval of a median, claims about times, tables."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import quantile_test

from bench.claims import Cell, Comparison, Ledger, comparisons, read_claims
from bench.claims_report import judge, rerun_samples
from bench.intervals import median_end
from bench.params import read_yaml
from bench.plan import build_jobs
from bench.tidy import Rerun, Timed, read_rerun
from bench.verdicts import Samples, judge_rerun
from tests.bench.made_up_metrics import REPORTED, ROOT

ITERATIONS = (1, 3, 5, 10, 15, 20)


@pytest.fixture(scope="module")
def planned():
    variants = read_yaml(ROOT / "variants.yaml")
    return variants, build_jobs(read_yaml(ROOT / "params.yaml"), variants)["tables.json"]


@pytest.mark.parametrize("n", [6, 7, 10, 50, 101])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_the_interval_of_a_median_is_that_of_the_sign_test(n, confidence):
    values = np.random.default_rng(n).standard_normal(n)
    peer = quantile_test(values, p=0.5).confidence_interval(confidence)
    ends = [median_end(values, share) for share in ((1 - confidence) / 2, (1 + confidence) / 2)]
    assert ends == pytest.approx([peer.low, peer.high], nan_ok=True)


def test_five_rounds_are_too_few_for_95_percent():
    assert np.isnan([median_end(np.arange(5.0), share) for share in (0.025, 0.975)]).all()
    assert [median_end(np.arange(6.0), share) for share in (0.025, 0.975)] == [0, 5]


def _samples(planned, rounds):
    times = {place: Timed(float(np.median(own)), own) for place, own in rounds.items()}
    return rerun_samples(*planned, Rerun(timings={"base": times}))


def _verdict(planned, rounds, claim="t02-time"):
    claims = [c for c in read_claims(REPORTED / "claims.yaml") if c["id"] == claim]
    return judge(claims, Ledger(REPORTED), _samples(planned, rounds)).iloc[0]


def _rounds(repeats=10, cost=0.005, noise=0.0002):
    noises = noise * np.random.default_rng(0).standard_normal((len(ITERATIONS), repeats))
    return {f"cosine-{t}/0": (0.01 + cost * t + own).tolist() for t, own in zip(ITERATIONS, noises)}


def test_more_iterations_cost_more_time(planned):
    line = _verdict(planned, _rounds())
    assert (line["rerun"], line["rerun_detail"]) == ("supported", "all 5 parts")


def test_a_round_that_something_else_slowed_down_decides_nothing(planned):
    """One round of ten takes a second instead of 60 ms: the mean is lost, the median is not."""
    rounds = _rounds()
    rounds["cosine-10/0"][3] += 1.0
    assert _verdict(planned, rounds)["rerun"] == "supported"


def test_more_iterations_that_cost_less_contradict(planned):
    line = _verdict(planned, _rounds(cost=-0.0005))
    assert line["rerun"] == "contradicted"
    assert "AITI in ms: ugs_iterations=1 below ugs_iterations=3: +" in line["rerun_detail"]
    assert "over 10 rounds" in line["rerun_detail"]


def test_times_that_scatter_decide_nothing(planned):
    line = _verdict(planned, _rounds(cost=0.00001, noise=0.01))
    assert line["rerun"] == "undecided" and "] over 10 rounds" in line["rerun_detail"]


def test_a_claimed_size_of_a_time_is_judged_by_its_sign(planned):
    """The paper's 0.638 - 0.154 = 0.484 s; this machine's 190 ms have its sign."""
    rounds = {f"refinement/{p}": [0.01 * p] * 10 for p in (1, 20)}
    line = _verdict(planned, rounds, "t03-time")
    assert (line["paper"], line["rerun"], line["judged"]) == ("supported",) * 2 + ("direction",)
    assert "in direction alone" in line["rerun_detail"] and "-190.00 [" in line["rerun_detail"]
    rounds["refinement/20"] = [0.001] * 10
    assert _verdict(planned, rounds, "t03-time")["rerun"] == "contradicted"


def test_one_part_of_many_needs_more_rounds_to_contradict(planned):
    """Nine of ten rounds are slower: enough for 95 %, not for a fifth of what is left."""
    slower = [0.001] * 9 + [-0.001]
    rounds = {"cosine-1/0": [0.03 + s for s in slower], "cosine-3/0": [0.03] * 10}
    measured = _samples(planned, rounds)
    claim = next(c for c in read_claims(REPORTED / "claims.yaml") if c["id"] == "t02-time")
    part = comparisons(claim, Ledger(REPORTED))[0]
    assert judge_rerun(part, measured, 1).verdict == "contradicted"
    assert judge_rerun(part, measured, 5).verdict == "undecided"


@pytest.mark.parametrize(
    ("rerun", "why"),
    [
        (Rerun(), "was not timed"),  # a base that was left out
        (
            Rerun(timings={"base": {"cosine-1/0": Timed(0.03, [])}}),
            "was timed without keeping the rounds",
        ),
        (
            Rerun(timings={"base": {"cosine-1/0": Timed(0.03, [0.03] * 5)}}),
            "was timed too few times for an interval, 5",
        ),
    ],
)  # fmt: skip
def test_times_that_tell_nothing_are_not_judged(planned, rerun, why):
    part = next(c for c in read_claims(REPORTED / "claims.yaml") if c["id"] == "t02-time")
    answer = judge_rerun(comparisons(part, Ledger(REPORTED))[0], rerun_samples(*planned, rerun))
    assert (answer.verdict, answer.detail) == ("not run", f"transformer/base {why}")


def test_models_that_did_not_take_turns_are_not_compared():
    cells = [Cell("02", (("k", k),), "aiti_s") for k in (1, 2)]
    part = Comparison(((1.0, cells[0]), (-1.0, cells[1])), "1 below 2")

    def measured(cell):
        name, values = f"model-{dict(cell.keys)['k']}", pd.DataFrame({"s": [1.0] * 10})
        return Samples(values, pd.Series(values.index), f"times of {name}", name, timed=True)

    answer = judge_rerun(part, measured)
    assert (answer.verdict, answer.detail) == (
        "not run", "times of model-1 here and times of model-2 there"
    )  # fmt: skip


def test_the_tables_give_a_time_its_interval_and_its_rounds(written):
    """Ten rounds of 0.91 to 1.09 times the median; the second and the ninth are the ends."""
    for number, step in (("02", 1000), ("03", 500)):
        compare = pd.read_csv(written / "compare" / f"table{number}.csv")
        times = compare[compare["metric"] == "aiti"]
        count = times["row"].str.partition("=")[2].astype(int)
        assert times["n"].eq(10).all()
        for name, share in (("rerun", 1), ("low", 0.93), ("high", 1.07)):
            assert times[name].tolist() == pytest.approx(share * count / step, abs=6e-5), name


def test_rounds_are_read_where_they_were_kept(measured, variants, job):
    rerun = read_rerun(measured, variants, job)
    assert all(len(time.rounds) == 10 for time in rerun.timings["base"].values())
    assert rerun.timings["base"]["cosine-20/0"].rounds[0] == pytest.approx(0.91 * 0.02)
