"""Few passes predict the rest: which maps to run, and what the others' masked copies would give.

Maps that are alike give masked copies with like embeddings. That likeness is the kernel of a Gaussian process, so a few
maps that were run predict all others, and tell how far off the predictions may be. Where a guess of every embedding is
there already, it is the error of the guess that is predicted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from engine.saliency import SaliencyOptions, normalise, weigh_maps

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Indices = NDArray[np.intp]
Flags = NDArray[np.bool_]

JITTER = 1e-3  # keeps the kernel of near-equal maps solvable; also the share of an embedding that no likeness explains
SAMPLE = 128  # maps whose distances give the kernel its reach
SKETCH = 16  # directions that guessed embeddings are compared along
CANDIDATES = 6  # maps that are looked at for each that is chosen
DRAWS = 15  # variations of the scores behind an error estimate


@dataclass(frozen=True, slots=True)
class Feature:
    """What maps are compared by, rows `(K, n)` scaled so that likeness has faded at a squared distance of 2."""

    rows: Floats
    lengths: Floats  # (K,), squared

    @classmethod
    def of(cls, values: Floats, live: Flags) -> Feature:
        """Scale values `(K, n)` by the median squared distance between live maps."""
        chosen = values[live][:: max(1, int(live.sum()) // SAMPLE)]
        middle = chosen.mean(axis=0) if len(chosen) else np.float32(0)  # far from it, single precision would round distances away
        apart = squared_distances(chosen - middle, chosen - middle)[np.triu_indices(len(chosen), 1)]
        reach = max(float(np.median(apart)) if len(apart) else 1.0, 1e-6)
        rows = (values - middle) * np.float32(reach**-0.5)
        return cls(rows, np.einsum("kn,kn->k", rows, rows))

    def to(self, others: Indices) -> Floats:
        """Kernel `(K, p)` between all maps and some."""
        half: Floats = self.rows @ self.rows[others].T
        half -= self.lengths[:, None] / 2
        half -= self.lengths[others] / 2
        return np.exp(np.minimum(half, 0, out=half), out=half)


@dataclass(frozen=True, slots=True)
class Kernel:
    """How alike maps are: the mean over one or two features, 1 for a map with itself."""

    features: tuple[Feature, ...]

    @classmethod
    def of(cls, maps: Floats, live: Flags, guess: Floats | None = None) -> Kernel:
        """Compare maps `(K, h, w)` by their masks, and by guessed embeddings `(K, D)` of their masked copies if there are any."""
        flat = maps.reshape(len(maps), -1)
        low, high = flat.min(axis=1, keepdims=True), flat.max(axis=1, keepdims=True)
        masks = Feature.of((flat - low) / np.maximum(high - low, np.float32(1e-12)), live)
        if guess is None:
            return cls((masks,))
        return cls((masks, Feature.of(guess @ directions(guess.shape[1]), live)))

    def among(self, some: Indices) -> Floats:
        """Kernel `(p, p)` between some maps alone."""
        features = tuple(Feature(feature.rows[some], feature.lengths[some]) for feature in self.features)
        return Kernel(features).to(np.arange(len(some)))

    def to(self, others: Indices) -> Floats:
        """Kernel `(K, p)` between all maps and some."""
        first, *more = (feature.to(others) for feature in self.features)
        for other in more:
            first += other
            first /= 2
        return first


@cache
def directions(dim: int) -> Floats:
    """Random directions `(dim, m)`, always the same: few of them keep the distances between embeddings well enough."""
    return np.random.default_rng(0).standard_normal((dim, SKETCH), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Regression:
    """A Gaussian process solved for the maps `rows` `(p,)` that were run; it grows as more are.

    Kernel towards the rows and its inverse are kept as Cholesky's factor `(K, p)`, of all maps, and the inverse `(p, p)` of
    its rows that were run: a prediction is `factor @ inverse @ targets`.
    """

    kernel: Kernel
    rows: Indices
    factor: Floats
    inverse: Doubles

    @classmethod
    def begin(cls, kernel: Kernel, rows: Indices) -> Regression:
        """Solve for some maps, or for none yet."""
        count = len(kernel.features[0].rows)
        nothing = cls(kernel, np.zeros(0, np.intp), np.zeros((count, 0), np.float32), np.zeros((0, 0)))
        return nothing.grow(rows)

    def grow(self, rows: Indices) -> Regression:
        """Solve for further maps too, at the cost of these alone."""
        if not len(rows):
            return self
        beside = self.factor[rows]  # (m, p)
        towards = self.kernel.to(rows)
        towards -= self.factor @ beside.T
        corner = np.linalg.inv(np.linalg.cholesky(towards[rows].astype(np.float64) + JITTER * np.eye(len(rows))))
        inverse = np.zeros((len(self.rows) + len(rows),) * 2)
        inverse[: len(self.rows), : len(self.rows)] = self.inverse
        inverse[len(self.rows) :, len(self.rows) :] = corner
        inverse[len(self.rows) :, : len(self.rows)] = -corner @ (beside @ self.inverse)
        factor = np.concatenate([self.factor, towards @ corner.T.astype(np.float32)], axis=1)
        return replace(self, rows=np.concatenate([self.rows, rows]), factor=factor, inverse=inverse)

    def predict(self, targets: Floats) -> Floats:
        """Values `(K, n)` of all maps from those `(p, n)` of the ones that were run, of which these stay as they are."""
        if not len(self.rows):
            return np.zeros((len(self.factor), targets.shape[1]), dtype=np.float32)
        mean, solved = self.solve(targets)
        predicted = self.factor @ solved
        predicted += mean
        predicted[self.rows] = targets
        return predicted

    def solve(self, targets: Floats) -> tuple[Floats, Floats]:
        """What the maps that were run share, and the weights `(p, n)` of the factor for what they do not.

        The mean is weighed by the kernel, so that a cluster of like maps counts once.
        """
        ones = self.inverse.sum(axis=1)  # (p,), of a target that is 1 everywhere
        solved = self.inverse @ targets
        mean = ones @ solved / (ones @ ones)
        return mean.astype(np.float32), (solved - np.outer(ones, mean)).astype(np.float32)

    def doubt(self) -> Floats:
        """How much is unknown about each map `(K,)`, from 0 for those that were run to about 1."""
        explained = np.einsum("kp,kp->k", self.factor, self.factor)
        doubt: Floats = np.sqrt(np.maximum(np.float32(1 + JITTER) - explained, 0))
        doubt[self.rows] = 0
        return doubt

    def errors(self, targets: Floats) -> Floats:
        """Expected error `(K, n)` of every predicted value: as wrong as held-out maps were, for their doubt, times its doubt."""
        _, solved = self.solve(targets)
        # Leaving out one at a time, in closed form: the error is weights / diagonal, the doubt then 1 / sqrt(diagonal).
        weights, diagonal = self.inverse.T @ solved, np.square(self.inverse).sum(axis=0)
        size = np.sqrt(np.mean(np.square(weights) / diagonal[:, None], axis=0))
        return np.asarray(np.outer(self.doubt(), size), dtype=np.float32)


def choose_maps(kernel: Kernel, live: Flags, count: int) -> Indices:
    """Up to `count` live maps, each the one that the maps chosen before it tell least about (pivoted Cholesky)."""
    count = min(count, int(live.sum()))
    doubt = np.where(live, 1.0, -1.0).astype(np.float32)
    factor = np.zeros((count, len(live)), dtype=np.float32)
    chosen = np.zeros(count, dtype=np.intp)
    for step in range(count):
        best = int(doubt.argmax())
        chosen[step] = best
        column = kernel.to(chosen[step : step + 1])[:, 0] - factor[:step, best] @ factor[:step]
        factor[step] = column / np.sqrt(max(float(doubt[best]), JITTER))
        doubt -= np.square(factor[step])
        doubt[chosen[: step + 1]] = -1.0
    return chosen


def choose_telling(regression: Regression, weights: Floats, count: int) -> Indices:
    """Up to `count` maps to run next: each the one that, with those chosen before it, leaves least unknown of the others.

    What is unknown of a map counts by its weight `(K,)`, from 0 for maps that are not to be chosen. One of many like maps
    tells of them all, so their weight together decides.
    """
    candidates = np.argsort(-weights)[: min(CANDIDATES * count, np.count_nonzero(weights))]
    count = min(count, len(candidates))
    weight, factor = weights[candidates] / weights.max(initial=1e-30), regression.factor[candidates]
    unknown = (regression.kernel.among(candidates) - factor @ factor.T) * weight[:, None] * weight
    told = np.square(unknown).sum(axis=0)  # what each would tell of all, over what is unknown of itself
    noise = JITTER * np.square(weight) + np.float32(1e-30)
    own = np.diag(unknown) + noise
    columns = np.zeros((count, len(candidates)), dtype=np.float32)
    chosen = np.zeros(count, dtype=np.intp)
    for step in range(count):
        best = int((told / own).argmax())
        before = columns[:step]
        column = (unknown[best] - before[:, best] @ before) / np.sqrt(own[best])
        beside = unknown @ column - (before @ column) @ before
        told += column * (column * (column @ column) - 2 * beside)
        own -= np.square(column)
        np.maximum(own, noise, out=own)  # single precision may go below
        told[best] = -np.inf
        columns[step], chosen[step] = column, best
    return candidates[chosen]


def expected_error(scores: Floats, errors: Floats, maps: Floats, options: SaliencyOptions) -> float:
    """How far a saliency map in [0, 1] may be from the exact one, on average over its cells.

    The scores `(K,)` are varied by as much as they may be wrong, `errors` `(K,)`, and the saliency of each variation is
    compared with that of the scores as predicted.
    """
    noise = np.random.default_rng(0).standard_normal((1 + DRAWS, len(errors)), dtype=np.float32)
    noise[0] = 0
    expected, *others = (normalise(map_) for map_ in weigh_maps(scores + errors * noise, maps, options))
    return float(np.mean([np.abs(other - expected).mean() for other in others]))


def squared_distances(a: Floats, b: Floats) -> Floats:
    """Squared distances `(len(a), len(b))` between rows."""
    apart = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1)[None] - 2 * (a @ b.T)
    return np.asarray(np.maximum(apart, 0), np.float32)
