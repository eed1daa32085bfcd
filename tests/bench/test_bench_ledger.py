"""The ledger: units, decimals and protocols as data, read with its defaults."""

import pandas as pd
import pytest
import yaml

from bench.ledger import half_unit, key_columns, metric_of, read_ledger, read_reported
from bench.tables import write_tables
from bench.tidy import REPORTED_NAMES
from genhmr.types import UserError
from tests.bench.made_up_metrics import REPORTED

LEDGER = read_ledger(REPORTED)


def _copy(tmp_path, change):
    folder = tmp_path / "reported"
    folder.mkdir()
    for path in REPORTED.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    content = yaml.safe_load((folder / "ledger.yaml").read_text(encoding="utf-8"))
    change(content)
    (folder / "ledger.yaml").write_text(yaml.safe_dump(content))
    return folder


def test_every_number_is_printed_with_the_decimals_of_the_ledger():
    """The text of the CSVs, which were typed from the paper, has no digit more."""
    assert len(LEDGER) == 16
    for number, entry in LEDGER.items():
        table = pd.read_csv(REPORTED / f"table{number}.csv", dtype=str)
        for column in table.columns.difference(key_columns(table)):
            printed = table[column].dropna().str.partition(".")[2].str.len()
            assert (printed == entry["decimals"][metric_of(column)]).all(), (number, column)
            assert entry["unit"][metric_of(column)] == ("s" if column == "aiti_s" else "mm")


def test_every_data_set_of_a_table_has_a_protocol():
    for number, entry in LEDGER.items():
        table = read_reported(REPORTED / f"table{number}.csv")
        columns = set(table) - set(key_columns(table)) - {"aiti_s"}
        kinds = {column.partition("_")[0] for column in columns}
        assert kinds and all(entry["protocol"][kind] for kind in kinds)
        assert kinds <= set(REPORTED_NAMES)


def test_a_tables_own_digits_go_before_the_defaults(tmp_path, variants, job, measured):
    """Table 12 with two decimals and Table 2 with times of one: printed so, and rounded so."""

    def change(content):
        content["12"]["decimals"] = {"mve": 2}
        content["02"]["decimals"] = {"aiti": 1}

    folder = _copy(tmp_path, change)
    ledger = read_ledger(folder)
    assert half_unit(ledger["12"], "3dpw_mve") == pytest.approx(0.005)
    assert half_unit(ledger["12"], "3dpw_mpjpe") == pytest.approx(0.05)
    assert half_unit(ledger["02"], "aiti_s") == pytest.approx(0.05)
    assert half_unit(ledger["03"], "aiti_s") == pytest.approx(0.0005)
    write_tables(variants, job, measured, folder, tmp_path / "r")
    text = (tmp_path / "r" / "tables" / "table12.tex").read_text()
    assert "1 & \\textbf{68.1} & \\textbf{77.50} & " in text
    assert "1 & 0.0 & 73.5 & " in (tmp_path / "r" / "tables" / "table02.tex").read_text()


@pytest.mark.parametrize(
    "decimals, status", [(1, "off: trained without MPI-INF-3DHP and MPII"), (0, "reproduced")]
)
def test_the_ledgers_digits_decide_what_is_reproduced(
    tmp_path, variants, job, build, decimals, status
):
    """A rerun of 123.5 mm beside 123.8, which is off, or beside what a paper rounds to 124."""
    job |= {"source": "licensed", "profile": "paper", "shipped": [], "short": []}
    job |= {"scale": {"tokens": 1, "codes": 1, "code_dim": 1}, "detections": "openpose"}
    path = build / "evaluate" / "base" / "per_image.parquet"
    base = pd.read_parquet(path)
    pd.concat([base.assign(seed=seed) for seed in range(2)]).to_parquet(path)  # of no spread
    folder = _copy(tmp_path, lambda content: content["12"].update(decimals={"mpjpe": decimals}))
    table = pd.read_csv(folder / "table12.csv").assign(**{"3dpw_mpjpe": 123.8})
    table.to_csv(folder / "table12.csv", index=False)
    write_tables(variants, job, build, folder, tmp_path / "r")
    compare = pd.read_csv(tmp_path / "r" / "compare" / "table12.csv")
    line = compare[compare["row"] == "top_k=1"].iloc[0]
    assert (line["metric"], line["rerun"], line["status"]) == ("mpjpe", 123.5, status)


@pytest.mark.parametrize("name", ["title", "stage"])
def test_a_table_without_what_it_needs_is_named(tmp_path, name):
    with pytest.raises(UserError, match=f"table 05 lacks {name}"):
        read_ledger(_copy(tmp_path, lambda content: content["05"].pop(name)))


def test_a_ledger_without_a_unit_is_damaged(tmp_path):
    with pytest.raises(UserError, match="lacks unit of mve"):
        read_ledger(_copy(tmp_path, lambda content: content["defaults"]["unit"].pop("mve")))


@pytest.mark.parametrize("text", ["- a list\n", "01: [no, entry]\n", "{", ""])
def test_a_damaged_ledger_is_one_sentence(tmp_path, text):
    (tmp_path / "ledger.yaml").write_text(text)
    with pytest.raises(UserError, match="restore bench/reported"):
        read_ledger(tmp_path)
