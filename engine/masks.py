"""Masks from maps: which maps can make one, and the masks themselves for reference and drawing.

In production the masks are made inside the compiled graph; these functions say what it must compute.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.resample import upsampler
from engine.shapes import require
from engine.spec import Align, MaskOrder

EPS = 1e-7


def live_maps(maps: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Say which maps (K, h, w) are not constant, as bools (K,); a constant map would show the base picture.

    Raises `ValueError` when a map holds NaN or infinity, since no result could be trusted then.
    """
    flat = _stack(maps).reshape(len(maps), -1)
    finite = np.isfinite(flat).all(axis=1)
    if not finite.all():
        broken = np.flatnonzero(~finite)
        raise ValueError(
            f"`maps` must be finite, found NaN or infinity in {len(broken)} of {len(maps)} maps "
            f"(first: {broken[0]}); use a bundle of higher precision"
        )
    top = flat.max(axis=1)
    alive: NDArray[np.bool_] = top - flat.min(axis=1) > EPS * np.maximum(1.0, np.abs(top))
    return alive


def masks(
    maps: NDArray[np.floating],
    side: int,
    align: Align = "corners",
    order: MaskOrder = "upsample-first",
    eps: float = EPS,
) -> NDArray[np.float32]:
    """Upsample maps (K, h, w) to (K, side, side) and bring each to [0, 1]; a constant map becomes zero."""
    stack = _stack(maps)
    count, height, width = stack.shape
    rows, cols = upsampler(align, side, height), upsampler(align, side, width)
    made = np.empty((count, side, side), np.float32)
    # One map at a time: thousands of double-precision planes at once would take gigabytes.
    for index, plane in enumerate(stack):
        if order == "upsample-first":
            made[index] = _unit(rows @ plane @ cols.T, eps)
        else:
            made[index] = rows @ _unit(plane, eps) @ cols.T
    return made


def _unit(plane: NDArray[np.float64], eps: float) -> NDArray[np.float64]:
    low, high = plane.min(), plane.max()
    unit: NDArray[np.float64] = (plane - low) / (high - low + eps)
    return unit


def _stack(maps: NDArray[np.floating]) -> NDArray[np.float64]:
    stack = np.asarray(maps, np.float64)
    require("maps", stack, ("K", "h", "w"))
    return stack
