"""Scores and weights of every map for one question, as the saliency graph makes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.localizer import Localizer
from runtime.query import as_queries
from runtime.scene import Scene


@dataclass(frozen=True, eq=False)
class Weighed:
    """Scores (K,) relative to the blank picture, and weights (K,) that sum to 1, 0 for maps that are left out."""

    scores: NDArray[np.float32]
    weights: NDArray[np.float32]


def weigh(localizer: Localizer, scene: Scene, query: str) -> Weighed:
    """Ask a scene, and keep what an answer leaves out."""
    text = localizer.text.embed(as_queries(query, localizer.templates))[0]
    scores = np.asarray((scene.embeddings - scene.base) @ text, dtype=np.float32)
    above = scores > 0
    lifted = np.where(above, scores - scores.max(), -np.inf) / localizer.answerer.options.temperature
    weights = np.where(above, np.exp(lifted), 0)
    return Weighed(scores, (weights / max(float(weights.sum()), 1e-30)).astype(np.float32))
