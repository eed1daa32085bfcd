"""The tokenizer's bookkeeping: frames, joint order, tokens at their joints, export."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from genhmr.tokenizer.frames import (
    CHAIN_ORDER,
    FRAMES,
    PARENTS,
    frames_to_local,
    local_to_frames,
    local_to_global,
)
from genhmr.tokenizer.model import PoseTokenizer


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_pose(batch: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    vectors = 0.6 * rng.normal(size=(batch * 24, 3))
    matrices = Rotation.from_rotvec(vectors).as_matrix().reshape(batch, 24, 3, 3)
    return torch.from_numpy(matrices).float()


def small(num_tokens: int = 48, **knobs) -> PoseTokenizer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = PoseTokenizer(num_tokens, 32, 8, 16, **knobs)
        # The convolutions start at zero; wake them up so that the tests see all paths.
        for name, parameter in model.named_parameters():
            if name.endswith("pointwise.weight") or name in ("to_code.weight", "leave.weight"):
                torch.nn.init.normal_(parameter, std=0.2)
    with torch.no_grad():
        model.quantizer.initialise(model.encode(random_pose(32, 7)), seeded(1))
    return model.eval()


def test_global_rotations_are_the_products_down_the_tree():
    pose = random_pose(2)
    found = local_to_global(pose).numpy()
    for joint in range(24):
        chain, current = [], joint
        while current >= 0:
            chain.insert(0, current)
            current = PARENTS[current]
        for b in range(2):
            product = Rotation.identity()
            for link in chain:
                product = product * Rotation.from_matrix(pose[b, link].numpy())
            np.testing.assert_allclose(found[b, joint], product.as_matrix(), atol=1e-5)


def test_parents_are_those_of_the_body_model():
    from genhmr.body.joints import SMPL24_NAMES

    assert SMPL24_NAMES[0].lower().startswith("pelvis") and len(SMPL24_NAMES) == len(PARENTS)
    assert all(parent < joint for joint, parent in enumerate(PARENTS))
    assert PARENTS[18:24] == (16, 17, 18, 19, 20, 21)


@pytest.mark.parametrize("frame", FRAMES)
def test_frames_are_closed_and_invert_exactly(frame):
    absolute = FRAMES[frame]
    assert all(joint == 0 or PARENTS[joint] in absolute for joint in absolute)
    pose = random_pose(3)
    frames = local_to_frames(pose, absolute)
    torch.testing.assert_close(frames_to_local(frames, absolute), pose, atol=1e-5, rtol=0)
    world = local_to_global(pose)
    for joint in range(24):
        expected = world if joint in absolute else pose
        torch.testing.assert_close(frames[:, joint], expected[:, joint])


def test_chain_order_is_a_permutation_whose_neighbours_are_mostly_bones():
    assert sorted(CHAIN_ORDER) == list(range(24))
    bones = {frozenset((j, p)) for j, p in enumerate(PARENTS) if p >= 0}
    pairs = [frozenset(pair) for pair in zip(CHAIN_ORDER, CHAIN_ORDER[1:])]
    assert sum(pair in bones for pair in pairs) >= 20


@pytest.mark.parametrize("num_tokens", [24, 48, 96, 192, 384])
def test_shapes_and_rotations_for_every_length_of_the_paper(num_tokens):
    model = small(num_tokens)
    pose = random_pose(2)
    output = model(pose)
    assert output.tokens.shape == (2, num_tokens) and output.tokens.dtype == torch.int64
    assert output.latents.shape == output.quantised.shape == (2, num_tokens, 8)
    assert output.pose.shape == pose.shape
    eye = torch.eye(3).expand_as(output.pose)
    torch.testing.assert_close(output.pose @ output.pose.mT, eye, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(output.pose), torch.ones(2, 24))
    torch.testing.assert_close(model.tokenize(pose), output.tokens)
    torch.testing.assert_close(model.decode_tokens(output.tokens), output.pose, atol=1e-5, rtol=0)
    assert model.token_joints.tolist() == [t // (num_tokens // 24) for t in range(num_tokens)]


@pytest.mark.parametrize("num_tokens", [24, 48, 96, 192])
@pytest.mark.parametrize("frame", FRAMES)
def test_untrained_tokenizer_copies_any_pose_but_for_the_rounding_of_the_codes(num_tokens, frame):
    model = PoseTokenizer(num_tokens, 512, 16, 8, frame=frame)
    pose = random_pose(64)
    with torch.no_grad():
        torch.testing.assert_close(model.decode(model.encode(pose)), pose, atol=1e-4, rtol=0)
        if num_tokens == 24:  # 512 codes cannot cover all rotations, only directions
            return
        model.quantizer.initialise(model.encode(random_pose(200, 1)), seeded(2))
        errors = local_to_global(model(pose).pose).mT @ local_to_global(pose)
    cosine = (errors.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    assert torch.rad2deg(torch.acos(cosine.clamp(-1, 1))).mean() < (60 if frame == "local" else 15)


def test_latents_have_unit_variance_per_token():
    latents = small().encode(random_pose(4))
    torch.testing.assert_close(latents.mean(-1), torch.zeros(4, 48), atol=1e-5, rtol=0)
    variance = latents.var(-1, unbiased=False)
    torch.testing.assert_close(variance, torch.ones(4, 48), atol=1e-2, rtol=0)


@pytest.mark.parametrize("num_tokens", [24, 96])
def test_tokens_stay_at_their_joint(num_tokens):
    """With local rotations and no dilation, a wrist cannot change a token of the other arm."""
    model = small(num_tokens, frame="local", encoder_dilations=(1,))
    pose = random_pose(1)
    changed = pose.clone()
    changed[:, 20] = random_pose(1, 9)[:, 20]  # left wrist
    moved = (model.encode(pose) - model.encode(changed)).abs().amax((0, 2)) > 1e-6
    touched = {int(model.token_joints[t]) for t in moved.nonzero().flatten()}
    assert 20 in touched
    # Reach: entry 1 + block 1, and one more token (at most a joint) in front of the code.
    wrist = CHAIN_ORDER.index(20)
    assert touched <= set(CHAIN_ORDER[wrist - 3 : wrist + 4])
    assert not touched & {0, 1, 2, 10, 11, 15, 19}


def test_decoder_is_differentiable_in_the_latents():
    model = small().double()
    latents = torch.randn(1, 48, 8, generator=seeded(3), dtype=torch.float64, requires_grad=True)
    weight = torch.randn(1, 24, 3, 3, generator=seeded(4), dtype=torch.float64)
    (model.decode(latents) * weight).sum().backward()
    bump = torch.zeros_like(latents)
    for token, channel in ((0, 0), (17, 3), (47, 7)):
        bump.zero_()[0, token, channel] = 1e-6
        with torch.no_grad():
            rise = (model.decode(latents + bump) - model.decode(latents - bump)) * weight
        slope = rise.sum().item() / 2e-6
        assert slope == pytest.approx(latents.grad[0, token, channel].item(), rel=1e-4, abs=1e-8)


def test_gradient_reaches_the_encoder_through_the_codes():
    model = small()
    model(random_pose(2)).pose.sum().backward()
    assert model.enter.weight.grad.abs().sum() > 0


def test_export_rebuilds_the_same_tokenizer_frozen():
    model = small()
    tensors = model.export()
    assert not any(name.endswith((".counts", ".sums")) for name in tensors)
    twin = PoseTokenizer.from_export(tensors, model.config)
    pose = random_pose(4)
    torch.testing.assert_close(twin.tokenize(pose), model.tokenize(pose))
    torch.testing.assert_close(twin(pose).pose, model(pose).pose)
    assert not twin.training and not any(p.requires_grad for p in twin.parameters())


def test_bfloat16_autocast_leaves_rotations_and_distances_in_float32():
    model = small()
    pose = random_pose(4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(pose)
    assert output.pose.dtype == output.latents.dtype == torch.float32
    eye = torch.eye(3).expand_as(output.pose)
    torch.testing.assert_close(output.pose @ output.pose.mT, eye, atol=1e-5, rtol=0)
    exact = torch.cdist(output.latents.flatten(0, 1).double(), model.codebook.double()).argmin(1)
    assert (exact == output.tokens.flatten()).float().mean() > 0.99


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match="multiple of 24"):
        PoseTokenizer(50, 8, 8, 8)
    with pytest.raises(ValueError, match="code_dim"):
        PoseTokenizer(48, 8, 6, 8)
    with pytest.raises(ValueError, match="frame"):
        PoseTokenizer(48, 8, 8, 8, frame="world")
