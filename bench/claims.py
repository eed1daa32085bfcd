"""The paper's claims as comparisons of cells of its tables.

A claim of ``bench/reported/claims.yaml`` becomes a list of comparisons, one a column and pair of
rows; each asks whether a weighted sum of cells is below zero, or how large a difference is.
``bench.verdicts`` says what numbers answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from bench.ledger import half_unit, read_ledger, read_reported
from bench.status import DERIVED, STATED
from genhmr.types import UserError

KINDS = {
    "lower": {"row", "than", "columns"},
    "best": {"row", "columns"},
    "worst": {"row", "columns"},
    "ordered": {"rows", "columns"},
    "reduction": {"from", "to", "by"},
    "slower": {"small", "large", "columns"},
}
COMMON = {"id", "table", "statement", "where", "kind"}
OPTIONAL = {"quote", "among", "unit", "origin"}
# "per" a count that rows differ in; "benefit" that diminishes, where nothing is said without one.
OF_SLOWER = {"per", "benefit"}
SECOND_BEST = "second_best"
RANGE = " to "

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """One number of one table: the row that has ``keys``, and its column."""

    table: str
    keys: tuple[tuple[str, Any], ...]
    column: str

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.keys)


@dataclass(frozen=True)
class Comparison:
    """Whether ``sum(weight * cell)`` is below zero, and if ``size`` is given, whether -sum is it.

    Attributes:
        terms: weights and cells, all of the same column.
        label: what is asked of that column, in words.
        size: as the paper prints it, for example "11.04" or "20 to 30"; None where a direction is
            claimed.
        percent: ``size`` is a share of the first cell.
        premise: what must hold for the question to have a meaning: that there is a gain, where it
            is claimed to diminish.
    """

    terms: tuple[tuple[float, Cell], ...]
    label: str
    size: str | None = None
    percent: bool = False
    premise: Comparison | None = None

    @property
    def column(self) -> str:
        """Of the paper's table, for example "3dpw_mpjpe"."""
        return self.terms[0][1].column


def read_claims(path: Path) -> list[dict[str, Any]]:
    """Reads and checks the list of claims.

    Raises:
        UserError: an unknown kind, a missing or unknown field, a claim of the paper without its
            words that does not stand in its table, or an id that comes twice.
    """
    try:
        claims = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path} is missing or no YAML: restore bench/reported.") from error
    seen: set[str] = set()
    for claim in claims:
        name = claim.get("id", "?")
        if claim.get("kind") not in KINDS:
            raise UserError(
                f"{path}: claim '{name}' has the kind {claim.get('kind')!r}; choose one of "
                f"{', '.join(KINDS)}."
            )
        wanted = COMMON | KINDS[claim["kind"]]
        known = wanted | OPTIONAL | (OF_SLOWER if claim["kind"] == "slower" else set())
        missing, extra = wanted - set(claim), set(claim) - known
        if missing or extra:
            raise UserError(
                f"{path}: claim '{name}' lacks {sorted(missing)} and has unknown {sorted(extra)}."
            )
        if claim.setdefault("origin", STATED) not in (STATED, DERIVED):
            raise UserError(
                f"{path}: claim '{name}' has the origin {claim['origin']!r}; choose {STATED} or "
                f"{DERIVED}."
            )
        if per := claim.get("per"):
            pairs = (claim["small"], claim["large"])
            if any(None in (counts := [row.get(per) for row in pair]) or counts[0] == counts[1]
                   for pair in pairs):  # fmt: skip
                raise UserError(
                    f"{path}: claim '{name}' compares gains per {per}, which each of its pairs of "
                    "rows must have, with two values."
                )
        printed = f"Table {str(claim['table']).lstrip('0')}"
        if claim["origin"] == STATED and not claim.get("quote") and claim["where"] != printed:
            raise UserError(
                f"{path}: claim '{name}' is the paper's but quotes nothing; give its words as "
                f"'quote', or 'where: {printed}' if only its table prints it."
            )
        if name in seen:
            raise UserError(f"{path}: the claim '{name}' comes twice.")
        seen.add(name)
    return claims


class Ledger:
    """The paper's tables, ``bench/reported/tableNN.csv``, and how they are printed.

    Args:
        folder: of the CSVs and of ``ledger.yaml``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)
        self._tables: dict[str, pd.DataFrame] = {}
        self._entries: dict[str, dict[str, Any]] | None = None
        self._values: dict[Cell, float] = {}  # looked up some forty times each

    def table(self, number: str) -> pd.DataFrame:
        """All rows of a table; UserError where it is missing or damaged."""
        if number not in self._tables:
            self._tables[number] = read_reported(self._folder / f"table{number}.csv")
        return self._tables[number]

    def rows(self, number: str, like: Row) -> list[Row]:
        """The rows that agree with ``like``, each by the cells that identify it."""
        table = self.table(number)
        told = ("mpjpe", "mve", "aiti_s", "group", "venue")
        names = [name for name in table.columns if not name.endswith(told)]
        chosen = table
        for name, value in like.items():
            if name not in table:
                raise UserError(f"table{number}.csv has no column '{name}'.")
            chosen = chosen[chosen[name] == value]
        return [dict(zip(names, row)) for row in chosen[names].itertuples(index=False)]

    def value(self, cell: Cell) -> float:
        """A reported number; NaN where the paper prints none.

        Raises:
            UserError: no or several such rows, or no such column.
        """
        if cell not in self._values:
            self._values[cell] = self._look_up(cell)
        return self._values[cell]

    def _look_up(self, cell: Cell) -> float:
        rows = self.table(cell.table)
        for name, value in cell.keys:
            rows = rows[rows[name] == value] if name in rows else rows[:0]
        if len(rows) != 1 or cell.column not in rows:
            raise UserError(
                f"table{cell.table}.csv has {len(rows)} rows with {cell} and "
                f"{'a' if cell.column in rows else 'no'} column '{cell.column}'."
            )
        return float(rows[cell.column].iloc[0])

    def half_unit(self, cell: Cell) -> float:
        """Half of the last digit that a column is printed with: what rounding may have hidden."""
        if self._entries is None:
            self._entries = read_ledger(self._folder)
        return half_unit(self._entries[cell.table], cell.column)


def comparisons(claim: Mapping[str, Any], ledger: Ledger) -> list[Comparison]:
    """What has to hold for a claim to hold, column by column.

    Cells that the paper leaves empty are left out.
    """
    found = list(_KIND_RULES[claim["kind"]](claim, ledger))
    return [c for c in found if not any(np.isnan(ledger.value(cell)) for _, cell in c.terms)]


def _cell(claim: Mapping[str, Any], row: Row, column: str) -> Cell:
    keys = {name: value for name, value in row.items() if name != "table"}
    return Cell(row.get("table", claim["table"]), tuple(keys.items()), column)


def _below(claim: Mapping[str, Any], low: Row, high: Row, column: str) -> Comparison:
    first, second = _cell(claim, low, column), _cell(claim, high, column)
    return Comparison(((1.0, first), (-1.0, second)), f"{first} below {second}")


def _others(claim: Mapping[str, Any], ledger: Ledger, row: Row) -> list[Row]:
    everyone = ledger.rows(claim["table"], claim.get("among", {}))
    others = [r for r in everyone if any(r[name] != value for name, value in row.items())]
    if len(others) + 1 != len(everyone):
        raise UserError(f"claim '{claim['id']}': {dict(row)} is not one of the rows it stands in.")
    return others


def _lower(claim: Mapping[str, Any], ledger: Ledger) -> Iterator[Comparison]:
    for column in claim["columns"]:
        for other in claim["than"]:
            yield _below(claim, claim["row"], other, column)


def _best(claim: Mapping[str, Any], ledger: Ledger) -> Iterator[Comparison]:
    for column in claim["columns"]:
        for other in _others(claim, ledger, claim["row"]):
            yield _below(claim, claim["row"], other, column)


def _worst(claim: Mapping[str, Any], ledger: Ledger) -> Iterator[Comparison]:
    for column in claim["columns"]:
        for other in _others(claim, ledger, claim["row"]):
            yield _below(claim, other, claim["row"], column)


def _ordered(claim: Mapping[str, Any], ledger: Ledger) -> Iterator[Comparison]:
    for column in claim["columns"]:
        for before, after in zip(claim["rows"], claim["rows"][1:]):
            low, high = (before, after) if column == "aiti_s" else (after, before)
            yield _below(claim, low, high, column)


def _reduction(claim: Mapping[str, Any], ledger: Ledger) -> Iterator[Comparison]:
    percent = claim.get("unit") == "percent"
    for column, size in claim["by"].items():
        start = claim["from"]
        if start == SECOND_BEST:
            others = [_cell(claim, r, column) for r in _others(claim, ledger, claim["to"])]
            before = min(
                (cell for cell in others if not np.isnan(ledger.value(cell))), key=ledger.value
            )
        else:
            before = _cell(claim, start, column)
        after = _cell(claim, claim["to"], column)
        label = f"{before} to {after} by {size}{' %' if percent else ''}"
        yield Comparison(((-1.0, before), (1.0, after)), label, str(size), percent)


def _slower(claim: Mapping[str, Any], ledger: Ledger) -> Iterator[Comparison]:
    for column in claim["columns"]:
        small, large = ([_cell(claim, row, column) for row in claim[n]] for n in ("small", "large"))
        per = claim.get("per")
        less, more = (
            1.0 if per is None else 1.0 / abs(claim[n][1][per] - claim[n][0][per])
            for n in ("small", "large")
        )
        terms = ((less, small[0]), (-less, small[1]), (-more, large[0]), (more, large[1]))
        label = f"gain {small[0]} to {small[1]} below gain {large[0]} to {large[1]}"
        if per is not None:
            label += f", by one of {per}"
        premise = None
        if claim.get("benefit"):
            premise = _below(claim, claim["large"][1], claim["large"][0], column)
        yield Comparison(terms, label, premise=premise)


_KIND_RULES: dict[str, Callable[[Mapping[str, Any], Ledger], Iterator[Comparison]]] = {
    "lower": _lower,
    "best": _best,
    "worst": _worst,
    "ordered": _ordered,
    "reduction": _reduction,
    "slower": _slower,
}
