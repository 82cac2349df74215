"""The figures of one split under one spec, each with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.accuracy import statistics
from bench.accuracy.judge import FOUND, Outcome, PixelOutcome, judge, judge_pixels
from bench.accuracy.pixels import peak_iou, pxap
from bench.accuracy.saliency import Maker
from bench.accuracy.sheets import Sheet
from bench.accuracy.statistics import Estimate
from bench.accuracy.zeroshot import holds_any, ranks
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


def measure(sheets: Sequence[Sheet], make: Maker, spec: Spec) -> Figures:
    """Every figure of the sheets of one split, at the spec's own threshold."""
    thresholds = [spec.threshold]
    outcome, pixels = judge(sheets, make, spec, thresholds), judge_pixels(sheets, make, spec, thresholds)
    estimates = {**box_figures(sheets, outcome), **pixel_figures(outcome, pixels)}
    estimates |= {f"top{k}": statistics.share(holds_any(sheets, k)) for k in (1, 5)}
    ordered = {name: estimates[name] for name in TITLES if name in estimates}
    return Figures(len(sheets), len(outcome.pictures), float(outcome.boxes.mean()), ordered)


def box_figures(sheets: Sequence[Sheet], outcome: Outcome) -> dict[str, Estimate]:
    """Figures of an outcome (Q, 1) that come from its boxes."""
    best, first, other = outcome.best[:, 0], outcome.first[:, 0], outcome.other[:, 0]
    found, rank = best > FOUND, ranks(sheets)
    figures = {
        "gt_known": statistics.share(found),
        "first_box": statistics.share(first > FOUND),
        "top1_loc": statistics.share(found & (rank < 1)),
        "top5_loc": statistics.share(found & (rank < 5)),
        "box_iou": statistics.mean(best, outcome.pictures),
    }
    several = ~np.isnan(other)
    if several.any():
        figures["confused"] = statistics.share(other[several] > first[several])
    return figures


def pixel_figures(outcome: Outcome, pixels: PixelOutcome) -> dict[str, Estimate]:
    """Figures of the pixels of the same queries."""
    _, place = np.unique(outcome.pictures, return_inverse=True)
    tables = np.zeros((place.max() + 1, *pixels.counts.shape[1:]))
    np.add.at(tables, place, pixels.counts)
    return {
        "pixel_miou": statistics.mean(pixels.iou[:, 0], outcome.pictures),
        "pxap": statistics.resampled(tables, pxap),
        "peak_iou": statistics.resampled(tables, peak_iou),
        "pointing": statistics.share(pixels.pointed),
    }
