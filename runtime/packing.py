"""What is under way: pictures in line, their passes packed into batches, and the count of those done."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine.frame import Frame
from runtime.backends.protocol import Pending
from runtime.scene import Floats

Progress = Callable[[int, int], None]
Pixels = NDArray[np.uint8]


@dataclass
class Job:
    """One picture on its way to becoming a scene."""

    picture: Pixels
    pixels: Pixels  # (R, R, 3), as the model sees it
    frame: Frame
    maps: Floats  # (K, h, w)
    embedding: Floats  # (D,)
    waiting: deque[int]  # live maps not yet run
    embeddings: Floats  # (K, D), the base where a map is constant
    alive: NDArray[np.bool_]  # (K,)
    known: NDArray[np.bool_]  # (K,), once the waiting ones are back
    passes: int = 0
    missing: int = 0  # passes not yet back

    def __post_init__(self) -> None:
        self.passes = self.missing = len(self.waiting)


@dataclass
class Batch:
    """Passes that will run together, and where their results belong."""

    pixels: Pixels  # (P, R, R, 3)
    which: NDArray[np.int64]  # (B,)
    maps: Floats  # (B, h, w)
    places: list[tuple[Job, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Flight:
    """A batch that is under way."""

    batch: Batch
    pending: Pending


@dataclass
class Line:
    """Pictures in line: those begun, in order, and those still to come."""

    source: Iterator[Pixels]
    jobs: deque[Job] = field(default_factory=deque)
    begun: int = 0
    open: bool = True
    fault: Exception | None = None

    def waiting(self) -> int:
        """Passes that could run now."""
        return sum(len(job.waiting) for job in self.jobs)


@dataclass
class Count:
    """Tells how many passes are done, of how many as far as is known."""

    progress: Progress | None
    per_picture: int
    expected: int
    done: int = 0
    total: int = 0

    def add(self, passes: int, line: Line) -> None:
        """Count passes; pictures not yet begun are reckoned at all their maps."""
        self.done += passes
        self.total = self.done + line.waiting() + self.per_picture * max(0, self.expected - line.begun)
        if self.progress is not None:
            self.progress(self.done, self.total)

    def end(self) -> None:
        """Close the count when the last pictures had fewer live maps than they were reckoned at."""
        if self.progress is not None and self.done < self.total:
            self.progress(self.done, self.done)
