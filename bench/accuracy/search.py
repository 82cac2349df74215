"""Find the best spec, one switch at a time, until no switch gains anything; each spec is judged at all thresholds at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.accuracy.judge import BoxOverlaps, Ratios
from bench.accuracy.statistics import Estimate, mean
from engine.metrics.boxes import FOUND
from engine.spec import PAPER, Spec

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
FLICKER = 0.003
# In the spec's own unit: multiples of 1 / logit scale.
TEMPERATURES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 2.0, 4.0, 8.0)
SWITCHES: dict[str, tuple[object, ...]] = {
    "temperature": TEMPERATURES,
    "contrast": (0.0, 0.5, 0.75, 1.0, 1.25),
    "outline": ("picture", "grid"),
    "combine": ("raw", "masks"),
    "resize": ("clamp", "mirror"),
    "connectivity": (4, 8),
    "min_area": (1e-3, 3e-3, 1e-2, 3e-2),
    "order": ("score", "raster"),
}
SHAPING = ("temperature", "contrast", "outline", "combine")
# The search can stop on a hill that is not the highest, so it climbs from two sides.
STARTS: tuple[dict[str, object], ...] = (
    {"temperature": 0.2, "combine": "raw", "contrast": 0.0},
    {"temperature": 0.2, "combine": "masks", "contrast": 1.0},
)
ROUNDS = 4


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

    def to_dict(self) -> dict[str, Any]:
        """The settings that sweeps change, and the merit."""
        merit = {name: round(getattr(self.merit, name), 5) for name in ("gt_known", "first_box", "box_iou")}
        return {"temperature": self.spec.temperature, "threshold": self.spec.threshold, **merit}


@dataclass(frozen=True, slots=True)
class SwitchValue:
    """One value of one switch, all else as chosen, at its best threshold; `lead` is its gain over what was chosen."""

    switch: str
    value: object
    trial: Trial
    lead: Estimate
    chosen: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        about = {"switch": self.switch, "value": self.value, "chosen": self.chosen}
        return {**about, **self.trial.to_dict(), "lead": self.lead.to_list()}


@dataclass(frozen=True, slots=True)
class Best:
    """The best setting found, and what becomes of it at every threshold and at every temperature."""

    trial: Trial
    thresholds: tuple[Trial, ...]
    temperatures: tuple[Trial, ...]
    switches: tuple[SwitchValue, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        switches = {"switches": [value.to_dict() for value in self.switches]} if self.switches else {}
        curves = {name: [trial.to_dict() for trial in getattr(self, name)] for name in ("thresholds", "temperatures")}
        return {"chosen": self.trial.spec.to_dict(), **self.trial.to_dict(), **switches, **curves}


class Trials:
    """Judges specs and remembers them; specs that differ in the threshold alone are one piece of work."""

    def __init__(self, judge: Callable[[Spec], BoxOverlaps]) -> None:
        self.judge = judge
        self.known: dict[Spec, BoxOverlaps] = {}

    def judged(self, spec: Spec) -> BoxOverlaps:
        """The overlaps (Q, T) of a spec at all thresholds."""
        key = spec.replace(name="trial", threshold=0.5)
        if key not in self.known:
            self.known[key] = self.judge(key)
        return self.known[key]

    def curve(self, spec: Spec) -> list[Trial]:
        """The spec at every threshold."""
        judged = self.judged(spec)
        columns = zip(judged.thresholds.tolist(), judged.best.T, judged.first.T, strict=True)
        return [
            Trial(spec.replace(threshold=threshold), Merit(found(best), found(first), float(best.mean())))
            for threshold, best, first in columns
        ]

    def best(self, spec: Spec) -> Trial:
        """The spec at its best threshold; the lower one where two are equal."""
        return max(self.curve(spec), key=lambda trial: (trial.merit, -trial.spec.threshold))

    def at_temperatures(self, spec: Spec, temperatures: Sequence[float]) -> tuple[Trial, ...]:
        """A spec at every temperature, each at its best threshold."""
        return tuple(self.best(spec.replace(temperature=temperature)) for temperature in temperatures)

    def lead(self, spec: Spec, other: Spec, others: Trials | None = None) -> Estimate:
        """What share of all queries a spec finds beyond another, each at its own threshold, on the same pictures.

        The other may have been tried elsewhere, asked in other words.
        """
        pairs = ((self.judged(spec), spec.threshold), ((others or self).judged(other), other.threshold))
        mine, theirs = (judged.best[:, int(np.abs(judged.thresholds - at).argmin())] > FOUND for judged, at in pairs)
        return mean(mine.astype(np.float64) - theirs, self.judged(spec).pictures)


def found(overlaps: Ratios) -> float:
    """The share of overlaps (Q,) that count as found."""
    return float((overlaps > FOUND).mean())


def climb(trials: Trials, start: Spec, switches: Mapping[str, Sequence[object]] = SWITCHES) -> Trial:
    """Walk uphill from a spec: each switch in turn takes its best value, the threshold is always the best one."""
    best = trials.best(start)
    for _ in range(ROUNDS):
        before = best.spec
        for switch, values in switches.items():
            for value in values:
                trial = trials.best(best.spec.replace(**{switch: value}))
                # Only a real gain moves a switch: equal values leave it where it is.
                best = trial if trial.merit.beats(best.merit) else best
        if best.spec == before:
            break
    return best


def search(trials: Trials, base: Spec, switches: Mapping[str, Sequence[object]] = SWITCHES) -> Best:
    """Find the best spec, never worse than the base, and say what each switch is worth there.

    From each start only the switches that shape the saliency are walked; those that follow it come last.
    """
    base = base.replace(name="chosen")
    shaping = {name: values for name, values in switches.items() if name in SHAPING}
    tops = [trials.best(base), *(climb(trials, base.replace(**start), shaping) for start in STARTS)]
    best = climb(trials, max(tops, key=lambda trial: trial.merit).spec, switches)
    return Best(
        trial=best,
        thresholds=tuple(trials.curve(best.spec)),
        temperatures=trials.at_temperatures(best.spec, TEMPERATURES),
        switches=tuple(one_at_a_time(trials, best.spec, switches)),
    )


def one_at_a_time(trials: Trials, chosen: Spec, switches: Mapping[str, Sequence[object]]) -> list[SwitchValue]:
    """Every value of every switch, one at a time, around the chosen spec."""
    rows = []
    for switch, values in switches.items():
        own = getattr(chosen, switch)
        for value in values if own in values else (*values, own):
            trial = trials.best(chosen.replace(**{switch: value}))
            rows.append(SwitchValue(switch, value, trial, trials.lead(trial.spec, chosen), value == own))
    return rows


def best_published(trials: Trials, base: Spec, logit_scale: float) -> Best:
    """The published setting at its best temperature and threshold; the temperatures are the same, in plain cosine."""
    temperatures = sorted((*(temperature / logit_scale for temperature in TEMPERATURES), PAPER.temperature))
    warm = trials.at_temperatures(base.replace(name="best paper"), temperatures)
    best = max(warm, key=lambda trial: trial.merit)
    return Best(best, tuple(trials.curve(best.spec)), warm)
