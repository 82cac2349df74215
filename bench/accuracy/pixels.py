"""Saliency against pixel masks, over all thresholds at once: PxAP and the peak IoU."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEPS = 1000  # bins between 0 and 1; the value 1 has a bin of its own

Counts = NDArray[np.float64]


def histogram(saliency: NDArray[np.floating], mask: NDArray[np.bool_]) -> Counts:
    """Count the pixels of a saliency map in [0, 1] by value, (2, STEPS + 1): inside the mask, and outside it."""
    if saliency.shape != mask.shape:
        raise ValueError(f"`mask` must have the shape {saliency.shape} of the saliency, found {mask.shape}")
    bins = np.clip((saliency.ravel() * STEPS).astype(np.int64), 0, STEPS)
    joint = np.bincount(bins + (STEPS + 1) * ~mask.ravel(), minlength=2 * (STEPS + 1))
    return joint.reshape(2, STEPS + 1).astype(np.float64)


def pxap(counts: Counts) -> float:
    """The area under precision over recall, in [0, 1], of counts (2, bins); bins without any pixel add nothing."""
    inside, outside = _from_the_top(counts)
    found = inside + outside
    precision = np.divide(inside, found, out=np.zeros_like(inside), where=found > 0)
    return float((precision * np.diff(inside, prepend=0.0)).sum() / inside[-1])


def peak_iou(counts: Counts) -> float:
    """The best intersection over union, in [0, 1], that any one threshold reaches on counts (2, bins)."""
    inside, outside = _from_the_top(counts)
    return float((inside / (inside[-1] + outside)).max())


def _from_the_top(counts: Counts) -> tuple[Counts, Counts]:
    inside, outside = np.cumsum(counts[:, ::-1], axis=1)
    if not inside[-1]:
        raise ValueError("`counts` hold no pixel inside a mask, so precision and recall mean nothing")
    return inside, outside
