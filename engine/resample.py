"""Bilinear resampling, one axis at a time, as weight matrices of shape (outputs, inputs)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.spec import Align, Edge

Weights = NDArray[np.float64]


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


def weights_at(coords: NDArray[np.float64], n_in: int, edge: Edge) -> Weights:
    """Linear-interpolation weights (n, n_in) at the source coordinates (n,); sample k lies at coordinate k.

    Coordinates outside [0, n_in - 1] are clamped to it or mirrored about its ends. Every row sums to 1.
    """
    _positive("n_in", n_in)
    coords = np.asarray(coords, np.float64)
    if coords.ndim != 1 or not np.isfinite(coords).all():
        raise ValueError(f"`coords` must be a list of finite numbers, found an array of shape {coords.shape}")
    inside = _mirrored(coords, n_in) if edge == "mirror" else np.clip(coords, 0, n_in - 1)
    lower = np.minimum(inside.astype(np.intp), max(n_in - 2, 0))
    upper = np.minimum(lower + 1, n_in - 1)
    part = inside - lower
    weights = np.zeros((len(coords), n_in))
    row = np.arange(len(coords))
    weights[row, lower] = 1 - part
    weights[row, upper] += part  # += because both are sample 0 when there is only one
    return weights


def _mirrored(coords: NDArray[np.float64], n_in: int) -> NDArray[np.float64]:
    period = 2.0 * (n_in - 1)
    if period == 0:
        return np.zeros_like(coords)
    folded = np.abs(coords) % period
    return np.minimum(folded, period - folded)


def _positive(name: str, count: int) -> None:
    if count < 1:
        raise ValueError(f"`{name}` must be at least 1, found {count}")
