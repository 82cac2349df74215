"""Boxes cut out of their picture."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from runtime.drawing import write_picture
from runtime.errors import PictureError
from runtime.localization import Localization


def write_crops(found: Sequence[Localization], beginning: Path) -> list[Path]:
    """Write `BEGINNING.QUERY.1.jpg` and so on for every box, best first; gives the files."""
    files = []
    for answer in found:
        if answer.picture is None:
            raise PictureError(f"`{beginning}` was not cut out: the scene was saved without its picture")
        for number, box in enumerate(answer, start=1):
            x0, y0, x1, y1 = (math.floor(box.xyxy[0]), math.floor(box.xyxy[1]), math.ceil(box.xyxy[2]), math.ceil(box.xyxy[3]))
            target = beginning.with_name(f"{beginning.name}.{slug(answer.query)}.{number}.jpg")
            files.append(write_picture(target, answer.picture[y0:y1, x0:x1]))
    return files


def slug(words: str) -> str:
    """Words as part of a file's name."""
    return re.sub(r"[^\w]+", "-", words.lower()).strip("-")[:60] or "box"
