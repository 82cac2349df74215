"""What every way is given, and what it hands back; plain values, since they cross from process to process."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.bundles import bundle_name

Floats = NDArray[np.float32]


class UnavailableError(RuntimeError):
    """A way cannot run here; the message says why, and the table shows it."""


@dataclass(frozen=True)
class Job:
    """One comparison: the model, the picture, the words, and how much work a turn is."""

    backbone: str
    pretrained: str
    model: str | None  # bundle in fp32 by name or folder; none: the one that export.build makes
    picture: str
    query: str
    spec: str
    threads: int
    batch: int  # of the ways in PyTorch; a bundle has its own
    passes: int  # masked passes of one turn

    def bundle(self, precision: str) -> str:
        """The bundle to open; other precisions lie beside the one in fp32, under its name and theirs."""
        base = self.model or bundle_name(self.backbone, self.pretrained, "fp32")
        return base if precision == "fp32" else f"{base.rstrip('/')}-{precision}"


@dataclass(frozen=True, eq=False)
class Reference:
    """What the oracle finds on the job's picture: the measure of every way's correctness."""

    pixels: NDArray[np.uint8]  # (R, R, 3), the square that the model sees
    maps: Floats  # (K, h, w)
    live: NDArray[np.bool_]  # (K,)
    text: Floats  # (D,), of unit length
    sample: NDArray[np.int64]  # (S,), maps that every way is tried on
    scores: Floats  # (S,), relative to the base
    other_scores: Floats  # (S,), of masks scaled first and aligned by centres, the other habit of the field
    base_score: float
    flops: float  # of one pass through the encoder

    @property
    def needed(self) -> int:
        """Passes that one picture takes when constant maps are skipped."""
        return int(self.live.sum())


@dataclass(frozen=True)
class Agreement:
    """How far a way's scores are from the oracle's on the sample; all 0 where a way has no scores."""

    error: float  # root mean square of the difference, in cosines
    deviation: float  # the same over the root mean square of the scores
    flips: int  # maps that are above the base for one and not for the other
    checked: int  # maps compared
    note: str = ""


@dataclass(frozen=True)
class Turn:
    """One turn under the clock: `passes` took `seconds`; `once` is what a picture costs besides its passes."""

    passes: int
    seconds: float
    once: float = 0.0


@dataclass(frozen=True, eq=False)
class Whole:
    """One whole picture, from its pixels to the boxes; `grid` and `scores` where the way has them."""

    seconds: float
    passes: int
    xyxy: NDArray[np.floating]  # (n, 4)
    grid: NDArray[np.floating] | None = None  # (h, w), normalised
    scores: NDArray[np.floating] | None = None  # (K,), relative to the base


@dataclass(frozen=True)
class Facts:
    """What a way says about itself once it is ready."""

    needed: int  # passes that a picture takes; 0: a turn is a whole picture
    device: str
    versions: dict[str, str]
    extra: dict[str, float] = field(default_factory=dict)


class Prepared(Protocol):
    """A way that is set up: model loaded, picture at hand."""

    def facts(self) -> Facts:
        """Say what is run, on what."""
        ...

    def check(self) -> Agreement:
        """Compare with the oracle; nothing is timed before."""
        ...

    def turn(self) -> Turn:
        """Do one turn's work under the clock, after a warm-up outside it."""
        ...

    def whole(self) -> Whole:
        """Localize once, everything included."""
        ...
