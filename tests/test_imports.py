"""The one-way street: a room imports only rooms before it."""

from pathlib import Path

import pytest

from bench.imports import imported_modules

ROOT = Path(__file__).parents[1]
# What stands before every room and knows nothing of any.
GROUND = {"types", "precision", "constants", "cores", "workers"}
ALLOWED = {name: set() for name in GROUND} | {
    "body": set(),
    "metrics": {"body"},
    "world": {"body"},
    "data": {"body"},
    "image": {"body"},
    "tokenizer": {"body"},
    "transformer": {"body", "data", "image", "tokenizer"},
}
ALLOWED["inference"] = ALLOWED["transformer"] | {"transformer"}
ALLOWED["baselines"] = ALLOWED["inference"]
ALLOWED["train"] = ALLOWED["inference"] | {"inference", "baselines", "metrics"}
# One leaf everyone may read: files of weights and checkpoints know nothing of any room.
LEAVES = {"train.checkpoint"}
TOOLS_AND_ORACLES = {"dvc", "smplx", "roma", "anny", "pybullet", "transformers", "skimage"}


def _imports(path):
    return imported_modules(path.relative_to(ROOT), ROOT)


FILES = sorted((ROOT / "genhmr").rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_arrow_points_back(path):
    room = path.relative_to(ROOT / "genhmr").parts[0].removesuffix(".py")
    if room == "__init__":
        return
    allowed = ALLOWED[room] | {room} | (set() if room in GROUND else GROUND)
    for name in _imports(path):
        if name == "bench" or name.startswith("bench."):
            raise AssertionError(f"genhmr/{room} imports {name}")
        if name.startswith("genhmr.") and name.removeprefix("genhmr.") not in LEAVES:
            target = name.split(".")[1]
            assert target in allowed or name.removeprefix("genhmr.").startswith(
                tuple(LEAVES)
            ), f"genhmr/{room} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_run_time_code_does_not_import_tools_and_oracles(path):
    if "builder" in str(path):
        return  # builders have their own extra
    assert not {name.split(".")[0] for name in _imports(path)} & TOOLS_AND_ORACLES
