"""The training loop of the masked transformer on tiny models and noise."""

import itertools

import pytest
import torch

from genhmr.image.vit import ViTBackbone
from genhmr.inference.predict import predict
from genhmr.train.averaging import WeightAverage
from genhmr.train.transformer import _groups, train_transformer
from genhmr.transformer.objective import training_losses
from genhmr.types import UserError
from tests.transformer.tiny_models import composed, stick_joints, tiny_batch


def crops(start):
    return (tiny_batch(seed=step % 3) for step in itertools.count(start))


def train(model, scratch, steps=12, **kwargs):
    options = {"lr": 3e-3, "warmup": 2, "log_every": 4, "checkpoint_every": 5, **kwargs}
    return train_transformer(model, crops, stick_joints, scratch, steps, **options)


def weights(model):
    return {name: value.clone() for name, value in model.trainable_state().items()}


def test_it_learns_a_batch_by_heart(tmp_path):
    """One batch, one model: the sampled tokens become the true ones, and the losses fall."""
    model, batch = composed(), tiny_batch(seed=1)
    history = train_transformer(
        model, lambda start: itertools.repeat(batch), stick_joints, tmp_path, steps=60, lr=2e-2,
        warmup=2, log_every=12, ema_decay=0.9, geometry_scale=0.1, temperature_end=0.5,
    )  # fmt: skip
    assert history[-1]["mask"] < 0.2 * history[0]["mask"]
    for name in ("betas", "keypoints_2d"):
        assert history[-1][name] < history[0][name]
    tokens = predict(model, batch.images, iterations=3).trace.tokens
    truth = model.tokenizer.tokenize(batch.pose)
    assert (tokens == truth)[batch.has_smpl].float().mean() > 0.9


@pytest.mark.parametrize("backbone_lr_scale", [0.0, 0.5])
def test_a_stopped_training_ends_where_an_unbroken_one_does(tmp_path, backbone_lr_scale):
    options = {"backbone_lr_scale": backbone_lr_scale, "ema_decay": 0.5}
    whole = composed()
    train(whole, tmp_path / "whole", **options)

    class Stop(Exception):
        pass

    def until_seven(start):
        for step in itertools.count(start):
            if step == 7:
                raise Stop
            yield tiny_batch(seed=step % 3)

    broken = composed()
    with pytest.raises(Stop):
        train_transformer(
            broken, until_seven, stick_joints, tmp_path / "broken", 12, lr=3e-3, warmup=2,
            log_every=4, checkpoint_every=5, **options,
        )  # fmt: skip
    resumed = composed()
    train(resumed, tmp_path / "broken", **options)
    for name, value in weights(resumed).items():
        assert torch.equal(value, whole.trainable_state()[name]), name


def test_frozen_backbone_stays_and_a_free_one_moves(tmp_path):
    before = composed().backbone.weight.clone()
    frozen, free = composed(), composed()
    train(frozen, tmp_path / "frozen", steps=3)
    train(free, tmp_path / "free", steps=3, backbone_lr_scale=0.1)
    assert torch.equal(frozen.backbone.weight, before)
    assert not torch.equal(free.backbone.weight, before)


def test_tokenizer_is_untouched(tmp_path):
    model = composed()
    before = {k: v.clone() for k, v in model.tokenizer.state_dict().items()}
    train(model, tmp_path, steps=3, weight_decay=0.1)
    for name, value in model.tokenizer.state_dict().items():
        assert torch.equal(value, before[name])


def test_settings_of_another_training_are_refused(tmp_path):
    train(composed(), tmp_path, steps=6)
    with pytest.raises(UserError, match="other settings"):
        train(composed(), tmp_path, steps=6, seed=1)


def test_time_limit_stops_and_evaluation_joins_the_history(tmp_path):
    seen = []

    def evaluate(model):
        assert not model.training
        seen.append(model.transformer.code_head.weight.detach().clone())
        return {"score": 1.5}

    history = train(
        composed(), tmp_path / "a", steps=8, evaluate=evaluate, evaluate_every=4, ema_decay=0.0
    )
    assert [row["step"] for row in history if "score" in row] == [3, 7]
    assert not torch.equal(*seen)
    stopped = train(composed(), tmp_path / "b", steps=500, max_seconds=0.0, log_every=1)
    assert len(stopped) == 1


def test_average_follows_a_moving_weight():
    module = torch.nn.Linear(1, 1, bias=False)
    average, expected = WeightAverage(module, 0.9), None
    with torch.no_grad():
        expected = module.weight.item()
        for step in range(30):
            module.weight.fill_(float(step))
            average.update()
            decay = min(0.9, (1 + step) / (10 + step))
            expected = decay * expected + (1 - decay) * step
    average.swap()
    assert module.weight.item() == pytest.approx(expected, rel=1e-5)
    average.swap()
    assert module.weight.item() == 29.0
    with pytest.raises(ValueError):
        WeightAverage(module, 1.0)


def test_without_average_the_last_weights_are_kept(tmp_path):
    """Decay 0 is no average: the model ends as the optimiser left it."""
    last = {}

    def watched(start):
        for step in itertools.count(start):
            yield tiny_batch(seed=step % 3)

    kept, averaged = composed(), composed()
    update = WeightAverage.update

    def note(average):
        update(average)
        last.update({name: p.detach().clone() for name, p in average._live.items()})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WeightAverage, "update", note)
        train(kept, tmp_path / "kept", ema_decay=0.0)
    train(averaged, tmp_path / "averaged")
    for name, value in kept.named_parameters():
        assert name not in last or torch.equal(value, last[name]), name
    assert not torch.equal(kept.transformer.code_head.weight, averaged.transformer.code_head.weight)


def test_the_papers_optimiser_is_adam_at_one_rate(tmp_path):
    """No decay, warm-up or average, and a constant rate: one step is Adam's first, lr long."""
    model = composed()
    before = weights(model)
    options = {"weight_decay": 0.0, "warmup": 0, "constant_lr": True, "ema_decay": 0.0}
    history = train(model, tmp_path / "a", steps=1, lr=1e-3, log_every=1, **options)
    assert history[0]["lr"] == 1e-3
    moved = weights(model)["transformer.code_head.weight"] - before["transformer.code_head.weight"]
    # Adam's first step is lr * sign(gradient); a decay would add its share of the weights.
    assert moved.abs().max() == pytest.approx(1e-3, rel=1e-3)
    rates = [row["lr"] for row in train(composed(), tmp_path / "b", 6, log_every=1, **options)]
    assert rates == [3e-3] * 6
    decayed = composed()
    train(decayed, tmp_path / "c", 1, lr=1e-3, log_every=1, **options | {"weight_decay": 10.0})
    assert not torch.equal(
        weights(decayed)["transformer.code_head.weight"],
        weights(model)["transformer.code_head.weight"],
    )


def test_clipping_and_all_tokens_reach_the_step(tmp_path):
    """Adam does not see the scale of a gradient that is clipped in every step, but its own eps."""
    losses = [
        train(composed(), tmp_path / str(everything), 1, log_every=1, all_tokens=everything)
        for everything in (False, True)
    ]
    assert losses[0][0]["mask"] != losses[1][0]["mask"]
    tight, wide = composed(), composed()
    train(tight, tmp_path / "tight", 2, clip_norm=1e-9)
    train(wide, tmp_path / "wide", 2)
    assert not torch.equal(tight.transformer.code_head.weight, wide.transformer.code_head.weight)


def test_what_decays_goes_by_shape_and_name():
    """Matrices do; vectors, tables and the backbone's patch embedding, stem and all, do not."""
    model = composed()
    model.backbone = ViTBackbone((32, 24), 8, 12, 1, 2, stem="conv")
    names = {id(p): name for name, p in model.named_parameters()}
    groups = _groups(model, 0.5, 0.1)
    decays = {names[id(p)]: g["weight_decay"] > 0 for g in groups for p in g["params"]}
    assert decays["transformer.code_head.weight"] and decays["backbone.vit.blocks.0.mlp.fc1.weight"]
    stem = "backbone.vit.patch_embed"
    for name in (
        "transformer.code_head.bias", "transformer.token_embedding.weight",
        "transformer.reference_logits", "backbone.vit.pos_embed", f"{stem}.proj.weight",
        f"{stem}.convs.0.weight",
    ):  # fmt: skip
        assert decays[name] is False, name


def test_the_masked_places_are_handed_over_with_the_mask(tmp_path, monkeypatch):
    """Of what has no ground truth all, else those of the mask; in every step another draw."""
    seen = []

    def look(model, features, batch, joints_fn, mask, *options):
        places = options[-1]
        assert mask[~batch.has_smpl].all()
        assert torch.equal(places, mask.flatten().nonzero()[:, 0])
        seen.append(places)
        return training_losses(model, features, batch, joints_fn, mask, *options)

    monkeypatch.setattr("genhmr.train.transformer.training_losses", look)
    train(composed(), tmp_path, steps=4)
    assert len(seen) == 4 and not all(torch.equal(seen[0], other) for other in seen[1:])
