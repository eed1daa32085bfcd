"""What a job depends on: its code, as Python loads it; its files; its data."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.imports import code_of
from bench.inputs import GROUPS, MODULES, _digest, needs_of, write_inputs
from bench.params import read_yaml
from bench.plan import build_jobs, write_plan
from genhmr.types import UserError

ROOT = Path(__file__).parents[2]
LOADED = """
import importlib, sys
from pathlib import Path
importlib.import_module(sys.argv[1])
files = [getattr(m, "__file__", None) for n, m in sys.modules.items()
         if n.split(".")[0] in ("bench", "genhmr")]
print("\\n".join(str(Path(f).relative_to(Path.cwd())) for f in files if f))
"""


@pytest.mark.parametrize("module", sorted(MODULES.values()))
def test_the_code_of_a_stage_is_at_least_what_python_loads(module):
    done = subprocess.run(
        [sys.executable, "-c", LOADED, module], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = {str(path) for path in code_of(module, ROOT)}
    assert set(done.stdout.split()) <= found
    assert not any("report" in path or path.startswith("tests") for path in found)


def test_imports_are_followed_however_they_are_written(tmp_path):
    files = {
        "bench/__init__.py": "",
        "bench/a.py": "import os\nfrom genhmr import b\nfrom bench import nothing_here\n",
        "genhmr/__init__.py": "",
        "genhmr/b.py": "def f():\n    from genhmr.room.c import x\n    import genhmr.d as d\n",
        "genhmr/room/__init__.py": "from .e import y\n",
        "genhmr/room/c.py": "from . import f\nfrom .. import g\n",
        "genhmr/room/e.py": "y = 1\n",
        "genhmr/room/f.py": "import genhmr.b\n",
        "genhmr/d.py": "import numpy\n",
        "genhmr/g.py": "",
        "genhmr/unused.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = {str(path) for path in code_of("bench.a", tmp_path)}
    assert found == set(files) - {"genhmr/unused.py"}


@pytest.fixture
def jobs():
    return build_jobs(read_yaml(ROOT / "params.yaml"), read_yaml(ROOT / "variants.yaml"))


def test_a_job_needs_the_data_and_files_it_reads_and_no_others(jobs):
    variant = needs_of("transformer", "sd-itw", jobs, ROOT)
    assert variant.data == ("lab/train", "photo/train", "web/train")
    assert variant.files == ("datasets/open/body",)
    shipped = needs_of("transformer", "base", jobs, ROOT)
    assert shipped.data == () and "datasets/open/weights/genhmr.safetensors" in shipped.files
    scored = needs_of("evaluate", "base", jobs, ROOT)
    assert set(scored.data) == {
        "lab/train", "photo/train", "lab/test", "wild/test", "extreme/test"
    }  # fmt: skip
    poses = needs_of("evaluate-tokenizer", "t48", jobs, ROOT)
    assert poses.data == ("mocap/test", "yoga/val")
    jobs["tokenizer/t48.json"] = {"skip": "left out"}
    assert needs_of("tokenizer", "t48", jobs, ROOT).code == ()


def test_training_the_backbone_here_needs_the_motion(jobs):
    backbone = jobs["backbone/base.json"]
    assert "datasets/open/motion" not in needs_of("backbone", "base", jobs, ROOT).files
    jobs["backbone/base.json"] = {**backbone, "weights": None}
    assert "datasets/open/motion" in needs_of("backbone", "base", jobs, ROOT).files


@pytest.mark.parametrize("profile", ["smoke", "mini", "open", "paper"])
@pytest.mark.parametrize("source", ["open", "licensed"])
def test_whatever_is_noted_is_watched_by_the_stage_that_notes_it(profile, source):
    """A file among the inputs of a job that no dependency of the stage covers would go unseen."""
    params = read_yaml(ROOT / "params.yaml") | {"profile": profile}
    params["data"]["source"] = source
    jobs = build_jobs(params, read_yaml(ROOT / "variants.yaml"))
    stages = read_yaml(ROOT / "dvc.yaml")["stages"]
    outs = set()
    for group, kinds in GROUPS.items():
        watched = stages[f"inputs-{group}"]["deps"]
        outs |= set(stages[f"inputs-{group}"]["outs"])
        for key in jobs:
            kind, _, name = key.removesuffix(".json").partition("/")
            if kind not in kinds:
                continue
            needs = needs_of(kind, name, jobs, ROOT)
            read = [*needs.code, *needs.files, *(f"build/data/{split}" for split in needs.data)]
            read += [f"build/models/{model}" for model in needs.models]
            for path in read:
                assert any(path == dep or path.startswith(f"{dep}/") for dep in watched), path
    assert outs == {f"build/inputs/{kind}" for kind in MODULES}


def test_jobs_of_the_paper_need_the_licensed_bodies_and_what_is_imported():
    params = read_yaml(ROOT / "params.yaml") | {"profile": "paper"}
    params["data"]["source"] = "licensed"
    params["detections"]["source"] = "openpose"
    jobs = build_jobs(params, read_yaml(ROOT / "variants.yaml"))
    assert needs_of("lifter", "base", jobs, ROOT).code == ()
    assert "datasets/body/vitpose-h.pth" in needs_of("backbone", "base", jobs, ROOT).files
    assert needs_of("tokenizer", "t48", jobs, ROOT).files == ("datasets/body",)
    assert set(needs_of("evaluate", "base", jobs, ROOT).files) == {
        "datasets/body", "datasets/raw/h36m/openpose", "datasets/raw/3dpw/openpose",
        "datasets/raw/emdb/openpose",
    }  # fmt: skip


def test_notes_and_files_of_other_commands_are_no_inputs(tmp_path):
    for name in ("SMPL_NEUTRAL.pkl", "README.md", "LICENSE.txt"):
        (tmp_path / name).write_text(name)
    before = _digest(tmp_path)
    for name in ("SMPL_to_J19.pkl", "vitpose-h.pth", "README.md"):
        (tmp_path / name).write_text("new")
    assert _digest(tmp_path) == before
    (tmp_path / "SMPL_NEUTRAL.pkl").write_text("other")
    assert _digest(tmp_path) != before


def test_without_a_plan_the_old_inputs_stay(tmp_path):
    kept = tmp_path / "inputs" / "backbone" / "base.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    with pytest.raises(UserError, match="plan is missing: run `python -m bench plan` first"):
        write_inputs("world", tmp_path, ROOT)
    assert kept.read_text() == "{}"


def test_inputs_change_with_what_they_stand_for(tmp_path, jobs):
    write_plan(jobs, tmp_path / "plan")
    for split in ("lab/train", "photo/train", "web/train", "wild/test"):
        (tmp_path / "data" / split).mkdir(parents=True)
        (tmp_path / "data" / split / "manifest.json").write_text("{}")

    def read():
        count = sum(write_inputs(group, tmp_path, ROOT) for group in GROUPS)
        files = sorted((tmp_path / "inputs").rglob("*.json"))
        assert len(files) == count
        return {str(p.relative_to(tmp_path / "inputs")): json.loads(p.read_text()) for p in files}

    first = read()
    assert read() == first
    assert first["transformer/sd-itw-bl.json"]["data"]["synth/train"] == "not there"
    (tmp_path / "data/web/train/manifest.json").write_text('{"count": 2}')
    second = read()
    assert {name for name in first if first[name] != second[name]} == {
        f"{kind}/{name}.json" for kind in ("transformer", "evaluate")
        for name in ("sd-itw", "sd-itw-bl")
    }  # fmt: skip
    job = {**jobs["tokenizer/t48.json"], "seed": 7}
    (tmp_path / "plan/tokenizer/t48.json").write_text(json.dumps(job))
    third = read()
    assert {name for name in second if second[name] != third[name]} == {"tokenizer/t48.json"}
    (tmp_path / "models/lifter").mkdir(parents=True)
    (tmp_path / "models/lifter/lifter.safetensors").write_bytes(b"lifter")
    fourth = read()
    assert {name for name in third if third[name] != fourth[name]} == {
        name for name in third if name.startswith("transformer/")
    }
