"""A vision transformer taken apart: every step that a dense method changes, on one picture's stream of tokens.

Streams are `(1 + n, d)`, the class token first; facets are `(T, 1 + n, d / T)`, head by head. The modules are open_clip's own,
so that graphs of several methods point to the same stored weights. Softmax and norms are float32 whatever the precision of the
tower.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.heads import Term
from export.encoders import Tower, wide

NEVER = -1.0e30  # a logit whose softmax is 0


class Block(nn.Module):
    """One residual attention block."""

    def __init__(self, block: Tower) -> None:
        super().__init__()
        self.block = block
        self.heads: int = block.attn.num_heads
        self.depth: int = block.attn.embed_dim // self.heads
        self.width: int = block.attn.embed_dim
        self.scale = self.depth**-0.5

    def forward(self, stream: Tensor) -> Tensor:
        """Run the block as it was trained."""
        return self.after(stream, self.facets(stream))

    def after(self, stream: Tensor, facets: Sequence[Tensor]) -> Tensor:
        """The same from facets that are there already."""
        return self.fed(stream + self.out(self.attention(facets, "qk") @ facets[2]))

    def facets(self, stream: Tensor) -> list[Tensor]:
        """Queries, keys and values of the stream's tokens."""
        return self.project(self.block.ln_1(stream))

    def project(self, normed: Tensor) -> list[Tensor]:
        """Queries, keys and values of tokens that are normed."""
        attn = self.block.attn
        # Written as the exporter writes attention itself, so that both point to the same stored weights.
        projected = normed @ attn.in_proj_weight.t() + attn.in_proj_bias
        return [facet.reshape(len(normed), self.heads, self.depth).transpose(0, 1) for facet in projected.chunk(3, dim=-1)]

    def attention(
        self, facets: Sequence[Tensor], term: Term, scale: Tensor | float | None = None, bonus: Tensor | None = None
    ) -> Tensor:
        """The similarity of two facets, or of one with itself, as attention `(T, N, N)`."""
        left, right = (facets["qkv".index(letter)] for letter in term)
        logits = wide(left @ right.transpose(1, 2)) * (self.scale if scale is None else scale)
        return (logits if bonus is None else logits + bonus).softmax(dim=-1).to(left.dtype)

    def out(self, gathered: Tensor) -> Tensor:
        """Heads `(T, N, d / T)` joined and projected: `(N, d)`."""
        attn = self.block.attn
        joined = gathered.transpose(0, 1).reshape(gathered.shape[1], -1)
        projected: Tensor = joined @ attn.out_proj.weight.t() + attn.out_proj.bias
        scaled: Tensor = self.block.ls_1(projected)
        return scaled

    def fed(self, stream: Tensor) -> Tensor:
        """The block's MLP, added to its input."""
        after: Tensor = stream + self.block.ls_2(self.block.mlp(self.block.ln_2(stream)))
        return after

    def first(self, stream: Tensor) -> Tensor:
        """The class token alone after the block, `(1, d)`."""
        query, key, value = self.facets(stream)
        gathered = self.attention((query[:, :1], key, value), "qk") @ value
        return self.fed(stream[:1] + self.out(gathered))


class Head(nn.Module):
    """What follows the blocks: norm and projection into the space that words share."""

    def __init__(self, norm: nn.Module, projection: Tensor | None) -> None:
        super().__init__()
        self.norm, self.projection = norm, projection

    def forward(self, stream: Tensor) -> Tensor:
        """Tokens `(N, d)` to vectors `(N, D)`, not normalised."""
        normed: Tensor = self.norm(stream)
        return normed if self.projection is None else normed @ self.projection


def unit(vectors: Tensor) -> Tensor:
    """Vectors of length 1."""
    return F.normalize(wide(vectors), dim=-1).to(vectors.dtype)


def at_side(visual: Tower, side: int) -> Tower:
    """The same tower for squares of another side: its positions are spread over the other grid, and every weight is shared."""
    import copy

    patch, old = visual.patch_size[0], visual.grid_size
    new = (side // patch, side // patch)
    if new == tuple(old):
        return visual
    table = visual.positional_embedding.detach()
    grid = table[1:].reshape(1, *old, -1).permute(0, 3, 1, 2)
    spread = F.interpolate(grid.float(), new, mode="bicubic", antialias=True, align_corners=False)
    positions = torch.cat([table[:1], spread.to(table.dtype)[0].flatten(1).t()])
    other = copy.copy(visual)
    other._parameters = {**visual._parameters, "positional_embedding": nn.Parameter(positions, requires_grad=False)}
    other.grid_size, other.image_size = new, (side, side)
    return other
