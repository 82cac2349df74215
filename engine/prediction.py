"""Few passes predict the rest: which maps to run, and what the others' masked copies would give.

Masks that let similar parts through give similar embeddings. That similarity is a Gaussian-process kernel over masks, so
a few maps that were run predict the embeddings of all others, and tell how far off the predictions may be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.saliency import SaliencyOptions, normalise, weigh_maps

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]
Flags = NDArray[np.bool_]

JITTER = 1e-3  # keeps the kernel of near-equal masks solvable; also the share of an embedding that no mask explains
SAMPLE = 256  # masks whose distances give the kernel its reach
DRAWS = 15  # variations of the scores behind an error estimate


@dataclass(frozen=True, slots=True)
class MaskKernel:
    """How alike masks are: masks `(K, n)` scaled to [0, 1], and the squared distance at which likeness has faded."""

    masks: Floats
    reach: float

    @classmethod
    def of(cls, maps: Floats, live: Flags) -> MaskKernel:
        """Read maps `(K, h, w)`; the reach is the median squared distance between live masks."""
        flat = maps.reshape(len(maps), -1)
        low, high = flat.min(axis=1, keepdims=True), flat.max(axis=1, keepdims=True)
        masks = ((flat - low) / np.maximum(high - low, np.float32(1e-12))).astype(np.float32)
        chosen = masks[live][:: max(1, int(live.sum()) // SAMPLE)]
        apart = squared_distances(chosen, chosen)[np.triu_indices(len(chosen), 1)]
        return cls(masks, max(float(np.median(apart)) if len(apart) else 1.0, 1e-6))

    def to(self, others: Indices) -> Floats:
        """Kernel `(K, p)` between all maps and some."""
        return np.asarray(np.exp(-squared_distances(self.masks, self.masks[others]) / np.float32(2 * self.reach)), np.float32)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Embeddings `(K, D)` of all maps; how much is unknown about each, `doubt` `(K,)`; and how wrong held-out ones were.

    `residuals` `(p, D)` are of each known map predicted from the other known ones, in units of its doubt then: times the
    doubt of a map they are the size of its error, in any direction of the embedding.
    """

    embeddings: Floats
    doubt: Floats
    residuals: Floats

    def errors(self, texts: Floats) -> Floats:
        """Expected error of the score of each map for each text `(Q, D)`: `(Q, K)`, 0 where the map was run."""
        size = np.sqrt(np.square(texts @ self.residuals.T).mean(axis=1))
        return np.asarray(size[:, None] * self.doubt[None], dtype=np.float32)


def choose_maps(kernel: MaskKernel, live: Flags, count: int) -> Indices:
    """Up to `count` live maps, each the one that the maps chosen before it tell least about (pivoted Cholesky)."""
    count = min(count, int(live.sum()))
    doubt = np.where(live, 1.0, -1.0).astype(np.float32)
    factor = np.zeros((len(live), count), dtype=np.float32)
    chosen = np.zeros(count, dtype=np.intp)
    for step in range(count):
        best = int(doubt.argmax())
        chosen[step] = best
        column = kernel.to(chosen[step : step + 1])[:, 0] - factor[:, :step] @ factor[best, :step]
        factor[:, step] = column / np.sqrt(max(float(doubt[best]), JITTER))
        doubt -= np.square(factor[:, step])
        doubt[chosen[: step + 1]] = -1.0
    return chosen


def predict(kernel: MaskKernel, known: Flags, embeddings: Floats) -> Floats:
    """Predict the embeddings of unknown maps from the known rows of `embeddings` `(K, D)`; known rows stay as they are."""
    return _embeddings(known, embeddings, _fit(kernel, known, embeddings))


def estimate(kernel: MaskKernel, known: Flags, embeddings: Floats) -> Estimate:
    """Predict, and tell how far off the predictions may be; this costs more than the prediction itself."""
    fit = _fit(kernel, known, embeddings)
    explained = ((fit.towards @ fit.inverse) * fit.towards).sum(axis=1)
    doubt = np.sqrt(np.maximum(1 + JITTER - explained, 0))
    doubt[known] = 0
    # Leaving out one at a time, in closed form: the error is weights / diagonal, the doubt then 1 / sqrt(diagonal).
    residuals = fit.weights / np.sqrt(np.diag(fit.inverse))[:, None]
    return Estimate(_embeddings(known, embeddings, fit), doubt.astype(np.float32), residuals.astype(np.float32))


def expected_error(scores: Floats, doubt: Floats, maps: Floats, options: SaliencyOptions) -> float:
    """How far a saliency map in [0, 1] may be from the exact one, on average over its cells.

    The scores `(K,)` of maps that were not run are varied by as much as held-out ones were wrong, `doubt` `(K,)`, and the
    saliency of each variation is compared with that of the scores as predicted.
    """
    noise = np.random.default_rng(0).standard_normal((len(doubt), 1 + DRAWS)).astype(np.float32)
    noise[:, 0] = 0
    varied = scores[:, None] + doubt[:, None] * noise
    expected, *others = (normalise(map_) for map_ in weigh_maps(varied.T, maps, options))
    return float(np.mean([np.abs(other - expected).mean() for other in others]))


@dataclass(frozen=True, slots=True)
class _Fit:
    """A solved regression: kernel `(K, p)` towards the known maps, its inverse `(p, p)`, mean `(D,)`, weights `(p, D)`."""

    towards: Floats
    inverse: NDArray[np.floating]
    mean: Floats
    weights: Floats


def _fit(kernel: MaskKernel, known: Flags, embeddings: Floats) -> _Fit:
    rows = np.flatnonzero(known)
    towards = kernel.to(rows)
    inverse: NDArray[np.floating] = np.linalg.inv(towards[rows].astype(np.float64) + JITTER * np.eye(len(rows)))
    # The mean is what the known maps share; weighed by the kernel, so that a cluster of like masks counts once.
    mean = (inverse.sum(axis=0) / inverse.sum()) @ embeddings[rows]
    weights = inverse @ (embeddings[rows] - mean)
    return _Fit(towards, inverse, mean.astype(np.float32), weights.astype(np.float32))


def _embeddings(known: Flags, embeddings: Floats, fit: _Fit) -> Floats:
    predicted = fit.towards @ fit.weights + fit.mean
    predicted[known] = embeddings[known]
    return predicted


def squared_distances(a: Floats, b: Floats) -> Floats:
    """Squared distances `(len(a), len(b))` between rows."""
    apart = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1)[None] - 2 * (a @ b.T)
    return np.asarray(np.maximum(apart, 0), np.float32)
