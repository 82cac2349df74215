"""One type for every data set: pictures by key, each with its labels and their true boxes and masks, read when asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Boxes = NDArray[np.float64]


class DataError(ValueError):
    """A file is not where its layout has it, or not what it should be. Of one picture it is a skip that is counted."""


@dataclass(frozen=True, slots=True, eq=False)
class Thing:
    """One label that a picture shows: its true boxes (m, 4), half-open, and its pixels (H, W), as far as they are known."""

    label: int
    boxes: Boxes | None = None
    mask: Mask | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A picture's truth. `absent` are labels known not to be there; `ignore` (H, W) marks pixels that nobody knows.

    `on_grid`: masks lie on the public evaluator's grid, whatever the picture's size.
    """

    key: str
    hw: tuple[int, int]
    things: tuple[Thing, ...]
    pixels: Callable[[], Pixels]
    absent: tuple[int, ...] = ()
    ignore: Mask | None = None
    on_grid: bool = False


@dataclass(frozen=True, eq=False)
class DataSet:
    """Keys in the order of the layout, and what reads one of them; `labels` holds the synonyms of every label."""

    name: str
    labels: tuple[tuple[str, ...], ...]
    keys: tuple[str, ...]
    read: Callable[[int], Sample]
    about: dict[str, object] = field(default_factory=dict)

    def first(self, count: int | None) -> DataSet:
        """The first pictures, in the order of files."""
        return self if count is None else replace(self, keys=self.keys[:count], about={**self.about, "first_files": count})


def need(path: Path, what: str) -> Path:
    """A path that is there; else what was expected there."""
    if not path.exists():
        raise DataError(f"`{path}` is not there: expected {what}")
    return path


def find_one(root: Path, names: tuple[str, ...], what: str) -> Path:
    """The first of some places under a root that is there."""
    need(root, "the folder of the data set")
    for name in names:
        if (root / name).exists():
            return root / name
    raise DataError(f"`{root}` holds none of {', '.join(names)}: expected {what}")


def open_pixels(source: Path | bytes) -> Pixels:
    """A picture (H, W, 3) as it is stored: truth is drawn on the stored raster, whatever a camera said of its orientation."""
    try:
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        where = "a picture in an archive" if isinstance(source, bytes) else f"`{source}`"
        raise DataError(f"{where} cannot be read: {error}") from error


def size_of(file: Path) -> tuple[int, int]:
    """Height and width of a stored picture, without decoding it."""
    try:
        with Image.open(file) as picture:
            return picture.height, picture.width
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(f"`{file}` cannot be read: {error}") from error


def open_levels(file: Path) -> NDArray[np.int64]:
    """A picture of class numbers (H, W), or (H, W, 3) where colours hold them, without palette or scaling."""
    try:
        with Image.open(file) as picture:
            return np.asarray(picture).astype(np.int64)
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(f"`{file}` cannot be read: {error}") from error


def read_labels(file: Path) -> tuple[tuple[str, ...], ...]:
    """Labels, one a line, their synonyms with commas between; a WordNet number before them is left out."""
    rows = [words_of(line)[1] for line in lines_of(file, "one label a line")]
    if not rows:
        raise DataError(f"`{file}` is empty: expected one label a line")
    return tuple(rows)


def words_of(line: str) -> tuple[str, tuple[str, ...]]:
    """The WordNet number of a line, if it begins with one, and its words."""
    number, _, rest = line.strip().partition(" ")
    known = len(number) == 9 and number[0] == "n" and number[1:].isdecimal()
    words = rest if known else line
    return (number if known else ""), tuple(word.strip() for word in words.split(",") if word.strip())


def boxes_of(rows: list[tuple[float, float, float, float]], hw: tuple[int, int], key: str) -> Boxes:
    """Boxes (m, 4) cut to the picture; none with an area is an error of the picture's truth."""
    boxes = np.array(rows, np.float64).reshape(-1, 4)
    boxes = np.clip(boxes, 0, [hw[1], hw[0], hw[1], hw[0]])
    boxes = boxes[(boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])]
    if not len(boxes):
        raise DataError(f"`{key}` has no true box with an area inside its {hw[0]} x {hw[1]} pixels")
    return boxes


def lines_of(file: Path, what: str) -> list[str]:
    """The lines of a text file that are not blank."""
    return [line.strip() for line in need(file, what).read_text(encoding="utf-8").splitlines() if line.strip()]
