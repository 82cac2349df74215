"""Windows over a large picture: where they lie on one grid of patches, and their features brought together there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Place = tuple[int, int]


def windowed_hw(picture_hw: tuple[int, int], shorter: int, patch: int) -> tuple[int, int]:
    """The size that a picture is brought to: its shorter side as asked, its shape kept, whole patches."""
    scale = shorter / min(picture_hw)
    height, width = (max(1, round(length * scale / patch)) * patch for length in picture_hw)
    return height, width


def places(size_hw: tuple[int, int], side: int, patch: int) -> list[Place]:
    """The top left corners of windows of a side, half a window apart, the last of each row and column pushed back inside."""
    step = max(patch, side // 2 // patch * patch)
    rows, cols = (
        [min(number * step, length - side) for number in range(max(length - side + step - 1, 0) // step + 1)]
        for length in size_hw
    )
    return [(row, col) for row in rows for col in cols]


def together(
    features: Sequence[NDArray[np.float32]], corners: Sequence[Place], size_hw: tuple[int, int], patch: int
) -> NDArray[np.float32]:
    """Features of windows `(L, h, w, D)` averaged cell by cell over the windows that show it `(L, H, W, D)`."""
    sets, high, wide, dim = features[0].shape
    grid_hw = (size_hw[0] // patch, size_hw[1] // patch)
    total, count = np.zeros((sets, *grid_hw, dim), np.float32), np.zeros((*grid_hw, 1), np.float32)
    for part, (top, left) in zip(features, corners, strict=True):
        cells = np.s_[top // patch : top // patch + high, left // patch : left // patch + wide]
        total[:, cells[0], cells[1]] += part
        count[cells] += 1
    return total / count
