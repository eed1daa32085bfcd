"""The codebook against brute force and textbook formulas."""

import pytest
import torch

from genhmr.tokenizer.quantizer import VectorQuantizer, code_statistics


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def filled(num_codes: int = 8, dim: int = 4, **knobs) -> tuple[VectorQuantizer, torch.Tensor]:
    quantizer = VectorQuantizer(num_codes, dim, **knobs)
    latents = torch.randn(6, 20, dim, generator=seeded(1))
    quantizer.initialise(latents, seeded(2))
    return quantizer, latents


def test_statistics_equal_one_hot_products():
    latents = torch.randn(500, 6, generator=seeded(4))
    indices = torch.randint(11, (500,), generator=seeded(5))
    counts, sums = code_statistics(latents, indices, 11)
    one_hot = torch.nn.functional.one_hot(indices, 11).double()
    torch.testing.assert_close(counts.double(), one_hot.sum(0))
    torch.testing.assert_close(sums.double(), one_hot.t() @ latents.double(), atol=1e-5, rtol=1e-5)


def test_forward_returns_codes_and_passes_the_gradient_through():
    quantizer, latents = filled()
    latents = latents.clone().requires_grad_(True)
    quantised, indices = quantizer(latents)
    torch.testing.assert_close(quantised, quantizer.lookup(indices))
    upstream = torch.randn(quantised.shape, generator=seeded(6))
    quantised.backward(upstream)
    torch.testing.assert_close(latents.grad, upstream)


def test_forward_never_changes_the_codebook_even_in_training_mode():
    quantizer, latents = filled()
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    quantizer.train()
    for _ in range(3):
        quantizer(latents)
    for name, value in quantizer.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_update_is_the_moving_average_of_van_den_oord():
    quantizer, latents = filled(decay=0.9, dead_below=0.0)
    counts, sums = quantizer.counts.double(), quantizer.sums.double()
    for step in range(5):
        batch = latents + 0.1 * torch.randn(latents.shape, generator=seeded(10 + step))
        _, indices = quantizer(batch)
        one_hot = torch.nn.functional.one_hot(indices.flatten(), 8).double()
        counts = 0.9 * counts + 0.1 * one_hot.sum(0)
        sums = 0.9 * sums + 0.1 * one_hot.t() @ batch.flatten(0, 1).double()
        assert quantizer.update(batch, indices, seeded(7)) == 0
    torch.testing.assert_close(quantizer.codebook.double(), sums / counts[:, None],
                               atol=1e-5, rtol=1e-5)


def test_dead_codes_are_put_on_latents_of_the_batch():
    quantizer, latents = filled(decay=0.5)
    quantizer.codebook[3] = 1e3  # out of reach: nothing will ever be near it
    quantizer.counts[3] = 0.0
    _, indices = quantizer(latents)
    assert not (indices == 3).any()
    assert quantizer.update(latents, indices, seeded(8)) == 1
    distance = (latents.flatten(0, 1) - quantizer.codebook[3]).norm(dim=1).min()
    assert distance < 1e-5
    assert quantizer.counts[3] > 0.5 * quantizer.counts.mean()


def test_initialise_finds_separate_clusters():
    centres = 10.0 * torch.randn(5, 3, generator=seeded(9))
    points = centres.repeat_interleave(200, 0)
    points = points + 0.01 * torch.randn(points.shape, generator=seeded(10))
    quantizer = VectorQuantizer(40, 3)
    quantizer.initialise(points, seeded(11))
    nearest = torch.cdist(centres, quantizer.codebook).min(1).values
    assert nearest.max() < 0.02


def test_initialise_copes_with_fewer_latents_than_codes():
    quantizer = VectorQuantizer(64, 3)
    latents = torch.randn(10, 3, generator=seeded(12))
    quantizer.initialise(latents, seeded(13))
    assert torch.isfinite(quantizer.codebook).all()
    assert len(quantizer.codebook.unique(dim=0)) == 64


def test_same_generator_same_codebook_and_global_rng_untouched():
    state = torch.get_rng_state()
    first, latents = filled()
    second, _ = filled()
    for quantizer in (first, second):
        quantizer.counts[:4] = 0.0
        quantizer.update(latents, quantizer.nearest(latents), seeded(20))
    torch.testing.assert_close(first.codebook, second.codebook, rtol=0, atol=0)
    assert torch.equal(state, torch.get_rng_state())


def test_impossible_decay_is_refused():
    with pytest.raises(ValueError, match="decay"):
        VectorQuantizer(4, 2, decay=1.0)
