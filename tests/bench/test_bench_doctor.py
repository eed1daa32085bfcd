"""Saying what is here, what is missing and what that stops: on made-up folders, nothing runs."""

import importlib.metadata
import re
import sys
from pathlib import Path

import pytest

from bench.doctor import NEEDED, _open_world, examine, report
from bench.doctor_findings import LICENSED, Finding
from bench.doctor_licensed import _BODY, MEANWHILE, licensed
from bench.forecast import forecast
from bench.forecast_text import together, words
from bench.params import read_yaml
from bench.pipeline import read_pipeline, stages_after, stages_of
from bench.plan import build_jobs
from genhmr.body.model_files import _find_licensed
from genhmr.types import UserError

ROOT = Path(__file__).parents[2]
BODY = ("basicModel_neutral_lbs_10_207_0_v1.0.0.pkl", "SMPL_MALE.pkl",
        "basicModel_f_lbs_10_207_0_v1.0.0.pkl", "J_regressor_h36m.npy")  # fmt: skip
RELEASES = {
    "Human3.6M": ("h36m/h36m_train.npz", "h36m/h36m_valid_protocol2.npz"),
    "COCO": ("coco/coco_2014_train.npz",),
    "3DPW": ("3dpw/sequenceFiles/test/downtown.pkl", "3dpw/imageFiles/downtown/image_00000.jpg"),
    "EMDB": ("emdb/P1/14_outdoor/P1_14_data.pkl", "emdb/P1/14_outdoor/images/00000.jpg"),
    "AMASS": ("amass/CMU/01/01_01_poses.npz", "amass/SSM_synced/20160330/punch_poses.npz"),
    "MOYO": ("moyo/mosh_smpl/train/one.pkl", "moyo/mosh_smpl/val/two.pkl"),
}  # fmt: skip
ALL = [file for files in RELEASES.values() for file in files]
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
    said = found(*BODY, *RELEASES["3DPW"])
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
    assert f"stops data@synth and behind it {BEHIND_IMAGES} (or remove " in said["BEDLAM"][1]
    labels = "bedlam/training_labels/all_npz_12_training"
    said = found(f"{labels}/agora.npz")
    assert "holds no npz of a scene; stops data@synth" in said["BEDLAM"][1]
    assert "1 of 1 folders of pictures" in found(f"{labels}/street.npz")["BEDLAM"][1]
    assert found("bedlam/training_images/street/png/0.png")["BEDLAM"][0] == "ok"


def test_a_missing_body_stops_everything(found):
    """`load_bodies` reads the three bodies and the regressor, whatever the stage needs of them."""
    said = found(*BODY[:2], *ALL)
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
    files = (RELEASES.get(name, ("vitpose-h.pth",)) for name in here)
    said = found(*BODY, *(file for own in files for file in own))
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
    # Where the sequences are known, each has its folder; EMDB's hold those of EMDB-2 as well.
    for name in ("walk", "run"):
        found(f"emdb/P1/14_{name}/P1_14_{name}_data.pkl")
        said = found(f"3dpw/sequenceFiles/test/{name}.pkl")["OpenPose detections"]
    assert said[0] == "absent"
    assert "datasets/raw/3dpw/openpose (1 of 2 sequences have none, first run)" in said[1]
    said = found("3dpw/openpose/run/image_00000_keypoints.json")["OpenPose detections"]
    assert said[0] == "absent" and said[1].endswith("into datasets/raw/emdb/openpose")
    said = found("emdb/openpose/P1_14_run/00000_keypoints.json")["OpenPose detections"]
    assert said[0] == "ok" and "emdb/openpose (1 of 2 sequences)" in said[1]


# What is there, which release it is of, whether that is enough, and what is said to lack.
PARTS = {
    "ACCAD alone": (("amass/ACCAD/a/walk_poses.npz",), "AMASS",
                    "no AMASS motion of the test split (Transitions, Transitions_mocap, SSM, "),
    "test alone": (("amass/SSM/a/walk_poses.npz",), "AMASS", "of the train split; stops data@"),
    "SMPL-X": (("amass/ACCAD/a/walk_stageii.npz", "amass/SSM/a/walk_stageii.npz"), "AMASS", None),
    "3DPW train": (("3dpw/sequenceFiles/train/a.pkl",), "3DPW", "sequenceFiles/test is not a f"),
    "no pictures": (("3dpw/sequenceFiles/test/a.pkl", "3dpw/sequenceFiles/test/b.pkl",
                     "3dpw/imageFiles/a/image_00000.jpg"), "3DPW",
                    "1 of 2 folders of pictures are missing, first"),
    "H36M test": (("h36m/h36m_valid_protocol1.npz",), "Human3.6M",
                  "holds none of h36m_mosh_train.npz, h36m_train.npz; stops data@lab"),
    "H36M train": (("h36m/h36m_mosh_train.npz",), "Human3.6M",
                   "holds none of h36m_valid_protocol2.npz"),
    "H36M extras": (("h36m/dataset_extras/h36m_mosh_train.npz",
                     "h36m/dataset_extras/h36m_valid_protocol1.npz"), "Human3.6M", None),
    "COCO other": (("coco/something.npz",), "COCO", "holds none of coco_2014_train.npz"),
    "COCO extras": (("coco/dataset_extras/coco_train_2014_openpose.npz",), "COCO", None),
    "MOYO capture": (("moyo/220923_yogi/mosh_smpl/train/a.pkl",
                      "moyo/221004_yogi/mosh_smpl/val/b.pkl"), "MOYO", None),
    "MOYO train": (("moyo/mosh_smpl/train/a.pkl",), "MOYO", "holds no mosh_smpl/val/*.pkl"),
}  # fmt: skip


@pytest.mark.parametrize("case", PARTS)
def test_a_release_is_there_when_its_reader_finds_every_split(found, case):
    files, name, lacks = PARTS[case]
    state, note = found(*BODY, *files)[name]
    assert state == ("ok" if lacks is None else "absent"), note
    assert lacks is None or lacks in note


def test_scoring_waits_for_the_test_split_alone(found):
    said = found(*BODY, "h36m/h36m_valid_protocol1.npz", "3dpw/sequenceFiles/train/a.pkl")
    assert said["Human3.6M"][0] == "absent" and said["3DPW"][0] == "absent"
    assert said["python -m bench score FILE --dataset h36m"][0] == "ok"
    assert said["python -m bench score FILE --dataset 3dpw"][1].endswith("waits for 3DPW")
    assert said["dvc repro data"][1].startswith("shards of data sets; waits for Human3.6M")


def test_a_body_is_there_when_it_can_be_loaded(tmp_path):
    """Names of SMPL 1.0.0 and 1.1.0, of smplx, and some that are of neither."""
    genders = {"SMPL_NEUTRAL.pkl": "neutral", "SMPL_MALE.pkl": "male", "SMPL_FEMALE.pkl": "female"}
    names = ("basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl", "basicModel_m_lbs_10_207_0_v1.0.0.pkl",
             "basicmodel_f_lbs_10_207_0_v1.1.0.npz", "SMPL_NEUTRAL.pkl", "smpl_male.npz",
             "basicModel_n_lbs.pkl", "basicmodel_male.pkl", "SMPL_FEMALE.txt", "SMPL_MALE.PKL")
    for name in names:
        path = tmp_path / name / name
        path.parent.mkdir()
        path.touch()
        for pattern, wanted, _ in _BODY[:3]:
            try:
                loaded = _find_licensed(path.parent, genders[wanted]) == path
            except UserError:
                loaded = False
            assert bool(re.fullmatch(pattern, name)) == loaded, (name, wanted)


def test_without_numpy_the_rest_is_said(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "bench.doctor_releases", None)
    said = found(*BODY)
    assert said["SMPL_MALE.pkl"][0] == "ok"
    state, note = said["data sets"]
    assert state == "absent" and "run `make .venv/.installed` first" in note


def test_every_absent_file_has_an_address(found):
    for name, (state, note) in found().items():
        assert name.startswith(("dvc", "python")) or "http" in note, (name, state)


def _examined(**changes):
    params, variants = read_yaml(ROOT / "params.yaml"), read_yaml(ROOT / "variants.yaml")
    pipeline = read_pipeline(ROOT / "dvc.yaml")
    return examine(ROOT / "datasets", params | changes, variants, pipeline)


def _usage(free):
    return lambda path: type("Usage", (), {"free": free * 1e9})


@pytest.mark.parametrize("profile", ["mini", "open", "paper"])
def test_disk_and_gpu_stand_beside_what_the_planned_profile_takes(monkeypatch, profile):
    params, variants = read_yaml(ROOT / "params.yaml"), read_yaml(ROOT / "variants.yaml")

    def total(name, source):
        return together(forecast(build_jobs(
            params | {"profile": name, "data": {"source": source}}, variants
        )))  # fmt: skip

    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    need = 2 * total(profile, "open").size / 1e9
    for free, state in ((need + 1, "ok"), (need - 0.5, "absent")):
        monkeypatch.setattr("bench.doctor.shutil.disk_usage", _usage(free))
        said = {f.name: (f.state, f.note) for f in _examined(profile=profile)}
        assert said["disk"][0] == state
        assert f"profile {profile} needs about {max(need, 1):,.0f}, DVC's cache" in said["disk"][1]
    state, note = said["CUDA device"]
    assert state == "absent" and note.count("profile ") == (2 if profile != "mini" else 3)
    whole = total("open", "open")
    assert f"open takes about {words(whole.cpu)} ({words(whole.gpu)} on one H100)" in note
    if profile != "paper":
        hours = words(total("paper", "licensed").gpu)
        assert f"paper cannot be run: it needs one ({hours} of one H100)" in note
    minutes = variants["profiles"]["mini"]["minutes"]
    assert profile != "mini" or f"mini takes about {minutes} min" in note


def test_a_profile_that_is_none_stops_the_default_run():
    said = {f.name: f for f in _examined(profile="huge")}
    assert said["plan"].state == "missing" and "unknown profile 'huge'" in said["plan"].note


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
    text, able = report(_examined())
    assert not able and "cannot run: matplotlib missing" in text
    assert "the packages too" in text, "which the disk must hold as well"
    assert re.search(r"absent +roma +stops tests/body/test_body_rotations.py; pip install", text)
    text, able = report([Finding("here", "anny", "absent", "pip install")])
    assert able and "anny" in text


def test_doctor_finds_a_fresh_clone_well():
    text, able = report(_examined())
    assert able and "no licence is needed" in text
    assert importlib.metadata.version("numpy") in text
    assert "open world:" in text and f"{LICENSED}:" in text and f"{MEANWHILE}:" in text
