"""Capturing a call as a CUDA graph, on a pretended device that notes what is asked of it."""

import contextlib
from types import SimpleNamespace

import pytest
import torch

from bench.speed.graphs import KeptTables, capture, try_capture
from genhmr.tokenizer.model import PoseTokenizer
from genhmr.transformer.model import MaskedTransformer

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


def test_tables_of_numbers_are_made_once_for_all_calls_and_outlive_the_capture():
    found, x = [], torch.arange(6.0)

    def run():
        found.append((torch.tensor([1, 2]), x.new_tensor([(3.0, 4.0)]), x.new_tensor([(4.0, 3.0)])))

    replay = capture(run, pretended_cuda([]))
    for tables in found[1:]:
        assert all(a is b for a, b in zip(tables, found[0], strict=True))
    assert found[0][1].tolist() == [[3, 4]] and found[0][2].tolist() == [[4, 3]]
    kept = [id(table) for part in replay.kept if isinstance(part, dict) for table in part.values()]
    assert {id(table) for table in found[0]} <= set(kept)
    assert torch.tensor([1, 2]) is not torch.tensor([1, 2])  # only while it is captured


def test_lists_as_indices_read_and_write_as_without():
    x = torch.arange(24.0).view(2, 3, 4)
    expected, target = x[:, [2, 0]], x.clone()
    target[:, [0, 1]] = -1.0
    with KeptTables() as tables:
        assert torch.equal(x[:, [2, 0]], expected) and torch.equal(x[[1]], x[1:])
        written = x.clone()
        written[:, [0, 1]] = -1.0
        assert torch.equal(written, target) and len(tables.tables) == 3
        assert torch.equal(x[0, 1:], torch.arange(4.0, 12).view(2, 4)) and len(tables.tables) == 3


def test_tables_of_tensors_are_not_kept():
    with KeptTables() as tables:
        many = [torch.tensor([torch.tensor(float(i))]) for i in range(3)]
    assert [float(x) for x in many] == [0, 1, 2]
    assert all("tensor(" not in key[0] for key in tables.tables)


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


def test_the_model_copies_nothing_from_the_host_once_its_tables_are_kept(monkeypatch):
    """What a capture forbids: numbers of the host that become a tensor of the device."""
    torch.manual_seed(0)
    model = MaskedTransformer(24, 32, 16, 2, 2, 2, 8, 2).eval()
    tokenizer = PoseTokenizer(24, 32, 16, 8).eval()
    maps = [torch.randn(1, 8, 4, 3), torch.randn(1, 8, 8, 6)]
    tokens, mask = torch.zeros(1, 24, dtype=torch.long), torch.ones(1, 24, dtype=torch.bool)
    latents = torch.randn(1, 24, 16)
    # The form in plain torch operations, which is the one of a GPU.
    from genhmr.transformer import deformable

    monkeypatch.setattr(deformable, "deformable_sample",
                        lambda *a: deformable.deformable_sample_torch(*a[:4]))  # fmt: skip
    with torch.no_grad():
        expected = model(tokens, mask, maps), tokenizer.decode(latents)
        with KeptTables() as tables:
            model(tokens, mask, maps), tokenizer.decode(latents)
            made = len(tables.tables)
            again = model(tokens, mask, maps), tokenizer.decode(latents)
        assert made >= 4 and len(tables.tables) == made
    for found, wanted in zip(again, expected, strict=True):
        assert torch.equal(found, wanted)
