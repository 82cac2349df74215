"""Is the named thing in the picture at all? Signals that could tell, and how well each does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.accuracy.scored import SaliencyOf, ScoredPicture
from bench.accuracy.statistics import Estimate, between, draws, share
from engine.metrics import curves

Ratios = NDArray[np.float64]

SIGNALS = {
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

    def to_list(self) -> list[list[float]]:
        """Its points at 101 round shares of false alarms."""
        at = np.linspace(0, 1, 101)
        reached = self.true[np.searchsorted(self.false, at, side="right") - 1]
        return [[round(float(x), 3), round(float(y), 4)] for x, y in zip(at, reached, strict=True)]


@dataclass(frozen=True, slots=True)
class Rule:
    """How often a margin over the base says `present` of what is there, and of what is not."""

    margin: float
    present: Estimate
    false_alarms: Estimate

    @classmethod
    def of(cls, margin: float, own: Ratios, strange: Ratios) -> Rule:
        """What a margin says of things that are there, and of things that are not, by their best maps (n,) and (m,)."""
        return cls(margin, share(own > margin), share(strange > margin))

    def to_dict(self) -> dict[str, object]:
        """Plain values."""
        return {"margin": self.margin, "present": self.present.to_list(), "false_alarms": self.false_alarms.to_list()}


@dataclass(frozen=True, slots=True, eq=False)
class Presence:
    """Curves by signal, and the two rules: any map above the base (as published), and a margin."""

    curves: dict[str, Curve]
    any_map: Rule
    by_margin: Rule

    def to_dict(self) -> dict[str, object]:
        """Plain values."""
        return {
            "any": self.any_map.to_dict(),
            "margin": self.by_margin.to_dict(),
            "auc": {name: curve.area.to_list() for name, curve in self.curves.items()},
            "roc": {name: curve.to_list() for name, curve in self.curves.items()},
        }


def study(pictures: Sequence[ScoredPicture], saliency_of: SaliencyOf, margin: float) -> Presence:
    """Ask every picture for what it shows and for what it is known not to show; `margin` was chosen elsewhere."""
    rows: dict[str, list[float]] = {name: [] for name in SIGNALS}
    there, places = [], []
    for scored in pictures:
        asked = [*scored.asked, *scored.absent]
        for name, values in signals(scored, asked, saliency_of).items():
            rows[name] += [float(value) for value in values]
        there += [True] * len(scored.asked) + [False] * len(scored.absent)
        places += [scored.picture] * len(asked)
    truth, best = np.array(there), np.array(rows["margin"])
    drawn = {name: roc(np.array(values), truth, np.array(places)) for name, values in rows.items()}
    return Presence(drawn, *(Rule.of(least, best[truth], best[~truth]) for least in (0.0, margin)))


def best_margin(pictures: Sequence[ScoredPicture]) -> float:
    """The margin, to a hundredth, that is right most often of what is there and of what is not, both weighing the same."""
    own = np.array([scored.scores[noun].max() for scored in pictures for noun in scored.asked])
    strange = np.array([scored.scores[noun].max() for scored in pictures for noun in scored.absent])
    if not len(own) or not len(strange):
        return 0.0
    margins = np.arange(0, 100) / 100
    right = [(own > margin).mean() - (strange > margin).mean() for margin in margins]
    top = margins[np.isclose(right, max(right))]
    return float(round(top[len(top) // 2], 2))  # the middle of equally good ones


def signals(scored: ScoredPicture, asked: Sequence[int], saliency_of: SaliencyOf) -> dict[str, NDArray[np.floating]]:
    """Numbers (Q,) per signal that should be larger for nouns that the picture shows."""
    every, saliency, chosen = scored.scores.max(axis=1), saliency_of(scored, asked), list(asked)
    return {
        "margin": every[chosen],
        "margin above others": every[chosen] - every.mean(),
        "kept share": (scored.scores[chosen] > 0).mean(axis=1),
        "similarity": scored.similarity[chosen],
        "similarity above others": scored.similarity[chosen] - scored.similarity.mean(),
        "peak": saliency.max(axis=1),
        "sum": saliency.sum(axis=1),
    }


def roc(values: Ratios, there: NDArray[np.bool_], pictures: NDArray[np.integer]) -> Curve:
    """The curve of a signal (n,) against the truth (n,); equal values are passed in one step.

    Its area is how often a query that is there outdoes one that is not, with its interval resampled by pictures.
    """
    points = curves.roc(values, there)
    wins = np.sign(values[there][:, None] - values[~there][None]) / 2 + 0.5
    _, place = np.unique(pictures, return_inverse=True)
    drawn = draws(int(place.max()) + 1)[:, place]
    own, strange = drawn[:, there], drawn[:, ~there]
    pairs, won = own.sum(axis=1) * strange.sum(axis=1), np.einsum("rn,rn->r", own @ wins, strange)
    spread = np.divide(won, pairs, out=np.full(len(won), np.nan), where=pairs > 0)
    return Curve(points.across, points.up, between(points.area, spread))
