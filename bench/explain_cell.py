"""Which number `python -m bench explain` is asked for: ``2:5:3dpw:mpjpe``, ``2:5:aiti``."""

from __future__ import annotations

from typing import Any

from bench.claims import Cell, Ledger
from bench.status import METRICS
from bench.tidy import AITI, REPORTED_NAMES, key_columns, rerun_rows
from genhmr.types import UserError

Json = dict[str, Any]


def find_cell(place: str, variants: Json, ledger: Ledger) -> tuple[Cell, Json | None]:
    """Reads ``<table>:<row>:<data set>:<metric>``, or ``<table>:<row>:aiti`` of a time.

    Args:
        place: the row by its keys in the paper's order, separated by commas
            (``11:cosine,5:emdb:mve``), those that are words also alone where they tell it from all
            others (``1:HMR2.0:3dpw:mve``); the data set by the paper's name, its kind, or its role.
        variants: content of variants.yaml.
        ledger: the paper's tables.

    Returns:
        The cell of the paper, and the row of variants.yaml that reruns it; None of a row that the
        paper reports and the suite does not run.

    Raises:
        UserError: no such table, row, data set or metric; the sentence names those there are.
    """
    parts = place.split(":")
    timed = parts[-1].lower() in ("aiti", AITI)
    if len(parts) != 4 and not (timed and len(parts) == 3):
        raise UserError(
            f"'{place}' is not <table>:<row>:<data set>:<metric>, as 2:5:3dpw:mpjpe, nor "
            "<table>:<row>:aiti."
        )
    number, row_name, metric = parts[0].zfill(2), parts[1], parts[-1].lower().replace("-", "_")
    if number not in variants["tables"]:
        known = ", ".join(str(int(n)) for n in variants["tables"])
        raise UserError(f"table {int(number) if number.isdigit() else number} is not rerun; "
                        f"choose one of {known}.")  # fmt: skip
    reported = ledger.table(number)
    keys = key_columns(reported)
    own = rerun_rows(number, variants["tables"][number], reported)
    index = _row(number, row_name, reported[keys].to_dict("records"))
    row = {key: reported[key].tolist()[index] for key in keys}
    if timed:  # of one image on one machine, whatever the set
        column = AITI
    else:
        column = f"{_kinds(variants).get(parts[2].lower())}_{metric}"
    if column not in reported:
        told = [c.replace("_", ":", 1) for c in reported if c.endswith(METRICS)]
        told += ["aiti"] * (AITI in reported)
        wanted = "aiti" if timed else f"{parts[2]} {metric}"
        raise UserError(f"table {int(number)} has no {wanted}; its columns are {', '.join(told)}.")
    return Cell(number, tuple(row.items()), column), own[index]


def _row(number: str, wanted: str, rows: list[Json]) -> int:
    """Index of the row that is called so."""
    names = [",".join(map(str, row.values())) for row in rows]
    if wanted in names:
        return names.index(wanted)
    parts = wanted.split(",")
    like = [
        index for index, row in enumerate(rows)
        if set(parts) <= {value for value in row.values() if isinstance(value, str)}
    ]  # fmt: skip
    if len(like) == 1:
        return like[0]
    if like:
        raise UserError(
            f"table {int(number)} has {len(like)} rows '{wanted}'; choose "
            f"{'; '.join(names[index] for index in like)}."
        )
    separator = "; " if any("," in name for name in names) else ", "
    raise UserError(
        f"table {int(number)} has no row '{wanted}'; choose {separator.join(names)}."
    )


def _kinds(variants: Json) -> dict[str, str]:
    """The kind of a data set by all names that it goes by."""
    return {
        name: entry["kind"]
        for role, entry in variants["datasets"].items()
        for name in (role, entry["kind"], entry["open"], REPORTED_NAMES[entry["kind"]].lower())
    }
