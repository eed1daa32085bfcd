"""Straight-through Gumbel-Softmax against torch's own and against Eqs. 5 and 6."""

import math

import pytest
import torch

from genhmr.transformer.gumbel import annealed_temperature, gumbel_noise, straight_through_codes


def test_temperature_follows_equation_5():
    for step in (0, 10, 37, 49):
        expected = 0.01 + 0.5 * 0.99 * (1 + math.cos(math.pi * step / 50))
        assert annealed_temperature(step, 100) == pytest.approx(expected)
    assert annealed_temperature(0, 100) == pytest.approx(1.0)
    assert annealed_temperature(50, 100) == annealed_temperature(99, 100) == pytest.approx(0.01)


def test_long_annealing_does_not_arrive():
    half_way = annealed_temperature(100, 100, 1.0, 0.01, duration=2.0)
    assert half_way == pytest.approx(0.505)


def test_forward_is_the_argmax_of_noisy_logits():
    generator = torch.Generator().manual_seed(0)
    logits, codebook = torch.randn(7, 5, 33, generator=generator), torch.randn(33, 4)
    noise = gumbel_noise((7, 5, 33), generator)
    codes, tokens = straight_through_codes(logits, codebook, 0.3, noise)
    assert torch.equal(tokens, (logits + noise).argmax(-1))
    assert torch.equal(codes, codebook[tokens])
    assert torch.equal(straight_through_codes(logits, codebook, 0.3)[1], logits.argmax(-1))


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_gradient_equals_the_textbook_estimator(temperature):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(6, 17, generator=generator, dtype=torch.float32, requires_grad=True)
    codebook, target = torch.randn(17, 3), torch.randn(6, 3)
    noise = gumbel_noise((6, 17), generator)
    codes, tokens = straight_through_codes(logits, codebook, temperature, noise)
    (ours,) = torch.autograd.grad((codes * target).sum(), logits)
    soft = ((logits + noise) / temperature).softmax(-1)
    hard = torch.nn.functional.one_hot(tokens, 17).float()
    textbook = hard - soft.detach() + soft
    (theirs,) = torch.autograd.grad(((textbook @ codebook) * target).sum(), logits)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_samples_follow_the_softmax():
    generator = torch.Generator().manual_seed(2)
    logits = torch.tensor([1.0, 0.0, -1.0, 2.0])
    noise = gumbel_noise((100000, 4), generator)
    _, tokens = straight_through_codes(logits.expand(100000, 4), torch.eye(4), 1.0, noise)
    share = torch.bincount(tokens, minlength=4) / 100000
    torch.testing.assert_close(share, logits.softmax(-1), rtol=0, atol=0.006)


def test_gumbel_noise_has_its_mean_and_variance():
    noise = gumbel_noise((200000,), torch.Generator().manual_seed(5))
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.01)
    assert noise.var().item() == pytest.approx(math.pi**2 / 6, rel=0.02)
    assert torch.isfinite(noise).all()


def test_bad_temperatures_are_refused():
    with pytest.raises(ValueError):
        straight_through_codes(torch.zeros(1, 2), torch.zeros(2, 1), 0.0)
    with pytest.raises(ValueError):
        annealed_temperature(0, 10, end=0.0)
