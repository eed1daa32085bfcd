"""Checkpoints and the resumable loop: a stop at any step changes nothing."""

import numpy as np
import pytest
import torch

from genhmr.train.checkpoint import load_checkpoint, load_weights, save_checkpoint, save_weights
from genhmr.train.loop import ResumableLoop, cosine_lr, set_lr
from genhmr.types import UserError


def _train(folder, steps, stop_at=None):
    """Noisy SGD with momentum on a linear model; returns its weights and history."""
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
    noise = torch.Generator().manual_seed(7)
    loop = ResumableLoop(
        folder / "last.pt", steps, {"m": model, "o": optimiser}, {"noise": noise}, every=3
    )
    for step in loop:
        if step == stop_at:
            raise KeyboardInterrupt
        set_lr(optimiser, cosine_lr(step, steps, 0.1, warmup=2))
        loss = (model(torch.randn(8, 4, generator=noise)) - 1).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        loop.log(loss=loss.item())
    return model.weight.detach().numpy().copy(), loop.history


def test_an_interrupted_training_ends_as_if_it_had_not_been(tmp_path):
    whole, history = _train(tmp_path / "a", 11)
    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path / "b", 11, stop_at=8)
    resumed, resumed_history = _train(tmp_path / "b", 11)
    np.testing.assert_array_equal(whole, resumed)
    assert history == resumed_history and len(history) == 11


def test_a_finished_training_is_not_repeated(tmp_path):
    first, _ = _train(tmp_path, 5)
    second, history = _train(tmp_path, 5)
    np.testing.assert_array_equal(first, second)
    assert len(history) == 5


def test_a_time_budget_stops_early_and_says_so(tmp_path):
    loop = ResumableLoop(tmp_path / "c.pt", 10_000_000, {}, max_seconds=0.02)
    count = sum(1 for _ in loop)
    assert 0 < count < 10_000_000 and loop.stopped_early
    assert list(ResumableLoop(tmp_path / "c.pt", 10_000_000, {}, max_seconds=0.02)) == []
    more = ResumableLoop(tmp_path / "c.pt", 10_000_000, {}, max_seconds=0.04)
    assert next(iter(more)) == count, "with more time it goes on where it stopped"


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    list(ResumableLoop(tmp_path / "c.pt", 2, {}, signature="base"))
    with pytest.raises(UserError, match="other settings"):
        ResumableLoop(tmp_path / "c.pt", 2, {}, signature="wide")


def test_cosine_lr_ends():
    rates = [cosine_lr(s, 100, 1.0, warmup=10, floor=0.1) for s in range(101)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.55) and rates[100] == pytest.approx(0.1)
    assert all(a >= b for a, b in zip(rates[10:], rates[11:]))


def test_checkpoint_file_is_whole_or_refused(tmp_path):
    assert load_checkpoint(tmp_path / "none.pt") is None
    save_checkpoint(tmp_path / "x.pt", {"a": torch.arange(3), "b": [1, "two"]})
    state = load_checkpoint(tmp_path / "x.pt")
    assert state["a"].tolist() == [0, 1, 2] and state["b"] == [1, "two"]
    damaged = (tmp_path / "x.pt").read_bytes()[:100]
    (tmp_path / "x.pt").write_bytes(damaged)
    with pytest.raises(UserError, match="x.pt"):
        load_checkpoint(tmp_path / "x.pt")


def test_weights_round_trip_and_bytes_do_not_depend_on_order(tmp_path):
    a, b = torch.randn(3, 2), torch.arange(4)
    save_weights(tmp_path / "1.safetensors", {"a": a, "b": b}, {"width": 3, "depth": 1})
    save_weights(tmp_path / "2.safetensors", {"b": b, "a": a}, {"depth": 1, "width": 3})
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()
    tensors, config = load_weights(tmp_path / "1.safetensors")
    assert config == {"width": 3, "depth": 1}
    assert tensors["a"].dtype == torch.float32 and tensors["b"].dtype == torch.int64
    torch.testing.assert_close(tensors["a"], a, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("content", [b"", b"not a safetensors file at all", None])
def test_bad_weights_are_one_sentence(tmp_path, content):
    path = tmp_path / "w.safetensors"
    if content is not None:
        path.write_bytes(content)
    missing = "does not exist: run the stage" if content is None else "export it again"
    with pytest.raises(UserError, match=f"w.safetensors.*{missing}"):
        load_weights(path)


@pytest.mark.parametrize("damage", ["gone", "cut", "empty"])
def test_shipped_weights_come_back_by_git(tmp_path, damage):
    path = tmp_path / "datasets" / "open" / "weights" / "genhmr.safetensors"
    path.parent.mkdir(parents=True)
    save_weights(path, {"a": torch.ones(100)}, {})
    path.write_bytes(path.read_bytes()[: {"gone": 0, "cut": 120, "empty": 0}[damage]])
    if damage == "gone":
        path.unlink()
    sentence = "genhmr.safetensors .*restore it with `git checkout datasets/open/weights`"
    with pytest.raises(UserError, match=sentence) as error:
        load_weights(path)
    assert "\n" not in str(error.value) and "export" not in str(error.value)
