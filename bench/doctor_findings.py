"""One line of `python -m bench doctor`, and what a line means for the stages."""

from __future__ import annotations

from dataclasses import dataclass

from bench.pipeline import Stage, in_short, stages_after

LICENSED = "licensed data"


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        part: heading that it stands under, as "here" or "licensed data".
        name: what was looked for.
        state: "ok", "missing" (nothing works without it) or "absent" (some things do not).
        note: version or place; or what it stops and where to get it.
    """

    part: str
    name: str
    state: str
    note: str


@dataclass(frozen=True)
class Thing:
    """Something that has to be there.

    Attributes:
        finding: its line of the report.
        fails: the stages that fail without it; empty where it is there or all can do without.
    """

    finding: Finding
    fails: tuple[str, ...] = ()


def stops(fails: tuple[str, ...], stages: dict[str, Stage]) -> str:
    """What does not run, as words; the stages that fail themselves first."""
    behind = [name for name in stages_after(fails, stages) if name not in fails]
    return f"stops {in_short(fails, stages)} and behind it {in_short(behind, stages)}"
