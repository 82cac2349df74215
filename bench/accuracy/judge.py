"""Ask every sheet for every noun that it shows, at many thresholds at once, and compare with the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from bench.accuracy.pixels import Counts, histogram
from bench.accuracy.saliency import Maker
from bench.accuracy.sheets import Sheet
from engine.boxes import find_boxes
from engine.metrics import iou
from engine.outline import follow
from engine.saliency import normalise, to_picture
from engine.spec import Spec
from runtime.scene import Floats

FOUND = 0.5  # a box that overlaps by more than this has found its thing

Ratios = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Overlaps (Q, T) of the queries' boxes at thresholds (T,), with the pictures (Q,) that they belong to."""

    pictures: NDArray[np.int64]
    thresholds: Ratios
    best: Ratios  # of any box with any true box: the published protocol
    first: Ratios  # of the first box alone
    other: Ratios  # of the first box with anything else that the picture shows; NaN where nothing else is there
    boxes: Ratios  # how many there are

    def at(self, threshold: float) -> Outcome:
        """The column of one threshold, as (Q, 1)."""
        column = int(np.abs(self.thresholds - threshold).argmin())
        chosen = {name: getattr(self, name)[:, column : column + 1] for name in ("best", "first", "other", "boxes")}
        return Outcome(self.pictures, self.thresholds[column : column + 1], **chosen)


@dataclass(frozen=True, slots=True, eq=False)
class PixelOutcome:
    """Pixels of the queries: IoU (Q, T), whether the brightest pixel hits (Q,), and counts (Q, 2, bins)."""

    iou: Ratios
    pointed: NDArray[np.bool_]
    counts: Counts


def judge(sheets: Sequence[Sheet], make: Maker, spec: Spec, thresholds: Sequence[float]) -> Outcome:
    """Cut boxes out of every query's saliency at every threshold; all else is as the spec says."""
    specs = [spec.replace(threshold=float(threshold)) for threshold in thresholds]

    rows = []
    for sheet in sheets:
        for truth, plane in zip(sheet.truths, spread(sheet, make(sheet, sheet.asked), spec), strict=True):
            others = [other.boxes for other in sheet.truths if other is not truth]
            known = np.concatenate([truth.boxes, *others])
            rows.append([overlaps(plane, each, known, len(truth.boxes)) for each in specs])
    table = np.array(rows)
    pictures = np.array([sheet.picture for sheet in sheets for _ in sheet.truths])
    columns = {field.name: table[:, :, place] for place, field in enumerate(fields(Outcome)[2:])}
    return Outcome(pictures, np.asarray(thresholds, np.float64), **columns)


def overlaps(plane: Floats, spec: Spec, known: Ratios, own: int) -> tuple[float, float, float, float]:
    """Best, first and other overlap of the boxes of a saliency map (H, W), and how many boxes there are.

    Of the known boxes (m, 4) the first `own` are of the noun that was asked for.
    """
    table = iou(find_boxes(plane, spec).xyxy, known)
    other = table[:1, own:].max(initial=0.0) if len(known) > own else np.nan
    return table[:, :own].max(initial=0.0), table[:1, :own].max(initial=0.0), other, len(table)


def judge_pixels(sheets: Sequence[Sheet], make: Maker, spec: Spec, thresholds: Sequence[float]) -> PixelOutcome:
    """Compare every query's saliency with the pixels of its noun."""

    rows = []
    for sheet in sheets:
        planes = spread(sheet, make(sheet, sheet.asked), spec)
        rows += [pixel_row(plane, truth.mask, thresholds) for plane, truth in zip(planes, sheet.truths, strict=True)]
    ious, pointed, counts = zip(*rows, strict=True)
    return PixelOutcome(np.array(ious), np.array(pointed), np.array(counts))


def pixel_row(plane: Floats, mask: NDArray[np.bool_], thresholds: Sequence[float]) -> tuple[Ratios, bool, Counts]:
    """IoU (T,) with a mask (H, W) at fractions of the map's maximum, whether the maximum hits it, and the counts."""
    peak = float(plane.max())
    ious = np.zeros(len(thresholds))
    inside = plane[mask]
    for place, threshold in enumerate(thresholds):
        bound = np.float32(threshold * peak)
        hits = np.count_nonzero(inside > bound)
        ious[place] = hits / (np.count_nonzero(plane > bound) + len(inside) - hits)
    return ious, bool(peak > 0 and mask.flat[int(plane.argmax())]), histogram(plane, mask)


def spread(sheet: Sheet, saliency: Floats, spec: Spec) -> list[Floats]:
    """Saliency (Q, n) as normalised maps (H, W) in the picture's pixels."""
    grids = saliency.reshape(-1, *sheet.grid_hw)
    outline = sheet.outline if spec.outline == "picture" else None
    return [to_picture(follow(normalise(grid), outline), sheet.frame, spec.resize) for grid in grids]
