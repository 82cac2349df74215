"""The figures of one split under one spec, each with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.accuracy.judge import BoxOverlaps, PixelOverlaps, judge_boxes, judge_pixels
from bench.accuracy.scored import SaliencyOf, ScoredPicture, ranks, shows_any
from bench.accuracy.statistics import Estimate, mean, resampled, share
from engine.metrics.boxes import FOUND
from engine.metrics.pixels import peak_iou, pxap
from engine.spec import Spec

# What each figure is called in tables, in their order.
TITLES = {
    "gt_known": "GT-known",
    "first_box": "first box",
    "top1_loc": "Top-1 Loc",
    "top5_loc": "Top-5 Loc",
    "box_iou": "box IoU",
    "pixel_miou": "mIoU",
    "pxap": "PxAP",
    "peak_iou": "pIoU",
    "pointing": "pointing",
    "confused": "confused",
    "top1": "top-1",
    "top5": "top-5",
}


@dataclass(frozen=True, slots=True)
class Figures:
    """All figures of a split as shares from 0 to 1, by their keys in TITLES."""

    pictures: int
    queries: int
    boxes_per_query: float
    estimates: dict[str, Estimate]

    def to_dict(self) -> dict[str, object]:
        """Plain values: each figure as [value, low, high]."""
        counts = {"pictures": self.pictures, "queries": self.queries, "boxes_per_query": round(self.boxes_per_query, 3)}
        return {**counts, **{name: estimate.to_list() for name, estimate in self.estimates.items()}}


def measure(pictures: Sequence[ScoredPicture], saliency_of: SaliencyOf, spec: Spec) -> Figures:
    """Every figure of the pictures of one split, at the spec's own threshold."""
    thresholds = [spec.threshold]
    boxes = judge_boxes(pictures, saliency_of, spec, thresholds)
    pixels = judge_pixels(pictures, saliency_of, spec, thresholds)
    estimates = {**box_figures(pictures, boxes), **pixel_figures(boxes, pixels)}
    estimates |= {f"top{k}": share(shows_any(pictures, k)) for k in (1, 5)}
    ordered = {name: estimates[name] for name in TITLES if name in estimates}
    return Figures(len(pictures), len(boxes.pictures), float(boxes.boxes.mean()), ordered)


def box_figures(pictures: Sequence[ScoredPicture], boxes: BoxOverlaps) -> dict[str, Estimate]:
    """Figures of overlaps (Q, 1)."""
    best, first, other = boxes.best[:, 0], boxes.first[:, 0], boxes.other[:, 0]
    found, rank = best > FOUND, ranks(pictures)
    figures = {
        "gt_known": share(found),
        "first_box": share(first > FOUND),
        "top1_loc": share(found & (rank < 1)),
        "top5_loc": share(found & (rank < 5)),
        "box_iou": mean(best, boxes.pictures),
    }
    several = ~np.isnan(other)
    if several.any():
        figures["confused"] = share(other[several] > first[several])
    return figures


def pixel_figures(boxes: BoxOverlaps, pixels: PixelOverlaps) -> dict[str, Estimate]:
    """Figures of the pixels of the same queries."""
    _, place = np.unique(boxes.pictures, return_inverse=True)
    tables = np.zeros((place.max() + 1, *pixels.counts.shape[1:]))
    np.add.at(tables, place, pixels.counts)
    return {
        "pixel_miou": mean(pixels.iou[:, 0], boxes.pictures),
        "pxap": resampled(tables, pxap),
        "peak_iou": resampled(tables, peak_iou),
        "pointing": share(pixels.pointed),
    }
