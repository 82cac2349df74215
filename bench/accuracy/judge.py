"""Ask every picture for every noun that it shows, at many thresholds at once, and compare with the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from bench.accuracy.scored import SaliencyOf, ScoredPicture
from engine.boxes import find_boxes
from engine.metrics import iou
from engine.outline import follow
from engine.saliency import normalise, to_picture
from engine.spec import Spec
from runtime.scene import Floats

FOUND = 0.5  # a box that overlaps by more than this has found its thing
STEPS = 1000  # bins of saliency between 0 and 1; the value 1 has a bin of its own

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
    peak = float(plane.max())
    ious = np.zeros(len(thresholds))
    inside = plane[mask]
    for place, threshold in enumerate(thresholds):
        bound = np.float32(threshold * peak)
        hits = np.count_nonzero(inside > bound)
        ious[place] = hits / (np.count_nonzero(plane > bound) + len(inside) - hits)
    return ious, bool(peak > 0 and mask.flat[int(plane.argmax())]), histogram(plane, mask)


def planes(scored: ScoredPicture, saliency_of: SaliencyOf, spec: Spec) -> list[Floats]:
    """The saliency of every noun that a picture shows, as normalised maps (H, W) in its pixels."""
    grids = saliency_of(scored, scored.asked).reshape(-1, *scored.grid_hw)
    outline = scored.outline if spec.outline == "picture" else None
    return [to_picture(follow(normalise(grid), outline), scored.frame, spec.resize, spec.interpolation) for grid in grids]


def histogram(saliency: NDArray[np.floating], mask: NDArray[np.bool_]) -> Ratios:
    """Count the pixels of a saliency map in [0, 1] by value, (2, STEPS + 1): inside the mask, and outside it."""
    bins = np.clip((saliency.ravel() * STEPS).astype(np.int64), 0, STEPS)
    joint = np.bincount(bins + (STEPS + 1) * ~mask.ravel(), minlength=2 * (STEPS + 1))
    return joint.reshape(2, STEPS + 1).astype(np.float64)


def pxap(counts: Ratios) -> float:
    """The area under precision over recall, in [0, 1], of counts (2, bins); bins without any pixel add nothing."""
    inside, outside = np.cumsum(counts[:, ::-1], axis=1)
    found = inside + outside
    precision = np.divide(inside, found, out=np.zeros_like(inside), where=found > 0)
    return float((precision * np.diff(inside, prepend=0.0)).sum() / inside[-1])


def peak_iou(counts: Ratios) -> float:
    """The best intersection over union, in [0, 1], that any one threshold reaches on counts (2, bins)."""
    inside, outside = np.cumsum(counts[:, ::-1], axis=1)
    return float((inside / (inside[-1] + outside)).max())
