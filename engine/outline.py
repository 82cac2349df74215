"""A coarse saliency map brought to the outlines of the picture, so that its boxes end where things end.

A map has few cells, and what it says about a thing's extent is vague to about one cell. In a window of that size
saliency is explained as a linear function of colour (a guided filter), which moves its edges onto the picture's own.
Where colour tells nothing, the map stays as smooth as it was.
"""

from __future__ import annotations

from collections.abc import Sequence

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
        colours: Floats = np.asarray(guide, np.float32) / np.float32(255)
        reach = [max(1, round(REACH * fine / coarse)) for fine, coarse in zip(guide.shape[:2], grid_hw, strict=True)]
        self.window = (2 * reach[1] + 1, 2 * reach[0] + 1)  # cv2 counts columns first
        self.rows, self.cols = (centers(*sizes) for sizes in zip(guide.shape[:2], grid_hw, strict=True))
        means = self.blur(colours)
        products = colours[..., :, None] * colours[..., None, :]
        seconds = self.blur(products.reshape(*guide.shape[:2], 9)).reshape(products.shape)
        spread = seconds - means[..., :, None] * means[..., None, :]
        # From here on one plane per colour: arithmetic on whole planes is three times as quick as on triples.
        self.colours, self.means = planes(colours), planes(means)
        self.inverse = inverse(planes((spread + np.float32(FLAT) * np.eye(3, dtype=np.float32)).reshape(*guide.shape[:2], 9)))

    def follow(self, saliency: NDArray[np.floating]) -> Floats:
        """Bring a map (h, w) in [0, 1] to the guide's size and outlines; the result is in [0, 1] again."""
        require("saliency", saliency, ("h", "w"))
        plane = (self.rows @ saliency @ self.cols.T).astype(np.float32)
        mean, *moments = planes(self.blur(cv2.merge([plane, *(self.colours * plane)])))
        shared = [moment - own * mean for moment, own in zip(moments, self.means, strict=True)]
        slopes = [a * shared[0] + b * shared[1] + c * shared[2] for a, b, c in self.inverse]
        offset = mean - dot(slopes, self.means)
        *slopes, offset = planes(self.blur(cv2.merge([*slopes, offset])))
        followed = np.maximum(dot(slopes, self.colours) + offset, 0)
        peak = followed.max()
        return np.asarray(followed / peak if peak > 0 else followed, np.float32)

    def blur(self, samples: Floats) -> Floats:
        """Mean over the window around every sample of (H, W, n); the border is a mirror."""
        return np.asarray(cv2.blur(samples, self.window, borderType=cv2.BORDER_REFLECT), np.float32)


def planes(samples: Floats) -> Floats:
    """Samples (H, W, n) as n planes (n, H, W), each in one piece."""
    return np.ascontiguousarray(np.moveaxis(samples, 2, 0))


def dot(slopes: Sequence[Floats], colours: Floats) -> Floats:
    """Sum of three slopes (H, W) times the planes (3, H, W) that they belong to."""
    return np.asarray(slopes[0] * colours[0] + slopes[1] * colours[1] + slopes[2] * colours[2])


def inverse(spread: Floats) -> Floats:
    """Invert symmetric 3 x 3 matrices by their cofactors, which is much quicker than elimination.

    Nine planes (9, H, W) come in; the inverse is (3, 3, H, W).
    """
    a, b, c, _, d, e, _, _, f = spread.astype(np.float64)
    first, second, third, fifth = d * f - e * e, c * e - b * f, b * e - c * d, b * c - a * e
    cofactors = np.stack([first, second, third, second, a * f - c * c, fifth, third, fifth, a * d - b * b])
    whole = a * first + b * second + c * third
    return np.asarray((cofactors / whole).reshape(3, 3, *whole.shape), np.float32)


def follow(saliency: Floats, outline: Outline | None) -> Floats:
    """Bring a map (h, w) to the outlines of its picture, or leave it on its grid when there are none to follow."""
    return saliency if outline is None else outline.follow(saliency)
