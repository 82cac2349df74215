"""The contrastive loss in which several texts may be right for a picture."""

from __future__ import annotations

import torch
from torch import Tensor


def contrastive(logits: Tensor, right: Tensor, unsure: Tensor) -> Tensor:
    """Mean of the picture-to-text and the text-to-picture loss on logits (pictures, texts)."""
    certain = logits.masked_fill(unsure, -1e4)
    return 0.5 * (one_way(certain, right) + one_way(certain.T, right.T))


def one_way(logits: Tensor, right: Tensor) -> Tensor:
    """Cross entropy to an even share over all right columns; rows without any take no part."""
    rows = right.any(dim=1)
    target = right[rows].float()
    target = target / target.sum(dim=1, keepdim=True)
    return -(target * torch.log_softmax(logits[rows].float(), dim=1)).sum(dim=1).mean()
