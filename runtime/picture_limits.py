"""What a picture may cost before it is refused: bounds that are read from headers, before anything is decoded."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field

from engine.records import shown
from runtime.errors import PictureError

MAX_PIXELS = 200_000_000
MAX_PIXELS_VARIABLE = "VLSCORE_MAX_PIXELS"


def max_pixels() -> int:
    """The most pixels a picture may have: 200 million, or what ``VLSCORE_MAX_PIXELS`` says."""
    text = os.environ.get(MAX_PIXELS_VARIABLE, "").strip()
    if not text:
        return MAX_PIXELS
    if not (text.isdecimal() and text.isascii() and len(text) <= 18) or int(text) < 1:
        begins = text if len(text) <= 40 else f"{text[:40]}..."
        raise PictureError(f"`{MAX_PIXELS_VARIABLE}` is {begins!r}; a whole number of pixels is needed: correct or unset it")
    return int(text)


@dataclass(frozen=True)
class PictureLimits:
    """The most that a picture may cost.

    With `seconds`, files are decoded in a process of their own, which is ended beyond that time (its start, about 0.2 s,
    included) or beyond the memory that `pixels` may need: for servers, whose pictures come from strangers.
    """

    pixels: int = field(default_factory=max_pixels)
    side: int = 100_000
    scans: int = 100  # of a progressive JPEG
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("pixels", "side", "scans"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise PictureError(f"`{name}` of the picture limits is {shown(value)}; a whole number of at least 1 is needed")
        seconds = self.seconds
        if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < 1e6):
            raise PictureError(f"`seconds` of the picture limits is {shown(seconds)}; a number above 0, or None, is needed")


def check_size(size: tuple[int, int], name: str, limits: PictureLimits, weight: float = 1.0) -> None:
    """Refuse a picture of (width, height) that is empty or too large; each pixel counts `weight` times."""
    width, height = size
    if width < 1 or height < 1:
        raise PictureError(f"`picture` {name} has no pixels, it is {width} x {height}: give at least 1 x 1")
    if width * height * weight > limits.pixels:
        kind, needed = "" if weight == 1 else " of this costly kind", math.ceil(width * height * weight)
        remedy = f"set {MAX_PIXELS_VARIABLE}={needed}" if limits.pixels == max_pixels() else f"allow `pixels={needed}`"
        raise PictureError(
            f"`picture` {name} is {width} x {height} = {width * height / 1e6:.0f} megapixels, and at "
            f"most {limits.pixels / weight / 1e6:g}{kind} are decoded: shrink it, or, if you trust it, {remedy}"
        )
    if max(width, height) > limits.side:
        raise PictureError(
            f"`picture` {name} is {width} x {height}, and sides of at most {limits.side} pixels are decoded: cut it into pieces"
        )
