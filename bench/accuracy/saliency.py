"""The saliency of a sheet under a spec, in numpy: what the bundle's graph computes, for many specs without a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from bench.accuracy.sheets import EPS, Sheet
from engine.spec import Spec
from runtime.scene import Floats

# The saliency (Q, n) of some of the nouns on a sheet.
Maker = Callable[[Sheet, Sequence[int]], Floats]


def maker(spec: Spec, logit_scale: float) -> Maker:
    """The method itself, under a spec."""
    tau = spec.tau(logit_scale)

    def make(sheet: Sheet, nouns: Sequence[int]) -> Floats:
        scores = sheet.scores[list(nouns)]
        return less_common(sheet, summed(sheet, weigh(scores, scores > 0, tau), spec), spec.contrast)

    return make


def weigh(scores: Floats, kept: NDArray[np.bool_], tau: float) -> Floats:
    """Softmax weights (Q, K) of scores over the kept maps; a row that keeps none is all zero."""
    logits = np.where(kept, scores / np.float32(tau), -np.inf)
    top = logits.max(axis=1, keepdims=True)
    raised = np.exp(logits - np.where(np.isfinite(top), top, 0))
    return np.asarray(raised / np.maximum(raised.sum(axis=1, keepdims=True), np.float32(1e-30)), np.float32)


def summed(sheet: Sheet, weights: Floats, spec: Spec) -> Floats:
    """The weighted sum (Q, n) of the raw maps or of the maps scaled to [0, 1]; never negative."""
    together: Floats = weights @ (sheet.scaled if spec.combine == "masks" else sheet.maps)
    return np.asarray(np.maximum(together, 0), np.float32)


def less_common(sheet: Sheet, saliency: Floats, contrast: float) -> Floats:
    """Take a share of the average map, brought to the same sum, away from saliency (Q, n)."""
    if contrast == 0:
        return saliency
    common = sheet.scaled.mean(axis=0, keepdims=True)
    scale = saliency.sum(axis=1, keepdims=True) / (common.sum() + np.float32(EPS))
    return np.asarray(np.maximum(saliency - np.float32(contrast) * scale * common, 0), np.float32)
