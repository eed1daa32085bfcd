"""Uncertainty-guided sampling on known distributions."""

import pytest
import torch

from genhmr.inference.sampling import uncertainty_guided_sampling
from genhmr.transformer.schedules import SCHEDULES, num_masked

L, K = 24, 7


def factorised(batch=5, seed=0):
    """Independent tokens with known, distinct logits; the model ignores what it is told."""
    logits = 3 * torch.randn(batch, L, K, generator=torch.Generator().manual_seed(seed))
    return logits, lambda tokens, mask: logits[: len(tokens)]


def test_one_iteration_is_the_argmax():
    logits, fn = factorised()
    trace = uncertainty_guided_sampling(fn, 5, L, iterations=1)
    assert torch.equal(trace.tokens, logits.argmax(-1))
    assert trace.masks.shape == (1, 5, L) and bool(trace.masks.all())
    torch.testing.assert_close(trace.confidences[0], logits.softmax(-1).amax(-1))


@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
@pytest.mark.parametrize("iterations", [1, 2, 5, 20, 60])
@pytest.mark.parametrize("remask_decoded", [False, True])
def test_mask_counts_follow_the_schedule(schedule, iterations, remask_decoded):
    logits, fn = factorised()
    trace = uncertainty_guided_sampling(
        fn, 5, L, iterations, schedule, remask_decoded=remask_decoded
    )
    counts = trace.masks.sum(-1)
    for t in range(iterations):
        assert counts[t].tolist() == [num_masked(schedule, t, iterations, L)] * 5
    # Factorised: the order of decoding cannot change the greedy result.
    assert torch.equal(trace.tokens, logits.argmax(-1))
    assert torch.equal(trace.tokens, trace.tokens_per_iteration[-1])


def context_dependent(batch):
    """Logits that change with every visible token, so that the order of decoding matters."""
    table = torch.randn(batch, L, K, generator=torch.Generator().manual_seed(1))
    mix = torch.randn(K + 1, L, K, generator=torch.Generator().manual_seed(2))

    def fn(tokens, mask):
        seen = torch.where(mask, K, tokens)
        context = [sum(mix[int(s)].roll(j, 0) for j, s in enumerate(row)) for row in seen]
        return table + 0.3 * torch.stack(context)

    return fn


def test_decoded_tokens_stay_and_masked_ones_are_the_least_certain():
    trace = uncertainty_guided_sampling(context_dependent(4), 4, L, iterations=6)
    for t in range(1, 6):
        before, after = trace.masks[t - 1], trace.masks[t]
        assert not (after & ~before).any()  # nothing decoded is masked again
        kept = ~before
        assert torch.equal(
            trace.tokens_per_iteration[t][~after], trace.tokens_per_iteration[t - 1][~after]
        )
        assert torch.equal(trace.confidences[t][kept], trace.confidences[t - 1][kept])
        for item in range(4):
            drawn = trace.confidences[t - 1][item][before[item]]
            again = trace.confidences[t - 1][item][after[item]]
            fixed = trace.confidences[t - 1][item][before[item] & ~after[item]]
            assert len(again) <= len(drawn)
            if len(fixed):
                assert again.max() <= fixed.min()


def test_remasking_may_take_back_what_was_decoded():
    """An overconfident first guess loses its place only where the rule allows it."""

    def fn(tokens, mask):
        logits = torch.zeros(1, 4, 2)
        if bool(mask.all()):
            logits[0, :, 0] = torch.tensor([1.0, 0.9, 0.8, 0.7])
        else:  # with context every open token is sure
            logits[0, :, 1] = 9.0
        return logits

    stay = uncertainty_guided_sampling(fn, 1, 4, 3, "linear")
    back = uncertainty_guided_sampling(fn, 1, 4, 3, "linear", remask_decoded=True)
    assert stay.tokens[0].tolist() == [0, 1, 1, 1]
    assert back.masks[2][0, 0].item() and back.tokens[0].tolist() == [1, 1, 1, 1]


def test_greedy_items_do_not_depend_on_their_neighbours():
    fn = context_dependent(6)
    whole = uncertainty_guided_sampling(fn, 6, L, 5)
    table_order = [3, 0, 5]

    def picked(tokens, mask):
        full_tokens = torch.zeros(6, L, dtype=torch.int64)
        full_mask = torch.ones(6, L, dtype=torch.bool)
        full_tokens[table_order], full_mask[table_order] = tokens, mask
        return fn(full_tokens, full_mask)[table_order]

    part = uncertainty_guided_sampling(picked, 3, L, 5)
    assert torch.equal(part.tokens, whole.tokens[table_order])
    assert torch.equal(part.masks, whole.masks[:, table_order])
    torch.testing.assert_close(part.confidences, whole.confidences[:, table_order])


def test_one_generator_per_item_makes_noise_independent_of_neighbours():
    logits, _ = factorised(4, seed=9)
    seeds = [11, 12, 13, 14]

    def run(rows):
        generators = [torch.Generator().manual_seed(seeds[i]) for i in rows]
        return uncertainty_guided_sampling(
            lambda t, m: logits[rows], len(rows), L, 4, top_k=5, generator=generators
        ).tokens

    whole = run([0, 1, 2, 3])
    assert torch.equal(run([2, 0]), whole[[2, 0]])
    assert not torch.equal(whole, logits.argmax(-1))


def test_draws_follow_the_top_k_distribution():
    row = torch.tensor([2.0, 1.0, 0.0, -1.0])
    trace = uncertainty_guided_sampling(
        lambda t, m: row.expand(2000, 10, 4),
        2000,
        10,
        1,
        top_k=3,
        temperature=0.7,
        generator=torch.Generator().manual_seed(0),
    )
    share = torch.bincount(trace.tokens.flatten(), minlength=4) / 20000
    expected = torch.cat([(row[:3] / 0.7).softmax(0), torch.zeros(1)])
    torch.testing.assert_close(share, expected, rtol=0, atol=0.015)
    # Confidence is the model's own probability, not that of the tempered draw.
    torch.testing.assert_close(trace.confidences[0], row.softmax(0)[trace.tokens])


def test_the_seed_decides():
    _, fn = factorised()

    def run(seed):
        generator = torch.Generator().manual_seed(seed)
        return uncertainty_guided_sampling(fn, 5, L, 3, top_k=4, generator=generator).tokens

    assert torch.equal(run(1), run(1)) and not torch.equal(run(1), run(2))


@pytest.mark.parametrize(
    "bad",
    [{"iterations": 0}, {"top_k": 0}, {"temperature": 0.0}, {"top_k": 2}, {"schedule": "none"}],
)
def test_bad_arguments_are_refused(bad):
    _, fn = factorised()
    with pytest.raises(ValueError):
        uncertainty_guided_sampling(fn, 5, L, **bad)
