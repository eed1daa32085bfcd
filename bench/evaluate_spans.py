"""What a stopped evaluation has measured already: spans of batches, on disk.

A licensed set takes hours on a CPU. So once a minute the batches since the last time become a span,
``<role>/<first batch>-<batch after the last>/`` in the scratch folder: their errors and what the
figures need of them. A run that goes on takes the spans there are. The output is the same bytes
however often it was stopped: a span is whole batches, and no batch depends on another.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pandas as pd

from bench.evaluate_extras import Extras, join_extras

EVERY_S = 60.0
_ERRORS = "per_image.parquet"


class MeasuredSpans:
    """The errors and pictures of one set, in the order of its batches.

    Args:
        folder: scratch folder of the evaluation, which belongs to its job and to all its inputs.
        role: of the set.
        count: images of the set.

    Attributes:
        begin: the first batch that is in no span yet; where an evaluation goes on.
        tables: errors of the batches since the last span, one frame a setting.
        extras: predictions and pictures of those.
    """

    def __init__(self, folder: Path, role: str, count: int) -> None:
        self._folder, self._role, self._count = folder / role, role, count
        self.begin = 0
        self._spans: list[Path] = []
        found = {int(path.name.split("-")[0]): path for path in self._folder.glob("[0-9]*-*[0-9]")}
        while span := found.get(self.begin):
            self._spans.append(span)
            self.begin = int(span.name.split("-")[1])
        self._start_span()

    def _start_span(self) -> None:
        self.tables: list[pd.DataFrame] = []
        self.extras = Extras(self._count)
        self._since = time.monotonic()

    def end_batch(self, batch: int) -> None:
        """Notes that a batch is measured; the span is written once it has taken a minute."""
        if time.monotonic() - self._since >= EVERY_S:
            self._write(batch + 1)

    def _write(self, end: int) -> None:
        span = self._folder / f"{self.begin:06d}-{end:06d}"
        # By process: workers whose parent was killed measure on, and may come here too.
        part = span.with_suffix(f".{os.getpid()}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        if self.tables:  # none where no image of its batches is among the chosen
            pd.concat(self.tables, ignore_index=True).to_parquet(part / _ERRORS)
        self.extras.write(part, self._role)
        _sync(part)
        try:
            part.rename(span)
        except OSError:
            if not span.is_dir():
                raise
            shutil.rmtree(part)  # the same, from such a worker
        self._spans.append(span)
        self.begin = end
        self._start_span()

    def join(self, batches: int, out: Path) -> pd.DataFrame:
        """All errors of the set; its gallery, failures and predictions go to ``out``.

        Args:
            batches: how many the set has.
            out: folder of the evaluation.
        """
        if self.begin < batches:
            self._write(batches)
        join_extras(self._spans, out, self._role)
        errors = [span / _ERRORS for span in self._spans]
        return pd.concat([pd.read_parquet(e) for e in errors if e.exists()], ignore_index=True)


def _sync(folder: Path) -> None:
    """Brings files to the disk: after a power cut a span is whole or not there."""
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())
