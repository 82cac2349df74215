"""Is the named thing in the picture at all? Signals that could tell, and how well each does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.accuracy.saliency import Maker
from bench.accuracy.sheets import Sheet
from bench.accuracy.statistics import Estimate, between, draws, wilson

Ratios = NDArray[np.float64]

TITLES = {
    "margin": "best map above the base",
    "margin above others": "the same, less the mean over all nouns",
    "kept share": "share of maps above the base",
    "similarity": "cosine of words and picture",
    "similarity above others": "the same, less the mean over all nouns",
    "peak": "highest value of the saliency",
    "sum": "sum of the saliency",
}


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A receiver operating characteristic: shares of false (n,) and true (n,) alarms, and the area under it."""

    false: Ratios
    true: Ratios
    area: Estimate


@dataclass(frozen=True, slots=True)
class Rule:
    """How often a margin over the base says `present` of what is there, and of what is not."""

    margin: float
    present: Estimate
    false_alarms: Estimate

    def to_dict(self) -> dict[str, object]:
        """Plain values."""
        return {
            "margin": self.margin,
            "present": self.present.to_list(),
            "false_alarms": self.false_alarms.to_list(),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Presence:
    """Curves by signal, and the two rules: any map above the base (as published), and a margin."""

    curves: dict[str, Curve]
    any_map: Rule
    by_margin: Rule

    def to_dict(self) -> dict[str, object]:
        """Plain values; each curve thinned to at most 101 points."""
        return {
            "any": self.any_map.to_dict(),
            "margin": self.by_margin.to_dict(),
            "auc": {name: curve.area.to_list() for name, curve in self.curves.items()},
            "roc": {name: thinned(curve) for name, curve in self.curves.items()},
        }


def study(sheets: Sequence[Sheet], make: Maker, margin: float) -> Presence:
    """Ask every picture for what it shows and for what it is known not to show; `margin` was chosen elsewhere."""
    rows: dict[str, list[float]] = {name: [] for name in TITLES}
    there, pictures = [], []
    for sheet in sheets:
        nouns = [*sheet.asked, *sheet.absent]
        for name, values in signals(sheet, nouns, make).items():
            rows[name] += [float(value) for value in values]
        there += [True] * len(sheet.asked) + [False] * len(sheet.absent)
        pictures += [sheet.picture] * len(nouns)
    truth, places, best = np.array(there), np.array(pictures), np.array(rows["margin"])
    curves = {name: roc(np.array(values), truth, places) for name, values in rows.items()}
    return Presence(curves, rule(best[truth], best[~truth], 0.0), rule(best[truth], best[~truth], margin))


def rule(own: Ratios, strange: Ratios, margin: float) -> Rule:
    """What a margin says of things that are there, and of things that are not, by their best maps (n,) and (m,)."""
    right, wrong = own > margin, strange > margin
    return Rule(margin, wilson(int(right.sum()), len(right)), wilson(int(wrong.sum()), len(wrong)))


def best_margin(sheets: Sequence[Sheet]) -> float:
    """The margin, to a hundredth, that is right most often of what is there and of what is not, both weighing the same."""
    own = np.array([sheet.scores[noun].max() for sheet in sheets for noun in sheet.asked])
    strange = np.array([sheet.scores[noun].max() for sheet in sheets for noun in sheet.absent])
    if not len(own) or not len(strange):
        return 0.0
    margins = np.arange(0, 100) / 100
    right = [(own > margin).mean() - (strange > margin).mean() for margin in margins]
    top = margins[np.isclose(right, max(right))]
    return float(round(top[len(top) // 2], 2))  # the middle of equally good ones


def signals(sheet: Sheet, nouns: Sequence[int], make: Maker) -> dict[str, NDArray[np.floating]]:
    """Numbers (Q,) per signal that should be larger for nouns that the picture shows."""
    every = sheet.scores.max(axis=1)
    saliency = make(sheet, nouns)
    chosen = list(nouns)
    return {
        "margin": every[chosen],
        "margin above others": every[chosen] - every.mean(),
        "kept share": (sheet.scores[chosen] > 0).mean(axis=1),
        "similarity": sheet.similarity[chosen],
        "similarity above others": sheet.similarity[chosen] - sheet.similarity.mean(),
        "peak": saliency.max(axis=1),
        "sum": saliency.sum(axis=1),
    }


def roc(values: Ratios, there: NDArray[np.bool_], pictures: NDArray[np.integer]) -> Curve:
    """The curve of a signal (n,) against the truth (n,); equal values are passed in one step."""
    if there.all() or not there.any():
        raise ValueError("`there` must hold queries of both kinds, present and absent; ask more pictures")
    order = np.argsort(-values, kind="stable")
    last = np.append(np.flatnonzero(np.diff(values[order])), len(values) - 1)
    steps = [np.concatenate([[0], np.cumsum(kind[order])[last]]) / kind.sum() for kind in (~there, there)]
    return Curve(steps[0], steps[1], spread_of_area(values, there, pictures))


def spread_of_area(values: Ratios, there: NDArray[np.bool_], pictures: NDArray[np.integer]) -> Estimate:
    """The area with its interval: how often a query that is there outdoes one that is not, resampled by pictures."""
    _, place = np.unique(pictures, return_inverse=True)
    wins = np.sign(values[there][:, None] - values[~there][None]) / 2 + 0.5
    drawn = draws(int(place.max()) + 1)[:, place]
    own, strange = drawn[:, there], drawn[:, ~there]
    pairs = own.sum(axis=1) * strange.sum(axis=1)
    won = np.einsum("rn,rn->r", own @ wins, strange)
    return between(float(wins.mean()), np.divide(won, pairs, out=np.full(len(won), np.nan), where=pairs > 0))


def thinned(curve: Curve) -> list[list[float]]:
    """Points of a curve at round shares of false alarms, for a file."""
    at = np.linspace(0, 1, 101)
    reached = curve.true[np.searchsorted(curve.false, at, side="right") - 1]
    return [[round(float(x), 3), round(float(y), 4)] for x, y in zip(at, reached, strict=True)]
