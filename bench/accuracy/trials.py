"""Specs tried on the same sheets, each judged once at all thresholds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.accuracy.judge import FOUND, Outcome
from bench.accuracy.statistics import Estimate, mean
from engine.spec import Spec

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
FLICKER = 0.003


@dataclass(frozen=True, slots=True, order=True)
class Merit:
    """What makes one spec better than another: GT-known first; the rest only breaks ties."""

    gt_known: float
    first_box: float
    box_iou: float

    def beats(self, other: Merit) -> bool:
        """Whether it is better by something that shows: a mean overlap that only flickers moves no switch."""
        mine, theirs = (self.gt_known, self.first_box), (other.gt_known, other.first_box)
        return mine > theirs or (mine == theirs and self.box_iou > other.box_iou + FLICKER)


@dataclass(frozen=True, slots=True)
class Trial:
    """A spec with the merit that it has at its own threshold."""

    spec: Spec
    merit: Merit


class Trials:
    """Judges specs and remembers them; specs that differ in the threshold alone are one piece of work."""

    def __init__(self, judge: Callable[[Spec], Outcome]) -> None:
        self.judge = judge
        self.known: dict[Spec, Outcome] = {}

    def outcome(self, spec: Spec) -> Outcome:
        """The outcome (Q, T) of a spec at all thresholds."""
        key = spec.replace(name="trial", threshold=0.5)
        if key not in self.known:
            self.known[key] = self.judge(key)
        return self.known[key]

    def curve(self, spec: Spec) -> list[Trial]:
        """The spec at every threshold."""
        outcome = self.outcome(spec)
        columns = zip(outcome.thresholds.tolist(), outcome.best.T, outcome.first.T, strict=True)
        return [
            Trial(spec.replace(threshold=threshold), Merit(share(best), share(first), float(best.mean())))
            for threshold, best, first in columns
        ]

    def best(self, spec: Spec) -> Trial:
        """The spec at its best threshold; the lower one where two are equal."""
        return max(self.curve(spec), key=lambda trial: (trial.merit, -trial.spec.threshold))

    def lead(self, spec: Spec, other: Spec, others: Trials | None = None) -> Estimate:
        """What share of all queries a spec finds beyond another, each at its own threshold, on the same pictures.

        The other may have been tried elsewhere, asked in other words.
        """
        outcome = self.outcome(spec).at(spec.threshold)
        against = (others or self).outcome(other).at(other.threshold)
        gained = (outcome.best[:, 0] > FOUND).astype(np.float64) - (against.best[:, 0] > FOUND)
        return mean(gained, outcome.pictures)


def share(overlaps: NDArray[np.float64]) -> float:
    """The share of overlaps (Q,) that count as found."""
    return float((overlaps > FOUND).mean())
