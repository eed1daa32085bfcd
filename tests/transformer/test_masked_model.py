"""The masked transformer, the image heads and the composed model."""

import pytest
import torch
from torch import nn

from genhmr.transformer.deformable import flatten_maps
from genhmr.transformer.genhmr import GenHMR
from genhmr.transformer.model import ImageHeads, standing_references
from tests.transformer.tiny_models import composed, small_transformer


def inputs(batch=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = [torch.randn(batch, 6, h, w, generator=generator) for h, w in ((4, 3), (8, 6))]
    tokens = torch.randint(0, 11, (batch, 24), generator=generator)
    mask = torch.rand(batch, 24, generator=generator) < 0.6
    return tokens, mask, features


def test_masked_tokens_are_invisible_and_visible_ones_are_not():
    model, (tokens, mask, features) = small_transformer().eval(), inputs()
    logits = model(tokens, mask, features)
    assert logits.shape == (3, 24, 11)
    hidden = torch.where(mask, (tokens + 1) % 11, tokens)
    assert torch.equal(model(hidden, mask, features), logits)
    shown = torch.where(mask, tokens, (tokens + 1) % 11)
    assert not torch.allclose(model(shown, mask, features), logits, atol=1e-4)


def test_the_image_matters_and_items_do_not_mix():
    model, (tokens, mask, features) = small_transformer().eval(), inputs()
    logits = model(tokens, mask, features)
    other = [f.clone() for f in features]
    for f in other:
        f[0] += 1.0
    changed = model(tokens, mask, other)
    assert not torch.allclose(changed[0], logits[0], atol=1e-4)
    torch.testing.assert_close(changed[1:], logits[1:])
    for i in range(3):
        alone = model(tokens[i : i + 1], mask[i : i + 1], [f[i : i + 1] for f in features])
        torch.testing.assert_close(alone[0], logits[i], rtol=1e-4, atol=1e-5)


def test_flattened_maps_give_the_same_logits():
    model, (tokens, mask, features) = small_transformer().eval(), inputs()
    maps = flatten_maps(features)
    assert torch.equal(model(tokens, mask, maps), model(tokens, mask, features))


def test_every_parameter_learns():
    model, (tokens, mask, features) = small_transformer(), inputs()
    features = [f.requires_grad_() for f in features]
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(2):  # offsets start with zero weights: what feeds them learns from step two
        optimiser.zero_grad()
        logits = model(tokens, mask, features)
        nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten()).backward()
        optimiser.step()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert all(bool(f.grad.any()) for f in features)


def test_references_follow_the_joints_of_a_standing_person():
    points = standing_references(48)
    assert points.shape == (48, 2) and (points[:, 0] == 0.5).all()
    head, pelvis, foot = points[2 * 15, 1], points[0, 1], points[2 * 10, 1]
    assert head < pelvis < foot and torch.equal(points[0], points[1])
    assert (standing_references(10) == 0.5).all()
    model = small_transformer()
    torch.testing.assert_close(
        model.reference_logits.sigmoid(), standing_references(24), rtol=0, atol=1e-6
    )


def test_codebook_initialisation_keeps_neighbours_together():
    model = small_transformer()
    codebook = torch.randn(11, 64, generator=torch.Generator().manual_seed(1))
    codebook[5] = codebook[4] + 1e-4
    model.initialise_from_codebook(codebook, torch.Generator().manual_seed(2))
    table = model.token_embedding.weight
    distance = torch.cdist(table, table)
    assert distance[4, 5] < 0.05 * distance[4, torch.arange(11) != 4].median()
    assert table.std().item() == pytest.approx(0.02, rel=0.05)
    with pytest.raises(ValueError, match="codes"):
        model.initialise_from_codebook(codebook[:5], torch.Generator())


def test_heads_start_at_the_mean_and_see_where_things_are():
    torch.manual_seed(0)
    heads = ImageHeads(12, width=32)
    grid = torch.randn(5, 12, 8, 6)
    betas, cam = heads(grid)
    assert betas.shape == (5, 10) and cam.shape == (5, 3)
    assert betas.abs().max() < 0.2 and (cam - torch.tensor([0.9, 0, 0])).abs().max() < 0.2
    # A marked cell is found: attention on it makes the pooled coordinates its place.
    with torch.no_grad():
        heads.score.weight.zero_()
        heads.score.weight[:, 0] = 50.0
    marked = torch.zeros(1, 12, 8, 6)
    marked[0, 0, 2, 5] = 9.0
    seen = {}
    heads.mlp.register_forward_hook(lambda _, args, __: seen.update(x=args[0]))
    heads(marked)
    place = seen["x"].view(1, 4, 14)[0, 0, -2:]
    torch.testing.assert_close(place, torch.tensor([2 / 7 * 2 - 1, 1.0]), rtol=0, atol=1e-3)


def test_composed_model_encodes_and_scores():
    model = composed().eval()
    features = model.encode_image(torch.randn(2, 3, 32, 32))
    assert features.grid.shape == (2, 12, 4, 4)
    assert features.maps.shapes == ((4, 4), (8, 8)) and features.maps.values.shape == (2, 80, 6)
    tokens, mask = torch.zeros(2, 24, dtype=torch.int64), torch.ones(2, 24, dtype=torch.bool)
    assert model.logits(tokens, mask, features).shape == (2, 24, 11)


def test_tokenizer_stays_frozen_and_outside_the_state():
    model = composed().train()
    assert not model.tokenizer.training
    assert not any(p.requires_grad for p in model.tokenizer.parameters())
    state = model.trainable_state()
    assert state and not any(name.startswith("tokenizer") for name in state)
    other = composed()
    with torch.no_grad():
        for p in other.parameters():
            p.add_(1.0)
    other.load_trainable_state(state)
    for name, value in other.trainable_state().items():
        assert torch.equal(value, state[name])
    with pytest.raises(ValueError, match="missing"):
        other.load_trainable_state({"backbone.weight": state["backbone.weight"]})


def test_codebook_and_code_head_must_agree():
    parts = composed()
    with pytest.raises(ValueError, match="codes"):
        GenHMR(
            parts.backbone, parts.pyramid, small_transformer(7), parts.heads, parts.tokenizer
        )
