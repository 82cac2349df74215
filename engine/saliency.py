"""The saliency map: brought to [0, 1], and spread over the picture's own pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.frame import Frame
from engine.shapes import require
from engine.spec import Edge

EPS = 1e-7


def normalise(saliency: NDArray[np.floating]) -> NDArray[np.float32]:
    """Bring a saliency map (h, w) to [0, 1]; a constant map becomes zero.

    Raises `ValueError` when the map holds NaN or infinity.
    """
    require("saliency", saliency, ("h", "w"))
    values = saliency.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("`saliency` must be finite, found NaN or infinity; use a bundle of higher precision")
    shifted = values - values.min()
    return np.asarray(shifted / (EPS + shifted.max()), np.float32)


def to_picture(normalised: NDArray[np.floating], frame: Frame, edge: Edge = "clamp") -> NDArray[np.float32]:
    """Resample a normalised map (h, w) to the picture's pixels (H, W); what the model did not see is zero."""
    require("normalised", normalised, ("h", "w"))
    plane = normalised.astype(np.float32, copy=False)
    height, width = plane.shape
    # Two thin single-precision products: the only large array ever made is the result.
    return np.asarray((frame.rows(height, edge) @ plane) @ frame.cols(width, edge).T, np.float32)
