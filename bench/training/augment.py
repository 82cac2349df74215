"""Changes of training pictures beyond what the scenes themselves vary."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
MEAN = (122.77, 116.75, 104.09)


def bend(rng: Generator, pixels: Pixels, strength: float) -> Pixels:
    """Warp a picture (h, w, 3) by a smooth random field, so that outlines vary beyond the drawn artwork."""
    height, width = pixels.shape[:2]
    field = rng.normal(0, strength, (5, 5, 2)).astype(np.float32)
    field = np.asarray(cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.float32)
    field[..., 0] += np.arange(width, dtype=np.float32)
    field[..., 1] += np.arange(height, dtype=np.float32)[:, None]
    bent = cv2.remap(pixels, field, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(bent, dtype=np.uint8)


def tone(rng: Generator, pixels: Pixels) -> Pixels:
    """Another gain, gamma and colour cast for the whole picture."""
    steps = np.linspace(0, 1, 256)[:, None]
    curve = steps ** np.exp(rng.normal(0, 0.25)) * np.exp(rng.normal(0, 0.12, 3)) + rng.normal(0, 0.04)
    table = np.clip(curve * 255, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(pixels, table[None]), dtype=np.uint8)


def grey(pixels: Pixels) -> Pixels:
    """The picture without colour."""
    return np.asarray(cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), dtype=np.uint8)


def coarse(rng: Generator, pixels: Pixels) -> Pixels:
    """The picture as if it had been stored smaller."""
    height, width = pixels.shape[:2]
    share = rng.uniform(0.4, 0.8)
    small = cv2.resize(pixels, (int(width * share), int(height * share)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def veil(rng: Generator, pixels: Pixels) -> tuple[Pixels, NDArray[np.float32]]:
    """Fade parts of the picture to the mean colour under a soft random mask, as masked scoring will do.

    Returns the picture and the mask (h, w) in [0, 1] of what stays in sight.
    """
    height, width = pixels.shape[:2]
    cells = int(rng.integers(3, 7))
    mask = cv2.resize(rng.random((cells, cells), dtype=np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    low, high = float(mask.min()), float(mask.max())
    kept = np.asarray((mask - low) / max(high - low, 1e-6), dtype=np.float32)
    mean = np.array(MEAN, np.float32)
    return np.asarray(mean + (pixels - mean) * kept[..., None], dtype=np.uint8), kept


def vary(rng: Generator, pixels: Pixels) -> Pixels:
    """A random choice of all changes that leave every object in sight."""
    if rng.random() < 0.15:
        pixels = bend(rng, pixels, float(rng.uniform(0.5, 2.5)))
    if rng.random() < 0.25:
        pixels = tone(rng, pixels)
    if rng.random() < 0.01:
        pixels = grey(pixels)
    if rng.random() < 0.1:
        pixels = coarse(rng, pixels)
    return pixels
