"""Asking features of patches: from products with words to maps `(Q, n)`, one for each question.

Raw cosines of patches are nearly flat, and their range says nothing: a thing shows where its words beat other words. So
questions compete, with each other and with nouns of backgrounds; where there is nothing to compete with, what the words share
with no words at all is taken away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.softmax import softmax

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """Unit embeddings of what is asked `(Q, D)`, of what else competes `(K, D)`, and of no words at all `(D,)`."""

    asked: Floats
    others: Floats
    nothing: Floats

    @property
    def competing(self) -> Floats:
        """All that competes: what is asked, the other words, and the mean of what is asked where that is several `(C, D)`."""
        mean = self.asked.mean(axis=0, keepdims=True)
        mean = mean / np.maximum(np.linalg.norm(mean), 1e-12)
        return np.concatenate([self.asked, self.others, mean if len(self.asked) > 1 else mean[:0]]).astype(np.float32)


def cosines(features: Floats, words: Words) -> Floats:
    """Products of features `(L, n, D)` with what is asked, their mean over the sets `(Q, n)`."""
    return np.asarray((features @ words.asked.T).mean(axis=0).T, np.float32)


def positive(features: Floats, words: Words) -> Floats:
    """Products above 0: for features that say how much each place adds to a text's cosine."""
    return np.maximum(cosines(features, words), 0)


def contrast(features: Floats, words: Words) -> Floats:
    """By how much a place, more than the average one, is nearer to what is asked than to no words at all."""
    products = cosines(features, Words(words.asked - words.nothing, words.others, words.nothing))
    return np.asarray(np.maximum(products - products.mean(axis=1, keepdims=True), 0), np.float32)


def shares(features: Floats, words: Words, kappa: float) -> Floats:
    """The share of each question in a softmax over all that competes `(Q, n)`; 0.5 says: as much as all others together."""
    return softmax(kappa * (features.mean(axis=0) @ words.competing.T))[:, : len(words.asked)].T


def layers(features: Floats, words: Words, kappa: float, attention: Floats, floor: float = 0.1) -> Floats:
    """CLIPer: shares by each set `(L, n, D)`; those of the last, small ones left out, are spread by attention `(n, n)`."""
    each = softmax(kappa * (features @ words.competing.T))[..., : len(words.asked)]  # (L, n, Q)
    last = each[-1]
    last = np.where(last < floor * last.max(axis=0, keepdims=True), 0, last)
    return np.asarray((last.T @ attention + each.mean(axis=0).T), np.float32)


def surgery(features: Floats, words: Words, embedding: Floats) -> Floats:
    """CLIP Surgery: what all words have in common is taken from each; words weigh as they suit the whole picture."""
    if len(words.asked) + len(words.others) < 2:
        return np.asarray((features.mean(axis=0) @ (words.asked - words.nothing).T).T, np.float32)
    texts = np.concatenate([words.asked, words.others])
    weights = softmax(2 * (texts @ embedding))
    weights = weights / weights.mean()
    products = (features.mean(axis=0) @ texts.T) * weights  # (n, C)
    return np.asarray((products - products.mean(axis=1, keepdims=True))[:, : len(words.asked)].T, np.float32)


def against(words: Words, patches: Floats, kappa: float) -> Floats:
    """For each question the direction `(Q, D)` that tells it from what competes, by how well that suits all patches `(D,)`."""
    texts = np.concatenate([words.asked, words.others])
    suits, directions = kappa * (texts @ patches), []
    for row, text in enumerate(words.asked):
        others = np.delete(np.arange(len(texts)), row)
        directions.append(text - softmax(suits[others]) @ texts[others])
    return np.asarray(directions, np.float32)


def spread(maps: Floats, affinity: Floats, least: float = 0.4) -> Floats:
    """Maps `(Q, n)` spread to patches that the model's own attention ties to their brightest ones, as CLIP-ES does `(Q, n)`."""
    low, high = maps.min(axis=1, keepdims=True), maps.max(axis=1, keepdims=True)
    scaled = (maps - low) / np.maximum(high - low, 1e-12)
    return np.asarray(np.where(scaled >= least, scaled, 0) @ affinity.T, np.float32)
