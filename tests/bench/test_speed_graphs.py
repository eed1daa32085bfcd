"""Capturing a call as a CUDA graph, on a pretended device that notes what is asked of it."""

import contextlib
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.overrides import TorchFunctionMode

from bench.speed.graphs import capture, try_capture
from genhmr.body import SMPLJoints, body25, load_bodies
from genhmr.image.vit import ViTBackbone
from genhmr.inference.predict import sample_pose
from genhmr.inference.refinement import refine_pose
from genhmr.tokenizer.model import PoseTokenizer
from genhmr.train.model_files import build_genhmr

BODIES = Path(__file__).parents[2] / "datasets" / "open" / "body"

# The order that torch's notes ask for: some calls on a side stream that waits for the current one,
# the current one waits for it, then the capture.
EXPECTED = ["side waits for current", "enter side", "call", "call", "call", "leave side",
            "current waits for side", "capture on side", "call", "captured"]  # fmt: skip


def pretended_cuda(log):
    class Stream:
        def __init__(self, name="side"):
            self.name = name

        def wait_stream(self, other):
            log.append(f"{self.name} waits for {other.name}")

    current = Stream("current")

    @contextlib.contextmanager
    def entered(stream):
        log.append(f"enter {stream.name}")
        yield
        log.append(f"leave {stream.name}")

    @contextlib.contextmanager
    def graph(_, stream):
        log.append(f"capture on {stream.name}")
        yield
        log.append("captured")

    return SimpleNamespace(
        Stream=Stream, current_stream=lambda: current, stream=entered, graph=graph,
        CUDAGraph=lambda: SimpleNamespace(replay=lambda: log.append("replay")),
    )  # fmt: skip


def test_order_of_a_capture_and_its_replay():
    log = []
    replay = capture(lambda: log.append("call") or "result", pretended_cuda(log))
    assert log == EXPECTED and replay.result == "result"
    replay.run()
    assert log[-1] == "replay"


def test_adam_counts_on_the_device_while_it_is_captured():
    before, made = torch.optim.Adam, []

    def run():
        made.append(torch.optim.Adam([torch.zeros(1, requires_grad=True)], betas=(0.9, 0.99)))

    capture(run, pretended_cuda([]))
    assert all(adam.defaults["capturable"] for adam in made) and len(made) == 4
    assert made[0].defaults["betas"] == (0.9, 0.99) and torch.optim.Adam is before


def test_what_cannot_be_captured_says_why_and_leaves_adam_alone():
    before = torch.optim.Adam

    def run():
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    assert try_capture(run, pretended_cuda([])) == (
        "operation not permitted when stream is capturing"
    )
    assert torch.optim.Adam is before
    with pytest.raises(ValueError):  # a mistake is no failed capture
        try_capture(lambda: int("x"), pretended_cuda([]))


class FromHost(TorchFunctionMode):
    """Counts numbers of the host that become a tensor, which a capture forbids on a device."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        indexed = func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__)
        parts = args[1] if indexed and isinstance(args[1], tuple) else args[1:2]
        lists = indexed and any(isinstance(part, list) for part in parts)
        self.count += func in (torch.tensor, torch.Tensor.new_tensor) or lists
        return func(*args, **(kwargs or {}))


def test_what_is_counted_as_a_copy_from_the_host():
    x = torch.arange(6.0).view(2, 3)
    with FromHost() as copies:
        x[:, [0, 1]] = 1.0
        x[[1]], x[0, 1:], torch.tensor([1]), x.new_tensor([1.0]), x + 1
    assert copies.count == 4


def test_inference_copies_nothing_from_the_host_once_its_tables_are_made(monkeypatch):
    from genhmr.transformer import deformable

    torch.manual_seed(0)
    tokenizer = PoseTokenizer(24, 32, 16, 8)
    backbone = ViTBackbone((32, 24), 8, 24, 2, 3)
    sizes = {"scales": [1, 4], "layers": 2, "width": 16, "heads": 2, "points": 2, "features": 8,
             "reference": "keypoints", "lifter": 16}  # fmt: skip
    model = build_genhmr(backbone, tokenizer, sizes, torch.Generator().manual_seed(0)).eval()
    joints = SMPLJoints(load_bodies(BODIES).neutral, body25())
    # The form in plain torch operations, which is the one of a GPU.
    monkeypatch.setattr(deformable, "deformable_sample",
                        lambda *a: deformable.deformable_sample_torch(*a[:4]))  # fmt: skip

    def run():
        with torch.no_grad():
            features = model.encode_image(torch.ones(1, 3, 32, 32))
            sampled = sample_pose(model, features, 3)
        points = torch.ones(1, 25, 3)
        # Without Adam, whose counters lie on the host unless it is captured.
        refine_pose(model.tokenizer.decode, joints, sampled.latents, sampled.betas, sampled.cam,
                    points, 2, optimiser="gradient")  # fmt: skip

    run()
    with FromHost() as copies:
        run()
    assert copies.count == 0
