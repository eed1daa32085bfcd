"""Bounds, FLOPs, and the stages of AITI, against numbers worked out by hand."""

import pytest
import torch
from torch import nn

from bench.speed.aiti import Stage, aiti_lines, measure, products_in_bfloat16, total
from bench.speed.bounds import Work, bound, count_flops, weight_bytes
from bench.speed.graphs import Replay
from genhmr.image.vit import ViTBackbone, ViTConfig

H100 = "NVIDIA H100 80GB HBM3"


def test_flops_of_products_convolutions_and_what_goes_back():
    linear, conv = nn.Linear(30, 20), nn.Conv1d(4, 6, 3, padding=1)
    assert count_flops(lambda: linear(torch.ones(5, 30))) == 2 * 5 * 30 * 20
    assert count_flops(lambda: conv(torch.ones(1, 4, 10))) == 2 * 10 * 4 * 6 * 3
    x = torch.ones(5, 30, requires_grad=True)
    back = count_flops(lambda: torch.autograd.grad(linear(x).sum(), x))
    assert back == 2 * 2 * 5 * 30 * 20  # forward, and the gradient of the input


def test_flops_of_a_variable_in_a_passage_without_gradients():
    # As in the last decoding of refinement; torch's own FlopCounterMode fails here.
    linear, x = nn.Linear(30, 20).requires_grad_(False), torch.ones(1, 150, requires_grad=True)

    @torch.no_grad()
    def run():
        return linear(x.unflatten(1, (5, 30)))

    assert count_flops(run) == 2 * 5 * 30 * 20


def test_flops_of_the_papers_backbone():
    # facts: ViT-H/16 at 256x192 is 243 GFLOP in its layers; attention comes on top.
    with torch.device("meta"):
        backbone = ViTBackbone.from_config(
            ViTConfig((256, 192), 16, 1280, 32, 16, stem="patch", patch_padding=2)
        )
        flops = count_flops(lambda: backbone(torch.empty(1, 3, 256, 256)))
    layers = 2 * 192 * 32 * 12 * 1280**2 + 2 * 192 * 3 * 16 * 16 * 1280
    assert flops == layers + 32 * 4 * 192 * 192 * 1280
    assert layers == pytest.approx(243e9, rel=0.01)


def test_weights_count_in_the_type_they_are_kept_in():
    linear = nn.Linear(3, 5)
    assert weight_bytes(linear) == 4 * 20 and weight_bytes(linear.bfloat16(), linear) == 4 * 20


def test_bound_is_the_larger_of_bytes_and_flops():
    assert bound(Work(((3_350_000_000, 1),), 1), H100) == (pytest.approx(1e-3), "bytes")
    assert bound(Work(((1, 1),), 989 * 10**9), H100) == (pytest.approx(1e-3), "FLOPs")


def test_weights_that_fit_into_the_cache_are_read_once():
    assert bound(Work(((10**8, 5),), 0), H100)[0] == pytest.approx(5e8 / 3.35e12)
    assert bound(Work(((10**7, 5),), 0), H100)[0] == pytest.approx(1e7 / 3.35e12)
    # It is all of them together that must fit.
    both = bound(Work(((4 * 10**7, 5), (2 * 10**7, 1)), 0), H100)[0]
    assert both == pytest.approx(22e7 / 3.35e12)


@pytest.mark.parametrize("name", ["CPU", "NVIDIA H100 NVL", "NVIDIA L4"])
def test_a_device_without_numbers_has_no_bound(name):
    assert bound(Work(((10**8, 1),), 10**9), name) is None


def test_products_kept_in_bfloat16_give_what_autocast_gives():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, 8))
    model.requires_grad_(False)
    x = torch.randn(4, 16)
    with torch.autocast("cpu", torch.bfloat16):
        expected = model(x)
        products_in_bfloat16(model)
        found = model(x)
    assert [p.dtype for p in model[0].parameters()] == [torch.bfloat16] * 2
    assert model[1].weight.dtype == torch.float32
    assert torch.equal(found, expected)


def _stage(name, log, aim=None):
    def run():
        log.append(name)
        return torch.mm(torch.ones(2, 3), torch.ones(3, 4))

    return Stage(name, run, ((10**9, 2),), lambda result: result, aim)


def _seconds(call):
    call()
    return 2e-3


def test_every_stage_is_timed_before_any_is_captured_and_both_numbers_are_printed():
    log = []

    def capture(run):
        if len(log) and log[-1] == "refine":
            return "cannot be captured"
        log.append("capture")
        return Replay(lambda: log.append("replay"), torch.full((2, 4), 3.5), ())

    stages = [_stage("sample", log, 6e-3), _stage("refine", log)]
    measured = measure(stages, _seconds, H100, capture)
    assert log[:4] == ["sample", "sample", "refine", "refine"]  # counted, timed
    sample, refine = measured["sample"], measured["refine"]
    assert (sample["flops"], sample["weight_bytes"]) == (48, 10**9)
    assert sample["bound_s"] == pytest.approx(2e9 / 3.35e12) and sample["bound_by"] == "bytes"
    assert sample["graph_s"] == 2e-3 and sample["gap"] == 0.5
    assert refine["graph_s"] is None and refine["graph"] == "cannot be captured"
    lines = aiti_lines({"stages": {**measured, "both": total(measured)}})
    assert lines[1].split()[:9] == (
        "sample 2.00 ms 2.00 ms 597 us (bytes) 6.00".split()
    )
    assert lines[2].split()[:5] == ["refine", "2.00", "ms", "-", "597"]
    assert lines[3].split()[:5] == ["both", "4.00", "ms", "-", "1.19"]
    assert "no CUDA graph of refine: cannot be captured" in lines
    assert "a replay of sample differs by up to 0.5" in lines


def test_without_graphs_and_numbers_a_stage_still_has_its_work():
    measured = measure([_stage("sample", [])], _seconds, "CPU")
    assert measured["sample"]["graph_s"] is None and measured["sample"]["bound_s"] is None
    line = aiti_lines({"stages": measured})[1]
    assert "unknown" in line and "4.8e-08 GFLOP, weights 1.00 GB" in line


def test_stages_add_up():
    stages = {name: measure([_stage(name, [])], _seconds, H100)[name] for name in "ab"}
    for stage in stages.values():
        stage["graph_s"] = 1e-3
    both = total(stages)
    assert both["seconds"] == 4e-3 and both["graph_s"] == 2e-3 and both["flops"] == 96
    stages["a"]["graph_s"] = None
    assert total(stages)["graph_s"] is None
