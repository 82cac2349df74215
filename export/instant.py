"""All masked embeddings of a CLIP ResNet from one pass: the masks are laid over the tapped maps, not over the picture.

Where a mask is 1 the maps are the picture's, where it is 0 they are those of the blank picture, in between they are
blended, and only the attention pool is run again. It is linear in the masks up to its softmax, so its projections are
applied once to the maps instead of once per mask.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.encoders import ResNetEncoder, Tower
from export.graphs import Pixels, min_max


class InstantGraph(nn.Module):
    """One picture, once: its maps, its embedding, and what the attention pool makes of every mask."""

    blank: Tensor

    def __init__(self, pixels: Pixels, encoder: ResNetEncoder, dtype: torch.dtype, sizes: tuple[int, float]) -> None:
        """Take the picture's side, and the epsilon of the masks, as `sizes`."""
        super().__init__()
        side, self.eps = sizes
        self.pixels, self.encoder, self.dtype = pixels, encoder, dtype
        with torch.no_grad():
            maps, _ = encoder.maps_and_embedding(torch.zeros(1, 3, side, side, dtype=dtype))
        self.register_buffer("blank", rows_of(maps[0]).contiguous())  # (n, C)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Take u8 `(1, R, R, 3)`; give maps `(K, h, w)` and unit embeddings: whole `(D,)`, masked `(K, D)`, base `(D,)`."""
        maps, embedding = self.encoder.maps_and_embedding(self.pixels(pixels).to(self.dtype))
        masks = min_max(maps[0].float(), self.eps).flatten(1).to(self.dtype)  # (K, n)
        embeddings = pooled(self.encoder.pool, self.blank, rows_of(maps[0]), masks)
        base = self.encoder.pool(self.blank.t().reshape(maps.shape))
        whole, masked, blank = (F.normalize(each.float(), dim=-1) for each in (embedding, embeddings, base))
        return maps[0].float(), whole[0], masked, blank[0]


def pooled(pool: Tower, blank: Tensor, shown: Tensor, masks: Tensor) -> Tensor:
    """Pool `blank + masks * (shown - blank)`, rows `(n, C)` and masks `(K, n)`, into embeddings `(K, D)`.

    Splits every projection into that of the blank picture, the same for all masks, and that of the difference,
    which a mask scales row by row. The first row of the pool is the mean of the others.
    """
    change = shown - blank  # (n, C)
    fixed = torch.cat([blank.mean(dim=0, keepdim=True), blank]) + pool.position  # (1 + n, C)
    mean = masks / masks.shape[1]  # (K, n)
    query = fixed[:1] @ pool.query_weight + pool.query_bias + mean @ (change @ pool.query_weight)  # (H, K, d)
    keys = pool.key_weight.transpose(1, 2)
    lit = query @ (change @ keys).transpose(1, 2)  # (H, K, n)
    logits = query @ (fixed @ keys).transpose(1, 2)  # (H, K, 1 + n)
    logits = logits + torch.cat([(mean * lit).sum(dim=-1, keepdim=True), masks * lit], dim=-1)
    attention = logits.float().softmax(dim=-1).to(masks.dtype)
    share = attention[..., 1:] * masks + attention[..., :1] * mean  # (H, K, n)
    values = attention @ (fixed @ pool.value_weight) + share @ (change @ pool.value_weight) + pool.value_bias
    embeddings: Tensor = values.transpose(0, 1).flatten(1) @ pool.out_weight + pool.out_bias
    return embeddings


def rows_of(maps: Tensor) -> Tensor:
    """Maps `(C, h, w)` as rows `(n, C)`, one per cell."""
    return maps.flatten(1).t()
