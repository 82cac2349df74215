"""Grey dilation and erosion of a saliency map: gaps are filled, specks removed, borders moved.

Both commute with a threshold, so one pass serves every threshold that comes after. The border is neutral: what lies beyond
the map never wins.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.shapes import require

Floats = NDArray[np.float32]


def kernel_side(share: float, picture_hw: tuple[int, int]) -> int:
    """The odd side, in pixels, of the square kernel that is a share of the picture's shorter side; 1 does nothing."""
    return 2 * round((share * min(picture_hw) - 1) / 2) + 1 if share > 0 else 1


def morph(saliency: NDArray[np.floating], dilate: int, erode: int) -> Floats:
    """Dilate a map (H, W), then erode it, by squares of odd sides in pixels; a side of 1 (or 0) leaves out the step."""
    require("saliency", saliency, ("H", "W"))
    for name, side in (("dilate", dilate), ("erode", erode)):
        if side < 0 or (side % 2 == 0 and side):
            raise ValueError(f"`{name}` must be an odd number of pixels, or 0 for none, found {side}")
    values: Floats = np.ascontiguousarray(saliency, np.float32)
    if dilate > 1:
        values = np.asarray(cv2.dilate(values, np.ones((dilate, dilate), np.uint8)), np.float32)
    if erode > 1:
        values = np.asarray(cv2.erode(values, np.ones((erode, erode), np.uint8)), np.float32)
    return values
