"""Ask every picture for every noun that it shows, at many thresholds at once, and compare with the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from bench.accuracy.scored import SaliencyOf, ScoredPicture
from engine.boxes import find_boxes
from engine.metrics import iou, pixels
from engine.outline import follow
from engine.saliency import normalise, to_picture
from engine.spec import Spec
from runtime.scene import Floats

Ratios = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class BoxOverlaps:
    """Overlaps (Q, T) of the queries' boxes at thresholds (T,), with the pictures (Q,) that they belong to."""

    pictures: NDArray[np.int64]
    thresholds: Ratios
    best: Ratios  # of any box with any true box: the published protocol
    first: Ratios  # of the first box alone
    other: Ratios  # of the first box with anything else that the picture shows; NaN where nothing else is there
    boxes: Ratios  # how many there are


@dataclass(frozen=True, slots=True, eq=False)
class PixelOverlaps:
    """Pixels of the queries: IoU (Q, T), whether the brightest pixel hits (Q,), and counts (Q, 2, bins)."""

    iou: Ratios
    pointed: NDArray[np.bool_]
    counts: Ratios


def judge_boxes(
    pictures: Sequence[ScoredPicture], saliency_of: SaliencyOf, spec: Spec, thresholds: Sequence[float]
) -> BoxOverlaps:
    """Cut boxes out of every query's saliency at every threshold; all else is as the spec says."""
    specs = [spec.replace(threshold=float(threshold)) for threshold in thresholds]
    rows = []
    for scored in pictures:
        for truth, plane in zip(scored.truths, planes(scored, saliency_of, spec), strict=True):
            others = [other.boxes for other in scored.truths if other is not truth]
            known = np.concatenate([truth.boxes, *others])
            rows.append([overlaps(plane, each, known, len(truth.boxes)) for each in specs])
    table = np.array(rows)
    places = np.array([scored.picture for scored in pictures for _ in scored.truths])
    columns = {field.name: table[:, :, place] for place, field in enumerate(fields(BoxOverlaps)[2:])}
    return BoxOverlaps(places, np.asarray(thresholds, np.float64), **columns)


def overlaps(plane: Floats, spec: Spec, known: Ratios, own: int) -> tuple[float, float, float, float]:
    """Best, first and other overlap of the boxes of a saliency map (H, W), and how many boxes there are.

    Of the known boxes (m, 4) the first `own` are of the noun that was asked for.
    """
    table = iou(find_boxes(plane, spec).xyxy, known)
    other = table[:1, own:].max(initial=0.0) if len(known) > own else np.nan
    return table[:, :own].max(initial=0.0), table[:1, :own].max(initial=0.0), other, len(table)


def judge_pixels(
    pictures: Sequence[ScoredPicture], saliency_of: SaliencyOf, spec: Spec, thresholds: Sequence[float]
) -> PixelOverlaps:
    """Compare every query's saliency with the pixels of its noun."""
    rows = []
    for scored in pictures:
        pairs = zip(planes(scored, saliency_of, spec), scored.truths, strict=True)
        rows += [pixel_row(plane, truth.mask, thresholds) for plane, truth in pairs]
    ious, pointed, counts = zip(*rows, strict=True)
    return PixelOverlaps(np.array(ious), np.array(pointed), np.array(counts))


def pixel_row(plane: Floats, mask: NDArray[np.bool_], thresholds: Sequence[float]) -> tuple[Ratios, bool, Ratios]:
    """IoU (T,) with a mask (H, W) at fractions of the map's maximum, whether the maximum hits it, and the counts."""
    bounds = (np.array(thresholds) * float(plane.max())).astype(np.float32)
    counts = pixels.value_counts(np.clip(plane, 0, 1), mask).astype(np.float64)
    return pixels.overlap_above(plane, mask, bounds).iou(), pixels.points_at(plane, mask), counts


def planes(scored: ScoredPicture, saliency_of: SaliencyOf, spec: Spec) -> list[Floats]:
    """The saliency of every noun that a picture shows, as normalised maps (H, W) in its pixels."""
    grids = saliency_of(scored, scored.asked).reshape(-1, *scored.grid_hw)
    outline = scored.outline if spec.outline == "picture" else None
    return [to_picture(follow(normalise(grid), outline), scored.frame, spec.resize, spec.interpolation) for grid in grids]
