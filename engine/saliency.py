"""The saliency map: the weighted sum of maps, brought to [0, 1], and spread over the picture's own pixels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.frame import Frame
from engine.shapes import require
from engine.spec import Edge, Interpolation

EPS = 1e-7
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SaliencyOptions:
    """What the weighted sum needs of a spec: the temperature as a plain cosine, raw maps or masks, and the contrast."""

    temperature: float
    masks: bool
    contrast: float


def weigh_maps(scores: Floats, maps: Floats, options: SaliencyOptions) -> Floats:
    """Saliency `(Q, h, w)` from scores `(Q, K)` relative to the base and maps `(K, h, w)`.

    In production the `saliency` graph computes this, and a test holds the two equal; here it serves estimates that start
    from scores, which the graph does not take.
    """
    above = scores > 0
    peak = np.where(above, scores, -np.inf).max(axis=1, keepdims=True)
    lifted = np.where(above, scores - np.where(np.isfinite(peak), peak, 0), 0)
    weights = np.where(above, np.exp(lifted / np.float32(options.temperature)), 0)
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), np.float32(1e-30))
    return sum_maps(weights, maps, options)


def sum_maps(weights: Floats, maps: Floats, options: SaliencyOptions) -> Floats:
    """Saliency `(Q, h, w)`: maps `(K, h, w)` summed by weights `(Q, K)`, and what any weights would light up taken away."""
    count, height, width = maps.shape
    flat = maps.reshape(count, height * width)
    low, high = flat.min(axis=1, keepdims=True), flat.max(axis=1, keepdims=True)
    scaled = (flat - low) / (high - low + np.float32(EPS))
    saliency = np.maximum(weights @ (scaled if options.masks else flat), 0)
    common = scaled.mean(axis=0, keepdims=True)
    share = saliency.sum(axis=1, keepdims=True) / (common.sum() + np.float32(EPS))
    saliency = np.maximum(saliency - np.float32(options.contrast) * share * common, 0)
    return np.asarray(saliency.reshape(-1, height, width), np.float32)


def multiplied(first: Floats, second: Floats) -> Floats:
    """Where two maps in [0, 1] agree: their geometric mean on the first one's grid `(h, w)`, brought to [0, 1]."""
    if second.shape != first.shape:
        second = np.asarray(cv2.resize(second, first.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
    return normalise(np.sqrt(first * second))


def normalise(saliency: NDArray[np.floating]) -> Floats:
    """Bring a saliency map (h, w) to [0, 1]; a constant map becomes zero.

    Raises `ValueError` when the map holds NaN or infinity.
    """
    require("saliency", saliency, ("h", "w"))
    values = saliency.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("`saliency` must be finite, found NaN or infinity; use a bundle of higher precision")
    shifted = values - values.min()
    return np.asarray(shifted / (EPS + shifted.max()), np.float32)


def to_picture(
    normalised: NDArray[np.floating], frame: Frame, edge: Edge = "clamp", interpolation: Interpolation = "bilinear"
) -> Floats:
    """Resample a normalised map (h, w) to the picture's pixels (H, W); what the model did not see is zero."""
    require("normalised", normalised, ("h", "w"))
    plane = normalised.astype(np.float32, copy=False)
    height, width = plane.shape
    rows, cols = frame.rows(height, edge, interpolation), frame.cols(width, edge, interpolation)
    # Two thin single-precision products: the only large array ever made is the result.
    spread = (rows @ plane) @ cols.T
    return np.asarray(np.clip(spread, 0, 1) if interpolation == "bicubic" else spread, np.float32)  # cubic curves overshoot
