"""Draws answers onto a canvas of any size, in place: heat, masks, boxes and their labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.box_masks import box_masks
from runtime.drawing_shapes import INK, PAPER, Colour, Plane, Rect, measure, pill, ring, shorten, write
from runtime.pictures import Pixels

if TYPE_CHECKING:
    from runtime.localization import Localization

MUTE = 0.4  # how much colour the picture loses under the heat, so that warm pictures do not hide it
TINT = 0.45  # how opaque the colour of a mask is
STRIP = 256  # rows blended at a time, so that a large picture needs no second copy in floats


@dataclass(frozen=True, slots=True)
class Style:
    """The colour of one answer, and sizes of lines and words."""

    colour: Colour
    line: int
    text: int

    @classmethod
    def of(cls, canvas: Pixels, colour: Colour) -> Style:
        """Sizes that look the same on a thumbnail and on a poster; a ribbon counts by its short side."""
        height, width = canvas.shape[:2]
        unit = min(math.sqrt(height * width), 3 * height, 3 * width)
        return cls(colour, max(2, round(unit * 0.006)), max(11, round(unit * 0.032)))


def draw_answers(canvas: Pixels, answers: Sequence[tuple[Localization, Style]], *, masks: float) -> Pixels:
    """Draw masks (as strong as is said), boxes and labels of answers, in place, on a canvas that shows the whole picture."""
    if masks:
        for answer, style in answers:
            lay_masks(canvas, answer, style.colour, masks)
    rects = [[around(box, style.line, canvas) for box in scaled(answer, canvas)] for answer, style in answers]
    for (_, style), mine in zip(answers, rects, strict=True):
        for rect in reversed(mine):
            ring(canvas, rect, style.line, style.colour)
    taken: list[Rect] = []
    for (answer, style), mine in zip(answers, rects, strict=True):
        for rect, score in zip(mine, answer.scores.tolist(), strict=True):
            label(canvas, rect, (answer.query, f"{score:.2f}"), style, taken)
    missing = [(answer, style) for answer, style in answers if not len(answer)]
    for place, (answer, style) in enumerate(missing):
        word = "no box" if answer.present else "not found"
        room = 0.8 * canvas.shape[1]
        verdict(canvas, caption(f"{answer.query}:", word, style.text, room), style, place)
    return canvas


def lay_heat(canvas: Pixels, saliency: Plane | None, strength: float = 1.0) -> None:
    """Blend the heat of a saliency map over the canvas; without one the canvas is muted as if there were heat elsewhere."""
    height, width = canvas.shape[:2]
    colours, alphas = heat_ramp()
    if saliency is not None and saliency.shape != (height, width):
        saliency = np.asarray(cv2.resize(saliency, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)
    for top in range(0, height, STRIP):
        strip = canvas[top : top + STRIP]
        grey = strip.mean(axis=2, dtype=np.float32, keepdims=True)
        muted = strip + min(1.0, strength * MUTE) * (grey - strip)
        if saliency is not None:
            level = np.rint(np.clip(saliency[top : top + STRIP], 0, 1) * 255).astype(np.uint8)
            muted = muted * (1 - strength * alphas[level]) + strength * colours[level]
        strip[:] = np.rint(muted)


@lru_cache(maxsize=1)
def heat_ramp() -> tuple[Plane, Plane]:
    """For 256 levels of saliency: colours (256, 3) already multiplied by their alpha, and alphas (256, 1)."""
    ramp = np.linspace(72, 245, 256).astype(np.uint8)  # the ends of the scale are too dark and too pale
    colours = cv2.applyColorMap(ramp[:, np.newaxis], cv2.COLORMAP_INFERNO)[:, 0, ::-1].astype(np.float32)
    ease = np.clip((np.linspace(0, 1, 256, dtype=np.float32) - 0.12) / 0.73, 0, 1)[:, np.newaxis]
    alphas = 0.58 * ease * ease * (3 - 2 * ease)
    return colours * alphas, alphas


def lay_masks(canvas: Pixels, answer: Localization, colour: Colour, strength: float) -> None:
    """Tint the pixels behind the boxes."""
    height, width = canvas.shape[:2]
    mask = box_masks(answer.saliency, answer.xyxy, answer.spec).any(axis=0).astype(np.uint8)
    if mask.shape != (height, width):
        mask = np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
    where = mask.astype(bool)
    canvas[where] = np.rint(canvas[where] + np.float32(strength * TINT) * (np.array(colour, np.float32) - canvas[where]))


def scaled(answer: Localization, canvas: Pixels) -> NDArray[np.float64]:
    """Boxes in pixels of the canvas."""
    height, width = canvas.shape[:2]
    return np.asarray(answer.xyxy * (np.array([width, height] * 2) / np.array(answer.frame.picture_hw[::-1] * 2)), np.float64)


def around(box: NDArray[np.float64], line: int, canvas: Pixels) -> Rect:
    """The outer edge of a line drawn just outside a box, as far as the canvas leaves room for it."""
    height, width = canvas.shape[:2]
    x0, y0, x1, y1 = (float(edge) for edge in np.rint(box))
    return max(x0 - line, 0.0), max(y0 - line, 0.0), min(x1 + line, width), min(y1 + line, height)


def caption(query: str, verdict: str, text: int, room: float) -> str:
    """The query cut so that the verdict after it still fits; empty when not even the verdict fits."""
    room -= text  # the pill's ends
    if measure(verdict, text) > room:
        return ""
    query = shorten(query, text, room - measure(f"  {verdict}", text))
    return f"{query}  {verdict}" if query else verdict


def label(canvas: Pixels, rect: Rect, words: tuple[str, str], style: Style, taken: list[Rect]) -> None:
    """A pill above its box, or at the next place where it is whole and hides no earlier pill; without words if need be."""
    height, width = canvas.shape[:2]
    tall, gap = round(1.5 * style.text), style.line
    tops = (rect[1] - gap - tall, rect[3] + gap, rect[1] + 2 * gap, rect[3] - 2 * gap - tall)
    for query in dict.fromkeys((words[0], "")):
        told = caption(query, words[1], style.text, 0.9 * width)
        wide = measure(told, style.text) + style.text
        left = max(0.0, min(rect[0], width - wide))
        for top in tops:
            place = (left, top, left + wide, top + tall)
            if told and 0 <= top <= height - tall and not any(overlap(place, other) for other in taken):
                taken.append(place)
                pill(canvas, place, tall / 2, style.colour)
                write(canvas, told, (left + style.text / 2, top + tall / 2), style.text, INK)
                return


def overlap(a: Rect, b: Rect) -> bool:
    """Whether two rectangles share a pixel."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def verdict(canvas: Pixels, told: str, style: Style, above: int) -> None:
    """A discreet dark pill in the corner that says why no box is drawn, above those of other answers."""
    tall, margin = round(1.5 * style.text), 2 * style.line
    top = canvas.shape[0] - (margin + tall) * (above + 1)
    if not told or top < 0:
        return
    place = (margin, top, margin + measure(told, style.text) + style.text, top + tall)
    pill(canvas, place, tall / 2, INK, 0.62)
    write(canvas, told, (margin + style.text / 2, top + tall / 2), style.text, PAPER)
