"""Another number of seeds: what was trained is taken, what is new is trained, nothing stale."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from bench.__main__ import cli
from bench.explain_chain import took
from bench.report.header import records
from bench.seeds import MADE, KeptSeeds
from genhmr.train.loop import ResumableLoop
from tests.bench.smoke_checkout import finished_checkout

ROOT = Path(__file__).parents[2]
JOB = {
    "tokenizer": "base", "train_on": {"mocap": 1.0}, "weights": None, "bodies": "bodies",
    "steps": 3, "device": "cpu",
}  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the shards of a set and the models that a training starts from."""
    monkeypatch.chdir(tmp_path)
    for name in ("bench", "genhmr"):
        Path(name).symlink_to(ROOT / name)
    for path in (
        "build/data/mocap/train/manifest.json", "build/models/backbone/backbone.safetensors",
        "build/models/lifter/lifter.safetensors", "bodies/neutral.npz",
        "build/models/tokenizer/base/tokenizer.safetensors",
    ):  # fmt: skip
        Path(path).parent.mkdir(parents=True)
        Path(path).write_text("before")
    return tmp_path


def _kept(seeds, **changes):
    job = JOB | changes | {"seeds": seeds}
    return KeptSeeds("transformer", job, Path("build"), Path("scratch/ablation"))


def _train(seeds, **changes):
    """Trains by writing the seed into a file; returns what was trained, taken and came out."""
    kept = _kept(seeds, **changes)
    trained, files = [], {}
    shutil.rmtree("out", ignore_errors=True)
    for seed in seeds:
        target = Path("out") / str(seed)
        if not kept.take(seed, target):
            trained.append(seed)
            (target / "seed-1").mkdir(parents=True)  # of the next seed: not this one's
            (target / "genhmr.safetensors").write_text(f"weights of {seed}")
            kept.put(seed, target, seconds=7.0 + seed)
        files[seed] = {p.name: p.read_text() for p in target.iterdir() if p.is_file()}
    return trained, sorted(kept.taken), files


def test_only_new_seeds_are_trained(place):
    assert _train([0, 1])[:2] == ([0, 1], [])
    trained, taken, files = _train([0, 1, 2])
    assert (trained, taken) == ([2], [0, 1])
    assert files == {s: {"genhmr.safetensors": f"weights of {s}"} for s in (0, 1, 2)}
    assert _train([1, 2, 3, 4], seed=1)[:2] == ([3, 4], [1, 2])
    assert not list(Path("scratch").rglob("*.part"))


def test_the_same_seeds_again_are_trained_again(place):
    """`dvc repro -f` asks for a training: fewer seeds than there are do so, too."""
    _train([0, 1, 2])
    assert _train([0, 1, 2])[:2] == ([0, 1, 2], [])
    assert _train([0, 1])[:2] == ([0, 1], [])


def test_one_seed_and_shipped_weights_leave_nothing(place):
    assert _train([0])[:2] == ([0], [])
    assert _train([0, 1], weights="genhmr.safetensors")[:2] == ([0, 1], [])
    assert not Path("scratch").exists()


@pytest.mark.parametrize(
    "change",
    [
        "settings", "build/data/mocap/train/manifest.json", "bodies/neutral.npz", "code", "torch",
        "build/models/backbone/backbone.safetensors", "build/models/lifter/lifter.safetensors",
        "build/models/tokenizer/base/tokenizer.safetensors", "processes",
    ],
)  # fmt: skip
def test_what_was_made_otherwise_is_not_taken(place, monkeypatch, change):
    _train([0, 1])
    changes = {}
    if change == "settings":
        changes = {"steps": 4}
    elif change == "code":
        monkeypatch.setattr("bench.inputs.code_of", lambda module, root: [Path("bodies")])
    elif change == "torch":
        monkeypatch.setattr(torch, "__version__", "0.0")
    elif change == "processes":
        monkeypatch.setenv("WORLD_SIZE", "2")
    else:
        Path(change).write_text("after")
    around = Path("scratch/ablation.seeds")
    (around / ".DS_Store").write_text("a stray file")
    _kept([0, 1, 2], **changes)
    assert len(list(around.glob("*/[01]"))) == 2, "until another is whole, they may come back"
    assert _train([0, 1, 2], **changes)[:2] == ([0, 1, 2], [])
    assert [path.is_dir() for path in sorted(around.iterdir())] == [False, True]


def test_a_kept_file_that_was_damaged_is_trained_again(place):
    _train([0, 1])
    file = next(Path("scratch/ablation.seeds").glob("*/1")) / "genhmr.safetensors"
    file.write_bytes(b"")
    trained, taken, files = _train([0, 1, 2])
    assert (trained, taken) == ([1, 2], [0])
    assert files[1]["genhmr.safetensors"] == "weights of 1"
    (file.parent / MADE).write_text("{")
    assert _train([0, 1, 2, 3])[:2] == ([1, 3], [0, 2])


def test_a_training_that_other_code_began_is_not_kept(place, monkeypatch):
    """Its checkpoint is found again after an edit; a seed of two codes must not pass for one."""
    Path("own").mkdir()
    _kept([0, 1]).watch(Path("own"))
    monkeypatch.setattr("bench.inputs.code_of", lambda module, root: [])
    Path("made").mkdir()
    Path("made/genhmr.safetensors").write_text("half and half")
    kept = _kept([0, 1])
    kept.watch(Path("own"))
    kept.put(0, Path("made"), 1.0)
    assert not Path("scratch").exists()


def test_a_full_disk_costs_no_training(place, monkeypatch, capsys):
    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    assert _train([0, 1])[0] == [0, 1]
    assert "seed 0 is not kept for a later run: [Errno 28]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "name", "file"),
    [("train-tokenizer", "t48", "tokenizer"), ("train-transformer", "tokens-48", "genhmr")],
)
def test_two_seeds_then_three(street, monkeypatch, command, name, file):
    """Through the commands: equal to three at once, and the record says whose seeds they are."""
    monkeypatch.chdir(street)
    kind = command.removeprefix("train-")
    plan = Path(f"build/plan/{kind}/{name}.json")
    before = plan.read_text()
    steps = []
    monkeypatch.setattr(
        ResumableLoop, "__iter__",
        lambda self, whole=ResumableLoop.__iter__: (steps.append(s) or s for s in whole(self)),
    )  # fmt: skip

    def train(*seeds):
        plan.write_text(json.dumps(json.loads(before) | {"seeds": list(seeds)}))
        steps.clear()
        result = CliRunner().invoke(cli, [command, name], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        record = json.loads(Path(f"results/provenance/{command}-{name}.json").read_text())
        out = Path(f"build/models/{kind}/{name}")
        weights = [out / f"{file}.safetensors", *sorted(out.glob(f"seed-*/{file}.safetensors"))]
        return len(steps), record, [path.read_bytes() for path in weights]

    count, record, two = train(0, 5)
    assert "taken" not in record and took(record) == ""
    more, record, three = train(0, 5, 6)
    assert count == 2 * more > 0
    assert three[:2] == two and len(set(three)) == 3
    assert set(record["taken"]) == {"0", "5"}
    made = record["taken"]["5"]
    assert made["commit"] == record["commit"] and made["seconds"] > 0 and "files" not in made
    own = f"; seed 5 from {made['ended'][:10]}, no commit, {made['seconds']:g} s"
    assert own in took(record), "the checkout of this test is no repository"
    html = records(type("Run", (), {"records": {"": record}}))
    assert "seeds 0, 5 taken from earlier runs" in html
    again, record, whole = train(0, 5, 6)
    assert again == 3 * more and "taken" not in record and whole == three


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    """A checkout in which every stage has run."""
    return finished_checkout(tmp_path_factory)
