"""Draws what was found over its picture: a soft heat, masks, boxes, labels, and panels for several queries."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from engine.records import shown
from runtime.drawing_answer import Style, draw_answers, lay_heat
from runtime.drawing_shapes import INK, PAPER, Colour, shorten, write
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
PANEL_SIDES = (360, 1440)  # the least and the most that the long side of one of several panels measures
GRID_SHAPE = 1.6  # width over height that a grid of panels comes close to
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def draw(
    picture: Pixels,
    found: Localization | Sequence[Localization],
    *,
    heat: bool = True,
    masks: bool = False,
    together: bool = False,
    strength: float = 1.0,
) -> Pixels:
    """Draw one answer at the (H, W, 3) u8 picture's own size, or several as a grid of titled panels.

    `masks` tints the pixels behind the boxes. `together` draws several answers over one picture, each in its own colour; heat
    is then left out, for nobody could tell whose it is. `strength`, from 0 to 1.5, is how much heat and masks cover.
    """
    if not 0 <= strength <= 1.5:
        raise ArgumentError(f"`strength` must be from 0 to 1.5, found {shown(strength)}")
    pixels = read_picture(picture)
    tint = strength if masks else 0.0
    answers = list(found) if isinstance(found, Sequence) else [found]
    check_answers(pixels, answers)
    if len(answers) == 1:
        if heat and answers[0].present:
            lay_heat(pixels, answers[0].saliency, strength)
        return draw_answers(pixels, [(answers[0], Style.of(pixels, COLOURS[0]))], masks=tint)
    if together:
        return draw_answers(pixels, [(answer, Style.of(pixels, colour_of(n))) for n, answer in enumerate(answers)], masks=tint)
    return _draw_panels(pixels, answers, strength if heat else 0.0, tint) if answers else pixels


def colour_of(number: int) -> Colour:
    """The colour of the query in that place."""
    return COLOURS[number % len(COLOURS)]


def check_answers(pixels: Pixels, answers: Sequence[Localization]) -> None:
    """Refuse what is no answer, or one to another picture."""
    for answer in answers:
        if not hasattr(answer, "frame"):
            raise ArgumentError(f"`found` must be what `locate` gave, found {shown(answer)} ({type(answer).__name__})")
        if answer.frame.picture_hw != pixels.shape[:2]:
            (height, width), searched = pixels.shape[:2], answer.frame.picture_hw
            raise PictureError(
                f"`picture` is {width} x {height} pixels, but {answer.query!r} was looked for in one of "
                f"{searched[1]} x {searched[0]}: pass the picture that was searched"
            )


def write_picture(path: str | Path, pixels: Pixels) -> Path:
    """Write (H, W, 3) u8 as PNG, JPEG or WebP, as the path's ending says; returns the path."""
    if not isinstance(path, str | os.PathLike):
        raise PictureError(f"`path` must name a file, found {shown(path)} ({type(path).__name__})")
    target = Path(path)
    kind = FORMATS.get(target.suffix.lower())
    if kind is None:
        raise PictureError(f"`path` {str(path)!r} ends in none of {', '.join(FORMATS)}: give it one of them")
    if not target.parent.is_dir():
        raise PictureError(f"`path` {str(path)!r}: there is no folder {str(target.parent)!r}; make it first, or name another")
    try:
        write_atomically(target, lambda file: Image.fromarray(pixels).save(file, kind, quality=92))
    except (OSError, ValueError) as error:  # ValueError: a NUL or half a character in the name
        raise PictureError(f"`path` {str(path)!r} cannot be written ({error}): check the folder") from error
    return target


def _draw_panels(pixels: Pixels, answers: list[Localization], heat: float, tint: float) -> Pixels:
    """A white sheet (H', W', 3) with one panel per answer, row by row, each under its query."""
    small = _fit_panel(pixels)
    height, width = small.shape[:2]
    text = Style.of(small, PAPER).text
    gap, bar = text, round(2.2 * text)
    columns = _columns(len(answers), (height + bar + gap, width + gap))
    rows = math.ceil(len(answers) / columns)
    sheet_hw = (gap + rows * (height + bar + gap), gap + columns * (width + gap))
    sheet = np.full((*sheet_hw, 3), PAPER, dtype=np.uint8)
    for number, answer in enumerate(answers):
        top = gap + number // columns * (height + bar + gap)
        left = gap + number % columns * (width + gap)
        write(sheet, shorten(answer.query, text, width), (left, top + bar / 2 - gap / 4), text, INK)
        panel = small.copy()
        if heat:  # one where nothing was found is muted like the others, or it would seem the brightest
            lay_heat(panel, answer.saliency if answer.present else None, heat)
        draw_answers(panel, [(answer, Style.of(small, colour_of(number)))], masks=tint)
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
