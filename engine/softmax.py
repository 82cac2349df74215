"""Shares that add up to 1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def softmax(scores: NDArray[Any], axis: int = -1) -> NDArray[Any]:
    """The share of every score among those of its axis, in the precision that the scores have."""
    lifted = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return np.asarray(lifted / lifted.sum(axis=axis, keepdims=True))
