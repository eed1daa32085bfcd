"""The codebook beside its peers: nearest code, and the moving average of the codes.

Peers: vector-quantize-pytorch where it is installed, and the formulas that most VQ code uses,
``cdist`` + ``argmin`` and ``one_hot.T @ latents``. One thread, in turn, medians of CPU time.
The size is the paper's codebook (2048 x 256) under 64 poses of 96 tokens.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable

import pytest
import torch

from genhmr.tokenizer.quantizer import code_statistics, nearest_codes

BATCH, TOKENS, CODES, DIM = 64, 96, 2048, 256
ROUNDS = 7


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(BATCH * TOKENS, DIM, generator=generator)
    return latents, torch.randn(CODES, DIM, generator=generator)


def _ratio(ours: Callable[[], object], peer: Callable[[], object]) -> float:
    """Peer's median CPU time over ours; the two take turns."""
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    for round_ in range(ROUNDS + 1):
        for name, function in (("ours", ours), ("peer", peer)):
            began = time.process_time()
            function()
            if round_:  # the first round warms up
                seconds[name].append(time.process_time() - began)
    return statistics.median(seconds["peer"]) / statistics.median(seconds["ours"])


def _record(benchmark, path: str, peer: str, ratio: float, goal: float) -> None:
    benchmark.extra_info.update(path=path, peer=peer, ratio=ratio, goal=goal)


def test_nearest_code_beside_cdist(benchmark):
    latents, codebook = _data()

    def ours() -> torch.Tensor:
        return nearest_codes(latents, codebook)

    def peer() -> torch.Tensor:
        return torch.cdist(latents, codebook).argmin(1)

    assert (ours() == peer()).float().mean() > 0.999
    ratio = _ratio(ours, peer)
    benchmark.pedantic(ours, rounds=5)
    _record(benchmark, "nearest code", "torch.cdist + argmin", ratio, 1.2)


def test_codebook_statistics_beside_one_hot(benchmark):
    latents, codebook = _data()
    indices = nearest_codes(latents, codebook)

    def ours() -> tuple[torch.Tensor, torch.Tensor]:
        return code_statistics(latents, indices, CODES)

    def peer() -> tuple[torch.Tensor, torch.Tensor]:
        one_hot = torch.nn.functional.one_hot(indices, CODES).to(latents.dtype)
        return one_hot.sum(0), one_hot.t() @ latents

    for mine, theirs in zip(ours(), peer()):
        torch.testing.assert_close(mine, theirs, atol=1e-3, rtol=1e-4)
    ratio = _ratio(ours, peer)
    benchmark.pedantic(ours, rounds=5)
    _record(benchmark, "moving average of the codes", "one-hot matrix product", ratio, 20.0)


if importlib.util.find_spec("vector_quantize_pytorch"):

    def test_nearest_code_beside_vector_quantize_pytorch(benchmark):
        from vector_quantize_pytorch import VectorQuantize

        latents, codebook = _data()
        module = VectorQuantize(dim=DIM, codebook_size=CODES).eval()
        with torch.no_grad():
            module.codebook = codebook

        def ours() -> torch.Tensor:
            return nearest_codes(latents, codebook)

        @torch.no_grad()
        def peer() -> torch.Tensor:
            return module(latents[None])[1][0]

        assert (ours() == peer()).float().mean() > 0.999
        ratio = _ratio(ours, peer)
        benchmark.pedantic(ours, rounds=5)
        _record(benchmark, "nearest code", "vector-quantize-pytorch", ratio, 1.2)
