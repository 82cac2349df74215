"""How well boxes overlap: with a ground truth, or with the boxes of another run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FOUND = 0.5  # of the box protocol; compared strictly


@dataclass(frozen=True, slots=True)
class Localised:
    """The rates of the box protocol, and the mean best overlap; without queries all are NaN."""

    gt_known: float
    top1: float
    top5: float
    box_iou: float


def localised(best: ArrayLike, ranks: ArrayLike, least: float = FOUND) -> Localised:
    """Rates of queries by their best overlap (n,) and by how many labels suited the picture better than the true one (n,).

    The boxes are those of the true label, so that a top-k success is a found box and a true label among the first k.
    """
    overlaps, behind = np.asarray(best, np.float64), np.asarray(ranks)
    if overlaps.shape != behind.shape or overlaps.ndim != 1:
        raise ValueError(f"`best` and `ranks` must have the same shape (n,), found {overlaps.shape} and {behind.shape}")
    found = overlaps > least
    hits = (found, found & (behind < 1), found & (behind < 5), overlaps)
    return Localised(*(float(values.mean()) if len(values) else float("nan") for values in hits))


def iou(a: ArrayLike, b: ArrayLike, inclusive: bool = False) -> NDArray[np.float64]:
    """Intersection over union (n, m) of the boxes a (n, 4) and b (m, 4), `xyxy`.

    Boxes are half-open unless `inclusive`, where the last row and column belong to the box. A pair without
    any area overlaps by 0.
    """
    first, second = _boxes("a", a), _boxes("b", b)
    extra = 1.0 if inclusive else 0.0
    top_left = np.maximum(first[:, None, :2], second[None, :, :2])
    bottom_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.maximum(bottom_right - top_left + extra, 0).prod(axis=2)
    area_a, area_b = (np.maximum(x[:, 2:] - x[:, :2] + extra, 0).prod(axis=1) for x in (first, second))
    union = area_a[:, None] + area_b[None, :] - shared
    overlap: NDArray[np.float64] = np.zeros(shared.shape)
    np.divide(shared, union, out=overlap, where=union > 0)
    return overlap


def best_iou(a: ArrayLike, b: ArrayLike) -> float:
    """Give the largest overlap of any box of a (n, 4) with any box of b (m, 4); 0 when either has none."""
    return float(iou(a, b).max(initial=0.0))


def box_agreement(a: ArrayLike, b: ArrayLike) -> float:
    """Say how far two sets of boxes agree, from 0 to 1: the mean over the boxes of both of the best overlap.

    Two empty sets agree fully; an empty set and a filled one do not agree at all.
    """
    overlap = iou(a, b)
    if sum(overlap.shape) == 0:
        return 1.0
    best = np.concatenate([overlap.max(axis=1, initial=0.0), overlap.max(axis=0, initial=0.0)])
    return float(best.mean())


def _boxes(name: str, boxes: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(boxes, np.float64)
    if array.size == 0:
        return array.reshape(0, 4)
    if array.shape != (len(array), 4):
        raise ValueError(f"`{name}` must have the shape (n, 4), found {array.shape}")
    return array
