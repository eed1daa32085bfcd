"""End to end: images in, bodies out."""

import pytest
import torch

from genhmr.inference.predict import predict
from tests.transformer.tiny_models import composed, tiny_batch


def test_prediction_is_what_its_tokens_decode_to():
    model, batch = composed().eval(), tiny_batch()
    out = predict(model, batch.images, iterations=4)
    assert out.trace.masks.shape == (4, 4, 24)
    assert torch.equal(out.latents, model.tokenizer.codebook[out.trace.tokens])
    torch.testing.assert_close(out.pose, model.tokenizer.decode_tokens(out.trace.tokens))
    torch.testing.assert_close(
        torch.linalg.det(out.pose), torch.ones(4, 24), rtol=0, atol=1e-5
    )
    betas, cam = model.heads(model.backbone(batch.images))
    torch.testing.assert_close(out.betas, betas)
    torch.testing.assert_close(out.cam, cam)


def test_a_crop_alone_gives_what_it_gives_in_a_batch():
    model, batch = composed().eval(), tiny_batch()
    together = predict(model, batch.images)
    for i in range(4):
        alone = predict(model, batch.images[i : i + 1])
        assert torch.equal(alone.trace.tokens[0], together.trace.tokens[i])
        torch.testing.assert_close(alone.pose[0], together.pose[i], rtol=1e-4, atol=1e-5)


def test_noise_comes_from_the_given_generators():
    model, batch = composed().eval(), tiny_batch()

    def run(seeds):
        generators = [torch.Generator().manual_seed(s) for s in seeds]
        return predict(model, batch.images, top_k=8, generator=generators).trace.tokens

    assert torch.equal(run([1, 2, 3, 4]), run([1, 2, 3, 4]))
    first, second = run([1, 2, 3, 4]), run([1, 9, 3, 4])
    assert torch.equal(first[[0, 2, 3]], second[[0, 2, 3]])
    assert not torch.equal(first[1], second[1])


def test_training_mode_is_refused():
    with pytest.raises(ValueError, match="eval"):
        predict(composed().train(), tiny_batch().images)
