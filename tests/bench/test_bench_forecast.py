"""The forecast: it adds up, follows what makes a job large, and plans nothing."""

import copy
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.__main__ import cli
from bench.forecast import BATCH, STEP, Line, forecast, head_operations, vit_operations
from bench.forecast_text import headline, table, together, words
from bench.params import read_yaml
from bench.plan import build_jobs

ROOT = Path(__file__).parents[2]
LICENSED = {"data": {"source": "licensed"}}


@pytest.fixture
def jobs():
    params, variants = read_yaml(ROOT / "params.yaml"), read_yaml(ROOT / "variants.yaml")

    def of(profile, **changes):
        return build_jobs(params | {"profile": profile} | changes, copy.deepcopy(variants))

    return of


def _line(lines, kind):
    return next((line for line in lines if line.kind == kind), Line(kind, 0, 0.0, 0.0, 0.0))


def test_vit_h_has_the_operations_of_its_parameters(jobs):
    """630 M weights see 192 tokens, two operations each; attention adds a few percent."""
    work = vit_operations(jobs("paper")["backbone/base.json"])
    assert work == pytest.approx(2 * 630e6 * 192, rel=0.05)


def test_more_tokens_and_layers_cost_more():
    small = {"num_tokens": 48, "num_codes": 512}
    model = {"width": 128, "layers": 4}
    work = head_operations(model, small)
    assert head_operations(model | {"layers": 8}, small) > 1.5 * work
    assert head_operations(model, small | {"num_tokens": 192}) > 4 * work


def test_steps_seeds_and_sizes_drive_the_hours(jobs):
    one, three = jobs("open", seeds=1), jobs("open", seeds=3)
    trained = [one[f"transformer/{name}.json"]["train"] for name in ("base", "ablation")]
    crops = sum(train["steps"] * train["batch"] for train in trained)
    a, b = (_line(forecast(own), "transformer") for own in (one, three))
    first = STEP["transformer"] * crops / BATCH["transformer"]  # of the sizes that were measured
    assert b.cpu - a.cpu == pytest.approx(2 * first, rel=1e-6)
    assert a.gpu < b.gpu < b.cpu
    longer = copy.deepcopy(one)
    longer["transformer/layers-2.json"]["train"]["steps"] *= 2
    assert _line(forecast(longer), "transformer").cpu > a.cpu
    assert _line(forecast(jobs("mini")), "backbone").cpu < 10, "shipped: nothing trains"
    assert _line(forecast(jobs("paper", **LICENSED)), "backbone").cpu < 10, "imported: neither"


def test_the_default_profile_takes_what_was_measured(jobs):
    """Its minutes stand in variants.yaml; the constants of the forecast have to give them."""
    minutes = read_yaml(ROOT / "variants.yaml")["profiles"]["mini"]["minutes"]
    assert 0.75 < together(forecast(jobs("mini"))).cpu / 60 / minutes < 1.1


def test_licensed_releases_count_their_images(jobs):
    opened, licensed = forecast(jobs("paper")), forecast(jobs("paper", **LICENSED))
    assert _line(licensed, "data").cpu > 3600 > _line(opened, "data").cpu
    assert _line(licensed, "evaluate").cpu > 10 * _line(opened, "evaluate").cpu
    size = _line(licensed, "data").size / 1e9
    crops = 384**2 * 0.4 * (312e3 + 27.5e3 + 75e3 + 3e6 + 750e3 + 35.5e3 + 24e3)
    assert crops / 1e9 < size < 1.1 * crops / 1e9, "JPEGs, and a few percent beside them"


@pytest.mark.parametrize("machine", ["cpu", "gpu"])
@pytest.mark.parametrize("part", ["backbone", "head", "iterations", "seeds"])
def test_an_evaluation_costs_what_its_model_costs(jobs, machine, part):
    """On a GPU as well: 39 evaluations of ViT-H are no minutes."""
    small = jobs("paper", **LICENSED)
    large = copy.deepcopy(small)
    if part == "backbone":
        large["backbone/base.json"]["model"]["depth"] *= 10
    elif part == "head":
        large["transformer/base.json"]["model"]["layers"] *= 10
    elif part == "iterations":
        large["evaluate/base.json"]["settings"]["cosine-20"]["ugs"]["iters"] *= 100
    else:
        large["evaluate/base.json"]["models"] *= 10
    before, after = (getattr(_line(forecast(own), "evaluate"), machine) for own in (small, large))
    assert after > 1.3 * before
    assert before > 3600, "hours, of 87,000 images and more than a teraflop each"


def test_settings_that_agree_are_not_counted_twice(jobs):
    own = jobs("open")
    before = _line(forecast(own), "evaluate").cpu
    again = own["evaluate/base.json"]["settings"]["cosine-20"]
    own["evaluate/base.json"]["settings"]["once-more"] = copy.deepcopy(again)
    assert _line(forecast(own), "evaluate").cpu == before


def test_kept_seeds_are_counted_a_second_time(jobs):
    one, three = (forecast(jobs("open", seeds=seeds)) for seeds in (1, 3))
    assert not _line(one, "second copies").size
    models = (_line(lines, kind).size for lines in (one, three)
              for kind in ("transformer", "tokenizer"))  # fmt: skip
    a, b, c, d = models
    # Three of base, ablation and c2048x256 instead of one each: the copies are half as many more.
    assert _line(three, "second copies").size == pytest.approx(1.5 * (c + d - a - b))
    assert not _line(forecast(jobs("mini")), "second copies").size


def test_the_printout_adds_up_and_tells_what_it_is(jobs):
    lines = forecast(jobs("paper", **LICENSED))
    number = r" +([\d.,]+)"
    rows = re.findall(rf"^(\S.*?) +(?:\d+|-){number * 3} GB$", table(lines), re.M)
    numbers = [[float(cell.replace(",", "")) for cell in row[1:]] for row in rows]
    assert rows[-1][0] == "together" and len(rows) == len(lines) + 1
    for column in zip(*numbers):
        assert sum(column[:-1]) == pytest.approx(column[-1], abs=0.06)
    assert "no step shorter than on an H200" in table(lines)


@pytest.mark.parametrize("profile", ["smoke", "mini", "open", "paper"])
def test_the_line_above_the_table_says_what_the_table_sums_to(jobs, profile):
    params = read_yaml(ROOT / "params.yaml") | {"profile": profile}
    variants, own = read_yaml(ROOT / "variants.yaml"), jobs(profile)
    lines = forecast(own)
    text, total = headline(params, variants, own, lines), together(lines)
    assert f"{words(total.cpu)} on 2 cores" in text and f"{words(total.gpu)} on one H100" in text
    measured = variants["profiles"][profile].get("minutes")
    assert ("Never run as a whole; estimated" in text) == (measured is None)
    assert measured is None or f"took up to {measured} min as `dvc repro`" in text
    part = headline(params | {"models": ["loss-*"]}, variants, own, lines)
    assert "Never run as a whole" in part, "the measurement is of the whole profile"


@pytest.mark.parametrize("profile", ["open", "paper"])
def test_readme_says_the_same(jobs, profile):
    rows = (ROOT / "README.md").read_text().splitlines()
    row = next(row for row in rows if row.startswith(f"| `{profile}` |"))
    total = together(forecast(jobs(profile, **(LICENSED if profile == "paper" else {}))))
    assert f"{words(total.gpu)} of one H100" in row
    assert profile == "paper" or f"{words(total.cpu)} of a 2-core CPU" in row


def test_params_yaml_says_the_same(jobs):
    line = next(line for line in (ROOT / "params.yaml").read_text().splitlines()
                if line.startswith("profile:"))  # fmt: skip
    total = together(forecast(jobs("open")))
    assert f"open ({words(total.cpu)}, or {words(total.gpu)} of a GPU: estimated)" in line
    profiles = read_yaml(ROOT / "variants.yaml")["profiles"]
    for name in ("smoke", "mini"):
        assert f"{name} ({profiles[name]['minutes']} min" in line


def test_times_are_said_in_minutes_or_hours():
    assert words(900) == "15 min" and words(3600 * 29) == "29 h"
    assert words(3600 * 4_000_000) == "4,000,000 h"


def test_asking_for_a_forecast_plans_nothing(tmp_path, monkeypatch):
    for name in ("params.yaml", "variants.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["plan", "--profile", "paper"])
    assert result.exit_code == 0 and "transformer" in result.output and "GB" in result.output
    assert "licensed data: 8 data sets" in result.output, "what the profile is made for"
    assert "in 57 trainings (seeds)" in result.output, "14 + 39 models, two of them thrice"
    assert not (tmp_path / "build").exists()
    result = CliRunner().invoke(cli, ["plan", "--profile", "paper", "--source", "open"])
    assert result.exit_code == 0 and "open data: 8 data sets" in result.output
    result = CliRunner().invoke(cli, ["plan", "--profile", "huge"])
    assert result.exit_code == 2 and "unknown profile 'huge'" in result.output
    result = CliRunner().invoke(cli, ["plan", "--source", "licensed"])
    assert result.exit_code == 2 and "edit data.source of params.yaml" in result.output
    assert not (tmp_path / "build").exists()
    result = CliRunner().invoke(cli, ["plan"])
    assert result.exit_code == 0 and "profile mini" in result.output
    assert (tmp_path / "build" / "plan" / "tables.json").exists()
