"""Boxes around the connected bright parts of a saliency map."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.shapes import require
from engine.spec import Spec

# Columns of the statistics that cv2 gives per component: left, top, width, height, area.
_LEFT_TOP, _WIDTH_HEIGHT, _AREA = slice(0, 2), slice(2, 4), 4
MANY = 64  # parts from which on one walk over all pixels is quicker than a look at each part's rectangle


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """Boxes `xyxy` (n, 4), half-open, in pixels of the picture, with their `scores` (n,); float32 both."""

    xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check that the shapes fit; raises `ValueError`."""
        count = len(self.scores)
        if self.xyxy.shape != (count, 4) or self.scores.shape != (count,):
            found = f"{self.xyxy.shape} and {self.scores.shape}"
            raise ValueError(f"`xyxy` and `scores` must have the shapes (n, 4) and (n,), found {found}")

    def __len__(self) -> int:
        """Give the number of boxes."""
        return len(self.scores)

    @classmethod
    def none(cls) -> Boxes:
        """Give an empty set of boxes."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


def find_boxes(saliency: NDArray[np.floating], spec: Spec) -> Boxes:
    """Box the connected parts of a saliency map (H, W) that lie above a fraction of its maximum.

    Parts of at most `spec.min_area` of the picture are left out, and those whose score is below `spec.min_score` of the best
    one's. A box's score is the mean saliency inside its part. A map without a positive value gives no box; raises
    `ValueError` when the map is not finite.
    """
    require("saliency", saliency, ("H", "W"))
    values = np.ascontiguousarray(saliency, np.float32)
    peak = float(values.max())
    if not np.isfinite(peak):
        raise ValueError("`saliency` must be finite, found NaN or infinity; use a bundle of higher precision")
    foreground = (values > np.float32(spec.threshold * peak)).view(np.uint8)
    # Everything after this looks only at the rectangle that holds all of the foreground.
    left, top, width, height = cv2.boundingRect(foreground)
    # The bound can round up to the maximum itself, so a positive maximum does not promise a foreground.
    if peak <= 0 or width == 0:
        return Boxes.none()
    window = np.s_[top : top + height, left : left + width]
    parts, scores, firsts = _parts(values[window], foreground[window], spec, spec.min_area * values.size)
    ranks = (firsts,) if spec.order == "raster" else (firsts, -scores)
    by_rank = np.lexsort(ranks)
    by_rank = by_rank[scores[by_rank] >= spec.min_score * scores.max(initial=0)]
    xyxy = parts[by_rank] + np.array([left, top, left, top], np.float32)
    return Boxes(xyxy.astype(np.float32), scores[by_rank].astype(np.float32))


def _parts(
    values: NDArray[np.float32], foreground: NDArray[np.uint8], spec: Spec, area: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Boxes (n, 4), mean values (n,) and raster positions of the first pixels (n,) of the large parts."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(foreground, connectivity=spec.connectivity, ltype=cv2.CV_32S)
    table = stats.astype(np.int64)
    kept = 1 + np.flatnonzero(table[1:, _AREA] > area)  # label 0 is the background
    corners = table[kept, _LEFT_TOP]
    boxes = np.concatenate([corners, corners + table[kept, _WIDTH_HEIGHT]], axis=1)
    if len(kept) >= MANY:
        return boxes, *_walk(values, labels, kept, table[:, _AREA])
    means, firsts = np.zeros(len(kept)), np.zeros(len(kept), np.int64)
    for index, (label, (x0, y0, x1, y1)) in enumerate(zip(kept, boxes, strict=True)):
        part = labels[y0:y1, x0:x1] == label
        means[index] = cv2.mean(values[y0:y1, x0:x1], part.view(np.uint8))[0]
        # The order of cv2's labels depends on its algorithm, so the raster order is found from the pixels.
        firsts[index] = y0 * values.shape[1] + x0 + np.argmax(part[0])
    return boxes, means, firsts


def _walk(
    values: NDArray[np.float32], labels: NDArray[np.int32], kept: NDArray[np.int64], areas: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Mean values (n,) and raster positions of the first pixels (n,) of many parts, in one walk over all pixels."""
    flat = labels.ravel()
    means = np.bincount(flat, weights=values.ravel(), minlength=len(areas))[kept] / areas[kept]
    firsts = np.zeros(len(areas), np.int64)
    inside = np.flatnonzero(flat)[::-1]
    firsts[flat[inside]] = inside  # written from the last pixel to the first, so that the first one stays
    return means, firsts[kept]
