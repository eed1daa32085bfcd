"""docs/protocols.md prints scores of the shipped base: the committed summary has some of them."""

import json
import re

import pytest

from genhmr.metrics import presets_for, protocol_for
from tests.bench.committed import ROOT, committed

METRICS = ("mpjpe", "pa_mpjpe", "mve")


def _tables():
    """By data set: the presets of every row, its number of frames, and its metrics."""
    tables, name = {}, None
    for line in (ROOT / "docs" / "protocols.md").read_text().splitlines():
        if found := re.match(r"\| preset, (\S+) \|", line):
            name = found.group(1)
            tables[name] = []
        elif name and line.startswith("| `"):
            presets, *numbers = (cell.strip() for cell in line.strip("|").split("|"))
            frames, *metrics = map(float, numbers)
            row = (re.findall(r"`([\w-]+)`", presets), frames, dict(zip(METRICS, metrics)))
            tables[name].append(row)
        elif not line.startswith("|"):
            name = None
    return tables


def _summary():
    return json.loads(committed("results/summary.json"))["base"]


@pytest.mark.parametrize(
    ("dataset", "preset"),
    [("open-wild", "genhmr"), ("open-extreme", "genhmr"), ("open-lab", "h36m-p1")],
)
def test_the_page_has_the_numbers_of_the_committed_summary(dataset, preset):
    """Of open-lab the tables of the suite count all cameras, as the protocol P1 does."""
    _, frames, printed = next(row for row in _tables()[dataset] if preset in row[0])
    headline = _summary()[dataset]["headline"]
    assert frames == headline["n"]
    for metric in METRICS:
        message = f"{preset} on {dataset}: run the command above the tables of docs/protocols.md"
        assert printed[metric] == pytest.approx(headline[metric], abs=0.056), message


def test_every_preset_has_a_row_beside_those_that_say_the_same():
    tables = _tables()
    assert set(tables) == {"open-wild", "open-extreme", "open-lab"}
    for dataset, rows in tables.items():
        shown = [name for names, *_ in rows for name in names]
        assert sorted(shown) == sorted(presets_for(dataset))
        for names, *_ in rows:
            told = {(p.joints, p.root, p.truth_body, p.align_vertices, p.frames)
                    for p in (protocol_for(dataset, name) for name in names)}  # fmt: skip
            assert len(told) == 1, names
