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


class BlankGraph(nn.Module):
    """The blank picture, once per model: what the instant graph keeps of it, as rows, without and with the pool's positions.

    It is run when a bundle is made and then removed. A build and a filled template run this same graph, and so agree.
    """

    def __init__(self, encoder: ResNetEncoder, dtype: torch.dtype) -> None:
        super().__init__()
        self.encoder, self.dtype = encoder, dtype

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Take normalised pixels `(1, 3, R, R)`, all zero for the blank picture; give rows `(n, C)` and tokens `(1 + n, C)`."""
        maps, _ = self.encoder.maps_and_embedding(pixels.to(self.dtype))
        rows = rows_of(maps[0])
        tokens = torch.cat([rows.mean(dim=0, keepdim=True), rows]) + self.encoder.pool.position
        return rows.float(), tokens.float()


class InstantGraph(nn.Module):
    """One picture, once: its maps, its embedding, and what the attention pool makes of every mask."""

    blank: Tensor
    tokens: Tensor

    def __init__(
        self, pixels: Pixels, encoder: ResNetEncoder, dtype: torch.dtype, eps: float, blank: tuple[Tensor, Tensor]
    ) -> None:
        """Take what `BlankGraph` gave for the blank picture."""
        super().__init__()
        self.pixels, self.encoder, self.dtype, self.eps = pixels, encoder, dtype, eps
        rows, tokens = blank
        self.register_buffer("blank", rows.to(dtype).contiguous())  # (n, C)
        self.register_buffer("tokens", tokens.to(dtype).contiguous())  # (1 + n, C)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Take u8 `(1, R, R, 3)`; give maps `(K, h, w)` and unit embeddings: whole `(D,)`, masked `(K, D)`, base `(D,)`."""
        maps, embedding = self.encoder.maps_and_embedding(self.pixels(pixels).to(self.dtype))
        masks = min_max(maps[0].float(), self.eps).flatten(1).to(self.dtype)  # (K, n)
        embeddings = pooled(self.encoder.pool, self.tokens, rows_of(maps[0]) - self.blank, masks)
        base = self.encoder.pool.attend(self.tokens.unsqueeze(0))
        whole, masked, blank = (F.normalize(each.float(), dim=-1) for each in (embedding, embeddings, base))
        return maps[0].float(), whole[0], masked, blank[0]


def pooled(pool: Tower, fixed: Tensor, change: Tensor, masks: Tensor) -> Tensor:
    """Pool `blank + masks * change`, the blank picture's tokens `(1 + n, C)` given as `fixed`, into embeddings `(K, D)`.

    Splits every projection into that of the blank picture, the same for all masks `(K, n)`, and that of the change `(n, C)`,
    which a mask scales row by row. The first token of the pool is the mean of the others.
    """
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
