"""Which cells of a grid lie near each other: what methods mix into attention, and no weight decides."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def nearby(grid_hw: tuple[int, int], width: float) -> Matrix:
    """A bonus for neighbours `(1 + n, 1 + n)`: a bell of this width in cells around each; none for the class token, the first."""
    apart = offsets(grid_hw)
    bell = np.exp(-(apart**2).sum(axis=-1) / (2 * width**2))
    return np.pad(bell, ((1, 0), (1, 0)))


def touching(grid_hw: tuple[int, int]) -> Matrix:
    """1 where two cells touch, by an edge or a corner, else 0: `(n, n)`."""
    apart: Matrix = np.abs(offsets(grid_hw)).max(axis=-1)
    return np.where(apart == 1, 1.0, 0.0)


def offsets(grid_hw: tuple[int, int]) -> Matrix:
    """Rows and columns from each cell to each `(n, n, 2)`, cells row by row."""
    rows, cols = np.indices(grid_hw, dtype=np.float64).reshape(2, -1)
    cells = np.stack([rows, cols], axis=-1)
    return cells[:, None] - cells[None]
