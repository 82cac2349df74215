"""Score-CAM's weights: a softmax over the scores of all masked copies, or of those that gScoreCAM chose.

The blank picture plays no part: to take its score away from every score would change no softmax.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.softmax import softmax

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

TOP = 300  # maps that gScoreCAM runs for a question


def softmax_weights(scores: Floats, temperature: float, chosen: Flags | None = None) -> Floats:
    """Weights `(Q, K)` that add up to 1 over the maps chosen for each question, all where nothing was chosen."""
    scaled = scores.astype(np.float64) / temperature
    if chosen is not None:
        scaled = np.where(chosen, scaled, -np.inf)
    return np.asarray(softmax(scaled, axis=1), np.float32)


def probabilities(cosines: Floats, logit_scale: float) -> Floats:
    """The probability that CLIP gives each text for each masked copy, of cosines `(P, K)` with all texts that compete."""
    return np.asarray(softmax(logit_scale * cosines.astype(np.float64), axis=0), np.float32)


def top_channels(slopes: Floats, count: int = TOP) -> Flags:
    """The maps `(Q, K)` whose mean gradient is largest, by sign and not by size; of equal ones the first."""
    chosen = np.zeros(slopes.shape, dtype=bool)
    np.put_along_axis(chosen, np.argsort(-slopes, axis=1, kind="stable")[:, :count], values=True, axis=1)
    return chosen
