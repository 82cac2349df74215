"""Draws what was found over its picture: a soft heat, boxes, labels, and panels for several queries."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.records import shown
from runtime.drawing_shapes import INK, PAPER, Colour, Plane, Rect, measure, pill, ring, shorten, write
from runtime.errors import ArgumentError, PictureError
from runtime.files import write_atomically
from runtime.pictures import Pixels, read_picture

if TYPE_CHECKING:
    from runtime.localization import Localization

# One per query, bright, and none of them among the heat's purple to yellow.
COLOURS: tuple[Colour, ...] = (
    (64, 224, 255),
    (160, 240, 90),
    (255, 190, 225),
    (130, 175, 255),
    (70, 240, 180),
    (235, 235, 235),
)
MUTE = 0.4  # how much colour the picture loses under the heat, so that warm pictures do not hide it
STRIP = 256  # rows blended at a time, so that a large picture needs no second copy in floats
PANEL_SIDES = (360, 1440)  # the least and the most that the long side of one of several panels measures
GRID_SHAPE = 1.6  # width over height that a grid of panels comes close to
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def draw(picture: Pixels, found: Localization | Sequence[Localization], *, heat: bool = True) -> Pixels:
    """Draw one answer at the (H, W, 3) u8 picture's own size, or several as a grid of titled panels."""
    pixels = read_picture(picture)
    answers = list(found) if isinstance(found, Sequence) else [found]
    for answer in answers:
        if not hasattr(answer, "frame"):
            raise ArgumentError(f"`found` must be what `locate` gave, found {shown(answer)} ({type(answer).__name__})")
        if answer.frame.picture_hw != pixels.shape[:2]:
            (height, width), searched = pixels.shape[:2], answer.frame.picture_hw
            raise PictureError(
                f"`picture` is {width} x {height} pixels, but {answer.query!r} was looked for in one of "
                f"{searched[1]} x {searched[0]}: pass the picture that was searched"
            )
    if len(answers) == 1:
        return _draw_answer(pixels, answers[0], _Style.of(pixels, COLOURS[0]), heat)
    return _draw_panels(pixels, answers, heat) if answers else pixels


def write_picture(path: str | Path, pixels: Pixels) -> Path:
    """Write (H, W, 3) u8 as PNG, JPEG or WebP, as the path's ending says; returns the path."""
    if not isinstance(path, str | os.PathLike):
        raise PictureError(f"`path` must name a file, found {shown(path)} ({type(path).__name__})")
    target = Path(path)
    kind = FORMATS.get(target.suffix.lower())
    if kind is None:
        raise PictureError(f"`path` {str(path)!r} ends in none of {', '.join(FORMATS)}: give it one of them")
    try:
        write_atomically(target, lambda file: Image.fromarray(pixels).save(file, kind, quality=92))
    except (OSError, ValueError) as error:  # ValueError: a NUL or half a character in the name
        raise PictureError(f"`path` {str(path)!r} cannot be written ({error}): check the folder") from error
    return target


@dataclass(frozen=True, slots=True)
class _Style:
    colour: Colour
    line: int
    text: int
    titled: bool = False  # the query stands above the panel already

    @classmethod
    def of(cls, canvas: Pixels, colour: Colour, titled: bool = False) -> _Style:
        """Sizes that look the same on a thumbnail and on a poster; a ribbon counts by its short side."""
        height, width = canvas.shape[:2]
        unit = min(math.sqrt(height * width), 3 * height, 3 * width)
        return cls(colour, max(2, round(unit * 0.006)), max(11, round(unit * 0.032)), titled)


def _draw_answer(canvas: Pixels, answer: Localization, style: _Style, heat: bool) -> Pixels:
    """Draw, in place, on a canvas of any size that shows the whole picture."""
    height, width = canvas.shape[:2]
    if heat and answer.present:
        _lay_heat(canvas, answer.saliency)
    scale = np.array([width, height] * 2) / np.array(answer.frame.picture_hw[::-1] * 2)
    rects = [_around(box, style.line, canvas) for box in answer.xyxy * scale]
    for rect in reversed(rects):
        ring(canvas, rect, style.line, style.colour)
    taken: list[Rect] = []
    for rank, (rect, score) in enumerate(zip(rects, answer.scores.tolist(), strict=True)):
        query = "" if rank or style.titled else answer.query
        _label(canvas, rect, _caption(query, f"{score:.2f}", style.text, 0.9 * width), style, taken)
    if not rects:
        verdict = "no box" if answer.present else "not found"
        query = "" if style.titled else f"{answer.query}:"
        _verdict(canvas, _caption(query, verdict, style.text, 0.8 * width), style)
    return canvas


def _lay_heat(canvas: Pixels, saliency: Plane) -> None:
    height, width = canvas.shape[:2]
    colours, alphas = _heat()
    if saliency.shape != (height, width):
        resized = cv2.resize(saliency, (width, height), interpolation=cv2.INTER_LINEAR)
        saliency = np.asarray(resized, dtype=np.float32)
    for top in range(0, height, STRIP):
        strip = canvas[top : top + STRIP]
        level = np.rint(np.clip(saliency[top : top + STRIP], 0, 1) * 255).astype(np.uint8)
        grey = strip.mean(axis=2, dtype=np.float32, keepdims=True)
        muted = strip + MUTE * (grey - strip)
        strip[:] = np.rint(muted * (1 - alphas[level]) + colours[level])


@lru_cache(maxsize=1)
def _heat() -> tuple[Plane, Plane]:
    """For 256 levels of saliency: colours (256, 3) already multiplied by their alpha, and alphas (256, 1)."""
    ramp = np.linspace(72, 245, 256).astype(np.uint8)  # the ends of the scale are too dark and too pale
    colours = cv2.applyColorMap(ramp[:, np.newaxis], cv2.COLORMAP_INFERNO)[:, 0, ::-1].astype(np.float32)
    ease = np.clip((np.linspace(0, 1, 256, dtype=np.float32) - 0.12) / 0.73, 0, 1)[:, np.newaxis]
    alphas = 0.58 * ease * ease * (3 - 2 * ease)
    return colours * alphas, alphas


def _around(box: NDArray[np.float64], line: int, canvas: Pixels) -> Rect:
    """The outer edge of a line drawn just outside a box, as far as the canvas leaves room for it."""
    height, width = canvas.shape[:2]
    x0, y0, x1, y1 = (float(edge) for edge in np.rint(box))
    return max(x0 - line, 0.0), max(y0 - line, 0.0), min(x1 + line, width), min(y1 + line, height)


def _caption(query: str, verdict: str, text: int, room: float) -> str:
    """The query cut so that the verdict after it still fits; empty when not even the verdict fits."""
    room -= text  # the pill's ends
    if measure(verdict, text) > room:
        return ""
    query = shorten(query, text, room - measure(f"  {verdict}", text))
    return f"{query}  {verdict}" if query else verdict


def _label(canvas: Pixels, rect: Rect, caption: str, style: _Style, taken: list[Rect]) -> None:
    """A pill above its box, or at the next place where it is whole and hides no earlier pill."""
    height, width = canvas.shape[:2]
    wide, tall = measure(caption, style.text) + style.text, round(1.5 * style.text)
    gap, left = style.line, max(0.0, min(rect[0], width - wide))
    above, below = rect[1] - gap - tall, rect[3] + gap
    for top in (above, below, rect[1] + 2 * gap, rect[3] - 2 * gap - tall):
        place = (left, top, left + wide, top + tall)
        clear = not any(_overlap(place, other) for other in taken)
        if caption and clear and 0 <= top <= height - tall:
            taken.append(place)
            pill(canvas, place, tall / 2, style.colour)
            write(canvas, caption, (left + style.text / 2, top + tall / 2), style.text, INK)
            return


def _overlap(a: Rect, b: Rect) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _verdict(canvas: Pixels, caption: str, style: _Style) -> None:
    """A discreet dark pill in the corner that says why no box is drawn."""
    tall, margin = round(1.5 * style.text), 2 * style.line
    top = canvas.shape[0] - margin - tall
    if not caption or top < 0:
        return
    place = (margin, top, margin + measure(caption, style.text) + style.text, top + tall)
    pill(canvas, place, tall / 2, INK, 0.62)
    write(canvas, caption, (margin + style.text / 2, top + tall / 2), style.text, PAPER)


def _draw_panels(pixels: Pixels, answers: list[Localization], heat: bool) -> Pixels:
    """A white sheet (H', W', 3) with one panel per answer, row by row, each under its query."""
    small = _fit_panel(pixels)
    height, width = small.shape[:2]
    text = _Style.of(small, PAPER).text
    gap, bar = text, round(2.2 * text)
    columns = _columns(len(answers), (height + bar + gap, width + gap))
    rows = math.ceil(len(answers) / columns)
    sheet_hw = (gap + rows * (height + bar + gap), gap + columns * (width + gap))
    sheet = np.full((*sheet_hw, 3), PAPER, dtype=np.uint8)
    for number, answer in enumerate(answers):
        colour = COLOURS[number % len(COLOURS)]
        top = gap + number // columns * (height + bar + gap)
        left = gap + number % columns * (width + gap)
        write(sheet, shorten(answer.query, text, width), (left, top + bar / 2 - gap / 4), text, INK)
        panel = _draw_answer(small.copy(), answer, _Style.of(small, colour, titled=True), heat)
        sheet[top + bar : top + bar + height, left : left + width] = panel
    return sheet


def _fit_panel(pixels: Pixels) -> Pixels:
    long = max(pixels.shape[:2])
    least, most = PANEL_SIDES
    scale = min(max(long, least), most) / long
    if scale == 1:
        return pixels
    height, width = (max(1, round(length * scale)) for length in pixels.shape[:2])
    kernel = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=kernel), dtype=np.uint8)


def _columns(count: int, cell_hw: tuple[int, int]) -> int:
    """As many columns as bring the sheet closest to its shape, empty cells counted against it."""

    def misfit(columns: int) -> float:
        rows = math.ceil(count / columns)
        shape = columns * cell_hw[1] / (rows * cell_hw[0])
        return abs(math.log(shape / GRID_SHAPE)) + 3 * (rows * columns - count) / count

    return min(range(1, count + 1), key=misfit)
