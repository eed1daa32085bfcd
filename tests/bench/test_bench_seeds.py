"""Another number of seeds: what was trained is taken, what is new is trained, nothing stale."""

import json
import shutil
from pathlib import Path

import pytest

from bench.explain import took
from bench.provenance import recorded
from bench.seeds import KeptSeeds

ROOT = Path(__file__).parents[2]
JOB = {
    "tokenizer": "base", "train_on": {"mocap": 1.0}, "weights": None,
    "bodies": "datasets/open/body", "steps": 3,
}  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the shards of a set and a model that trainings start from."""
    monkeypatch.chdir(ROOT)
    (tmp_path / "data/mocap/train").mkdir(parents=True)
    (tmp_path / "data/mocap/train/manifest.json").write_text("{}")
    for model in ("backbone", "tokenizer/base"):
        (tmp_path / "models" / model).mkdir(parents=True)
        name = model.partition("/")[0]
        (tmp_path / "models" / model / f"{name}.safetensors").write_bytes(b"before")
    return tmp_path


def _train(place, seeds, **changes):
    """Trains by writing the seed into a file; returns what was trained, taken and came out."""
    job = JOB | changes | {"seeds": seeds}
    kept = KeptSeeds("transformer", job, seeds, place, place / "scratch" / "ablation")
    trained, files = [], {}
    shutil.rmtree(place / "out", ignore_errors=True)
    for seed in seeds:
        target = place / "out" / str(seed)
        if not kept.take(seed, target):
            trained.append(seed)
            (target / "seed-1").mkdir(parents=True)  # of the next seed: not this one's
            (target / "genhmr.safetensors").write_text(f"weights of {seed}")
            kept.put(seed, target)
        files[seed] = {p.name: p.read_text() for p in target.iterdir() if p.is_file()}
    return trained, kept.taken, files


def test_only_new_seeds_are_trained(place):
    assert _train(place, [0, 1])[:2] == ([0, 1], [])
    trained, taken, files = _train(place, [0, 1, 2])
    assert (trained, taken) == ([2], [0, 1])
    assert files == {s: {"genhmr.safetensors": f"weights of {s}"} for s in (0, 1, 2)}
    assert _train(place, [1, 2, 3, 4])[:2] == ([3, 4], [1, 2])
    assert not list((place / "scratch").rglob("*.part"))


def test_the_same_seeds_again_are_trained_again(place):
    """`dvc repro -f` asks for a training: fewer seeds than there are do so, too."""
    _train(place, [0, 1, 2])
    assert _train(place, [0, 1, 2])[:2] == ([0, 1, 2], [])
    assert _train(place, [0, 1])[:2] == ([0, 1], [])


def test_a_single_seed_leaves_nothing(place):
    assert _train(place, [0])[:2] == ([0], [])
    assert not (place / "scratch").exists()


@pytest.mark.parametrize("change", ["settings", "shards", "backbone", "tokenizer/base", "code"])
def test_what_was_made_otherwise_is_not_taken(place, monkeypatch, change):
    _train(place, [0, 1])
    changes = {}
    if change == "settings":
        changes = {"steps": 4}
    elif change == "shards":
        (place / "data/mocap/train/manifest.json").write_text('{"seed": 1}')
    elif change != "code":
        next((place / "models" / change).iterdir()).write_bytes(b"after")
    else:
        monkeypatch.setattr("bench.inputs.code_of", lambda module, root: [Path("README.md")])
    assert _train(place, [0, 1, 2], **changes)[:2] == ([0, 1, 2], [])
    around = place / "scratch" / "ablation.seeds"
    assert len(list(around.iterdir())) == 1, "what nothing can take any more is gone"


def test_the_record_says_whose_seeds_they_are(tmp_path):
    path = tmp_path / "train-transformer-ablation.json"
    with recorded(tmp_path, "train-transformer", {"seeds": [0, 1]}, "ablation"):
        pass
    first = json.loads(path.read_text())
    assert "taken" not in first and took(first) == ""
    with recorded(tmp_path, "train-transformer", {"seeds": [0, 1, 2]}, "ablation") as taken:
        taken += [0, 1]
    record = json.loads(path.read_text())
    assert record["taken"] == {"seeds": [0, 1], "from": first}
    assert took(record | {"taken": {"seeds": [0, 1], "from": first | {"commit": "a" * 40}}}) == (
        "; seeds 0, 1 from a run before it, commit aaaaaaaaaa"
    )
    assert took(record | {"taken": {"seeds": [0], "from": None}}) == (
        "; seeds 0 from a run before it, of which no record is left"
    )
