"""The tokenizer's training on a toy body: it learns, resumes exactly, and refuses bad input."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from genhmr.body.model_files import BodyModelData
from genhmr.body.rotations import axis_angle_to_matrix
from genhmr.tokenizer.frames import PARENTS
from genhmr.tokenizer.model import PoseTokenizer
from genhmr.train.tokenizer import PosePool, train_tokenizer
from genhmr.train.tokenizer_files import load_tokenizer, save_tokenizer
from genhmr.train.tokenizer_score import evaluate_tokenizer
from genhmr.types import UserError

SIZES = dict(num_tokens=48, num_codes=32, code_dim=8, width=16)


def toy_body(vertices: int = 40) -> BodyModelData:
    rng = np.random.default_rng(0)
    weights = rng.random((vertices, 24)) ** 8
    regressor = rng.random((24, vertices)) ** 6
    return BodyModelData(
        v_template=rng.normal(size=(vertices, 3)) * 0.5,
        shapedirs=np.zeros((vertices, 3, 10)),
        blend_shapes=np.zeros((217, 3, vertices), np.float32),
        weights=weights / weights.sum(1, keepdims=True),
        J_regressor=regressor / regressor.sum(1, keepdims=True),
        faces=rng.integers(0, vertices, (20, 3)),
        parents=np.array(PARENTS),
        source="a test",
    )


def toy_poses(count: int, seed: int = 0) -> np.ndarray:
    """A two-parameter family of poses: learnable in a few steps."""
    rng = np.random.default_rng(seed)
    modes = 0.5 * np.random.default_rng(42).normal(size=(2, 24, 3))
    return np.einsum("nk,kjc->njc", rng.normal(size=(count, 2)), modes).astype(np.float32)


def train(scratch, steps=12, **knobs):
    settings = dict(batch_size=16, lr=2e-3, seed=3, num_vertices=10, warm_up=2, log_every=1)
    return train_tokenizer([toy_poses(200)], toy_body(), scratch, steps=steps,
                           **{**SIZES, **settings, **knobs})


def test_training_improves_on_the_untrained_tokenizer(tmp_path):
    model, history = train(tmp_path, steps=80, unquantised_steps=5, lr=5e-3)
    assert [row["step"] for row in history] == list(range(80))
    assert history[4]["commitment"] == 0.0 < history[5]["commitment"]
    early, late = (np.mean([row["pose"] for row in part])
                   for part in (history[5:15], history[-10:]))
    assert late < 0.92 * early
    assert not model.training


def test_interrupted_training_ends_where_the_uninterrupted_one_does(tmp_path):
    whole, whole_history = train(tmp_path / "whole", unquantised_steps=3)
    seconds, stops = 0.0, 0
    while True:  # a budget of no more time: every call makes one step and stops
        part, history = train(tmp_path / "parts", unquantised_steps=3, max_seconds=seconds + 1e-9)
        if history[-1]["step"] == 11:
            break
        state = torch.load(tmp_path / "parts" / "tokenizer.pt", weights_only=True)
        seconds, stops = state["seconds"], stops + 1
    assert stops > 3
    assert history == whole_history
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(part.state_dict()[name], value, rtol=0, atol=0)


def test_finished_training_is_not_repeated(tmp_path):
    first, history = train(tmp_path, steps=4)
    again, same = train(tmp_path, steps=4)
    assert history == same
    torch.testing.assert_close(again.codebook, first.codebook, rtol=0, atol=0)


def test_same_seed_same_weights_and_global_rng_untouched(tmp_path):
    before = torch.get_rng_state()
    one, _ = train(tmp_path / "1", steps=3)
    two, _ = train(tmp_path / "2", steps=3)
    other, _ = train(tmp_path / "3", steps=3, seed=4)
    for name, value in one.state_dict().items():
        torch.testing.assert_close(two.state_dict()[name], value, rtol=0, atol=0)
    assert not torch.equal(one.codebook, other.codebook)
    assert torch.equal(before, torch.get_rng_state())


def test_mixed_precision_trains_too(tmp_path):
    _, exact = train(tmp_path / "a", steps=8)
    _, mixed = train(tmp_path / "b", steps=8, mixed_precision=True)
    assert mixed[-1]["pose"] == pytest.approx(exact[-1]["pose"], rel=0.1)


def test_checkpoint_of_another_training_is_refused(tmp_path):
    train(tmp_path, steps=2)
    with pytest.raises(UserError, match="other settings"):
        train(tmp_path, steps=2, lr=1e-3)


def test_pool_keeps_the_shares_and_draws_every_pose(tmp_path):
    few, many = toy_poses(5, 1), toy_poses(500, 2)
    pool = PosePool([few, many], [3.0, 1.0])
    drawn = pool.draw(4000, torch.Generator().manual_seed(0))
    known = axis_angle_to_matrix(torch.from_numpy(few))
    distance = (drawn[:, None] - known[None]).abs().amax((2, 3, 4))
    hits = distance < 1e-6
    assert hits.any(1).float().mean() == pytest.approx(0.75, abs=0.03)
    assert (hits.sum(0) > 400).all()
    sizes = PosePool([few, many]).draw(4000, torch.Generator().manual_seed(0))
    near = (sizes[:, None] - known[None]).abs().amax((2, 3, 4)) < 1e-6
    assert near.any(1).float().mean() < 0.03


def test_pool_converts_what_it_draws_to_what_the_whole_would_have_been():
    """Bit for bit, and it keeps 288 bytes a pose and no matrices."""
    sets = [toy_poses(301, 1), 3.0 * toy_poses(70, 2), np.zeros((5, 24, 3))]
    pool = PosePool(sets, [1.0, 1.0, 1.0])
    whole = axis_angle_to_matrix(torch.from_numpy(np.concatenate(sets).astype(np.float32)))
    for count in (1, 2, 3, 16, 33, 257):
        drawn = pool.draw(count, torch.Generator().manual_seed(count))
        same = (drawn[:, None] == whole[None]).all(-1).all(-1).all(-1)
        assert drawn.shape == (count, 24, 3, 3) and same.any(1).all()
    kept = sum(v.numel() * v.element_size() for v in vars(pool).values() if torch.is_tensor(v))
    assert kept < 300 * len(pool)


def test_a_constant_rate_is_kept_and_the_usual_one_falls(tmp_path, monkeypatch):
    import genhmr.train.tokenizer as module

    rates, original = [], module.set_lr
    monkeypatch.setattr(
        module, "set_lr", lambda optimiser, lr: rates.append(lr) or original(optimiser, lr)
    )
    train(tmp_path / "constant", steps=5, lr=1e-3, warm_up=0, constant_lr=True)
    train(tmp_path / "warm", steps=5, lr=1e-3, warm_up=2, constant_lr=True)
    train(tmp_path / "usual", steps=5, lr=1e-3, warm_up=0)
    assert rates[:10] == [1e-3] * 5 + [5e-4] + [1e-3] * 4
    assert rates[10] == 1e-3 and rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 2e-4
    with pytest.raises(UserError, match="other settings"):
        train(tmp_path / "usual", steps=5, lr=1e-3, warm_up=0, constant_lr=True)


@pytest.mark.parametrize("broken,message", [
    (np.full((3, 24, 3), np.nan, np.float32), "NaN"),
    (np.zeros((3, 22, 3), np.float32), "shape"),
    (np.zeros((0, 24, 3), np.float32), "shape"),
])
def test_unusable_poses_are_named(broken, message):
    with pytest.raises(UserError, match=message):
        PosePool([toy_poses(4), broken])
    with pytest.raises(UserError, match="no poses"):
        PosePool([])


class TurnedRoot(torch.nn.Module):
    """Not a tokenizer: returns the pose with its root turned about the vertical."""

    def __init__(self, degrees: float) -> None:
        super().__init__()
        matrix = Rotation.from_euler("y", degrees, degrees=True).as_matrix()
        self.turn = torch.from_numpy(matrix).float()

    def tokenize(self, pose):
        return pose

    def decode_tokens(self, pose):
        pose = pose.clone()
        pose[:, 0] = self.turn @ pose[:, 0]
        return pose


def test_evaluation_measures_orientation_but_not_after_procrustes():
    body, poses = toy_body(), toy_poses(7)
    exact = evaluate_tokenizer(TurnedRoot(0.0), poses, body, batch_size=3)
    assert all(column.shape == (7,) and column.max() < 1e-3 for column in exact.values())
    turned = evaluate_tokenizer(TurnedRoot(90.0), poses, body, batch_size=3)
    assert turned["pa_mpjpe"].max() < 1e-2
    # A quarter turn about y moves a point by sqrt(2) times its distance from that axis.
    rest = body.J_regressor @ body.v_template
    still = evaluate_tokenizer(TurnedRoot(90.0), np.zeros((1, 24, 3), np.float32), body)
    radius = np.linalg.norm((rest - rest[0])[:, [0, 2]], axis=1)
    assert still["mpjpe"][0] == pytest.approx(1000 * np.sqrt(2) * radius.mean(), rel=1e-4)
    points = np.linalg.norm((body.v_template - rest[0])[:, [0, 2]], axis=1)
    assert still["mve"][0] == pytest.approx(1000 * np.sqrt(2) * points.mean(), rel=1e-4)


def test_saved_tokenizer_comes_back(tmp_path):
    model, _ = train(tmp_path / "scratch", steps=3)
    path = tmp_path / "tokenizer.safetensors"
    save_tokenizer(path, model, {"steps": 3})
    loaded = load_tokenizer(path)
    pose = axis_angle_to_matrix(torch.from_numpy(toy_poses(50, 5)))
    with torch.no_grad():
        assert (loaded.tokenize(pose) == model.tokenize(pose)).float().mean() > 0.98
        tokens = model.tokenize(pose)
        torch.testing.assert_close(loaded.decode_tokens(tokens), model.decode_tokens(tokens),
                                   atol=5e-3, rtol=0)
    assert loaded.config == model.config


def test_weights_of_something_else_are_refused(tmp_path):
    from genhmr.train.checkpoint import save_weights

    model = PoseTokenizer(24, 16, 8, 16)
    save_weights(tmp_path / "wrong.safetensors", {"a": torch.zeros(2)}, {"model": model.config})
    save_weights(tmp_path / "empty.safetensors", model.export(), {"backbone": {}})
    missing = model.export()
    del missing["enter.weight"]
    save_weights(tmp_path / "missing.safetensors", missing, {"model": model.config})
    for name in ("wrong", "empty", "missing"):
        path = tmp_path / f"{name}.safetensors"
        with pytest.raises(UserError, match=name):
            load_tokenizer(path)
