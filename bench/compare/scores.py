"""Scores of some maps held against the oracle's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.compare.job import Agreement

SAMPLE = 16  # maps that every way is tried on before its clock runs
CLOSE = 1e-4  # scores nearer to the base than this may fall on either side


def compare(found: NDArray[np.floating], wanted: NDArray[np.floating], note: str = "") -> Agreement:
    """Hold scores (S,) relative to the base against the oracle's; NaN never agrees."""
    difference = np.asarray(found, np.float64) - wanted
    size = float(np.sqrt(np.mean(np.square(wanted, dtype=np.float64))))
    error = float(np.sqrt(np.mean(difference**2)))
    error = error if np.isfinite(error) else float("inf")
    clear = np.abs(wanted) > CLOSE
    flips = int(((np.asarray(found) > 0) != (wanted > 0))[clear].sum())
    return Agreement(error, error / max(size, 1e-12), flips, len(wanted), note)


def spaced(live: NDArray[np.bool_], count: int = SAMPLE) -> NDArray[np.int64]:
    """Live maps spread evenly over all of them, at most `count`."""
    there = np.flatnonzero(live)
    return there[np.unique(np.linspace(0, len(there) - 1, min(count, len(there))).round().astype(np.int64))]
