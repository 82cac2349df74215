"""The middle of several turns, and how far they scatter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Middle:
    """A median with the quarters on either side of it."""

    median: float
    low: float  # first quartile
    high: float  # third quartile
    count: int

    @property
    def spread(self) -> float:
        """The distance between the quartiles."""
        return self.high - self.low

    @property
    def relative(self) -> float:
        """The spread as a share of the median."""
        return self.spread / self.median if self.median else 0.0


def middle(values: Sequence[float]) -> Middle:
    """Median and quartiles, interpolated linearly between values; raises `ValueError` when there are none."""
    if not values:
        raise ValueError("`values` must hold at least one number, found none")
    low, median, high = np.quantile(np.asarray(values, np.float64), (0.25, 0.5, 0.75))
    return Middle(float(median), float(low), float(high), len(values))
