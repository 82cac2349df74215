"""The answer to one query on one picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.box_masks import box_masks
from engine.boxes import Boxes, find_boxes
from engine.frame import Frame
from engine.saliency import to_picture
from engine.spec import Spec
from runtime.drawing import draw, write_picture
from runtime.errors import PictureError
from runtime.pictures import Pixels


@dataclass(frozen=True)
class Box:
    """One box of an answer: whose it is, its score, and its edges in the original picture's pixels."""

    label: str
    score: float
    xyxy: tuple[float, float, float, float]
    found: Localization = field(repr=False, compare=False)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The pixels (H, W) behind the box, worked out when it is read."""
        masks = box_masks(self.found.saliency, np.array([self.xyxy], dtype=np.float32), self.found.spec)
        return masks.reshape(masks.shape[1:])


@dataclass(frozen=True, eq=False, repr=False)
class Localization:
    """Where a picture shows what a query names; nothing found is an empty answer with ``present=False``.

    ``xyxy`` (n, 4) float32 holds half-open boxes in the original picture's pixels, ``scores`` (n,)
    float32 one score each, ``map`` (h, w) float32 the saliency in [0, 1] on the model's square.
    """

    query: str
    xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    present: bool
    map: NDArray[np.float32] = field(repr=False)
    frame: Frame
    spec: Spec = field(repr=False)
    kept: int  # maps that beat the base picture
    maps: int  # maps that were tried
    margin: float  # by how much the best map beat the base picture, in cosine
    similarity: float  # cosine between the query and the whole picture
    method: str = "vl-score"
    preset: str = "exact"
    passes: int = 0  # times the model's image half was run for the picture
    picture: Pixels | None = field(default=None, repr=False)
    estimate_error: Callable[[], float | None] | None = field(default=None, repr=False)  # not given: the map is exact
    spread: NDArray[np.float32] | None = field(default=None, repr=False)  # `saliency`, where it was kept from finding boxes

    def __len__(self) -> int:
        """The number of boxes."""
        return len(self.xyxy)

    def __iter__(self) -> Iterator[Box]:
        """The boxes, best first."""
        for edges, score in zip(self.xyxy.tolist(), self.scores.tolist(), strict=True):
            yield Box(self.query, score, tuple(edges), self)

    def __repr__(self) -> str:
        """What was found, in a line."""
        how = self.preset if self.method == "vl-score" else self.method
        best = f", best {self.scores[0]:.2f} at {tuple(round(edge) for edge in self.xyxy[0].tolist())}" if len(self) else ""
        boxes = "1 box" if len(self) == 1 else f"{len(self)} boxes"
        return f"Localization({self.query!r}: {'present' if self.present else 'not present'}, {boxes}{best}; {how})"

    @cached_property
    def saliency(self) -> NDArray[np.float32]:
        """Read-only (H, W) float32 in the original picture's pixels, zero where the model saw nothing."""
        spread = self.spread
        if spread is None:
            spread = to_picture(self.map, self.frame, self.spec.resize, self.spec.interpolation)
        spread.setflags(write=False)
        return spread

    @cached_property
    def error(self) -> float | None:
        """Expected difference of `map` from the exact one, worked out when it is asked for; None: unknown."""
        return 0.0 if self.estimate_error is None else self.estimate_error()

    def __getstate__(self) -> dict[str, Any]:
        """Travel to another process without the model that the error is estimated by."""
        return {**self.__dict__, "error": self.error, "estimate_error": None}

    def to_dict(self) -> dict[str, Any]:
        """What was found, as plain values that JSON can hold; the map and the picture are left out."""
        boxes = [
            {"xyxy": [_rounded(edge, 2) for edge in box], "score": _rounded(score)}
            for box, score in zip(self.xyxy.tolist(), self.scores.tolist(), strict=True)
        ]
        return {
            "query": self.query,
            "present": bool(self.present),
            "boxes": boxes,
            "picture_hw": [int(length) for length in self.frame.picture_hw],
            "window_xyxy": [_rounded(edge, 2) for edge in self.frame.window_xyxy()],
            "kept": int(self.kept),
            "maps": int(self.maps),
            "margin": _rounded(self.margin, 6),
            "similarity": _rounded(self.similarity, 6),
            "method": self.method,
            "preset": self.preset,
            "passes": int(self.passes),
            "error": None if self.error is None else _rounded(self.error),
            "spec": self.spec.to_dict(),
        }

    def save(self, path: str | Path, heat: bool = True) -> Path:
        """Draw what was found over the picture and write it as PNG, JPEG or WebP; returns the path."""
        if self.picture is None:
            raise PictureError(
                f"`save` was asked to draw {self.query!r}, but this answer comes from a scene without its "
                f"picture: call `runtime.drawing.draw(picture, found)` with the picture"
            )
        return write_picture(path, draw(self.picture, self, heat=heat))


def cut_boxes(saliency: NDArray[np.float32], frame: Frame, spec: Spec) -> tuple[Boxes, NDArray[np.float32]]:
    """The boxes of a map (h, w) in [0, 1], and the same map over the picture, which they were cut out of."""
    spread = to_picture(saliency, frame, spec.resize, spec.interpolation)
    return find_boxes(spread, spec), spread


def _rounded(value: float, digits: int = 4) -> float | None:
    """JSON has no word for infinity or for not-a-number."""
    return round(float(value), digits) if math.isfinite(value) else None
