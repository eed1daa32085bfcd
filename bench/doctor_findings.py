"""One line of `python -m bench doctor`."""

from __future__ import annotations

from dataclasses import dataclass


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
