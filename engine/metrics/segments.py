"""Mean IoU of localisation maps over the classes of a split (VOC, COCO): maps compete with a constant background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IGNORED = 255
BACKGROUND = 0
EPS = 1e-10  # of the reference script
THRESHOLDS = tuple(step / 100 for step in range(60))  # swept, the best one reported

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """Pixels by class: right ones and given ones (C, T) at each background, and true ones (C,)."""

    classes: tuple[int, ...]
    right: Counts
    given: Counts
    true: Counts


def stretched(saliency: NDArray[np.floating]) -> NDArray[np.float64]:
    """A map brought to [0, 1] over the picture; a constant one becomes zero."""
    low, high = float(saliency.min()), float(saliency.max())
    return (saliency.astype(np.float64) - low) / (high - low) if high > low else np.zeros(saliency.shape)


def label_counts(
    maps: NDArray[np.floating], classes: Sequence[int], truth: NDArray[np.integer], thresholds: Sequence[float] = THRESHOLDS
) -> Segments:
    """Count one picture: maps (C, H, W) in [0, 1] of the classes that its label names (1 and up), and its truth (H, W).

    A pixel belongs to the class whose map is highest there, and to the background unless that is above the threshold.
    """
    seen = truth != IGNORED
    told = np.array(classes, np.int64)
    peak, winner = maps.max(axis=0)[seen], told[maps.argmax(axis=0)[seen]]
    real = truth[seen].astype(np.int64)
    passed = np.searchsorted(np.asarray(thresholds), peak, side="left")  # how many thresholds a pixel is above
    named = tuple(sorted({BACKGROUND, *told.tolist(), *np.unique(real).tolist()}))
    size = len(thresholds) + 1

    def above(chosen: NDArray[np.bool_]) -> Counts:
        return np.bincount(passed[chosen], minlength=size)[::-1].cumsum()[::-1][1:]

    given = [above(winner == each) for each in named]
    right = [above((winner == each) & (real == each)) for each in named]
    given[0] = len(real) - above(np.ones(len(real), bool))
    right[0] = np.count_nonzero(real == BACKGROUND) - above(real == BACKGROUND)
    return Segments(named, np.array(right), np.array(given), np.array([np.count_nonzero(real == each) for each in named]))


def mean_iou(right: NDArray[np.number], given: NDArray[np.number], true: NDArray[np.number]) -> NDArray[np.float64]:
    """Mean over classes, at each background (T,), of a split's right and given pixels (C, T) and true ones (C,)."""
    return np.asarray((right / (true[:, None] + given - right + EPS)).mean(axis=0))
