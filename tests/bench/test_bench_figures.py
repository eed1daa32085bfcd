"""Figures drawn from the trace of one image."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from bench.figures import draw_confidences, draw_figures
from genhmr.types import UserError


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    figures, real = [], Figure.savefig

    def save(figure, *arguments, **options):
        figures.append(figure)
        return real(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", save)
    return figures


def test_confidences_span_the_colours_and_say_their_range(drawn, tmp_path):
    """Softmax over thousands of codes: all confidences are small, and yet they differ."""
    confidences = np.linspace(0.0066, 0.0168, 480).reshape(10, 48)
    draw_confidences({"confidences": confidences}, tmp_path / "6.png")
    axis, bar = drawn[0].axes
    assert axis.images[0].get_clim() == (confidences.min(), confidences.max())
    assert bar.get_ylabel() == "from 0.0066 to 0.0168"
    words = [label.get_text() for label in bar.get_yticklabels()]
    assert (words[0], words[-1]) == ("0.0066", "0.0168")
    pixels = np.asarray(Image.open(tmp_path / "6.png").convert("RGB")).reshape(-1, 3)
    assert len(np.unique(pixels, axis=0)) > 200  # no plain square


def test_without_an_evaluation_nothing_is_drawn(tmp_path):
    """Of a fresh clone, and of a folder that a stopped evaluation left."""
    job = {"source": "open", "profile": "mini", "names": {}}
    for folder in (tmp_path / "build" / "evaluate" / "base", tmp_path):
        with pytest.raises(UserError, match=f"{folder} has no gallery-.*npz: run `python -m bench "
                                            f"evaluate {folder.name}` first"):  # fmt: skip
            draw_figures(job, folder, tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_one_confidence_for_all_tokens_is_drawn_too(tmp_path):
    draw_confidences({"confidences": np.full((2, 48), 0.25)}, tmp_path / "6.png")
    assert (tmp_path / "6.png").stat().st_size > 1000
