"""MaxBoxAcc and MaxBoxAccV2 (Choe et al. 2020), to the bit: their rounding, their contours and their inclusive boxes.

A score map lies on a grid of 224 x 224 over the squashed picture. Its boxes reach one pixel beyond what they enclose, unless
they are cut at the border, and are then taken as inclusive: kept, since all published figures have it so.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.boxes import outlines
from engine.metrics.boxes import iou
from engine.shapes import require

SIDE = 224
OVERLAPS = (0.3, 0.5, 0.7)  # of V2, each with its own best threshold
STEP = 0.001  # between thresholds, in training runs; the command-line evaluator takes 0.01

Ratios = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class MaxBox:
    """Best overlap with a true box at every threshold (T,): of the largest contour (V1), and of any contour (V2)."""

    largest: Ratios
    any: Ratios


def thresholds_of(step: float = STEP) -> Ratios:
    """The evaluator's thresholds, 0 included and 1 left out."""
    return np.arange(0, 1, step)


def score_map(raw: NDArray[np.floating], side: int = SIDE) -> Ratios:
    """A map (h, w) over the squashed picture as the evaluator wants it: bicubic, less its minimum, over its maximum.

    A constant map, or one with NaN, becomes zero.
    """
    require("raw", raw, ("h", "w"))
    resized = cv2.resize(raw.astype(np.float64), (side, side), interpolation=cv2.INTER_CUBIC)
    if not np.isfinite(resized).all() or resized.min() == resized.max():
        return np.zeros((side, side))
    shifted = resized - resized.min()
    return np.asarray(shifted / shifted.max())


def resized_boxes(xyxy: ArrayLike, picture_hw: tuple[int, int], side: int = SIDE) -> NDArray[np.int64]:
    """True boxes (m, 4), inclusive as the annotations have them, on the evaluator's grid: each coordinate is cut off."""
    height, width = (float(length) for length in picture_hw)
    boxes = np.asarray(xyxy, np.float64).reshape(-1, 4)
    return np.asarray(boxes * float(side) / np.array([width, height, width, height])).astype(np.int64)


def max_box(scores: NDArray[np.floating], truth: NDArray[np.int64], thresholds: Ratios) -> MaxBox:
    """Best overlaps of a score map (H, W) in [0, 1] with true boxes (m, 4) on its grid, at thresholds (T,) of its maximum.

    Values become bytes first, so that many thresholds are one: contours are sought once for each level.
    """
    require("scores", scores, ("H", "W"))
    if not (scores.min() >= 0 and scores.max() <= 1):  # written so that NaN fails, too
        raise ValueError(f"`scores` must lie in [0, 1], found {scores.min():.4g} to {scores.max():.4g}")
    image = (scores.astype(np.float64) * 255).astype(np.uint8)
    levels, place = np.unique((thresholds * float(image.max())).astype(np.int64), return_inverse=True)
    cuts = [_boxes_above(image, int(level)) for level in levels]
    best = iou(np.concatenate([boxes for boxes, _ in cuts]), truth, inclusive=True).max(axis=1, initial=0.0)
    starts = np.cumsum([0, *(len(boxes) for boxes, _ in cuts)])[:-1]
    largest = best[starts + np.array([place for _, place in cuts])]
    return MaxBox(largest[place], np.maximum.reduceat(best, starts)[place])


def _boxes_above(image: NDArray[np.uint8], level: int) -> tuple[NDArray[np.int64], int]:
    """Boxes (n, 4) of the contours above a level of bytes (H, W), and which contour has the largest polygon area."""
    _, corners, areas = outlines(cv2.threshold(image, level, 1, cv2.THRESH_BINARY)[1])
    if not len(corners):
        return np.zeros((1, 4), np.int64), 0  # the evaluator's box where there is none
    height, width = image.shape
    corners[:, 2:] = np.minimum(corners[:, 2:], [width - 1, height - 1])
    return corners, int(areas.argmax())


def successes(overlaps: Ratios, least: float) -> NDArray[np.int64]:
    """How many of the pictures (N, T) reach an overlap, at every threshold (T,)."""
    return np.asarray((overlaps >= least).sum(axis=0), np.int64)


def max_box_acc(overlaps: Ratios, least: float = 0.5) -> float:
    """MaxBoxAcc of overlaps (N, T): the share of pictures that reach an overlap at the one threshold that suits all best."""
    return float((successes(overlaps, least) / len(overlaps)).max())


def max_box_acc_v2(overlaps: Ratios, least: tuple[float, ...] = OVERLAPS) -> float:
    """MaxBoxAccV2 of overlaps (N, T) of any contour: the mean over overlaps, each at its own best threshold."""
    return float(np.mean([max_box_acc(overlaps, each) for each in least]))
