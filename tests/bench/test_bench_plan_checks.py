"""What variants.yaml may hold: every wrong value is refused before anything runs, in a sentence."""

import copy
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from bench import plan_rules
from bench.__main__ import cli
from bench.params import read_yaml
from bench.plan import build_jobs
from bench.plan_checks import METHODS, TABLES, check_variants
from bench.plan_rules import DATASET, EVALUATION, PROFILE, TABLE, TOKENIZER, TRANSFORMER
from genhmr.body.joints import NUM_VERTICES
from genhmr.data.readers import IMAGE_KINDS, MOTION_KINDS
from genhmr.image.pyramid import SCALES
from genhmr.image.vit import STEMS
from genhmr.tokenizer.model import PoseTokenizer
from genhmr.types import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def params():
    return read_yaml(ROOT / "params.yaml")


@pytest.fixture(scope="module")
def shipped():
    return read_yaml(ROOT / "variants.yaml")


@pytest.fixture
def variants(shipped):
    return copy.deepcopy(shipped)


def put(tree, path, value):
    """Sets ``a/b/c``; a digit is a place in a list, and nothing there yet is made a mapping."""
    *way, last = path.split("/")
    for name in way:
        tree = tree[int(name)] if isinstance(tree, list) else tree.setdefault(name, {})
    tree[int(last) if isinstance(tree, list) else last] = value


def complaint(params, variants):
    with pytest.raises(UserError) as error:
        build_jobs(params, variants)
    said = str(error.value)
    assert said.startswith("variants.yaml: ") and said.endswith(".") and "\n" not in said
    return said


LOSSES = dict.fromkeys(("mask", "pose", "betas", "joints_3d", "joints_2d"), 0)
BAD = [
    # Transformers
    ("transformers/layers-6/layers", "six", "'layers-6' has layers 'six'; .* whole number of 1"),
    ("transformers/layers-6/layers", 0, "layers 0; it must be a whole number of 1 or more"),
    ("transformers/layers-6/layers", True, "layers True; it must be a whole number"),
    ("transformers/layers-6/layers", 6.0, "layers 6.0; it must be a whole number"),
    ("transformers/scales-1-4/scales", [1, 3], r"scales \[1, 3\]; .* out of 1, 4, 8, 16"),
    ("transformers/scales-1-4/scales", [4, 1], r"scales \[4, 1\]; .* in this order"),
    ("transformers/scales-1-4/scales", [], r"scales \[\]; it must be a list"),
    ("transformers/scales-1-4/scales", 4, "scales 4; it must be a list"),
    ("transformers/mask-0.3/mask_tau", 0, "mask_tau 0; it must be a number above 0 and at most 1"),
    ("transformers/mask-0.3/mask_tau", 1.5, "mask_tau 1.5; it must be a number above 0 and at mo"),
    ("transformers/mask-0.3/mask_tau", float("nan"), "mask_tau nan; it must be a number above 0"),
    ("transformers/mask-0.3/mask_tau", "3e-1", "YAML reads a text there: .* with a point and a s"),
    ("transformers/mask-0.3/mask_tau", "0.3", "YAML reads a text there: without quotes"),
    ("transformers/loss-3d/losses/pose", -0.1, "'loss-3d' has losses.pose -0.1; .* of 0 or more"),
    ("transformers/loss-3d/losses/poes", 0.1, "unknown key 'losses.poes'; the keys are mask, pose"),
    ("transformers/loss-3d/losses", LOSSES, "'loss-3d' has every loss at 0"),
    ("transformers/loss-3d/losses", 3, "losses of transformer 'loss-3d' is 3; .* a mapping"),
    ("transformers/anneal-75/gumbel/duration", 0, "gumbel.duration 0; .* greater than 0"),
    ("transformers/anneal-75/gumbel/tau_start", -1, "gumbel.tau_start -1; .* greater than 0"),
    ("transformers/anneal-75/gumbel/tau_end", None, "gumbel.tau_end None; .* greater than 0"),
    ("transformers/anneal-75/gumbel/tau", 2, "unknown key 'gumbel.tau'; the keys are tau_start"),
    ("transformers/sd-itw/train_on", {}, "'sd-itw' has train_on {}; it must name data sets and"),
    ("transformers/sd-itw/train_on/lab", 0, "train_on {'lab': 0, .* numbers greater than 0"),
    ("transformers/sd-itw/train_on/lab", "half", "train_on {'lab': 'half', .* numbers greater th"),
    ("transformers/sd-itw/train_on/sea", 1, "'sd-itw' names the unknown data set 'sea'; known ar"),
    ("transformers/sd-itw/train_on/wild", 1, "data set 'wild', which has no split 'train'"),
    ("transformers/sd-itw/train_on/mocap", 1, "needs images and names the data set 'mocap'"),
    ("transformers/sd-itw/evaluation", "big", "unknown evaluation 'big'; known are ablation, abl"),
    ("transformers/sd-itw/tokenizer", ["base"], r"tokenizer \['base'\]; it must be a name"),
    ("transformers/sd-itw", {"evaluation": "base"}, "transformer 'sd-itw' lacks 'tokenizer'"),
    ("transformers/sd-itw", None, "transformer 'sd-itw' is None; it must be a mapping"),
    ("transformers/base/gumbel", {"tau_start": 1.0}, "'base' lacks 'gumbel.tau_end'"),
    ("transformers/a b", {}, "transformer 'a b' has no name that a stage can have"),
    ("transformers/..", {}, r"transformer '\.\.' has no name that a stage can have"),
    # Tokenizers
    ("tokenizers/t48/tokens", 50, "takes 48, 96, 144, 192 and so on .24 joints, scale 2"),
    ("tokenizers/t48/tokens", 24, "tokens 24; profile 'mini' takes 48, 96"),
    ("tokenizers/t48/tokens", "48", "tokens '48'; it must be a whole number of 1 or more; YAML re"),
    ("tokenizers/t48/codes", 2050, "codes 2050; profile 'mini' takes 8, 12, 16, 20 and so on"),
    ("tokenizers/t48/codes", 4, "codes 4; profile 'mini' takes 8, 12"),
    ("tokenizers/t48/code_dim", 28, "code_dim 28; profile 'mini' takes 32, 36, 40, 44 and so on"),
    ("tokenizers/t48/train_on", {"lab": 1.0}, "needs motion and names the data set 'lab'"),
    ("tokenizers/t48/train_on", {"yoga": -1}, "train_on {'yoga': -1}; .* greater than 0"),
    ("tokenizers/t48/seeds", "3", "tokenizer 't48' has seeds '3'; .* whole number of 1 or more"),
    ("tokenizers/t48/seeds", 0, "tokenizer 't48' has seeds 0; .* whole number of 1 or more"),
    ("tokenizers/t48/seed", 3, "'t48' has the unknown key 'seed'; the keys are tokens"),
    ("tokenizers/t48", {"tokens": 48}, "tokenizer 't48' lacks 'codes'"),
    # Evaluations and data sets
    ("evaluations/base/sets", "wild", "'base' has sets 'wild'; it must be a list of data sets"),
    ("evaluations/base/sets", ["wild", "wild"], "a list of data sets, each once"),
    ("evaluations/base/sets", ["photo"], "data set 'photo', which has no split 'test'"),
    ("evaluations/base/settings/default", None, "settings.default of evaluation 'base' is None"),
    ("evaluations/base/settings/default/ugs", 5, "settings.default.ugs of evaluation 'base' is 5"),
    ("evaluations/base/settings/default/refne", {}, "unknown key 'settings.default.refne'"),
    ("evaluations/base/settings/default/detections", {"source": "openpose"},
     "unknown key 'settings.default.detections'"),
    ("evaluations/base/settings/refinement/report", [5, 0], r"report \[5, 0\]; .* increasing"),
    ("evaluations/base/settings/refinement/report", ["0"], r"report \['0'\]; .* increasing"),
    ("datasets/wild/kind", "4dpw", "'wild' has kind '4dpw'; choose one of 3dpw, emdb"),
    ("datasets/wild/splits", ["tset"], "a list of train, val and test"),
    # Profiles
    ("profiles/mini/tokenizer/lr", "1e-3", "tokenizer.lr '1e-3'; .*: write it with a point"),
    ("profiles/mini/tokenizer/vertices", 7000, "vertices 7000; .* from 1 to 6890"),
    ("profiles/mini/tokenizer/joint_noise", -1, "tokenizer.joint_noise -1; .* of 0 or more"),
    ("profiles/mini/tokenizer/short", "yes", "tokenizer.short 'yes'; it must be true or false"),
    ("profiles/mini/tokenizer/stesp", 1, "unknown key 'tokenizer.stesp'"),
    ("profiles/mini/transformer/batch", 0, "transformer.batch 0; .* whole number of 1 or more"),
    ("profiles/mini/transformer/heads", 3, "transformer.width 128; transformer.heads, 3, must di"),
    ("profiles/mini/transformer/lifter/width", 0, "transformer.lifter.width 0; .* whole number"),
    ("profiles/mini/transformer/lifter", 3, "transformer.lifter of profile 'mini' is 3; .*mapping"),
    ("profiles/mini/transformer/target_spread", "wide", "target_spread 'wide'; .* of 0 or more"),
    ("profiles/mini/backbone/heads", 5, "backbone.dim 192; backbone.heads, 5, must divide it"),
    ("profiles/mini/backbone/patch", 12, "crops.size 128; take a multiple of 48"),
    ("profiles/mini/backbone/stem", "cnov", "backbone.stem 'cnov'; choose one of patch, conv"),
    ("profiles/mini/backbone/drop_path", 1, "drop_path 1; it must be a number from 0 to below 1"),
    ("profiles/mini/crops/box_scale", 0.75, "crops.box_scale 0.75; it must be a number of 1 or m"),
    ("profiles/mini/tokenizer/warmup", -1, "tokenizer.warmup -1; .* whole number of 0 or more"),
    ("profiles/mini/tokenizer/weight_decay", 0, "unknown key 'tokenizer.weight_decay'"),
    ("profiles/mini/transformer/weight_decay", -0.1, "weight_decay -0.1; .* of 0 or more"),
    ("profiles/mini/transformer/weight_decay", "1e-4", "'1e-4'; .*: write it with a point"),
    ("profiles/mini/transformer/ema_decay", 1, "ema_decay 1; it must be a number from 0 to below"),
    ("profiles/mini/transformer/constant_lr", 1, "constant_lr 1; it must be true or false"),
    ("profiles/mini/transformer/all_tokens", "yes", "all_tokens 'yes'; it must be true or false"),
    ("profiles/mini/transformer/clip_norm", 0, "clip_norm 0; it must be a number greater than 0"),
    ("profiles/mini/transformer/warmup", 0.5, "warmup 0.5; .* whole number of 0 or more"),
    ("profiles/mini/crops/size", 60, "crops.size 60; take a multiple of 64"),
    ("profiles/mini/images/wild", {}, "profile 'mini' lacks 'images.wild.test'"),
    ("profiles/mini/images/wild/test", "all", "images.wild.test 'all'; .* whole number of 0"),
    ("profiles/mini/images/sea", {}, "has under 'images' the unknown data set 'sea'"),
    ("profiles/mini/clips/yoga", {}, "profile 'mini' lacks 'clips.yoga.train'"),
    ("profiles/mini/scale/tokens", 0, "scale.tokens 0; .* whole number of 1 or more"),
    ("profiles/mini/weights", "shiped", "weights 'shiped'; choose one of trained, shipped"),
    ("profiles/mini/minutes", "long", "minutes 'long'; it must be a number greater than 0"),
    ("profiles/mini/seeds", 0, "seeds 0; it must be a whole number of 1 or more"),
    ("profiles/mini/only", {"tokenizer": ["t49"]}, "under 'only' the unknown tokenizer 't49'"),
    ("profiles/mini/only", {"models": ["t48"]}, "unknown key 'only.models'"),
    ("profiles/mini/evaluation/timing", 0, "evaluation.timing 0; .* whole number of 1 or more"),
    ("profiles/mini/evaluation", {"batch": 1}, "profile 'mini' lacks 'evaluation.timing'"),
    ("profiles/smoke/backbone", {"patch": 8}, "profile 'smoke' lacks 'backbone.dim'"),
    # Tables
    ("tables/16/rows/2/transformer", "layers-66",
     r"table 16, row {deformable_layers: 6, .*}: unknown transformer 'layers-66'; .*layers-6, la"),
    ("tables/16/rows/2/setting", "defaultt",
     "row .*: transformer 'layers-6' has the unknown setting 'defaultt'; known are default, mean"),
    ("tables/06/rows/0/tokenizer", "t49", "table 06, row .*: unknown tokenizer 't49'; known are b"),
    ("tables/02/transformer", "bass", "table 02 names the unknown transformer 'bass'; known are"),
    ("tables/02/rows/0/setting", "cosine-2", "'base' has the unknown setting 'cosine-2'; known"),
    ("tables/02/rows/0", {"ugs_iterations": 1}, "row {ugs_iterations: 1}: it names no setting"),
    ("tables/16/rows/0", {"setting": "default"}, "it names no transformer and no tokenizer"),
    ("tables/03/rows/1/step", 2, "'refinement' scores the steps 0, 1, 3, 5, 10, 20; give one of"),
    ("tables/16/rows/0/step", 10, "setting 'default' scores one step only; leave step out"),
    ("tables/16/rows", {}, "table 16 has rows {}; it must be a list of rows"),
    ("tables/16/row", [], "table 16 has the unknown key 'row'; the keys are transformer, rows"),
    ("tables/17", {"rows": []}, "unknown table '17'; in quotes, known are 01, 02"),
    # Sections
    ("profils", {}, "unknown section 'profils'; there are datasets"),
    ("tables", None, "the section 'tables' must be a mapping"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "message"), BAD)
def test_a_wrong_value_is_refused_in_one_sentence(params, variants, path, value, message):
    put(variants, path, value)
    assert re.search(message, complaint(params, variants))


@pytest.mark.parametrize("section", ["datasets", "tokenizers", "transformers", "profiles"])
def test_what_stages_are_made_from_must_be_there(params, variants, section):
    del variants[section]
    assert f"the section '{section}' must be" in complaint(params, variants)


@pytest.mark.parametrize("path", ["datasets/lab", "tokenizers/base", "transformers/base"])
def test_the_bases_must_be_there(params, variants, path):
    section, name = path.split("/")
    del variants[section][name]
    assert f"the section '{section}' lacks '{name}'" in complaint(params, variants)


def test_a_table_without_quotes_is_not_lost(params, variants):
    """YAML reads 05 as 5, and 08 as a text."""
    variants["tables"] |= yaml.safe_load("05: {rows: []}")
    assert "unknown table 5; in quotes" in complaint(params, variants)


def _keys(table, at=""):
    """Every key of the rules, with dots."""
    for key, rule in table.items():
        name = at + key.removesuffix("?")
        rule = getattr(rule, "inner", rule)
        yield from (_keys(rule, f"{name}.") if isinstance(rule, dict) else [name])


@pytest.mark.parametrize(
    ("table", "where"),
    [
        (DATASET, "datasets/wild"),
        (TOKENIZER, "tokenizers/t48"),
        (TRANSFORMER, "transformers/base"),
        (TRANSFORMER, "transformers/layers-6"),
        (EVALUATION, "evaluations/base"),
        (TABLE, "tables/02"),
        (PROFILE, "profiles/mini"),
        (PROFILE, "profiles/open"),
    ],
)
def test_no_key_of_any_entry_takes_nonsense(params, variants, table, where):
    """A mapping with an unknown key is right nowhere, and neither is an empty text."""
    for key in _keys(table):
        for nonsense in ({"no such key": object}, ""):
            edited = copy.deepcopy(variants)
            if key == "settings":
                nonsense = {"x": nonsense}
            put(edited, f"{where}/{key.replace('.', '/')}", nonsense)
            complaint(params, edited)


@pytest.mark.parametrize("where", ["transformers/base", "tokenizers/t48", "profiles/open"])
def test_a_key_that_is_needed_is_missed(params, variants, where):
    section, name = where.split("/")
    for key in list(variants[section][name]):
        if key not in ("only", "ablation_seeds"):
            edited = copy.deepcopy(variants)
            del edited[section][name][key]
            assert f"'{name}' lacks '{key}'" in complaint(params, edited)


def test_tokens_follow_the_scale_of_the_profile(params, variants):
    variants["tokenizers"]["t48"]["tokens"] = 72
    assert "profile 'mini' takes 48, 96" in complaint(params, variants)
    jobs = build_jobs(params | {"profile": "paper"}, variants)
    assert jobs["tokenizer/t48.json"]["model"]["num_tokens"] == 72


def test_the_sizes_that_are_said_to_fit_can_be_built(params, variants):
    """The least that the sentences name, in a real tokenizer; a step less is refused."""
    variants["tokenizers"]["t48"] |= {"tokens": 48, "codes": 8, "code_dim": 32}
    sizes = build_jobs(params, variants)["tokenizer/t48.json"]["model"]
    PoseTokenizer(**sizes)
    for key, less in (("num_tokens", 12), ("code_dim", 7)):
        with pytest.raises(ValueError, match=key):
            PoseTokenizer(**sizes | {key: less})


def test_the_limits_are_those_of_the_code():
    assert plan_rules.SCALES == SCALES and plan_rules.VERTICES == NUM_VERTICES
    assert plan_rules.IMAGE_KINDS == IMAGE_KINDS and plan_rules.MOTION_KINDS == MOTION_KINDS
    assert all(PROFILE["backbone"]["stem"].fits(stem) for stem in STEMS)
    assert {path.stem for path in (ROOT / "bench/reported").glob("table*.csv")} == {
        f"table{number}" for number in TABLES
    }


def test_a_row_may_name_a_method_that_every_evaluation_scores(variants):
    for method in METHODS:
        variants["tables"]["16"]["rows"][0]["setting"] = method
        check_variants(variants)


@pytest.mark.parametrize("command", ["plan", "tables", "claims", "explain"])
def test_no_command_goes_on_with_a_row_that_names_nothing(tmp_path, monkeypatch, command, variants):
    """Exit code 2 and one sentence, and no file."""
    variants["tables"]["16"]["rows"][2]["transformer"] = "layers-66"
    (tmp_path / "variants.yaml").write_text(yaml.safe_dump(variants, sort_keys=False))
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    arguments = [command, "2:5:3dpw:mpjpe"][: 1 + (command == "explain")]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2
    assert result.output.startswith("bench: variants.yaml: table 16, row")
    assert result.output.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {
        "variants.yaml", "params.yaml", "dvc.yaml"
    }  # fmt: skip
