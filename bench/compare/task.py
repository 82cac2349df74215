"""What every contender is given, and what it hands back; plain values, since they cross from process to process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bench.agreement import spread
from runtime.bundles import bundle_name

Floats = NDArray[np.float32]

SAMPLE = 16  # maps that every contender is tried on before its clock runs
CLOSE = 1e-4  # scores nearer to the base than this may fall on either side
TURN_S = 0.4  # whole pictures are repeated until a turn took this long
MOST_PICTURES = 20


class UnavailableError(RuntimeError):
    """A contender cannot run here; the message says why, and the table shows it."""


@dataclass(frozen=True)
class Task:
    """One comparison: the model, the picture, the words, and how much work a turn is."""

    device: str  # cpu, cuda, tensorrt; of a card maybe with its number: cuda:1
    backbone: str
    pretrained: str
    model: str | None  # bundle in fp32 by name or folder; none: the one that export.build makes
    picture: str
    query: str
    spec: str
    threads: int
    batch: int  # of the contenders in PyTorch, and of bundles built for a card; 0: as the card has room
    passes: int  # masked passes of one turn; 0: whole pictures

    @property
    def trained(self) -> bool:
        """Whether the weights know anything."""
        return self.pretrained != "none"

    @property
    def on_card(self) -> bool:
        """Whether an NVIDIA card is measured."""
        return self.device != "cpu"

    @property
    def card_number(self) -> int:
        """Which card."""
        return int(self.device.partition(":")[2] or 0)

    def bundle(self, precision: str) -> str:
        """The bundle to open; other precisions lie beside the one in fp32, under its name and theirs."""
        built = bundle_name(self.backbone, self.pretrained, "fp32") + (f"-b{self.batch}" if self.on_card else "")
        base = self.model or built
        return base if precision == "fp32" else f"{base.rstrip('/')}-{precision}"


@dataclass(frozen=True, eq=False)
class Reference:
    """What the oracle finds on the task's picture: the measure of every contender's correctness."""

    pixels: NDArray[np.uint8]  # (R, R, 3), the square that the model sees
    maps: Floats  # (K, h, w)
    live: NDArray[np.bool_]  # (K,)
    text: Floats  # (D,), of unit length
    sample: NDArray[np.int64]  # (S,), maps that every contender is tried on
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
    """How far a contender's scores are from the oracle's on the sample; all 0 where it has no scores."""

    error: float  # root mean square of the difference, in cosines
    deviation: float  # the same in units of the spread of the oracle's scores
    flips: int  # maps that are above the base for one and not for the other
    checked: int  # maps compared
    note: str = ""
    spread: float = 1.0  # of its scores, in units of the oracle's


@dataclass(frozen=True)
class Turn:
    """One turn under the clock: `passes` took `seconds`, whether they are some of a picture's or those of whole pictures."""

    passes: int
    seconds: float
    pictures: int = 0
    once: float = 0.0  # what a picture costs besides its passes, where whole ones were not run

    def picture_seconds(self, needed: int) -> float:
        """Seconds of a picture that needs so many passes, at the pace of this turn."""
        return self.seconds / self.pictures if self.pictures else self.once + needed * self.seconds / self.passes


@dataclass(frozen=True, eq=False)
class WholePicture:
    """One picture, from its pixels to the boxes; `grid` and `scores` where the contender has them."""

    seconds: float
    passes: int
    xyxy: NDArray[np.floating]  # (n, 4)
    grid: NDArray[np.floating] | None = None  # (h, w), normalised
    scores: NDArray[np.floating] | None = None  # (K,), relative to the base


@dataclass(frozen=True)
class Facts:
    """What a contender says about itself once it is ready."""

    needed: int  # passes that a picture takes; 0: it is not counted in passes, and a turn is a whole one
    device: str
    versions: dict[str, str]
    extra: dict[str, float] = field(default_factory=dict)


def picture_turn(localize: Callable[[], WholePicture]) -> Turn:
    """A turn of whole pictures, as many as it takes to be long enough for a clock."""
    done: list[WholePicture] = []
    while not done or (sum(each.seconds for each in done) < TURN_S and len(done) < MOST_PICTURES):
        done.append(localize())
    return Turn(sum(each.passes for each in done), sum(each.seconds for each in done), pictures=len(done))


def compare_scores(found: NDArray[np.floating], wanted: NDArray[np.floating], note: str = "") -> Agreement:
    """Hold scores (S,) relative to the base against the oracle's; NaN never agrees."""
    difference = np.asarray(found, np.float64) - wanted
    size = max(spread(wanted), 1e-12)
    error = float(np.sqrt(np.mean(difference**2)))
    error = error if np.isfinite(error) else float("inf")
    clear = np.abs(wanted) > CLOSE
    flips = int(((np.asarray(found) > 0) != (wanted > 0))[clear].sum())
    return Agreement(error, error / size, flips, len(wanted), note, spread(found) / size)


def choose_sample(live: NDArray[np.bool_], count: int = SAMPLE) -> NDArray[np.int64]:
    """Live maps spread evenly over all of them, at most `count`."""
    there = np.flatnonzero(live)
    return there[np.unique(np.linspace(0, len(there) - 1, min(count, len(there))).round().astype(np.int64))]
