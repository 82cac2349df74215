"""Boxes out of a saliency map: around its bright parts or contours, or the rectangle that gathers most."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.morphology import kernel_side, morph
from engine.rectangle import heaviest_rectangle
from engine.shapes import require
from engine.spec import Connectivity, Spec

# Columns of the statistics that cv2 gives per component: left, top, width, height, area.
_LEFT_TOP, _WIDTH_HEIGHT, _AREA = slice(0, 2), slice(2, 4), 4
MANY = 64  # parts from which on one walk over all pixels is quicker than a look at each part's rectangle


Floats = NDArray[np.float32]


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


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Boxes (n, 4) with mean saliency, raster position of the first pixel and area in pixels (n,) of what they hold."""

    xyxy: NDArray[np.int64]
    means: NDArray[np.float64]
    firsts: NDArray[np.int64]
    areas: NDArray[np.float64]


def find_boxes(saliency: NDArray[np.floating], spec: Spec) -> Boxes:
    """Box what lies above the cut in a saliency map (H, W), after the morphology that the spec asks for.

    What covers at most `spec.min_area` of the picture is left out, and what scores below `spec.min_score` of the best. A
    box's score is the mean saliency of what it was drawn around. A map without a positive value gives no box; raises
    `ValueError` when the map is not finite.
    """
    values = prepared(saliency, spec)
    peak = float(values.max())
    if not np.isfinite(peak):
        raise ValueError("`saliency` must be finite, found NaN or infinity; use a bundle of higher precision")
    if peak <= 0:
        return Boxes.none()
    bound = cut_at(values, spec, peak)
    if spec.find == "rectangle":
        return _ranked(_rectangle(values, bound), spec, values.size)
    foreground = (values > bound).view(np.uint8)
    # Everything after this looks only at the rectangle that holds all of the foreground.
    left, top, width, height = cv2.boundingRect(foreground)
    # The bound can round up to the maximum itself, so a positive maximum does not promise a foreground.
    if width == 0:
        return Boxes.none()
    window = np.s_[top : top + height, left : left + width]
    if spec.find == "contours":
        candidates = _contours(values[window], foreground[window])
    else:
        candidates = _parts(values[window], foreground[window], spec.connectivity, spec.min_area * values.size)
    found = _ranked(candidates, spec, values.size)
    return Boxes(found.xyxy + np.array([left, top, left, top], np.float32), found.scores)


def prepared(saliency: NDArray[np.floating], spec: Spec) -> Floats:
    """A map (H, W) after the morphology that the spec asks for: what is cut."""
    require("saliency", saliency, ("H", "W"))
    height, width = saliency.shape
    return morph(saliency, *(kernel_side(share, (height, width)) for share in (spec.dilate, spec.erode)))


def cut_at(values: Floats, spec: Spec, peak: float) -> np.float32:
    """The value above which a map (H, W) of this maximum is foreground."""
    if spec.cut == "otsu":
        levels = np.rint(np.clip(values / np.float32(peak), 0, 1) * 255).astype(np.uint8)
        level, _ = cv2.threshold(levels, 0, 1, cv2.THRESH_OTSU)
        return np.float32((level + 0.5) / 255 * peak)
    unit = {"peak": peak, "mean": float(values.mean(dtype=np.float64)), "value": 1.0}[spec.cut]
    return np.float32(spec.threshold * unit)


def outlines(foreground: NDArray[np.uint8]) -> tuple[list[NDArray[np.int32]], NDArray[np.int64], NDArray[np.float64]]:
    """Contours of a binary map (H, W), those of holes too, in OpenCV's order, with their boxes (n, 4) and polygon areas (n,)."""
    found = list(cv2.findContours(foreground, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0])
    corners = np.array([cv2.boundingRect(contour) for contour in found], np.int64).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    return found, corners, np.array([cv2.contourArea(contour) for contour in found], np.float64)


def _ranked(found: Candidates, spec: Spec, size: int) -> Boxes:
    """Candidates as boxes, in the spec's order, without those that are too small, too weak or not asked for."""
    ranks = (found.firsts,) if spec.order == "raster" else (found.firsts, -found.means)
    by_rank = np.lexsort(ranks)
    by_rank = by_rank[found.areas[by_rank] > spec.min_area * size]
    if spec.keep == "largest" and len(by_rank):
        by_rank = by_rank[[int(found.areas[by_rank].argmax())]]
    by_rank = by_rank[found.means[by_rank] >= spec.min_score * found.means[by_rank].max(initial=0)]
    return Boxes(found.xyxy[by_rank].astype(np.float32), found.means[by_rank].astype(np.float32))


def _rectangle(values: Floats, bound: np.float32) -> Candidates:
    """The rectangle that gathers most above the bound, if any."""
    box = heaviest_rectangle(values - bound)
    corners = np.array([box] if box else [], np.int64).reshape(-1, 4)
    means = [values[y0:y1, x0:x1].mean(dtype=np.float64) for x0, y0, x1, y1 in corners]
    areas = (corners[:, 2:] - corners[:, :2]).prod(axis=1)
    return Candidates(corners, np.array(means, np.float64), corners[:, 1] * values.shape[1] + corners[:, 0], areas.astype(float))


def _contours(values: Floats, foreground: NDArray[np.uint8]) -> Candidates:
    """Contours with the mean saliency of all that each encloses."""
    found, corners, areas = outlines(foreground)
    means, firsts = np.zeros(len(found)), np.zeros(len(found), np.int64)
    for index, (contour, (x0, y0, x1, y1)) in enumerate(zip(found, corners.tolist(), strict=True)):
        inside = cv2.drawContours(np.zeros((y1 - y0, x1 - x0), np.uint8), [contour], 0, 1, cv2.FILLED, offset=(-x0, -y0))
        means[index] = cv2.mean(values[y0:y1, x0:x1], inside)[0]
        firsts[index] = (contour[:, 0, 1].astype(np.int64) * values.shape[1] + contour[:, 0, 0]).min()
    return Candidates(corners, means, firsts, areas)


def _parts(values: Floats, foreground: NDArray[np.uint8], connectivity: Connectivity, area: float) -> Candidates:
    """Connected parts of more than `area` pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(foreground, connectivity=connectivity, ltype=cv2.CV_32S)
    table = stats.astype(np.int64)
    kept = 1 + np.flatnonzero(table[1:, _AREA] > area)  # label 0 is the background
    corners = table[kept, _LEFT_TOP]
    boxes = np.concatenate([corners, corners + table[kept, _WIDTH_HEIGHT]], axis=1)
    areas = table[kept, _AREA].astype(np.float64)
    if len(kept) >= MANY:
        return Candidates(boxes, *_walk(values, labels, kept, table[:, _AREA]), areas)
    means, firsts = np.zeros(len(kept)), np.zeros(len(kept), np.int64)
    for index, (label, (x0, y0, x1, y1)) in enumerate(zip(kept, boxes, strict=True)):
        part = labels[y0:y1, x0:x1] == label
        means[index] = cv2.mean(values[y0:y1, x0:x1], part.view(np.uint8))[0]
        # The order of cv2's labels depends on its algorithm, so the raster order is found from the pixels.
        firsts[index] = y0 * values.shape[1] + x0 + np.argmax(part[0])
    return Candidates(boxes, means, firsts, areas)


def _walk(
    values: Floats, labels: NDArray[np.int32], kept: NDArray[np.int64], areas: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Mean values (n,) and raster positions of the first pixels (n,) of many parts, in one walk over all pixels."""
    flat = labels.ravel()
    means = np.bincount(flat, weights=values.ravel(), minlength=len(areas))[kept] / areas[kept]
    firsts = np.zeros(len(areas), np.int64)
    inside = np.flatnonzero(flat)[::-1]
    firsts[flat[inside]] = inside  # written from the last pixel to the first, so that the first one stays
    return means, firsts[kept]
