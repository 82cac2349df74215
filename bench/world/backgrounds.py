"""Backgrounds: procedural textures and crops of scikit-image's sample pictures."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

# Only files that lie inside the scikit-image package, and none that shows one of the nouns.
SEEN_PHOTOS = ("astronaut", "brick", "grass", "hubble_deep_field", "ihc", "cell", "coins", "page")
UNSEEN_PHOTOS = ("gravel", "moon", "camera", "retina", "coffee")
PHOTO_SIDE = 400


@cache
def photo(name: str) -> Pixels:
    """One sample picture, (h, w, 3), its shorter side at most PHOTO_SIDE."""
    from skimage import data  # a heavy import that a ready test set does not need

    folder = Path(data.__file__).parent
    suffix = ".jpg" if name in ("hubble_deep_field", "retina") else ".png"
    pixels = np.asarray(Image.open(folder / f"{name}{suffix}").convert("RGB"))
    scale = min(1.0, PHOTO_SIDE / min(pixels.shape[:2]))
    return np.asarray(cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def colour(rng: Generator) -> NDArray[np.float32]:
    """A random colour (3,), pale and strong ones alike."""
    wild = rng.uniform(0, 255, 3)
    grey = rng.uniform(20, 250)
    return np.asarray(grey + (wild - grey) * rng.uniform(0, 1), dtype=np.float32)


def _plain(rng: Generator, h: int, w: int) -> NDArray[np.float32]:
    return np.broadcast_to(colour(rng), (h, w, 3)).copy()


def _blend(amount: NDArray[np.float32], rng: Generator) -> NDArray[np.float32]:
    first, second = colour(rng), colour(rng)
    return np.asarray(first + (second - first) * amount[..., None], dtype=np.float32)


def _ramp(rng: Generator, h: int, w: int) -> NDArray[np.float32]:
    """A coordinate that grows from 0 to 1 in a random direction, (h, w)."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.linspace(-0.5, 0.5, h, dtype=np.float32), np.linspace(-0.5, 0.5, w, dtype=np.float32)
    return np.asarray(0.5 + y[:, None] * np.sin(angle) + x[None] * np.cos(angle), dtype=np.float32)


def _gradient(rng: Generator, h: int, w: int) -> NDArray[np.float32]:
    return _blend(np.clip(_ramp(rng, h, w), 0, 1), rng)


def _grown(small: NDArray[np.float32], h: int, w: int, how: int = cv2.INTER_LINEAR) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(small, (w, h), interpolation=how), dtype=np.float32)


def _clouds(rng: Generator, h: int, w: int) -> NDArray[np.float32]:
    amount = np.zeros((h, w), np.float32)
    for cells, share in ((3, 0.6), (8, 0.3), (24, 0.15)):
        amount += share * _grown(rng.random((cells, cells), dtype=np.float32), h, w, cv2.INTER_CUBIC)
    return _blend(amount, rng)


def _stripes(rng: Generator, h: int, w: int) -> NDArray[np.float32]:
    wave = np.sin(_ramp(rng, h, w) * np.float32(rng.uniform(15, 90)))
    return _blend(np.clip(wave * np.float32(rng.uniform(1, 6)) * 0.5 + 0.5, 0, 1), rng)


def _checks(rng: Generator, h: int, w: int) -> NDArray[np.float32]:
    down, across = rng.integers(3, 14, 2)
    board = (np.add.outer(np.arange(down), np.arange(across)) % 2).astype(np.float32)
    return _blend(_grown(board, h, w, cv2.INTER_NEAREST), rng)


def _mosaic(rng: Generator, h: int, w: int) -> NDArray[np.float32]:
    cells = rng.integers(2, 10, 2)
    tiles = rng.uniform(0, 255, (*cells, 3)).astype(np.float32)
    how = cv2.INTER_NEAREST if rng.random() < 0.5 else cv2.INTER_LINEAR
    tone = colour(rng)
    return np.asarray(tone + (_grown(tiles, h, w, how) - tone) * rng.uniform(0.2, 1), dtype=np.float32)


def _blobs(rng: Generator, h: int, w: int) -> NDArray[np.float32]:
    canvas = _gradient(rng, h, w)
    for _ in range(int(rng.integers(4, 14))):
        centre = (int(rng.integers(0, w)), int(rng.integers(0, h)))
        axes = (int(rng.uniform(0.03, 0.25) * w) + 1, int(rng.uniform(0.03, 0.25) * h) + 1)
        paint = tuple(float(value) for value in colour(rng))
        if rng.random() < 0.5:
            cv2.ellipse(canvas, centre, axes, float(rng.uniform(0, 180)), 0, 360, paint, -1)
        else:
            cv2.rectangle(canvas, centre, (centre[0] + axes[0], centre[1] + axes[1]), paint, -1)
    return canvas


def _photo_crop(rng: Generator, h: int, w: int, names: tuple[str, ...]) -> NDArray[np.float32]:
    whole = photo(names[int(rng.integers(len(names)))])
    height, width = whole.shape[:2]
    tall, broad = int(height * rng.uniform(0.3, 1)), int(width * rng.uniform(0.3, 1))
    y, x = int(rng.integers(0, height - tall + 1)), int(rng.integers(0, width - broad + 1))
    crop = cv2.resize(whole[y : y + tall, x : x + broad], (w, h), interpolation=cv2.INTER_AREA)
    crop = crop[:, ::-1] if rng.random() < 0.5 else crop
    gain = rng.uniform(0.6, 1.2) * rng.uniform(0.8, 1.2, 3)
    return np.asarray(crop * gain.astype(np.float32) + np.float32(rng.uniform(-20, 50)), dtype=np.float32)


def _seen_photo(rng: Generator, h: int, w: int) -> NDArray[np.float32]:
    return _photo_crop(rng, h, w, SEEN_PHOTOS)


def _unseen_photo(rng: Generator, h: int, w: int) -> NDArray[np.float32]:
    return _photo_crop(rng, h, w, UNSEEN_PHOTOS)


def _rings(rng: Generator, h: int, w: int) -> NDArray[np.float32]:
    y = np.linspace(0, 1, h, dtype=np.float32)[:, None] - np.float32(rng.uniform(0, 1))
    x = np.linspace(0, 1, w, dtype=np.float32)[None] - np.float32(rng.uniform(0, 1))
    return _blend(0.5 + 0.5 * np.sin(np.hypot(y, x) * np.float32(rng.uniform(20, 90))), rng)


def _cells(rng: Generator, h: int, w: int) -> NDArray[np.float32]:
    points = rng.uniform(0, 1, (int(rng.integers(8, 30)), 2)).astype(np.float32)
    y, x = np.linspace(0, 1, h, dtype=np.float32), np.linspace(0, 1, w, dtype=np.float32)
    far = (y[:, None, None] - points[:, 0]) ** 2 + (x[None, :, None] - points[:, 1]) ** 2
    return np.asarray(np.stack([colour(rng) for _ in points])[far.argmin(axis=2)], dtype=np.float32)


def _plaid(rng: Generator, h: int, w: int) -> NDArray[np.float32]:
    return 0.5 * (_stripes(rng, h, w) + _checks(rng, h, w))


Family = Callable[[Generator, int, int], NDArray[np.float32]]
SEEN: tuple[Family, ...] = (
    _plain, _gradient, _clouds, _stripes, _checks, _mosaic, _blobs, _seen_photo, _seen_photo, _seen_photo,
)  # fmt: skip
UNSEEN: tuple[Family, ...] = (_rings, _cells, _plaid, _unseen_photo, _unseen_photo, _unseen_photo)


def background(rng: Generator, h: int, w: int, families: tuple[Family, ...]) -> Pixels:
    """One background (h, w, 3) of a random family, with a little grain on half of them."""
    canvas = families[int(rng.integers(len(families)))](rng, h, w)
    if rng.random() < 0.5:
        # One grain for all three channels is enough to break flat colour, and three times as fast.
        canvas += np.float32(rng.uniform(2, 14)) * rng.standard_normal((h, w, 1), dtype=np.float32)
    return np.asarray(np.clip(canvas, 0, 255), dtype=np.uint8)
