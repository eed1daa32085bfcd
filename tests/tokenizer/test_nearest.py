"""The nearest code against brute force in double precision, with and without the filter."""

import pytest
import torch

import genhmr.tokenizer.nearest as nearest
from genhmr.tokenizer.nearest import nearest_codes

FILTERED = pytest.mark.parametrize("filtered", [False, True])


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def regret(latents, codebook, found):
    """How much further than the nearest the found codes are, in squared distance."""
    squared = torch.cdist(latents.double(), codebook.double()).square()
    return (squared.gather(1, found[:, None])[:, 0] - squared.amin(1)).max()


def watched(monkeypatch):
    """What the filter returned, chunk by chunk."""
    answers = []
    ask = nearest._Coarse.nearest

    def listen(self, latents):
        answers.append(ask(self, latents))
        return answers[-1]

    monkeypatch.setattr(nearest._Coarse, "nearest", listen)
    return answers


@FILTERED
@pytest.mark.parametrize("rows", [1, 511, 512, 1023, 1024, 1025, 2500])
@pytest.mark.parametrize("codes", [37, 64, 128])
def test_agrees_with_brute_force(rows, codes, filtered):
    latents = torch.randn(rows, 16, generator=seeded(rows))
    codebook = torch.randn(codes, 16, generator=seeded(3))
    found = nearest_codes(latents, codebook, filtered)
    expected = torch.cdist(latents.double(), codebook.double()).argmin(1)
    # Rounding may exchange two codes at the same distance, nothing else.
    assert regret(latents, codebook, found) < 1e-5
    assert (found == expected).float().mean() > 0.999


def test_the_filter_answers_by_itself_and_never_loses_the_nearest(monkeypatch):
    answers = watched(monkeypatch)
    sizes = torch.rand(1024, 1, generator=seeded(1))
    codebook = sizes * torch.randn(1024, 128, generator=seeded(0))
    latents = 3 * torch.randn(3000, 128, generator=seeded(2)) + 0.5
    plain = nearest_codes(latents, codebook, False)
    assert torch.equal(nearest_codes(latents, codebook, True), plain)
    assert len(answers) == 6 and all(answer is not None for answer in answers)
    coarse = nearest._Coarse(codebook, -0.5 * codebook.square().sum(1))
    scores = torch.addmm(coarse._coarse_bias, latents.bfloat16(), coarse._coarse)
    assert (scores.argmax(1) != plain).any()  # bfloat16 alone would be wrong


def _against_the_filter():
    """A latent and two codes whose every entry is rounded as far, and as badly, as can be."""
    up, down = 1 + 2**-8 + 2**-20, 1 + 2**-8 - 2**-20  # next to the middle between two numbers
    latent = torch.tensor([up, down, down, up]).repeat_interleave(31)
    first = torch.tensor([up, -down, 0.0, 0.0]).repeat_interleave(31)
    second = torch.tensor([0.0, 0.0, down, -up]).repeat_interleave(31)
    latent, first, second = (
        torch.cat([values, torch.tensor([last])])
        for values, last in ((latent, 1.0), (first, -0.05), (second, 0.05))
    )
    return latent[None], torch.stack([first, second])


def test_roundings_that_all_agree_are_within_the_bound():
    latents, codebook = _against_the_filter()
    assert torch.cdist(latents.double(), codebook.double()).argmin() == 1
    assert nearest_codes(latents, codebook, True).tolist() == [1]
    bias = -0.5 * codebook.square().sum(1)
    coarse, low = nearest._Coarse(codebook, bias), latents.bfloat16()
    scores = torch.addmm(coarse._coarse_bias, low, coarse._coarse).double()
    true = latents.double() @ codebook.double().t() + (bias - bias.mean()).double()
    off = (scores - true).abs().max()
    bound = coarse.error(latents, low.float(), scores.amax(1).float())
    assert 0.4 * bound < off < bound  # half the bound would not do


def test_codes_that_bfloat16_cannot_tell_apart_are_told_apart(monkeypatch):
    """Pairs of codes a ten-thousandth apart: the same number in bfloat16, another in float32."""
    centres = torch.randn(64, 32, generator=seeded(4))
    codebook = torch.cat([centres, centres * (1 + 1e-4)])
    latents = torch.cat([centres * 0.9, centres * 1.1])
    answers = watched(monkeypatch)
    found = nearest_codes(latents, codebook, True)
    assert answers[0] is not None
    assert found.tolist() == list(range(64)) + list(range(64, 128))


def test_where_everything_is_near_the_filter_gives_up(monkeypatch):
    answers = watched(monkeypatch)
    codebook = 10 + 1e-4 * torch.randn(256, 32, generator=seeded(5))
    latents = 10 + 1e-4 * torch.randn(40, 32, generator=seeded(6))
    found = nearest_codes(latents, codebook, True)
    assert answers == [None]
    assert torch.equal(found, nearest_codes(latents, codebook, False))


@FILTERED
def test_keeps_leading_dimensions_and_prefers_the_first_of_equals(filtered):
    codebook = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    latents = torch.tensor([[[0.9, 0.1]], [[0.1, 0.9]]])
    assert nearest_codes(latents, codebook, filtered).tolist() == [[0], [2]]
    same = torch.ones(192, 8)
    assert nearest_codes(torch.ones(5, 8), same, filtered).tolist() == [0] * 5


@FILTERED
@pytest.mark.parametrize("broken", [float("nan"), float("inf"), 3e38])
def test_a_latent_that_is_no_number_gets_some_code(broken, filtered):
    """A training that diverges must end in NaN losses, not in an index out of range."""
    latents = torch.randn(4, 16, generator=seeded(7))
    latents[1] = broken
    codebook = torch.randn(128, 16, generator=seeded(8))
    found = nearest_codes(latents, codebook, filtered)
    assert found.min() >= 0 and found.max() < 128
    assert torch.equal(found[[0, 2, 3]], nearest_codes(latents[[0, 2, 3]], codebook, False))


@FILTERED
def test_no_latents_no_codes(filtered):
    assert nearest_codes(torch.empty(2, 0, 16), torch.ones(64, 16), filtered).shape == (2, 0)
