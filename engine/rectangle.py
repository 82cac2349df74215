"""The rectangle of largest sum: the one box that gathers as much as it can of what lies above the cut."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.shapes import require

EXACT = 64  # rows and columns up to which every rectangle is tried (4 ms); larger maps are reduced, and the sides refined
ROUNDS = 20

Sums = NDArray[np.float64]
Box = tuple[int, int, int, int]


def heaviest_rectangle(values: NDArray[np.floating]) -> Box | None:
    """The rectangle (x0, y0, x1, y1) of largest sum in an array (H, W) of both signs; None when no sum is positive."""
    require("values", values, ("H", "W"))
    height, width = values.shape
    small_h, small_w = min(height, EXACT), min(width, EXACT)
    if (small_h, small_w) == (height, width):
        return _try_all(values.astype(np.float64))
    found = _try_all(cv2.resize(values.astype(np.float64), (small_w, small_h), interpolation=cv2.INTER_AREA))
    if found is None:
        return None
    x0, y0, x1, y1 = found
    grown = (x0 * width // small_w, y0 * height // small_h, -(-x1 * width // small_w), -(-y1 * height // small_h))
    return refined(values, grown)


def _try_all(values: Sums) -> Box | None:
    """Kadane's search in every band of rows at once."""
    if values.shape[0] > values.shape[1]:  # bands of the shorter side are fewer
        turned = _try_all(values.T)
        return turned if turned is None else (turned[1], turned[0], turned[3], turned[2])
    height, width = values.shape
    below = np.concatenate([np.zeros((1, width)), values.cumsum(axis=0)])
    tops, bottoms = np.triu_indices(height)
    sums = np.concatenate([np.zeros((len(tops), 1)), (below[bottoms + 1] - below[tops]).cumsum(axis=1)], axis=1)
    gains = sums[:, 1:] - np.minimum.accumulate(sums[:, :-1], axis=1)
    band, right = np.unravel_index(int(gains.argmax()), gains.shape)
    if gains[band, right] <= 0:
        return None
    left = int(sums[band, : right + 1].argmin())
    return left, int(tops[band]), int(right) + 1, int(bottoms[band]) + 1


def refined(values: NDArray[np.floating], box: Box) -> Box:
    """Move one side after the other to where the sum is largest, until none moves."""
    sums = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    sums[1:, 1:] = values.cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
    x0, y0, x1, y1 = box
    for _ in range(ROUNDS):
        before = (x0, y0, x1, y1)
        across = sums[y1] - sums[y0]
        x0 = int(across[:x1].argmin())
        x1 = x0 + 1 + int(across[x0 + 1 :].argmax())
        down = sums[:, x1] - sums[:, x0]
        y0 = int(down[:y1].argmin())
        y1 = y0 + 1 + int(down[y0 + 1 :].argmax())
        if (x0, y0, x1, y1) == before:
            break
    return x0, y0, x1, y1
