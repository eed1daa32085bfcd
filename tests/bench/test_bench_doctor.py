"""Saying what is here, what is missing and what that stops: on made-up folders, nothing runs."""

import importlib.metadata
import re
from pathlib import Path

import pytest

from bench.doctor import NEEDED, _open_world, examine, report
from bench.doctor_findings import Finding
from bench.doctor_licensed import LICENSED, MEANWHILE, licensed
from bench.params import read_yaml
from bench.pipeline import read_pipeline, stages_after, stages_of

ROOT = Path(__file__).parents[2]
BODY = ("basicModel_neutral_lbs_10_207_0_v1.0.0.pkl", "SMPL_MALE.pkl",
        "basicModel_f_lbs_10_207_0_v1.0.0.pkl", "J_regressor_h36m.npy")  # fmt: skip
RELEASES = {
    "Human3.6M": "h36m/h36m_train.npz", "COCO": "coco/coco_2014_train.npz",
    "3DPW": "3dpw/sequenceFiles/test/downtown.pkl", "EMDB": "emdb/P1/14_outdoor/P1_14_data.pkl",
    "AMASS": "amass/CMU/01/01_01_poses.npz", "MOYO": "moyo/mosh_smpl/train/one.pkl",
}  # fmt: skip
BEHIND_IMAGES = "inputs-images, transformer@*, evaluate@*, tables, claims, figures, report"


@pytest.fixture
def found(tmp_path):
    """What is said of licensed data where some files are: ``(state, note)`` by name."""
    variants, pipeline = read_yaml(ROOT / "variants.yaml"), read_pipeline(ROOT / "dvc.yaml")

    def look(*files):
        for file in files:
            path = tmp_path / ("body" if "/" not in file else "raw") / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        findings = list(licensed(tmp_path, variants, pipeline))
        return {f.name: (f.state, f.note) for f in findings}

    return look


def test_a_missing_set_stops_what_waits_for_its_stage(found):
    said = found(*BODY, RELEASES["3DPW"])
    for name in ("SMPL_NEUTRAL.pkl", "SMPL_FEMALE.pkl", "J_regressor_h36m.npy", "3DPW"):
        assert said[name][0] == "ok", name
    for name, role in (("EMDB", "extreme"), ("COCO", "photo"), ("Human3.6M", "lab")):
        assert said[name][0] == "absent"
        assert f"stops data@{role} and behind it {BEHIND_IMAGES}; put" in said[name][1]
    assert "datasets/raw/emdb" in said["EMDB"][1]
    motion = "inputs-motion, inputs-images, lifter, tokenizer@*, transformer@*"
    for name, role in (("AMASS", "mocap"), ("MOYO", "yoga")):
        assert f"stops data@{role} and behind it {motion}, evaluate-tokenizer@*" in said[name][1]
        assert "evaluate@*, tables, claims, figures, report" in said[name][1]
    assert f"stops backbone and behind it {BEHIND_IMAGES}" in said["vitpose-h.pth"][1]


def test_a_set_of_some_variants_alone_stops_nothing_unless_its_folder_is_empty(found):
    said = found(*BODY)
    assert said["BEDLAM"][1].startswith("leaves out sd-itw-bl alone; put BEDLAM")
    assert said["in-the-wild sets of HMR2.0"][1].startswith("leaves out sd-itw, sd-itw-bl alone")
    said = found("bedlam/README")
    assert f"stops data@synth and behind it {BEHIND_IMAGES} (remove it)" in said["BEDLAM"][1]


def test_a_missing_body_stops_everything(found):
    """`load_bodies` reads the three bodies and the regressor, whatever the stage needs of them."""
    said = found(*BODY[:2], *RELEASES.values())
    assert "stops everything licensed" in said["SMPL_FEMALE.pkl"][1]
    assert "stops no stage" in said["SMPL_to_J19.pkl"][1]
    commands = [name for name in said if name.startswith(("dvc", "python"))]
    assert {said[name][0] for name in commands} == {"absent"} and len(commands) == 7
    assert "waits for SMPL_FEMALE.pkl, J_regressor_h36m.npy" in said["dvc repro"][1]


@pytest.mark.parametrize(
    ("here", "able"),
    [
        ((), {"dvc repro data@mocap data@yoga": False}),
        (("AMASS", "MOYO"), {"dvc repro data@mocap data@yoga": True,
                             "dvc repro evaluate-tokenizer": True, "dvc repro evaluate": False}),
        (("AMASS",), {"dvc repro data@mocap": True, "dvc repro evaluate-tokenizer": False}),
        (("3DPW", "EMDB"), {"dvc repro data@wild data@extreme": True,
                            "python -m bench score FILE --dataset 3dpw": True,
                            "python -m bench score FILE --dataset emdb": True,
                            "python -m bench score FILE --dataset h36m": False,
                            "dvc repro evaluate-tokenizer": False, "dvc repro": False}),
        (tuple(RELEASES), {"dvc repro evaluate-tokenizer": True, "dvc repro": False}),
        ((*RELEASES, "vitpose"), {"dvc repro evaluate": True, "dvc repro": True}),
    ],
)  # fmt: skip
def test_what_can_run_meanwhile(found, here, able):
    said = found(*BODY, *(RELEASES.get(name, "vitpose-h.pth") for name in here))
    for command, good in able.items():
        assert (said.get(command, ("absent",))[0] == "ok") == good, command
    if here == tuple(RELEASES):
        assert said["dvc repro"][1] == "everything; waits for vitpose-h.pth (profile paper)"


def test_the_graph_is_that_of_dvc_yaml():
    stages = stages_of(read_pipeline(ROOT / "dvc.yaml"), read_yaml(ROOT / "variants.yaml"))
    behind = stages_after(["tokenizer@mixed-t48"], stages)
    assert "transformer@tokens-48" in behind and "evaluate-tokenizer@mixed-t48" in behind
    assert "tables" in behind, "which depends on the folder above"
    assert not {"transformer@base", "tokenizer@t48", "evaluate-tokenizer@t48"} & set(behind)
    assert stages_after(["report"], stages) == ["report"]


def test_detections_are_looked_for_where_they_are_read(found, tmp_path):
    said = found(*BODY)["OpenPose detections"]
    assert said[0] == "absent" and "not comparable" in said[1]
    for kind in ("3dpw", "h36m"):
        found(f"{kind}/openpose/walk/image_00000_keypoints.json")
    said = found()["OpenPose detections"]
    assert said[0] == "absent" and said[1].endswith("into datasets/raw/emdb/openpose")
    assert found("emdb/openpose/P1/00000_keypoints.json")["OpenPose detections"][0] == "ok"


def test_every_absent_file_has_an_address(found):
    for name, (state, note) in found().items():
        assert name.startswith(("dvc", "python")) or "http" in note, (name, state)


def test_doctor_tells_what_is_gone_of_the_open_world(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "motion").symlink_to(ROOT / "datasets" / "open" / "motion")
    opened = {finding.name: finding.state for finding in _open_world(tmp_path)}
    assert opened["motion"] == "ok"
    assert opened["neutral.npz, male.npz, female.npz, regressors.npz"] == "missing"
    text, able = report(list(_open_world(tmp_path)))
    assert not able and "cannot run: neutral.npz" in text


def test_every_dependency_is_looked_for():
    def canonical(name):
        return re.sub(r"[-_.]+", "-", name).lower()

    block = (ROOT / "pyproject.toml").read_text().split("\ndependencies = [")[1].split("\n]")[0]
    wanted = re.findall(r'^ *"([\w.-]+)', block, re.M)
    assert len(wanted) > 15
    assert {canonical(name) for name in wanted} == {canonical(name) for name in NEEDED}


def test_a_missing_package_is_an_illness_and_an_absent_extra_none(monkeypatch):
    whole = importlib.metadata.version

    def version(name):
        if name == "matplotlib":
            raise importlib.metadata.PackageNotFoundError(name)
        return whole(name)

    monkeypatch.setattr("bench.doctor.metadata.version", version)
    monkeypatch.setattr("bench.doctor.importlib.util.find_spec", lambda name: None)
    variants, pipeline = read_yaml(ROOT / "variants.yaml"), read_pipeline(ROOT / "dvc.yaml")
    text, able = report(examine(ROOT / "datasets", variants, pipeline))
    assert not able and "cannot run: matplotlib missing" in text
    assert re.search(r"absent +roma +stops tests/body/test_body_rotations.py; pip install", text)
    text, able = report([Finding("here", "anny", "absent", "pip install")])
    assert able and "anny" in text


def test_doctor_finds_a_fresh_clone_well():
    variants, pipeline = read_yaml(ROOT / "variants.yaml"), read_pipeline(ROOT / "dvc.yaml")
    text, able = report(examine(ROOT / "datasets", variants, pipeline))
    assert able and "no licence is needed" in text
    assert importlib.metadata.version("numpy") in text
    assert "open world:" in text and f"{LICENSED}:" in text and f"{MEANWHILE}:" in text
