"""Streaming means that do not depend on how the samples were batched.

Floating-point addition is not associative: with a plain running sum the last digits of a table
change with the batch size or the number of workers. The sums here are exact (Shewchuk 1997, the
algorithm of ``math.fsum``), so the same samples give the same bytes in any chunks and any order.
"""

from __future__ import annotations

import math
from typing import Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike


class ExactSum:
    """A sum without rounding: non-overlapping partials whose exact sum is the total."""

    def __init__(self) -> None:
        self._partials: list[float] = []
        self._special = 0.0  # collects inf and nan, which have no exact sum

    def add(self, values: Iterable[float]) -> None:
        """Add numbers; inf and NaN make the total inf or NaN."""
        for x in values:
            if not math.isfinite(x):
                self._special += x
                continue
            kept = 0
            for y in self._partials:
                if abs(x) < abs(y):
                    x, y = y, x
                high = x + y
                low = y - (high - x)
                if low:
                    self._partials[kept] = low
                    kept += 1
                x = high
            self._partials[kept:] = [x]

    def merge(self, other: "ExactSum") -> None:
        """Add everything that another sum has seen."""
        self.add(other._partials)
        self._special += other._special

    def total(self) -> float:
        """The sum of all numbers so far, rounded once."""
        if self._special != 0:  # NaN included
            return self._special
        return math.fsum(self._partials)


class MeanAccumulator:
    """Mean and standard deviation of per-sample metrics, by name.

    >>> errors = MeanAccumulator()
    >>> errors.update({"mpjpe": [80.0, 100.0]})
    >>> errors.update({"mpjpe": [90.0]})
    >>> errors.mean()["mpjpe"], errors.count
    (90.0, 3)
    """

    def __init__(self) -> None:
        self.count = 0
        self._sums: dict[str, ExactSum] = {}
        self._squares: dict[str, ExactSum] = {}

    def update(self, metrics: Mapping[str, ArrayLike]) -> None:
        """Add a batch.

        Args:
            metrics: name to (B,) values; the same names in every batch, all of one length.

        Raises:
            ValueError: other names than before, or lengths that differ.
        """
        columns = {name: np.asarray(values, np.float64).ravel() for name, values in metrics.items()}
        if self._sums and set(columns) != set(self._sums):
            raise ValueError(f"metrics changed from {sorted(self._sums)} to {sorted(columns)}")
        lengths = {len(values) for values in columns.values()}
        if len(lengths) > 1:
            raise ValueError(f"metrics of one batch differ in length: {sorted(lengths)}")
        for name, values in columns.items():
            self._sums.setdefault(name, ExactSum()).add(values.tolist())
            self._squares.setdefault(name, ExactSum()).add(np.square(values).tolist())
        self.count += lengths.pop() if lengths else 0

    def merge(self, other: "MeanAccumulator") -> None:
        """Add everything that another accumulator has seen (one per worker, say)."""
        if self._sums and other._sums and set(self._sums) != set(other._sums):
            raise ValueError(f"cannot merge {sorted(other._sums)} into {sorted(self._sums)}")
        for name in other._sums:
            self._sums.setdefault(name, ExactSum()).merge(other._sums[name])
            self._squares.setdefault(name, ExactSum()).merge(other._squares[name])
        self.count += other.count

    def mean(self) -> dict[str, float]:
        """The mean of each metric; NaN where a sample was NaN or nothing was added."""
        return {name: self._divide(total.total(), self.count) for name, total in self._sums.items()}

    def std(self) -> dict[str, float]:
        """The sample standard deviation (n - 1) of each metric; NaN below two samples."""
        result = {}
        for name, mean in self.mean().items():
            scatter = self._squares[name].total() - self.count * mean * mean
            variance = self._divide(scatter, self.count - 1)
            # Rounding can leave a tiny negative scatter where all values are equal.
            result[name] = math.sqrt(variance) if variance > 0 else variance * 0.0
        return result

    @staticmethod
    def _divide(total: float, count: int) -> float:
        return total / count if count > 0 else math.nan
