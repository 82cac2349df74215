"""Masked embeddings of a vision transformer from one pass: the sum of what the patches that a mask shows give by themselves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.saliency import EPS

Floats = NDArray[np.float32]


def shown_patches(maps: Floats, embedding: Floats, patches: Floats) -> Floats:
    """Embeddings `(K, D)` of the masked copies of maps `(K, h, w)`.

    `embedding` `(D,)` is of the whole picture, and `patches` `(h * w, D)` are what each patch adds to it; what a mask hides
    is taken away.
    """
    flat = maps.reshape(len(maps), -1)
    low, high = flat.min(axis=1, keepdims=True), flat.max(axis=1, keepdims=True)
    hidden = (high - flat) / (high - low + np.float32(EPS))
    return np.asarray(embedding - hidden @ patches, dtype=np.float32)
