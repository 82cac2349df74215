"""Pixels of a map against pixels of a mask: by value (PxAP, pIoU), by threshold (IoU, precision, recall, F1), and by its peak."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.shapes import require

STEP = 0.001  # width of a bin of values
Counts = NDArray[np.int64]
Ratios = NDArray[np.float64]
Mask = NDArray[np.bool_]


def value_edges(step: float = STEP) -> Ratios:
    """Edges of the bins of the public evaluator: steps up to 1, a bin for the value 1, and one that stays empty."""
    return np.append(np.arange(0, 1, step), [1.0, 2.0, 3.0])


def value_counts(saliency: NDArray[np.floating], inside: Mask, ignore: Mask | None = None, step: float = STEP) -> Counts:
    """Count the pixels of a map (H, W) in [0, 1] by value, (2, bins): inside the mask, and outside it; some are ignored."""
    require("saliency", saliency, ("H", "W"))
    if not (saliency.min() >= 0 and saliency.max() <= 1):  # written so that NaN fails, too
        raise ValueError(f"`saliency` must lie in [0, 1], found {saliency.min():.4g} to {saliency.max():.4g}")
    kept = slice(None) if ignore is None else ~(ignore & ~inside).ravel()
    edges = value_edges(step)
    bins = np.searchsorted(edges, saliency.ravel()[kept].astype(np.float64), side="right") - 1
    width = len(edges) - 1
    joint = np.bincount(bins + width * ~inside.ravel()[kept], minlength=2 * width)
    return np.asarray(joint.reshape(2, width), np.int64)


def pxap(counts: NDArray[np.integer] | Ratios) -> float:
    """The area under precision over recall of counts (2, bins) of a whole split; bins without any pixel add nothing."""
    inside, outside = np.cumsum(counts[:, ::-1], axis=1, dtype=np.float64)
    if inside[-1] == 0:
        raise ValueError("`counts` hold no pixel inside a mask: there is nothing to be found")
    found = inside + outside
    gains = np.diff(inside / inside[-1], prepend=0.0)
    some = found > 0
    return float((inside[some] / found[some] * gains[some]).sum())


def peak_iou(counts: NDArray[np.integer] | Ratios) -> float:
    """pIoU: the best intersection over union that any one threshold reaches on counts (2, bins) of a whole split."""
    inside, outside = np.cumsum(counts[:, ::-1], axis=1, dtype=np.float64)
    return float((inside / (inside[-1] + outside)).max())


@dataclass(frozen=True, slots=True, eq=False)
class Overlap:
    """Pixels above each of some thresholds (..., T): those inside the mask, and all; and how many the mask has."""

    hits: Counts
    found: Counts
    true: int

    def iou(self) -> Ratios:
        """Intersection over union; nothing found is 0."""
        return self.share(self.hits, self.found + self.true - self.hits)

    def precision(self) -> Ratios:
        """Share of what was found that is right; nothing found is 0."""
        return self.share(self.hits, self.found)

    def recall(self) -> Ratios:
        """Share of the mask that was found."""
        return self.share(self.hits, np.full_like(self.found, self.true))

    def f1(self) -> Ratios:
        """Twice the hits over what was found and what is there (Dice)."""
        return self.share(2 * self.hits, self.found + self.true)

    @staticmethod
    def share(part: Counts, whole: Counts) -> Ratios:
        """A quotient that is 0 where there is nothing."""
        return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=np.asarray(whole) > 0)


def overlap_above(saliency: NDArray[np.floating], mask: Mask, thresholds: ArrayLike) -> Overlap:
    """Count the pixels of a map (H, W) strictly above rising thresholds (T,), in one walk for all of them."""
    require("saliency", saliency, ("H", "W"))
    bounds = np.asarray(thresholds)
    if bounds.ndim != 1 or (np.diff(bounds) < 0).any():
        raise ValueError("`thresholds` must be a list of rising numbers")
    passed = np.searchsorted(bounds, saliency.ravel(), side="left")  # how many thresholds a pixel is above
    size = len(bounds) + 1
    joint = np.bincount(passed + size * mask.ravel(), minlength=2 * size).reshape(2, size)
    above = joint[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
    return Overlap(above[1].astype(np.int64), above.sum(axis=0).astype(np.int64), int(np.count_nonzero(mask)))


def points_at(saliency: NDArray[np.floating], mask: Mask, tolerance: float = 0.0) -> bool:
    """The pointing game: whether the brightest pixel lies in the mask, or at most `tolerance` pixels away (15 as published).

    A map without a positive value points nowhere.
    """
    peak = int(saliency.argmax())
    if saliency.flat[peak] <= 0 or not mask.any():
        return False
    row, column = np.unravel_index(peak, saliency.shape)
    rows, columns = np.nonzero(mask)
    return bool(np.hypot(rows - row, columns - column).min() <= tolerance)


def energy_inside(saliency: NDArray[np.floating], mask: Mask) -> float:
    """The energy-based pointing game: the share of the map's sum that lies in the mask; 0 for a map of zeros."""
    whole = float(saliency.sum(dtype=np.float64))
    return float(saliency[mask].sum(dtype=np.float64)) / whole if whole > 0 else 0.0
