"""How sure a figure is: Wilson intervals for shares, a seeded bootstrap over pictures for everything else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

ROUNDS = 1000
SEED = 0

Values = NDArray[np.floating] | NDArray[np.integer] | NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float

    def to_list(self) -> list[float]:
        """Value, low and high as plain rounded numbers."""
        return [round(float(number), 5) for number in (self.value, self.low, self.high)]


def share(hits: Values) -> Estimate:
    """The share of true values (n,), with Wilson's score interval; raises `ValueError` when there are none."""
    found = binomtest(int(np.count_nonzero(hits)), len(hits))
    interval = found.proportion_ci(method="wilson")
    return Estimate(float(found.statistic), float(interval.low), float(interval.high))


def draws(pictures: int, seed: int = SEED, rounds: int = ROUNDS) -> NDArray[np.float64]:
    """How often each picture is drawn in each round of a bootstrap, (rounds, pictures)."""
    rng = np.random.default_rng([seed, pictures])
    return rng.multinomial(pictures, np.full(pictures, 1 / pictures), size=rounds).astype(np.float64)


def mean(values: Values, pictures: NDArray[np.integer]) -> Estimate:
    """The mean of values (n,), resampled by the pictures (n,) that they belong to: those of one picture go together."""
    _, place = np.unique(pictures, return_inverse=True)
    sums, counts = np.bincount(place, weights=values.astype(np.float64)), np.bincount(place).astype(np.float64)
    drawn = draws(len(counts))
    return between(float(values.mean()), (drawn @ sums) / (drawn @ counts))


def resampled(tables: NDArray[np.float64], figure: Callable[[NDArray[np.float64]], float]) -> Estimate:
    """A figure of the sum of the pictures' tables (pictures, ...), resampled by pictures."""
    drawn = draws(len(tables))
    sums = (drawn @ tables.reshape(len(tables), -1)).reshape(len(drawn), *tables.shape[1:])
    return between(figure(tables.sum(axis=0)), np.array([figure(table) for table in sums]))


def between(value: float, spread: NDArray[np.float64]) -> Estimate:
    """A figure with the middle 95 % of its resampled values."""
    low, high = np.nanquantile(spread, (0.025, 0.975))
    return Estimate(value, float(low), float(high))
