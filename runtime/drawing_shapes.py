"""Anti-aliased strokes, pills and words on (H, W, 3) u8 pixels, clipped at the edges and drawn in place."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from runtime.pictures import Pixels

Colour: TypeAlias = tuple[int, int, int]
Rect: TypeAlias = tuple[float, float, float, float]  # x0, y0, x1, y1
Window: TypeAlias = tuple[int, int, int, int]  # the same in whole pixels, half-open
Plane: TypeAlias = NDArray[np.float32]
Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont

INK: Colour = (14, 18, 30)
PAPER: Colour = (255, 255, 255)

# Pillow's own font knows little beyond English; these are tried, in order, for everything else.
WIDE_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "Arial Unicode.ttf",
    "msyh.ttc",
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "LiberationSans-Regular.ttf",
    "arial.ttf",
)


def ring(canvas: Pixels, rect: Rect, line: float, colour: Colour) -> None:
    """Draw a line along the inside of a rounded rectangle, over a wider and fainter dark one."""
    halo, radius = max(1.0, line / 3), 2.0 * line
    outer = (rect[0] - halo, rect[1] - halo, rect[2] + halo, rect[3] + halo)
    for window in _border(_window(outer), math.ceil(line + 2 * halo + radius)):
        blend(canvas, window, np.float32(0.4) * _band(window, outer, radius + halo, line + 2 * halo), INK)
        blend(canvas, window, _band(window, rect, radius, line), colour)


def pill(canvas: Pixels, rect: Rect, radius: float, colour: Colour, opacity: float = 1.0) -> None:
    """Fill a rounded rectangle; a radius of half its height makes it a pill."""
    window = _window(rect)
    cover = np.clip(0.5 - _distance(window, rect, radius), 0, 1)
    blend(canvas, window, (opacity * cover).astype(np.float32), colour)


def write(canvas: Pixels, words: str, left_middle: tuple[float, float], size: int, colour: Colour) -> None:
    """Write one line of words from a left end, centred on a height by the middle of its capitals."""
    if not words:
        return
    font = _font(words, size)
    _, top, _, bottom = font.getbbox("H")
    window_hw = (2 * size, math.ceil(measure(words, size)) + size)
    mask = Image.new("L", (window_hw[1], window_hw[0]))
    ImageDraw.Draw(mask).text((size / 2, size - (top + bottom) / 2), words, fill=255, font=font)
    x0, y0 = round(left_middle[0] - size / 2), round(left_middle[1] - size)
    window = (x0, y0, x0 + window_hw[1], y0 + window_hw[0])
    blend(canvas, window, np.asarray(mask, dtype=np.float32) / np.float32(255), colour)


def measure(words: str, size: int) -> float:
    """Give the width of one line of words in pixels."""
    return _font(words, size).getlength(words)


def shorten(words: str, size: int, room: float) -> str:
    """Cut words to a width and mark the cut with dots; empty when not even a letter has room."""
    line = " ".join(words.split())
    if measure(line, size) <= room:
        return line
    kept = (line[:end].rstrip() + "..." for end in range(min(len(line), 200) - 1, 0, -1))
    return next((shorter for shorter in kept if measure(shorter, size) <= room), "")


def blend(canvas: Pixels, window: Window, cover: Plane, colour: Colour) -> None:
    """Lay a colour over a window of the canvas, as opaque as the cover (h, w) in [0, 1] says."""
    height, width = canvas.shape[:2]
    x0, y0, x1, y1 = (max(window[0], 0), max(window[1], 0), min(window[2], width), min(window[3], height))
    if x0 >= x1 or y0 >= y1:
        return
    part = cover[y0 - window[1] : y1 - window[1], x0 - window[0] : x1 - window[0], np.newaxis]
    region = canvas[y0:y1, x0:x1]
    region[:] = np.rint(region + part * (np.array(colour, dtype=np.float32) - region))


def _window(rect: Rect) -> Window:
    return math.floor(rect[0]) - 1, math.floor(rect[1]) - 1, math.ceil(rect[2]) + 1, math.ceil(rect[3]) + 1


def _border(window: Window, depth: int) -> Iterator[Window]:
    """Windows that cover a border and do not overlap, so that a large middle costs nothing."""
    x0, y0, x1, y1 = window
    depth += 1
    if x1 - x0 <= 2 * depth or y1 - y0 <= 2 * depth:
        yield window
        return
    yield x0, y0, x1, y0 + depth
    yield x0, y1 - depth, x1, y1
    yield x0, y0 + depth, x0 + depth, y1 - depth
    yield x1 - depth, y0 + depth, x1, y1 - depth


def _band(window: Window, rect: Rect, radius: float, depth: float) -> Plane:
    """Cover (h, w) of a line of some depth along the inside of a rounded rectangle."""
    distance = _distance(window, rect, radius)
    cover: Plane = np.clip(0.5 - distance, 0, 1) - np.clip(0.5 - distance - depth, 0, 1)
    return cover


def _distance(window: Window, rect: Rect, radius: float) -> Plane:
    """Signed distance (h, w) of a window's pixel centres from a rounded rectangle, negative inside."""
    x0, y0, x1, y1 = rect
    radius = min(radius, (x1 - x0) / 2, (y1 - y0) / 2)
    xs = np.arange(window[0], window[2], dtype=np.float32) + np.float32(0.5)
    ys = np.arange(window[1], window[3], dtype=np.float32) + np.float32(0.5)
    right = np.abs(xs - (x0 + x1) / 2) - ((x1 - x0) / 2 - radius)
    below = (np.abs(ys - (y0 + y1) / 2) - ((y1 - y0) / 2 - radius))[:, np.newaxis]
    corner = np.hypot(np.maximum(right, 0), np.maximum(below, 0))
    distance: Plane = (corner + np.minimum(np.maximum(right, below), 0) - radius).astype(np.float32)
    return distance


def _font(words: str, size: int) -> Font:
    return _plain_font(size) if words.isascii() else _wide_font(size)


@lru_cache(maxsize=32)
def _plain_font(size: int) -> Font:
    return ImageFont.load_default(size)


@lru_cache(maxsize=32)
def _wide_font(size: int) -> Font:
    for name in WIDE_FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:  # this machine has no such font
            continue
    return _plain_font(size)
