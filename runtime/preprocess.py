"""Brings a picture to the model's square of pixels, exactly as CLIP's own pre-processing does."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image

from engine.frame import Frame
from engine.spec import Geometry
from runtime.pictures import Pixels

Resample: TypeAlias = Literal["bicubic", "bilinear"]

KERNELS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}

# Beyond this, resizing a ribbon whole only to crop its middle would take gigabytes.
RIBBON = 32


def fit_to_square(
    picture: Pixels, side: int, geometry: Geometry, resample: Resample, mean: tuple[float, float, float]
) -> tuple[Pixels, Frame]:
    """Resize a (H, W, 3) u8 picture, with antialias, into (side, side, 3) u8 and tell how it was placed.

    ``crop`` and ``stretch`` show the model the middle of the picture; ``squash`` and ``letterbox``
    show all of it, ``letterbox`` on a ground of the mean colour.
    """
    frame = Frame.fit((picture.shape[0], picture.shape[1]), side, geometry)
    kernel = KERNELS[resample]
    if geometry == "letterbox":
        return _on_ground(picture, frame, kernel, mean), frame
    if max(frame.resized_hw) > RIBBON * side:
        return _resize_middle(picture, frame, kernel), frame
    large = resized(picture, frame.resized_hw, kernel)
    top, left = frame.offset_yx
    return np.ascontiguousarray(large[top : top + side, left : left + side]), frame


def resized(picture: Pixels, size_hw: tuple[int, int], kernel: Image.Resampling) -> Pixels:
    """Resize a picture with antialias."""
    height, width = size_hw
    return np.array(Image.fromarray(picture).resize((width, height), kernel))


def _on_ground(picture: Pixels, frame: Frame, kernel: Image.Resampling, mean: tuple[float, float, float]) -> Pixels:
    ground = [round(level * 255) for level in mean]
    square = np.full((frame.side, frame.side, 3), ground, dtype=np.uint8)
    top, left = (-offset for offset in frame.offset_yx)
    height, width = frame.resized_hw
    square[top : top + height, left : left + width] = resized(picture, frame.resized_hw, kernel)
    return square


def _resize_middle(picture: Pixels, frame: Frame, kernel: Image.Resampling) -> Pixels:
    """Resize only what the square shows of a very long picture: the same pixels up to rounding."""
    rows, height = _window(frame, 0)
    columns, width = _window(frame, 1)
    part = Image.fromarray(picture[rows, columns])
    box = (width[0], height[0], width[1], height[1])
    return np.array(part.resize((frame.side, frame.side), kernel, box=box))


def _window(frame: Frame, axis: int) -> tuple[slice, tuple[float, float]]:
    """Along one axis, the slice of the picture that the square needs and the square's ends within it."""
    length, offset = frame.picture_hw[axis], frame.offset_yx[axis]
    scale = length / frame.resized_hw[axis]
    start, stop = offset * scale, (offset + frame.side) * scale
    reach = 3 * max(scale, 1.0)  # the widest kernel spans 2 source pixels each way, more when shrinking
    first = max(0, math.floor(start - reach))
    last = min(length, math.ceil(stop + reach))
    return slice(first, last), (start - first, min(stop, length) - first)
