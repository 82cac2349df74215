"""Curves over a threshold on answers: receiver operating characteristic, precision over recall, insertion and deletion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ratios = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Points (n,) of a curve, and its area; equal answers are passed in one step."""

    across: Ratios
    up: Ratios
    area: float


def roc(values: ArrayLike, there: ArrayLike) -> Curve:
    """True over false alarms of answers (n,) to what is there and what is not.

    The area is how often an answer about what is there is higher than one about what is not; ties count half.
    """
    true, false = _alarms(values, there)
    if not (true[-1] and false[-1]):
        raise ValueError("`there` must hold queries of both kinds, present and absent; ask more pictures")
    across, up = false / false[-1], true / true[-1]
    return Curve(across, up, float((np.diff(across) * (up[1:] + up[:-1]) / 2).sum()))


def precision_recall(values: ArrayLike, right: ArrayLike) -> Curve:
    """Precision over recall of answers (n,); the area is the average precision, without interpolation."""
    true, false = _alarms(values, right)
    if not true[-1]:
        raise ValueError("`right` holds no right answer: recall is undefined")
    recall, precision = true / true[-1], np.append(1.0, true[1:] / (true + false)[1:])
    return Curve(recall, precision, float((np.diff(recall) * precision[1:]).sum()))


def _alarms(values: ArrayLike, right: ArrayLike) -> tuple[Ratios, Ratios]:
    """How many right and wrong answers lie at or above each of the values, from none to all of them."""
    scores, truth = np.asarray(values, np.float64), np.asarray(right, bool)
    if scores.shape != truth.shape or scores.ndim != 1 or not len(scores):
        raise ValueError(f"answers and truth must have the same shape (n,), found {scores.shape} and {truth.shape}")
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    true, false = (np.append(0.0, np.cumsum(kind[order])[last]) for kind in (truth, ~truth))
    return true, false


def brightest_first(saliency: NDArray[np.floating], steps: int) -> Iterator[NDArray[np.bool_]]:
    """The masks (H, W) of insertion and deletion: no pixel, then ever more of the brightest, then all; ties by place."""
    if steps < 1:
        raise ValueError(f"`steps` must be at least 1, found {steps}")
    rank = np.empty(saliency.size, np.int64)
    rank[np.argsort(-saliency.ravel(), kind="stable")] = np.arange(saliency.size)
    for step in range(steps + 1):
        yield (rank < round(saliency.size * step / steps)).reshape(saliency.shape)


def area_under(scores: ArrayLike) -> float:
    """The area under scores (n,) at even steps from 0 to 1, by trapezoids; a single score is the area."""
    heights = np.asarray(scores, np.float64)
    return float((heights[1:] + heights[:-1]).mean() / 2) if len(heights) > 1 else float(heights.mean())
