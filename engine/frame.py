"""How a picture lies on the model's square, and the way back from the square to its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from engine.records import RecordError, from_json, to_json
from engine.resample import weights_at
from engine.spec import Edge, Geometry, Interpolation

GEOMETRIES: tuple[str, ...] = get_args(Geometry)


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture resized to `resized_hw` and seen through a square window of `side` at `offset_yx`.

    A coordinate on the square is the coordinate on the resized picture minus the offset, so the offsets of
    a letterbox, where the picture is smaller than the square, are negative or zero.
    """

    geometry: Geometry
    picture_hw: tuple[int, int]
    side: int
    resized_hw: tuple[int, int]
    offset_yx: tuple[int, int]

    def __post_init__(self) -> None:
        """Check the sizes; raises `ValueError` naming the field. Types are checked where a frame is read from a file."""
        if self.geometry not in GEOMETRIES:
            raise RecordError(f"`geometry` must be one of {', '.join(GEOMETRIES)}, found {self.geometry!r}")
        for name, size in (("picture_hw", self.picture_hw), ("resized_hw", self.resized_hw)):
            if min(size) < 1:
                raise RecordError(f"`{name}` must be at least 1 x 1 pixel, found {size[0]} x {size[1]}")
        if self.side < 1:
            raise RecordError(f"`side` must be at least 1 pixel, found {self.side}")

    @classmethod
    def fit(cls, picture_hw: tuple[int, int], side: int, geometry: Geometry) -> Frame:
        """Fit a picture of `picture_hw` to a square of `side`, with the sizes of CLIP's pre-processing."""
        unfitted = cls(geometry, picture_hw, side, (side, side), (0, 0))
        height, width = resized_hw = _resized_hw(unfitted)
        # Python's round takes halves to the even neighbour, as the centre crop of the reference does.
        offset_yx = (round((height - side) / 2), round((width - side) / 2))
        return cls(geometry, unfitted.picture_hw, side, resized_hw, offset_yx)

    def rows(self, n: int, edge: Edge = "clamp", interpolation: Interpolation = "bilinear") -> NDArray[np.float32]:
        """Weights (H, n) from the n rows of a square grid to the picture's rows; unseen rows are all zero."""
        return _weights(self, 0, n, edge, interpolation)

    def cols(self, n: int, edge: Edge = "clamp", interpolation: Interpolation = "bilinear") -> NDArray[np.float32]:
        """Weights (W, n) from the n columns of a square grid to the picture's columns, as for `rows`."""
        return _weights(self, 1, n, edge, interpolation)

    def window_xyxy(self) -> tuple[float, float, float, float]:
        """Give the part of the picture that the model saw, in the picture's own (fractional) pixels."""
        (top, bottom), (left, right) = (self._window(axis) for axis in (0, 1))
        return left, top, right, bottom

    def to_dict(self) -> dict[str, Any]:
        """Give the fields as plain values that JSON can write."""
        return to_json(self)

    @classmethod
    def from_dict(cls, data: object) -> Frame:
        """Read what `to_dict` wrote; raises `ValueError` naming a field that is missing or wrong."""
        return from_json(cls, data, "frame")

    def _window(self, axis: int) -> tuple[float, float]:
        length, resized, offset = self.picture_hw[axis], self.resized_hw[axis], self.offset_yx[axis]
        start, stop = offset * length / resized, (offset + self.side) * length / resized
        return max(start, 0.0), min(stop, float(length))


@lru_cache(maxsize=4)  # both axes of the picture that is asked about, and of the one before
def _weights(frame: Frame, axis: int, n: int, edge: Edge, interpolation: Interpolation) -> NDArray[np.float32]:
    length = frame.picture_hw[axis]
    centres = np.arange(length) + 0.5
    if frame.geometry in ("squash", "stretch"):
        weights = weights_at(centres * n / length - 0.5, n, edge, interpolation).astype(np.float32)
    else:
        square = centres * frame.resized_hw[axis] / length - frame.offset_yx[axis]
        weights = weights_at(square * n / frame.side - 0.5, n, edge, interpolation).astype(np.float32)
        weights[(square < 0) | (square >= frame.side)] = 0
    weights.flags.writeable = False  # everybody gets the same one
    return weights


def _resized_hw(frame: Frame) -> tuple[int, int]:
    (height, width), side = frame.picture_hw, frame.side
    short, long = sorted((height, width))
    if frame.geometry == "squash":
        return side, side
    if frame.geometry == "letterbox":
        other = max(1, round(side * short / long))  # a very thin picture must keep one pixel
        return (side, other) if height >= width else (other, side)
    other = int(side * long / short)
    return (other, side) if height >= width else (side, other)
