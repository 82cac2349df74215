"""Resampling, one axis at a time, as weight matrices of shape (outputs, inputs)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.spec import Align, Edge, Interpolation

Weights = NDArray[np.float64]
CUBIC = -0.75  # slope of the cubic kernel, as in OpenCV and in PyTorch without antialias (Pillow takes -0.5)


def corners(n_out: int, n_in: int) -> Weights:
    """Weights (n_out, n_in) that put the first and last outputs on the first and last inputs exactly.

    A single output takes the first input.
    """
    _positive("n_out", n_out)
    # The product comes before the quotient so that the last coordinate is n_in - 1 without rounding.
    return weights_at(np.arange(n_out) * (n_in - 1.0) / max(n_out - 1, 1), n_in, "clamp")


def centers(n_out: int, n_in: int) -> Weights:
    """Weights (n_out, n_in) with half-pixel centres, the outermost inputs repeated beyond the border."""
    _positive("n_out", n_out)
    return weights_at((np.arange(n_out) + 0.5) * n_in / n_out - 0.5, n_in, "clamp")


def upsampler(align: Align, n_out: int, n_in: int) -> Weights:
    """Weights (n_out, n_in) of the alignment that a spec or a manifest names."""
    return corners(n_out, n_in) if align == "corners" else centers(n_out, n_in)


def weights_at(coords: NDArray[np.float64], n_in: int, edge: Edge, interpolation: Interpolation = "bilinear") -> Weights:
    """Interpolation weights (n, n_in) at the source coordinates (n,); sample k lies at coordinate k.

    Beyond [0, n_in - 1] the outermost sample is repeated, or all are mirrored about it. Every row sums to 1.
    """
    _positive("n_in", n_in)
    coords = np.asarray(coords, np.float64)
    if coords.ndim != 1 or not np.isfinite(coords).all():
        raise ValueError(f"`coords` must be a list of finite numbers, found an array of shape {coords.shape}")
    weights = np.zeros((len(coords), n_in))
    row = np.arange(len(coords))
    if interpolation == "nearest":
        weights[row, _inside(np.floor(coords + 0.5), n_in, edge).astype(np.intp)] = 1
    elif interpolation == "bicubic":
        lower = np.floor(coords)
        for step in (-1, 0, 1, 2):
            # Several taps beyond the border are one sample, hence the sum.
            weights[row, _inside(lower + step, n_in, edge).astype(np.intp)] += _cubic(np.abs(coords - lower - step))
    else:
        inside = _inside(coords, n_in, edge)
        lower = np.minimum(inside.astype(np.intp), max(n_in - 2, 0))
        part = inside - lower
        weights[row, lower] = 1 - part
        weights[row, np.minimum(lower + 1, n_in - 1)] += part  # += because both are sample 0 when there is only one
    return weights


def _inside(coords: NDArray[np.float64], n_in: int, edge: Edge) -> NDArray[np.float64]:
    return _mirrored(coords, n_in) if edge == "mirror" else np.clip(coords, 0, n_in - 1)


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cubic convolution kernel at distances from 0 to 2."""
    near = ((CUBIC + 2) * distance - (CUBIC + 3)) * distance**2 + 1
    far = CUBIC * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, near, far)


def _mirrored(coords: NDArray[np.float64], n_in: int) -> NDArray[np.float64]:
    period = 2.0 * (n_in - 1)
    if period == 0:
        return np.zeros_like(coords)
    folded = np.abs(coords) % period
    return np.minimum(folded, period - folded)


def _positive(name: str, count: int) -> None:
    if count < 1:
        raise ValueError(f"`{name}` must be at least 1, found {count}")
