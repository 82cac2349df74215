"""Find the best spec, one switch at a time, until no switch gains anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.accuracy.statistics import Estimate
from bench.accuracy.trials import Trial, Trials
from engine.spec import PAPER, Spec

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


@dataclass(frozen=True, slots=True)
class Row:
    """One value of one switch, all else as chosen, at its best threshold; `lead` is its gain over what was chosen."""

    switch: str
    value: object
    trial: Trial
    lead: Estimate
    chosen: bool


@dataclass(frozen=True, slots=True)
class Search:
    """The best spec found, the table that justifies each of its switches, and the best setting of the published way."""

    best: Trial
    rows: tuple[Row, ...]
    thresholds: tuple[Trial, ...]
    temperatures: tuple[Trial, ...]
    paper: Trial | None = None
    paper_thresholds: tuple[Trial, ...] = ()
    paper_temperatures: tuple[Trial, ...] = ()


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


def search(trials: Trials, base: Spec, switches: Mapping[str, Sequence[object]] = SWITCHES) -> Search:
    """Find the best spec, never worse than the base, and say what each switch is worth there.

    From each start only the switches that shape the saliency are walked; those that follow it come last.
    """
    base = base.replace(name="chosen")
    shaping = {name: values for name, values in switches.items() if name in SHAPING}
    tops = [trials.best(base), *(climb(trials, base.replace(**start), shaping) for start in STARTS)]
    best = climb(trials, max(tops, key=lambda trial: trial.merit).spec, switches)
    return Search(
        best=best,
        rows=tuple(table(trials, best.spec, switches)),
        thresholds=tuple(trials.curve(best.spec)),
        temperatures=tuple(warmths(trials, best.spec, TEMPERATURES)),
    )


def table(trials: Trials, chosen: Spec, switches: Mapping[str, Sequence[object]]) -> list[Row]:
    """Every value of every switch, one at a time, around the chosen spec."""
    rows = []
    for switch, values in switches.items():
        own = getattr(chosen, switch)
        for value in values if own in values else (*values, own):
            trial = trials.best(chosen.replace(**{switch: value}))
            rows.append(Row(switch, value, trial, trials.lead(trial.spec, chosen), value == own))
    return rows


def warmths(trials: Trials, spec: Spec, temperatures: Sequence[float]) -> list[Trial]:
    """A spec at every temperature, each at its best threshold."""
    return [trials.best(spec.replace(temperature=temperature)) for temperature in temperatures]


def paper_temperatures(logit_scale: float) -> tuple[float, ...]:
    """The same temperatures in plain cosine, and the published one."""
    return (*(temperature / logit_scale for temperature in TEMPERATURES), PAPER.temperature)


def best_paper(trials: Trials, base: Spec, logit_scale: float) -> tuple[list[Trial], list[Trial]]:
    """The published setting with its temperature and threshold swept: its temperatures, and the best one's thresholds."""
    warm = warmths(trials, base, sorted(paper_temperatures(logit_scale)))
    best = max(warm, key=lambda trial: trial.merit)
    return warm, trials.curve(best.spec)
