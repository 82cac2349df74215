"""A coarse saliency map brought to the outlines of the picture, so that its boxes end where things end.

A map has few cells, and what it says about a thing's extent is vague to about one cell. In a window of that size
saliency is explained as a linear function of colour (a guided filter), which moves its edges onto the picture's own.
Where colour tells nothing, the map stays as smooth as it was.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.resample import Weights, centers
from engine.shapes import require

CELL = 16  # samples of the fine map along a cell of the coarse one, unless the model saw fewer pixels
REACH = 0.75  # half of the window, in cells
FLAT = 2e-3  # variance of colour, in [0, 1] squared, below which a window counts as having no outline

Floats = NDArray[np.float32]


def shrink(square: NDArray[np.uint8], grid_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Reduce the square that the model saw (R, R, 3) to the size of the fine map of a grid (h, w)."""
    require("square", square, ("R", "R", "3"))
    rows, cols = (shares(min(CELL * cells, full), full) for cells, full in zip(grid_hw, square.shape[:2], strict=True))
    reduced = np.einsum("ha,abc,wb->hwc", rows, square.astype(np.float64), cols, optimize=True)
    return np.asarray(np.rint(reduced), np.uint8)


def shares(n_out: int, n_in: int) -> Weights:
    """Weights (n_out, n_in) of a mean over area: how much of each input lies in an output, which may be cut by edges."""
    edges = np.arange(n_out + 1) * n_in / n_out
    starts, stops = np.maximum(edges[:-1, None], np.arange(n_in)), np.minimum(edges[1:, None], np.arange(n_in) + 1)
    return np.asarray(np.maximum(stops - starts, 0) * n_out / n_in)


class Outline:
    """The outlines of one picture, given as `shrink` made it; any number of maps (h, w) can follow them."""

    def __init__(self, guide: NDArray[np.uint8], grid_hw: tuple[int, int]) -> None:
        """Gather what the windows need to know of the colours."""
        require("guide", guide, ("H", "W", "3"))
        self.colours: Floats = np.asarray(guide, np.float32) / np.float32(255)
        reach = [max(1, round(REACH * fine / coarse)) for fine, coarse in zip(guide.shape[:2], grid_hw, strict=True)]
        self.window = (2 * reach[1] + 1, 2 * reach[0] + 1)  # cv2 counts columns first
        self.rows, self.cols = (centers(*sizes) for sizes in zip(guide.shape[:2], grid_hw, strict=True))
        self.means = self.blur(self.colours)
        products = self.colours[..., :, None] * self.colours[..., None, :]
        seconds = self.blur(products.reshape(*guide.shape[:2], 9)).reshape(products.shape)
        spread = seconds - self.means[..., :, None] * self.means[..., None, :]
        self.inverse = inverse(spread + np.float32(FLAT) * np.eye(3, dtype=np.float32))

    def follow(self, saliency: NDArray[np.floating]) -> Floats:
        """Bring a map (h, w) in [0, 1] to the guide's size and outlines; the result is in [0, 1] again."""
        require("saliency", saliency, ("h", "w"))
        plane = (self.rows @ saliency @ self.cols.T).astype(np.float32)[..., None]
        moments = self.blur(np.concatenate([plane, self.colours * plane], axis=2))
        mean = moments[..., :1]
        slopes = (self.inverse @ (moments[..., 1:] - self.means * mean)[..., None])[..., 0]
        offsets = mean - (slopes * self.means).sum(axis=2, keepdims=True)
        smooth = self.blur(np.concatenate([slopes, offsets], axis=2))
        followed = np.maximum((smooth[..., :3] * self.colours).sum(axis=2) + smooth[..., 3], 0)
        peak = followed.max()
        return np.asarray(followed / peak if peak > 0 else followed, np.float32)

    def blur(self, planes: Floats) -> Floats:
        """Mean over the window around every sample of planes (H, W, n); the border is a mirror."""
        return np.asarray(cv2.blur(planes, self.window, borderType=cv2.BORDER_REFLECT), np.float32)


def inverse(spread: Floats) -> Floats:
    """Invert symmetric 3 x 3 matrices (H, W, 3, 3) by their cofactors, which is much quicker than elimination."""
    rows = spread.astype(np.float64)
    a, b, c, d, e, f = (rows[..., i, j] for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)))
    first, second, third = d * f - e * e, c * e - b * f, b * e - c * d
    cofactors = np.stack(
        [first, second, third, second, a * f - c * c, b * c - a * e, third, b * c - a * e, a * d - b * b], axis=-1
    )
    whole = a * first + b * second + c * third
    return np.asarray((cofactors / whole[..., None]).reshape(spread.shape), np.float32)


def follow(saliency: Floats, outline: Outline | None) -> Floats:
    """Bring a map (h, w) to the outlines of its picture, or leave it on its grid when there are none to follow."""
    return saliency if outline is None else outline.follow(saliency)
