"""Score-CAM and gScoreCAM, literal in plain PyTorch; gradients by autograd. It shares no code with what it checks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests import oracle


def masked_cosines(model: Any, pixels: NDArray[np.uint8], maps: Tensor, texts: Tensor, dtype: torch.dtype) -> Tensor:
    """Cosines (K, Q) of masked copies with texts (Q, D), all maps (K, h, w) run."""
    embeddings, _, _ = oracle.encode(
        model, pixels, oracle.MEAN, oracle.STD, maps, spec=oracle.OracleSpec(), dtype=dtype, batch=32
    )
    return (embeddings / embeddings.norm(dim=1, keepdim=True)) @ texts.to(dtype).T


def in_space(cosines: Tensor, space: str, scale: float, query: int) -> Tensor:
    """Scores (K,) of one of the texts, in the unit that the softmax over maps takes."""
    if space == "cosine":
        return cosines[:, query]
    logits = scale * cosines
    return logits[:, query] if space == "logit" else torch.softmax(logits, dim=1)[:, query]


def score_cam(maps: Tensor, scores: Tensor) -> Tensor:
    """The map (h, w) in [0, 1]: no base picture, every map has its weight."""
    weights = torch.softmax(scores, dim=0)
    total = torch.relu((weights[:, None, None] * maps).sum(0))
    return (total - total.min()) / (1e-7 + (total - total.min()).max())


def mean_gradients(model: Any, x: Tensor, text: Tensor) -> Tensor:
    """Mean gradient (C,) of the cosine with a text, by the channels of the last bottleneck, for a picture (3, R, R)."""
    maps = oracle.cnn_maps(model, x).detach()[None].requires_grad_()
    embedding = model.visual.attnpool(maps)[0]
    score = embedding @ text.to(embedding.dtype) / embedding.norm()
    return torch.autograd.grad(score, maps)[0][0].mean(dim=(1, 2))


def gscorecam(model: Any, x: Tensor, text: Tensor, maps: Tensor, logits: Tensor, top: int = 300) -> tuple[Tensor, Tensor]:
    """The map (h, w) in [0, 1] of the channels that rank highest, and their numbers."""
    chosen = mean_gradients(model, x, text).argsort(descending=True)[:top]
    return score_cam(maps[chosen], logits[chosen]), chosen
