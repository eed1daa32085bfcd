"""The forecast: it adds up, follows what makes a job large, and plans nothing."""

import copy
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.__main__ import cli
from bench.forecast import describe_forecast, forecast, head_operations, vit_operations
from bench.params import read_yaml
from bench.plan import build_jobs

ROOT = Path(__file__).parents[2]


@pytest.fixture
def jobs():
    params, variants = read_yaml(ROOT / "params.yaml"), read_yaml(ROOT / "variants.yaml")

    def of(profile, **changes):
        return build_jobs(params | {"profile": profile} | changes, copy.deepcopy(variants))

    return of


def _seconds(lines, kind):
    return next(line.seconds for line in lines if line.kind == kind)


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
    mini, one, three = jobs("mini"), jobs("open", seeds=1), jobs("open", seeds=3)
    base, short = (one[f"transformer/{n}.json"]["train"]["steps"] for n in ("base", "ablation"))
    a, b = (_seconds(forecast(own, mini, False), "transformer") for own in (one, three))
    first = 0.9 * (base + short)  # both at mini's sizes, which take the measured step
    assert b - a == pytest.approx(2 * first, rel=1e-6)
    longer = copy.deepcopy(one)
    longer["transformer/layers-2.json"]["train"]["steps"] *= 2
    assert _seconds(forecast(longer, mini, False), "transformer") > a
    assert _seconds(forecast(jobs("mini"), mini, False), "backbone") < 10, "shipped: nothing trains"


def test_licensed_releases_count_their_images(jobs):
    opened = forecast(jobs("paper"), jobs("mini"), True)
    licensed = forecast(jobs("paper", data={"source": "licensed"}), jobs("mini"), True)
    assert _seconds(licensed, "data") > 1000 * len(licensed) > _seconds(opened, "data")
    assert _seconds(licensed, "evaluate") > 10 * _seconds(opened, "evaluate")


def test_the_printout_adds_up_and_tells_what_it_is(jobs):
    lines = forecast(jobs("open"), jobs("mini"), True)
    text = describe_forecast(lines, True)
    hours = [float(m) for m in re.findall(r"^\S+ +\d+ +([\d.]+)", text, re.M)]
    assert sum(hours[:-1]) == pytest.approx(hours[-1], abs=0.05)
    assert "never measured" in text


def test_asking_for_a_forecast_plans_nothing(tmp_path, monkeypatch):
    for name in ("params.yaml", "variants.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["plan", "--profile", "paper"])
    assert result.exit_code == 0 and "transformer" in result.output and "GB" in result.output
    assert not (tmp_path / "build").exists()
    result = CliRunner().invoke(cli, ["plan", "--profile", "huge"])
    assert result.exit_code == 2 and "unknown profile 'huge'" in result.output
