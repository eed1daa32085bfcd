"""Claims of the paper by a rerun: made-up images, and what seeds alone may change."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.claims import Cell, Comparison, Ledger, comparisons, read_claims
from bench.claims_report import judge, latex, ranking, rerun_samples
from bench.params import read_yaml
from bench.plan import build_jobs
from bench.tidy import Rerun
from bench.verdicts import Samples, combine, judge_rerun
from genhmr.types import UserError
from tests.bench.made_up_claims import CLAIMS, claim_of, ledger_of

ROOT = Path(__file__).parents[2]
REPORTED = ROOT / "bench" / "reported"


def samples_of(numbers, noise, seed=0):
    """Images of eight videos: all rows share an image's difficulty, and differ by noise."""
    rng = np.random.default_rng(seed)
    keys = [f"video{i // 10}/{i:05d}/0" for i in range(80)]
    difficulty = 30 * rng.standard_normal(80)
    sequences = pd.Series([key.split("/")[0] for key in keys], index=keys)
    rows = {
        k: pd.Series(value + difficulty + noise * rng.standard_normal(80), index=keys)
        for k, value in zip((1, 2, 3), numbers)
    }
    return lambda cell: Samples(rows[dict(cell.keys)["k"]], sequences)


@pytest.mark.parametrize("kind", CLAIMS)
@pytest.mark.parametrize("place", range(3))
def test_a_rerun_supports_contradicts_or_leaves_open(tmp_path, kind, place):
    """The pairing takes out the difficulty of 30 mm; noise of 40 mm hides 2 mm."""
    ledger = ledger_of(tmp_path, (50, 52, 56))
    numbers = (60, 63, 71) if place != 1 else {
        "lower": (66, 63, 71), "best": (66, 63, 71), "worst": (60, 74, 71),
        "ordered": (60, 74, 71), "slower": (60, 90, 71), "reduction": (75, 63, 71),
    }[kind]  # fmt: skip
    measured = samples_of(numbers, 40.0 if place == 2 else 1.0)
    parts = comparisons(claim_of(kind), ledger)
    answer = combine([judge_rerun(part, measured, len(parts)) for part in parts])
    assert answer.verdict == ("supported", "contradicted", "undecided")[place], answer


def test_many_parts_need_more_to_contradict():
    """An effect just beyond 95 % contradicts a claim of one part, and none of thirty."""
    keys = [f"v{i}/0/0" for i in range(40)]
    values = np.random.default_rng(3).standard_normal(40)
    values += 2.5 / np.sqrt(40) - values.mean()
    series = {1: pd.Series(values, index=keys), 2: pd.Series(np.zeros(40), index=keys)}
    sequences = pd.Series(keys, index=keys)

    def measured(cell):
        return Samples(series[dict(cell.keys)["k"]], sequences)

    cells = [Cell("02", (("k", k),), "3dpw_mpjpe") for k in (1, 2)]
    part = Comparison(((1.0, cells[0]), (-1.0, cells[1])), "1 below 2")
    assert judge_rerun(part, measured, 1).verdict == "contradicted"
    assert judge_rerun(part, measured, 30).verdict == "undecided"


def test_rows_of_different_images_are_refused(tmp_path):
    ledger = ledger_of(tmp_path, (50, 52, 56))
    measured = samples_of((50, 52, 56), 1.0)

    def shifted(cell):
        own = measured(cell)
        if dict(cell.keys)["k"] != 2:
            return own
        return Samples(own.values[1:], own.sequences[1:])

    (part,) = comparisons(claim_of("lower"), ledger)
    with pytest.raises(UserError, match="measured on different images"):
        judge_rerun(part, shifted)


def test_models_trained_for_other_numbers_of_steps_are_not_compared(tmp_path):
    ledger = ledger_of(tmp_path, (50, 52, 56))
    measured = samples_of((50, 52, 56), 1.0)

    def trained(cell):
        steps = 300 if dict(cell.keys)["k"] == 2 else 900
        own = measured(cell)
        return Samples(own.values, own.sequences, f"{steps} training steps")

    (part,) = comparisons(claim_of("lower"), ledger)
    answer = judge_rerun(part, trained)
    assert answer.verdict == "not run"
    assert answer.detail == "900 training steps here and 300 training steps there"


@pytest.mark.parametrize(
    ("spread", "verdict", "reason"),
    [(None, "undecided", "no spread over seeds"), (5.0, "undecided", "seeds alone change 5.00"),
     (1.0, "supported", "")],
)  # fmt: skip
def test_two_trainings_must_differ_by_more_than_seeds_do(tmp_path, spread, verdict, reason):
    """The images agree on 2 mm; whether that is the configuration or the seed they cannot say."""
    ledger = ledger_of(tmp_path, (50, 52, 56))
    measured = samples_of((50, 52, 56), 0.5)

    def apart(cell):
        own, k = measured(cell), dict(cell.keys)["k"]
        return Samples(own.values, own.sequences, "900 steps", f"transformer/{k}", spread)

    (part,) = comparisons(claim_of("lower"), ledger)
    answer = judge_rerun(part, apart)
    assert answer.verdict == verdict and reason in answer.detail


def test_one_model_beside_itself_says_nothing(tmp_path):
    ledger = ledger_of(tmp_path, (50, 52, 56))
    measured = samples_of((50, 50, 56), 0.0)
    (part,) = comparisons(claim_of("lower"), ledger)
    assert judge_rerun(part, measured).verdict == "not run"


@pytest.fixture
def rerun():
    """Metrics of Tables 2 and 6 whose order is chosen: 3DPW like the paper's, EMDB reversed."""
    variants = read_yaml(ROOT / "variants.yaml")
    job = build_jobs(read_yaml(ROOT / "params.yaml"), variants)["tables.json"]
    job["short"] = [name for name in job["short"] if not name.endswith("/t48")]
    rng = np.random.default_rng(0)
    lines = []
    for iterations in (1, 3, 5, 10, 15, 20):
        for role, sign in (("wild", -1), ("extreme", 1)):
            for image in range(40):
                value = 100 + sign * 2 * iterations + rng.standard_normal()
                key = f"{role}{image // 5}/{image:05d}/0"
                lines.append((f"cosine-{iterations}", 0, role, key, value, value / 2, value + 9))
    columns = ["setting", "step", "role", "key", "mpjpe", "pa_mpjpe", "mve"]
    poses = [("mocap", f"set/clip/{i}", 11.0, 9.0, 12.0) for i in range(6)]
    measured = Rerun(
        images={"base": pd.DataFrame(lines, columns=columns)},
        poses={"t48": pd.DataFrame(poses, columns=["role", *columns[3:]])},
    )
    return variants, job, rerun_samples(variants, job, measured)


def test_cells_of_the_paper_find_their_images(rerun):
    _, _, measured = rerun
    own = measured(Cell("02", (("ugs_iterations", 20),), "3dpw_mpjpe"))
    assert len(own.values) == 40 and abs(own.values.mean() - 60) < 1
    assert own.sequences["wild3/00015/0"] == "wild3" and own.training == "shipped weights"
    own = measured(Cell("06", (("tokens", 48),), "amass_mve"))
    assert own.values.tolist() == [12.0] * 6 and set(own.sequences) == {"set/clip"}
    for cell, reason in (
        (Cell("02", (("ugs_iterations", 20),), "aiti_s"), "times are one number"),
        (Cell("06", (("tokens", 192),), "amass_mve"), "tokenizer/t192 was trained too briefly"),
        (Cell("07", (("method", "HMR2.0"),), "3dpw_mpjpe"), "table 7 has no rerun of method"),
        (Cell("16", (("deformable_layers", 2),), "3dpw_mve"), "layers-2 was trained too briefly"),
        (Cell("06", (("tokens", 48),), "moyo_mve"), "was not evaluated on open-yoga"),
    ):
        assert reason in measured(cell)


def test_tokenizers_differ_where_they_differ_by_more_than_seeds(rerun):
    """Means 10.0, 10.4 and 10.8 of three seeds: t(2) = 4.303 x 0.4 x sqrt(2) = 2.43 mm."""
    variants, job, _ = rerun
    job["short"] = []
    ledger = Ledger(REPORTED)
    claim = next(c for c in read_claims(REPORTED / "claims.yaml") if c["id"] == "t06-more-tokens")
    part = next(c for c in comparisons(claim, ledger) if "amass_mpjpe" in c.label)  # 48 to 96
    columns = ["role", "key", "mpjpe", "pa_mpjpe", "mve"]
    rows = [("mocap", f"set/{i // 4}/{i}") for i in range(40)]
    several = pd.concat(
        [pd.DataFrame([(*row, 10 + 0.4 * seed, 8.0, 12.0) for row in rows], columns=columns)
         .assign(seed=seed) for seed in range(3)]
    )  # fmt: skip
    for worse, seeds, verdict in ((2.0, several, "undecided"), (3.0, several, "supported"),
                                  (3.0, several[several["seed"] == 1].drop(columns="seed"),
                                   "undecided")):  # fmt: skip
        own = pd.DataFrame([(*row, 10.4 + worse, 8.0, 12.0) for row in rows], columns=columns)
        poses = {"c2048x256": seeds, "t48": own}
        measured = rerun_samples(variants, job, Rerun(poses=poses))
        answer = judge_rerun(part, measured)
        assert answer.verdict == verdict, (worse, answer)


def _tokenizers(variants, job, means, seeds=(-0.4, 0.0, 0.4)):
    """A rerun of tokenizers of these means; c2048x256 has trainings that far from its own."""
    columns = ["role", "key", "mpjpe", "pa_mpjpe", "mve"]
    rows = [(role, f"set/{i // 4}/{i}") for role in ("mocap", "yoga") for i in range(40)]
    poses = {
        name: pd.DataFrame([(*row, mean, mean, mean) for row in rows], columns=columns)
        for name, mean in means.items()
    }
    several = [pd.DataFrame([(*row, *[10 + off] * 3) for row in rows], columns=columns)
               .assign(seed=seed) for seed, off in enumerate(seeds)]  # fmt: skip
    poses["c2048x256"] = pd.concat(several)
    return rerun_samples(variants, job, Rerun(poses=poses))


def test_four_trainings_differ_by_more_than_two(rerun):
    """t(2) x 0.4 x sqrt(4) = 3.44 mm: the gain of one pair below that of another."""
    variants, job, _ = rerun
    job["short"] = []
    claim = next(
        c for c in read_claims(REPORTED / "claims.yaml") if c["id"] == "t05-codes-over-tokens"
    )
    for gain, verdict in ((2.7, "undecided"), (3.7, "supported"), (-3.7, "contradicted")):
        means = {"t48": 12.0, "t384": 12.0, "c1024x256": 13.0, "c4096x256": 13.0 - gain}
        measured = _tokenizers(variants, job, means)
        parts = comparisons(claim, Ledger(REPORTED))
        assert {judge_rerun(part, measured).verdict for part in parts} == {verdict}, gain


def test_a_pose_that_diverged_in_one_seed_decides_nothing(rerun):
    variants, job, _ = rerun
    job["short"] = []
    measured = _tokenizers(variants, job, {"t48": 30.0}, seeds=(0.0, float("nan"), 0.1))
    own = measured(Cell("06", (("tokens", 96),), "amass_mpjpe"))
    assert own.values.isna().all() and own.spread is None


def test_verdicts_and_ranking_of_a_rerun(rerun):
    variants, _, measured = rerun
    variants["tables"] = {"02": variants["tables"]["02"]}
    ledger = Ledger(REPORTED)
    claims = [c for c in read_claims(REPORTED / "claims.yaml") if c["table"] in ("02", "16")]
    verdicts = judge(claims, ledger, measured).set_index("id")
    assert verdicts.loc["t02-1-to-20", "rerun"] == "supported"
    assert verdicts.loc["t02-five-suffice", "rerun"] == "contradicted"  # EMDB gets worse
    assert "emdb_mpjpe" in verdicts.loc["t02-five-suffice", "rerun_detail"]
    assert verdicts.loc["t02-time", "rerun"] == "not run"
    assert verdicts.loc["t16-2-to-4", ["paper", "rerun"]].tolist() == ["supported", "not run"]
    order = ranking(variants, ledger, measured).set_index("column")
    assert order.loc["3dpw_mpjpe", "tau"] == 1.0 and order.loc["3dpw_mpjpe", "rows"] == 6
    assert order.loc["emdb_mpjpe", "tau"] == -1.0
    text = latex(verdicts.reset_index(), "profile mini, open world")
    assert text.count("\\\\\n") == len(claims) + 1
    assert text.count("{") == text.count("}")
