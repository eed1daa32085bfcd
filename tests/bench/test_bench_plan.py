"""The plan: what an edit changes, and how bad input is refused."""

import copy
import json
from pathlib import Path

import pytest

from bench.forecast import forecast
from bench.forecast_text import headline
from bench.params import read_yaml
from bench.plan import build_jobs, write_plan
from bench.plan_options import INFERENCE, carried
from genhmr.types import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def params():
    return read_yaml(ROOT / "params.yaml")


@pytest.fixture
def variants():
    return read_yaml(ROOT / "variants.yaml")


def _changed(before, after):
    return {name for name in before | after if before.get(name) != after.get(name)}


def test_sampling_iterations_touch_evaluations_and_tables_only(params, variants):
    before = build_jobs(params, variants)
    params["ugs"]["iters"] += 3
    changed = _changed(before, build_jobs(params, variants))
    evaluated = {f"evaluate/{name}.json" for name in variants["transformers"]}
    assert changed == evaluated | {"tables.json"}


def test_explicit_settings_win_over_params(params, variants):
    params["ugs"] |= {"iters": 9, "schedule": "linear"}
    settings = build_jobs(params, variants)["evaluate/base.json"]["settings"]
    assert settings["cosine-3"]["ugs"]["iters"] == 3
    assert settings["cosine-3"]["ugs"]["schedule"] == "cosine"
    assert settings["top-2"]["ugs"] == carried(params["ugs"] | {"top_k": 2}, INFERENCE["ugs"])
    assert settings["default"]["refine"]["iters"] == 0
    assert settings["headline"]["refine"] == carried(params["refine"], INFERENCE["refine"])


def test_one_new_variant_adds_its_own_jobs_only(params, variants):
    before = build_jobs(params, variants)
    variants["tokenizers"]["new"] = copy.deepcopy(variants["tokenizers"]["t48"])
    variants["tokenizers"]["new"]["codes"] = 1024
    changed = _changed(before, build_jobs(params, variants))
    assert changed == {"tokenizer/new.json", "evaluate-tokenizer/new.json", "tables.json"}


@pytest.mark.parametrize("profile", ["smoke", "mini", "open", "paper"])
@pytest.mark.parametrize("source", ["open", "licensed"])
def test_every_profile_and_source_resolves(params, variants, profile, source):
    params["profile"], params["data"]["source"] = profile, source
    jobs = build_jobs(params, variants)
    assert len([n for n in jobs if n.startswith("tokenizer/")]) == len(variants["tokenizers"])
    assert profile in headline(params, variants, jobs, forecast(jobs))
    if profile != "smoke":
        tokens = [jobs[f"tokenizer/{n}.json"]["model"]["num_tokens"] for n in ("t48", "t384")]
        assert tokens[1] == 8 * tokens[0], "the scale keeps the paper's ratios"


@pytest.mark.parametrize("profile", ["smoke", "mini", "open", "paper"])
def test_no_two_trained_models_are_the_same(params, variants, profile):
    params["profile"] = profile
    jobs = build_jobs(params, variants)
    for kind in ("tokenizer/", "transformer/"):
        models = [n for n, job in jobs.items() if n.startswith(kind) and "skip" not in job]
        own = [{**jobs[name], "seed": 0, "seeds": 0} for name in models]
        seen = {json.dumps(job, sort_keys=True) for job in own}
        assert len(seen) == len(models), kind
    assert len(variants["transformers"]) == 40 and len(variants["tokenizers"]) == 14


def test_a_variant_changes_what_it_names_and_nothing_else(params, variants):
    jobs = build_jobs(params, variants)
    base = jobs["transformer/ablation.json"]
    for name, own in variants["transformers"].items():
        if name == "base":
            continue
        job = jobs[f"transformer/{name}.json"]
        named = {key: value for key, value in own.items() if key not in ("tokenizer", "evaluation")}
        for key, value in named.items():
            here = job["model"] if key in ("scales", "layers") else job
            then = base["model"] if key in ("scales", "layers") else base
            expected = then[key] | value if key in ("gumbel", "losses") else value
            assert here[key] == expected != then[key], (name, key)
        same = set(job) - set(named) - {"tokenizer", "model"}
        assert all(job[key] == base[key] for key in same), name


def test_one_edited_variant_touches_its_own_training_only(params, variants):
    before = build_jobs(params, variants)
    variants["transformers"]["layers-6"]["layers"] = 7
    assert _changed(before, build_jobs(params, variants)) == {"transformer/layers-6.json"}


def test_a_profile_trains_what_it_names_and_says_what_it_leaves_out(params, variants):
    params["profile"] = "smoke"
    jobs = build_jobs(params, variants)
    wanted = set(variants["profiles"]["smoke"]["only"]["transformer"])
    for name in variants["transformers"]:
        for kind in ("transformer", "evaluate"):
            assert ("skip" in jobs[f"{kind}/{name}.json"]) == (name not in wanted)
    assert jobs["tables.json"]["skipped"]["tokenizer/t384"] == "left out of this profile"
    variants["profiles"]["smoke"]["only"]["tokenizer"].remove("mixed-t48")
    with pytest.raises(UserError, match="leaves tokenizer/mixed-t48 out, on which.*'tokens-48'"):
        build_jobs(params, variants)
    variants["profiles"]["smoke"]["only"]["tokenizer"].append("mixed-t49")
    with pytest.raises(UserError, match="unknown tokenizer 'mixed-t49'"):
        build_jobs(params, variants)


def test_variants_are_trained_as_long_as_one_another(params, variants):
    jobs = build_jobs(params, variants)
    steps = {job["train"]["steps"] for name, job in jobs.items()
             if name.startswith("transformer/") and name != "transformer/base.json"}  # fmt: skip
    assert steps == {variants["profiles"]["mini"]["transformer"]["ablation_steps"]}
    assert jobs["transformer/base.json"]["weights"]
    assert not jobs["transformer/ablation.json"]["weights"]
    assert jobs["tables.json"]["same"] == {}
    params["profile"] = "open"
    sizes = variants["profiles"]["open"]["transformer"]
    jobs = build_jobs(params, variants)
    base, short = (jobs[f"transformer/{name}.json"] for name in ("base", "ablation"))
    for job, length in ((base, ""), (short, "ablation_")):
        wanted = {key: sizes[length + key] for key in ("steps", "batch")}
        assert {key: job["train"][key] for key in wanted} == wanted
    assert base["gumbel"] == short["gumbel"] | sizes["base_gumbel"] != short["gumbel"]
    params["profile"] = "paper"  # the same number of steps: the base is not trained twice
    jobs = build_jobs(params, variants)
    assert "skip" in jobs["transformer/ablation.json"] and "skip" in jobs["evaluate/ablation.json"]
    for key, value in (("ablation_batch", 24), ("base_gumbel", {"tau_end": 0.5})):
        edited = copy.deepcopy(variants)
        edited["profiles"]["paper"]["transformer"][key] = value
        assert "skip" not in build_jobs(params, edited)["transformer/ablation.json"]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda p, v: p.__setitem__("profile", "huge"), "unknown profile 'huge'"),
        (lambda p, v: v["transformers"]["base"].__setitem__("tokenizer", "x"), "tokenizer 'x'"),
        (lambda p, v: v["tokenizers"]["t48"].__setitem__("train_on", {"sea": 1}), "set 'sea'"),
        (
            lambda p, v: v["evaluations"]["base"]["settings"].__setitem__("x", {"ugs": {"k": 1}}),
            "unknown key 'ugs.k'",
        ),
        (
            lambda p, v: v["evaluations"]["base"]["settings"].__setitem__("x", {"sets": ["sea"]}),
            "names the set 'sea'",
        ),
        (
            lambda p, v: v["evaluations"]["base"]["settings"]["cosine-1"]["ugs"].__setitem__(
                "schedule", "cosin"
            ),
            "setting 'cosine-1'.*'cosin'",
        ),
        (
            lambda p, v: v["evaluations"]["base"]["settings"]["refinement"].__setitem__(
                "report", [0, 1, 3, 5, 10, 20, 30]
            ),
            "reports step 30 and refines 20 steps",
        ),
        (
            lambda p, v: v["transformers"]["layers-2"].__setitem__("layer", 2),
            "transformer 'layers-2' has the unknown key 'layer'",
        ),
        (
            lambda p, v: v["transformers"]["anneal-75"]["gumbel"].__setitem__("tau", 2),
            "transformer 'anneal-75' has the unknown key 'gumbel.tau'",
        ),
        (
            lambda p, v: v["transformers"]["sd-itw"].__setitem__("evaluation", "big"),
            "unknown evaluation 'big'",
        ),
        (
            lambda p, v: v["transformers"]["sd-itw"]["train_on"].__setitem__("sea", 1),
            "data set 'sea'",
        ),
        (
            lambda p, v: v["profiles"]["mini"]["transformer"].__setitem__("reference", "keypoint"),
            "reference 'keypoint'; choose one of learned, keypoints",
        ),
        (
            lambda p, v: v["profiles"]["mini"]["transformer"].__setitem__("reference", "learned"),
            "heatmap_weight 0.2 and no keypoints",
        ),
        (
            lambda p, v: v["profiles"]["mini"]["transformer"].__setitem__("lifter", None),
            "profile 'mini' has reference keypoints and no lifter; give it {width",
        ),
    ],
)
def test_unknown_variants_are_one_sentence(params, variants, edit, message):
    edit(params, variants)
    with pytest.raises(UserError, match=message):
        build_jobs(params, variants)


def test_sets_of_some_variants_alone_are_optional_where_a_licence_is_needed(params, variants):
    params["data"]["source"] = "licensed"
    jobs = build_jobs(params, variants)
    optional = {n for n, job in jobs.items() if n.startswith("data/") and job["optional"]}
    assert optional == {"data/web.json", "data/synth.json"}
    params["data"]["source"] = "open"
    jobs = build_jobs(params, variants)
    assert not any(job["optional"] for n, job in jobs.items() if n.startswith("data/"))


def _run(jobs, kind):
    return {name.split("/")[1].removesuffix(".json") for name, job in jobs.items()
            if name.startswith(f"{kind}/") and "skip" not in job}  # fmt: skip


def test_models_names_what_runs_with_what_that_needs(params, variants):
    params["models"] = ["loss-*", "tokens-48", "c1024x256"]
    jobs = build_jobs(params, variants)
    losses = {name for name in variants["transformers"] if name.startswith("loss-")}
    assert len(losses) == 6
    assert _run(jobs, "transformer") == _run(jobs, "evaluate") == losses | {
        "tokens-48", "ablation", "base"
    }  # fmt: skip
    assert _run(jobs, "tokenizer") == _run(jobs, "evaluate-tokenizer") == {
        "base", "mixed-t48", "c1024x256"
    }  # fmt: skip
    assert "`models`" in jobs["tables.json"]["skipped"]["transformer/layers-2"]
    several = build_jobs(params | {"profile": "open"}, variants)
    assert _run(several, "tokenizer") == {"base", "mixed-t48", "c1024x256", "c2048x256"}
    params["models"] = ["base"]
    assert _run(build_jobs(params, variants), "transformer") == {"base"}
    params |= {"profile": "smoke", "models": ["tokens-*"]}
    assert _run(build_jobs(params, variants), "transformer") == {"tokens-48", "ablation", "base"}
    params["models"] = ["loss-*"]
    with pytest.raises(UserError, match="models names 'loss-.', which no .* of this profile match"):
        build_jobs(params, variants)
    params |= {"profile": "mini", "models": ["tokens-*", "layer-9"]}
    with pytest.raises(UserError, match="models names 'layer-9', which no tokenizer or transform"):
        build_jobs(params, variants)


def test_the_shipped_base_can_stand_in_any_profile(params, variants):
    params |= {"profile": "open", "weights": "shipped"}
    jobs = build_jobs(params, variants)
    given = {name for name, job in jobs.items() if job.get("weights")}
    assert given == {
        "backbone/base.json", "lifter/base.json", "tokenizer/base.json", "transformer/base.json"
    }  # fmt: skip
    assert jobs["transformer/base.json"]["seeds"] == [params["seed"]]
    steps = variants["profiles"]["open"]["transformer"]["ablation_steps"]
    assert jobs["transformer/ablation.json"]["train"]["steps"] == steps > 100
    assert len(jobs["transformer/ablation.json"]["seeds"]) == jobs["evaluate/ablation.json"][
        "models"] == variants["profiles"]["open"]["ablation_seeds"] > 1  # fmt: skip
    assert len(jobs["transformer/layers-2.json"]["seeds"]) == 1
    several = {name for name, job in jobs.items() if len(job.get("seeds", ())) > 1}
    assert several == {"transformer/ablation.json", "tokenizer/c2048x256.json"}
    for asked, base, short in ((0, [4, 5, 6], [4, 5, 6, 7, 8]), (2, [4, 5], [4, 5])):
        own = params | {"weights": "profile", "seed": 4, "seeds": asked}
        jobs = build_jobs(own, variants)  # not told, the profile has its numbers
        assert jobs["transformer/base.json"]["seeds"] == base
        assert jobs["transformer/ablation.json"]["seeds"] == short
    params |= {"profile": "mini", "weights": "trained", "seeds": 3}
    assert len(build_jobs(params, variants)["transformer/base.json"]["seeds"]) == 3
    params["weights"] = "profile"
    with pytest.raises(UserError, match="seeds is 3, and profile 'mini' takes the shipped base"):
        build_jobs(params, variants)


@pytest.mark.parametrize(("profile", "asked", "trained"), [("mini", 0, None), ("open", 1, None),
                                                           ("open", 2, 3), ("open", 5, 5)])
def test_a_tokenizer_is_trained_with_several_seeds_where_models_are(
    params, variants, profile, asked, trained
):
    """One says what chance does to all; the jobs of the others stay as they were."""
    params |= {"profile": profile, "seeds": asked, "seed": 7}
    jobs = build_jobs(params, variants)
    own = jobs["tokenizer/c2048x256.json"]
    assert own.get("seeds") == (None if trained is None else list(range(7, 7 + trained)))
    assert jobs["evaluate-tokenizer/c2048x256.json"].get("models") == trained
    assert own["seed"] == 7 and "seeds" not in jobs["tokenizer/c1024x256.json"]
    assert "models" not in jobs["evaluate-tokenizer/c1024x256.json"]


def test_learned_reference_points_need_no_lifter(params, variants):
    """The edit that the error message of a lone heatmap weight asks for."""
    params["profile"] = "open"
    variants["profiles"]["open"]["transformer"] |= {"reference": "learned", "heatmap_weight": 0}
    jobs = build_jobs(params, variants)
    job = jobs["transformer/base.json"]
    assert job["model"]["lifter"] is None and job["train"]["lifted_weight"] == 0
    assert "skip" in jobs["lifter/base.json"]


def test_the_tables_know_what_was_turned(params, variants):
    assert build_jobs(params, variants)["tables.json"]["turned"] == []
    params["ugs"]["iters"], params["refine"]["iters"] = 20, 3
    turned = build_jobs(params, variants)["tables.json"]["turned"]
    assert turned == ["ugs.iters=20", "refine.iters=3"]


def test_the_lifter_learns_from_the_motion_of_the_tokenizer(params, variants):
    jobs = build_jobs(params, variants)
    assert jobs["transformer/base.json"]["model"]["lifter"] == jobs["lifter/base.json"]["width"]
    assert jobs["lifter/base.json"]["weights"] == "datasets/open/weights/genhmr.safetensors"
    params["profile"] = "open"
    job = build_jobs(params, variants)["lifter/base.json"]
    assert job["weights"] is None and job["train"] == {"steps": 20000, "batch": 128}
    assert job["train_on"] == variants["tokenizers"]["base"]["train_on"]
    params["profile"] = "paper"
    jobs = build_jobs(params, variants)
    assert jobs["transformer/base.json"]["model"]["lifter"] is None
    assert jobs["transformer/base.json"]["train"]["lifted_weight"] == 0
    assert "skip" in jobs["lifter/base.json"]


def test_writing_replaces_the_old_plan(tmp_path, params, variants):
    (tmp_path / "plan" / "tokenizer").mkdir(parents=True)
    (tmp_path / "plan" / "tokenizer" / "gone.json").write_text("{}")
    jobs = build_jobs(params, variants)
    write_plan(jobs, tmp_path / "plan")
    written = {str(p.relative_to(tmp_path / "plan")) for p in tmp_path.rglob("*.json")}
    assert written == set(jobs)
    first = (tmp_path / "plan" / "evaluate" / "base.json").read_bytes()
    write_plan(build_jobs(params, variants), tmp_path / "plan")
    assert (tmp_path / "plan" / "evaluate" / "base.json").read_bytes() == first


def test_licensed_human36m_is_tested_by_protocol_2_and_the_open_lab_by_all_cameras(
    params, variants
):
    assert build_jobs(params, variants)["data/lab.json"]["splits"]["test"] == "test"
    params["data"]["source"] = "licensed"
    splits = build_jobs(params, variants)["data/lab.json"]["splits"]
    assert splits == {"train": "train", "test": "test-p2"}
