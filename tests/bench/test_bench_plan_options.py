"""Options that few runs turn: jobs carry them where they are turned, and they reach what runs."""

import copy
import inspect
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import bench.tokenizers
import bench.transformers
from bench.infer import refine, sample
from bench.params import read_yaml
from bench.plan import build_jobs
from bench.plan_options import CROPS, INFERENCE, TOKENIZER, TRANSFORMER, carried
from genhmr.inference.predict import sample_pose
from genhmr.inference.refinement import refine_pose
from genhmr.train.tokenizer import train_tokenizer
from genhmr.train.transformer import train_transformer
from tests.transformer.tiny_models import composed, stick_joints, tiny_batch

ROOT = Path(__file__).parents[2]
UGS = {"iters": 8, "schedule": "linear", "top_k": 1, "temperature": 1.0}
REFINE = {"iters": 3, "step_size": 0.05, "pose_weight": 0.1, "camera": True}


@pytest.fixture
def params():
    return read_yaml(ROOT / "params.yaml") | {"profile": "open"}


@pytest.fixture
def variants():
    return read_yaml(ROOT / "variants.yaml")


def _changed(before, after):
    return {name for name in before | after if before.get(name) != after.get(name)}


def test_the_defaults_are_those_of_the_functions_that_take_them():
    def default(function, name):
        return inspect.signature(function).parameters[name].default

    shipped = read_yaml(ROOT / "params.yaml")
    for group, function in (("ugs", sample_pose), ("refine", refine_pose)):
        for name, value in INFERENCE[group].items():
            assert default(function, name) == value == shipped[group][name]
    for name in set(TRANSFORMER) - {"warmup"}:
        assert default(train_transformer, name) == TRANSFORMER[name], name
    assert default(train_tokenizer, "warm_up") == TOKENIZER["warmup"]
    assert default(train_tokenizer, "constant_lr") is TOKENIZER["constant_lr"] is False


def test_an_option_at_its_default_is_carried_nowhere(params, variants):
    """Named or not: the jobs are those of a file that has never heard of it."""
    before = build_jobs(params, variants)
    named = copy.deepcopy(variants)
    profile = named["profiles"]["open"]
    profile["transformer"] |= {k: v for k, v in TRANSFORMER.items() if v is not None}
    profile["tokenizer"] |= TOKENIZER
    profile["crops"] |= CROPS
    assert _changed(before, build_jobs(params, named)) == set()
    for name, job in before.items():
        known = {*TRANSFORMER, "warm_up", *CROPS}
        assert not known & {*job, *job.get("train", {})}, name
        for setting in job.get("settings", {}).values():
            for group, options in INFERENCE.items():
                assert not set(options) & set(setting[group])
    assert carried({"a": 1, "b": 2, "c": 3}, {"b": 2, "c": 4}) == {"a": 1, "c": 3}


@pytest.mark.parametrize(
    ("name", "value"), [("step_size", 0.2), ("pose_weight", 9.0), ("camera", False)]
)
def test_every_knob_of_refinement_is_named_where_it_is_turned(params, variants, name, value):
    """Else its numbers could be `reproduced`, or kept as a run of the suite's own settings."""
    params["refine"][name] = value
    told = build_jobs(params, variants)["tables.json"]["turned"]
    assert told == [f"refine.{name}={str(value).lower()}"]


def test_a_warm_up_of_null_is_the_usual_one(params, variants):
    before = build_jobs(params, variants)
    variants["profiles"]["mini"]["transformer"]["warmup"] = None
    assert build_jobs(params, variants) == before


@pytest.mark.parametrize(
    ("group", "name", "value", "said"),
    [
        ("ugs", "remask_decoded", True, "ugs.remask_decoded=true"),
        ("refine", "optimiser", "gradient", "refine.optimiser=gradient"),
        ("refine", "camera_step_size", 0.01, "refine.camera_step_size=0.01"),
    ],
)
def test_a_turned_knob_is_in_every_evaluation_and_named(params, variants, group, name, value, said):
    before = build_jobs(params, variants)
    params[group][name] = value
    jobs = build_jobs(params, variants)
    evaluated = {f"evaluate/{name}.json" for name in variants["transformers"]}
    assert _changed(before, jobs) == evaluated | {"tables.json"}
    assert jobs["tables.json"]["turned"] == [said] and before["tables.json"]["turned"] == []
    for job in evaluated:
        assert all(own[group][name] == value for own in jobs[job]["settings"].values())


def test_a_profile_turns_its_trainings(params, variants):
    before = build_jobs(params, variants)
    sizes = variants["profiles"]["open"]
    sizes["transformer"] |= {"clip_norm": 0.5, "all_tokens": True, "warmup": 7}
    sizes["tokenizer"]["warmup"] = 9
    sizes["crops"]["box_scale"] = 1.25
    jobs = build_jobs(params, variants)
    trained = {f"{kind}/{n}.json" for kind in ("tokenizer", "transformer")
               for n in variants[f"{kind}s"]}  # fmt: skip
    boxes = {f"data/{role}.json" for role, e in variants["datasets"].items()
             if e["kind"] not in ("amass", "moyo")}  # fmt: skip
    assert _changed(before, jobs) == trained | boxes
    own = jobs["transformer/layers-2.json"]["train"]
    assert own == before["transformer/layers-2.json"]["train"] | {
        "clip_norm": 0.5, "all_tokens": True, "warmup": 7
    }  # fmt: skip
    assert jobs["tokenizer/t48.json"]["train"]["warm_up"] == 9
    assert jobs["data/wild.json"]["box_scale"] == 1.25


def test_the_paper_is_trained_with_the_papers_optimiser(params, variants):
    """Adam at one rate, and nothing that its appendix does not name."""
    jobs = build_jobs(params | {"profile": "paper"}, variants)
    train = jobs["transformer/base.json"]["train"]
    assert (train["lr"], train["batch"], train["steps"]) == (1e-5, 48, 300000)
    assert train["weight_decay"] == train["ema_decay"] == train["warmup"] == 0
    assert train["constant_lr"] is True and "clip_norm" not in train
    train = jobs["tokenizer/base.json"]["train"]
    assert (train["lr"], train["batch_size"], train["steps"]) == (1e-4, 512, 200000)
    assert train["warm_up"] == 0 and train["constant_lr"] is True
    assert jobs["data/lab.json"]["box_scale"] == pytest.approx(4 / 3)


def _handed_on(monkeypatch, train):
    """What ``_train_transformer`` asks the training for, with a job's ``train``."""
    module, asked = bench.transformers, {}
    for name in ("ImageShard", "SMPLJoints"):
        monkeypatch.setattr(module, name, lambda *_: SimpleNamespace(to=lambda device: None))
    monkeypatch.setattr(module, "load_bodies", lambda _: SimpleNamespace(neutral=None))
    monkeypatch.setattr(module, "body25", lambda: None)
    monkeypatch.setattr(module, "train_transformer", lambda *args, **named: asked.update(named))
    jobs = build_jobs(read_yaml(ROOT / "params.yaml"), read_yaml(ROOT / "variants.yaml"))
    job = jobs["transformer/layers-2.json"]
    job = job | {"train": job["train"] | {"steps": 5000} | train}
    module._train_transformer(job, 3, None, [], Path(), "cpu")
    return asked


def test_the_options_of_a_job_reach_the_training_of_a_transformer(monkeypatch):
    usual = _handed_on(monkeypatch, {})
    assert usual["warmup"] == 200 and not set(TRANSFORMER) - {"warmup"} & set(usual)
    turned = {"warmup": 0, "constant_lr": True, "weight_decay": 0, "ema_decay": 0,
              "clip_norm": 0.1, "all_tokens": True}  # fmt: skip
    assert set(turned) == set(TRANSFORMER)
    asked = _handed_on(monkeypatch, turned)
    assert {name: asked[name] for name in turned} == turned
    assert {name: asked[name] for name in usual if name != "warmup"} == {
        name: value for name, value in usual.items() if name != "warmup"
    }


def test_the_options_of_a_job_reach_the_training_of_a_tokenizer(monkeypatch, tmp_path):
    class Asked(Exception):
        pass

    def training(*_, **named):
        raise Asked(named["warm_up"], named["constant_lr"])

    module = bench.tokenizers
    monkeypatch.setattr(module, "train_tokenizer", training)
    monkeypatch.setattr(module, "MotionShard", lambda _: SimpleNamespace(poses=None))
    monkeypatch.setattr(module, "load_bodies", lambda _: SimpleNamespace(neutral=None))
    for role in ("mocap", "yoga"):
        (tmp_path / "data" / role / "train").mkdir(parents=True)
        (tmp_path / "data" / role / "train" / "manifest.json").write_text("{}")
    params = read_yaml(ROOT / "params.yaml") | {"profile": "paper", "device": "cpu"}
    job = build_jobs(params, read_yaml(ROOT / "variants.yaml"))["tokenizer/base.json"]
    with pytest.raises(Asked) as asked:
        module.make_tokenizer(job, tmp_path, tmp_path / "out", tmp_path / "scratch")
    assert asked.value.args == (0, True)


def test_masking_again_reaches_the_sampling():
    model, batch = composed().eval(), tiny_batch(8)
    with torch.no_grad():
        features = model.encode_image(batch.images)
    rows = batch.index.numpy()
    usual = sample(model, features, {"ugs": UGS}, rows, 0)
    again = sample(model, features, {"ugs": UGS | {"remask_decoded": True}}, rows, 0)
    wanted = sample_pose(model, features, 8, "linear", remask_decoded=True)
    assert torch.equal(again.trace.masks, wanted.trace.masks)
    assert not torch.equal(again.trace.masks, usual.trace.masks)


@pytest.mark.parametrize("turned", [{"optimiser": "gradient"}, {"camera_step_size": 0.01}])
def test_the_optimiser_and_the_cameras_step_reach_the_refinement(turned):
    model, batch = composed().eval(), tiny_batch()
    with torch.no_grad():
        sampled = sample_pose(model, model.encode_image(batch.images), 2)
    points = batch.keypoints_2d

    usual = refine(model, stick_joints, sampled, points, REFINE)
    own = refine(model, stick_joints, sampled, points, REFINE | turned)
    wanted = refine_pose(
        model.tokenizer.decode, stick_joints, sampled.latents, sampled.betas, sampled.cam, points,
        steps=3, **turned,
    )  # fmt: skip
    assert torch.equal(own.cam, wanted.cam) and torch.equal(own.latents, wanted.latents)
    assert not torch.equal(own.cam, usual.cam)
