"""Walking a number back: what is asked for, and the stages behind it."""

from pathlib import Path

import pytest

from bench.claims import Ledger
from bench.explain_cell import find_cell
from bench.explain_chain import stages_behind
from bench.params import read_yaml
from bench.pipeline import read_pipeline
from bench.plan import build_jobs
from genhmr.types import UserError

ROOT = Path(__file__).parents[2]
LEDGER = Ledger(ROOT / "bench" / "reported")


@pytest.fixture
def variants():
    return read_yaml(ROOT / "variants.yaml")


@pytest.mark.parametrize(
    ("place", "keys", "column", "row"),
    [
        ("2:5:3dpw:mpjpe", {"ugs_iterations": 5}, "3dpw_mpjpe", {"setting": "cosine-5"}),
        ("03:10:Human3.6M:MPJPE", {"refinement_iterations": 10}, "h36m_mpjpe", {"step": 10}),
        ("5:2048,128:open-yoga:mve", {"codes": 2048, "code_dim": 128}, "moyo_mve",
         {"tokenizer": "c2048x128"}),
        ("4:0.3:3dpw:mve", {"tau_upper": 0.3}, "3dpw_mve", {"transformer": "mask-0.3"}),
        ("11:square_root,20:extreme:mve", {"schedule": "square_root", "ugs_iterations": 20},
         "emdb_mve", {"setting": "square_root-20"}),
    ],
)  # fmt: skip
def test_a_cell_is_found_by_any_of_its_names(variants, place, keys, column, row):
    cell, found = find_cell(place, variants, LEDGER)
    assert (dict(cell.keys), cell.column) == (keys, column)
    assert row.items() <= found.items()


@pytest.mark.parametrize(
    ("place", "method"),
    [("1:HMR2.0:3dpw:mve", "HMR2.0"), ("7:SD + ITW,TokenHMR:emdb:mpjpe", "TokenHMR"),
     ("1:deterministic,PARE,ICCV 2021:emdb:mve", "PARE")],
)  # fmt: skip
def test_a_method_that_is_reported_only_is_found_without_a_rerun(variants, place, method):
    cell, row = find_cell(place, variants, LEDGER)
    assert dict(cell.keys)["method"] == method and row is None


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("2:5:3dpw", "is not <table>:<row>:<data set>:<metric>"),
        ("17:1.0:3dpw:mpjpe", "table 17 is not rerun; choose one of 1, 2, 3"),
        ("7:SD + ITW,HMR:3dpw:mpjpe", "table 7 has no row .*; choose SD . ITW,HMR2.0; SD"),
        ("7:GenHMR:3dpw:mpjpe", "table 7 has 2 rows 'GenHMR'; choose SD . ITW,GenHMR; SD . ITW"),
        ("11:cosine:3dpw:mpjpe", "table 11 has 6 rows 'cosine'; choose cosine,1; cosine,3"),
        ("4:0.3:aiti", "table 4 has no aiti; its columns are 3dpw:mpjpe"),
        ("2:5:mpjpe", "is not <table>:<row>:<data set>:<metric>"),
        ("x:1.0:3dpw:mpjpe", "table 0x is not rerun"),
        ("2:4:3dpw:mpjpe", "table 2 has no row '4'; choose 1, 3, 5"),
        ("2:5:h36m:mpjpe", "its columns are 3dpw:mpjpe"),
        ("2:5:3dpw:pck", "table 2 has no 3dpw pck"),
        ("2:5:sea:mpjpe", "table 2 has no sea mpjpe"),
    ],
)
def test_a_wrong_cell_is_one_sentence(variants, place, message):
    with pytest.raises(UserError, match=message):
        find_cell(place, variants, LEDGER)


def test_the_stages_behind_a_number_are_those_of_the_pipeline(variants):
    pipeline = read_pipeline(ROOT / "dvc.yaml")
    jobs = build_jobs(read_yaml(ROOT / "params.yaml"), variants)
    scores = stages_behind("evaluate-tokenizer@t48", pipeline, variants, jobs, ROOT)
    assert set(scores) == {
        "evaluate-tokenizer@t48", "tokenizer@t48", "data@mocap", "data@yoga", "plan"
    }  # fmt: skip
    model = stages_behind("evaluate@tokens-48", pipeline, variants, jobs, ROOT)
    assert {
        "transformer@tokens-48", "backbone", "lifter", "tokenizer@mixed-t48", "data@photo"
    } < set(model)  # fmt: skip
    assert not {"tokenizer@t48", "data@web", "tables", "inputs-images"} & set(model)
    assert "genhmr/train/loop.py" in model["tokenizer@mixed-t48"]
    assert "genhmr/metrics/functional.py" not in model["tokenizer@mixed-t48"]
    assert "genhmr/metrics/functional.py" in model["evaluate@tokens-48"]
