"""The plan: what an edit changes, and how bad input is refused."""

import copy
from pathlib import Path

import pytest

from bench.plan import build_jobs, check_params, describe, read_yaml, write_plan
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
    assert _changed(before, build_jobs(params, variants)) == {"evaluate/base.json"}


def test_explicit_settings_win_over_params(params, variants):
    params["ugs"] |= {"iters": 9, "schedule": "linear"}
    settings = build_jobs(params, variants)["evaluate/base.json"]["settings"]
    assert settings["cosine-3"]["ugs"]["iters"] == 3
    assert settings["cosine-3"]["ugs"]["schedule"] == "cosine"
    assert settings["top-2"]["ugs"] == params["ugs"] | {"top_k": 2}
    assert settings["default"]["refine"]["iters"] == 0
    assert settings["headline"]["refine"] == params["refine"]


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
    assert profile in describe(params, variants, jobs)
    tokens = [jobs[f"tokenizer/{n}.json"]["model"]["num_tokens"] for n in ("t48", "t384")]
    assert tokens[1] == 8 * tokens[0], "the scale keeps the paper's ratios"


def test_no_two_trained_tokenizers_are_the_same(params, variants):
    jobs = build_jobs(params, variants)
    seen = [str(job) for name, job in jobs.items() if name.startswith("tokenizer/")]
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda p: p["ugs"].__setitem__("itres", 5), "unknown key 'ugs.itres'"),
        (lambda p: p["ugs"].__setitem__("iters", "many"), "'ugs.iters' is 'many'"),
        (lambda p: p["ugs"].__setitem__("iters", 0), "greater than 0"),
        (lambda p: p["ugs"].__setitem__("iters", True), "type int"),
        (lambda p: p["refine"].__setitem__("iters", -1), "must not be negative"),
        (lambda p: p["ugs"].__setitem__("schedule", "sine"), "choose one of cosine"),
        (lambda p: p["data"].__setitem__("source", "private"), "choose one of open, licensed"),
        (lambda p: p.pop("seed"), "'seed' is missing"),
    ],
)
def test_bad_params_are_one_sentence(params, edit, message):
    edit(params)
    with pytest.raises(UserError, match=message) as error:
        check_params(params)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda p, v: p.__setitem__("profile", "huge"), "unknown profile 'huge'"),
        (lambda p, v: v["transformers"]["base"].__setitem__("tokenizer", "x"), "tokenizer 'x'"),
        (lambda p, v: v["tokenizers"]["t48"].__setitem__("train_on", {"sea": 1}), "set 'sea'"),
        (lambda p, v: v["tokenizers"]["t48"].__setitem__("tokens", 47), "cannot be divided"),
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
                "report", [0, 30]
            ),
            "reports step 30 and refines 20 steps",
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


def test_the_lifter_learns_from_the_motion_of_the_tokenizer(params, variants):
    job = build_jobs(params, variants)["transformer/base.json"]
    assert job["model"]["lifter"] == 512
    assert job["lift"] == {
        "steps": 500, "batch": 128, "weight": 0.1,
        "train_on": variants["tokenizers"]["base"]["train_on"],
    }  # fmt: skip
    params["profile"] = "paper"
    job = build_jobs(params, variants)["transformer/base.json"]
    assert job["model"]["lifter"] is None and job["lift"] is None


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


@pytest.mark.parametrize("content", ["a: [", "- 1\n- 2\n", None])
def test_unreadable_yaml_is_one_sentence(tmp_path, content):
    path = tmp_path / "params.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match="params.yaml"):
        read_yaml(path)


def test_licensed_human36m_is_tested_by_protocol_2_and_the_open_lab_by_all_cameras(
    params, variants
):
    assert build_jobs(params, variants)["data/lab.json"]["splits"]["test"] == "test"
    params["data"]["source"] = "licensed"
    splits = build_jobs(params, variants)["data/lab.json"]["splits"]
    assert splits == {"train": "train", "test": "test-p2"}
