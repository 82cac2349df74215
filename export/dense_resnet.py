"""The dense methods on CLIP's ResNets: their attention pool, asked for every cell of the last maps instead of for their mean."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.cells import nearby
from engine.heads import Head as Switches
from export.encoders import FoldedAttentionPool, ResNetEncoder, Tower, wide
from export.gradients import gate, joined, off
from export.graphs import Pixels
from export.transformer import unit

SHARPNESS = 8.0  # of values with each other, in CLIP Surgery


class PoolGraph(nn.Module):
    """A picture, once: features of the cells of its last maps, and its embedding."""

    def __init__(
        self, pixels: Pixels, encoder: ResNetEncoder, cells: nn.Module, grid_hw: tuple[int, int], dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.pixels, self.encoder, self.cells, self.grid_hw, self.dtype = pixels, encoder, cells, grid_hw, dtype

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Take u8 `(1, R, R, 3)`; give features `(1, h, w, D)` and the unit embedding `(D,)`."""
        maps = self.encoder.stages(self.encoder.stem(self.pixels(pixels).to(self.dtype)))
        features, embedding = self.cells(maps[0].flatten(1).t())
        height, width = self.grid_hw
        return features.reshape(1, height, width, -1).float(), unit(embedding.float())


class CellsHead(nn.Module):
    """Features of cells by the switches of a row, from the last maps as rows."""

    key_bias: Tensor
    bonus: Tensor | None

    def __init__(self, pool: FoldedAttentionPool, original: Tower, switches: Switches, grid_hw: tuple[int, int]) -> None:
        """Take the folded pool, and the one that it was made from, which has the keys' bias."""
        super().__init__()
        self.pool, self.switches = pool, switches
        heads, dtype = pool.query_bias.shape[0], pool.position.dtype
        self.register_buffer("key_bias", original.k_proj.bias.detach().view(heads, 1, -1).to(dtype))
        bonus = torch.from_numpy(nearby(grid_hw, switches.nearby)).float() if switches.nearby else None
        self.register_buffer("bonus", bonus)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Take the cells' rows `(n, C)`; give features `(n, D)` and the embedding `(D,)`."""
        pool = self.pool
        tokens = torch.cat([rows.mean(dim=0, keepdim=True), rows]) + pool.position
        embedding = pool.attend(tokens.unsqueeze(0))
        if self.switches.terms == ("own",):
            return unit(self.out(rows @ pool.value_weight + pool.value_bias)), embedding[0]
        values = tokens @ pool.value_weight + pool.value_bias  # (H, 1 + n, d)
        if self.switches.kind == "tokens":
            return unit(self.out(self.likeness(tokens, values) @ values)[1:]), embedding[0]
        length = wide(embedding).norm()
        if self.switches.kind == "grad-eclip":
            query, keys = tokens[:1] @ pool.query_weight + pool.query_bias, self.keys(tokens)
            moved = wide(joined(values)[1:] @ pool.out_weight)
            gates: Tensor | float = gate(joined(query), joined(keys)[1:])
        else:
            moved, gates = wide(self.moved(rows, tokens, values)), 1 / len(rows)
        return gates * off(moved / length, wide(embedding) / length), embedding[0]

    def out(self, heads: Tensor) -> Tensor:
        """Heads `(H, N, d)` joined and projected into the space of words `(N, D)`."""
        return joined(heads) @ self.pool.out_weight + self.pool.out_bias

    def keys(self, tokens: Tensor) -> Tensor:
        """Keys `(H, N, d)`, which the folded pool never forms."""
        return tokens @ self.pool.key_weight.transpose(1, 2) + self.key_bias

    def likeness(self, tokens: Tensor, values: Tensor) -> Tensor:
        """Attention of values with themselves, or of keys with a bonus for neighbours `(H, 1 + n, 1 + n)`."""
        scale = values.shape[-1] ** -0.5
        if self.switches.terms == ("vv",):
            lengths = wide(values).norm(dim=-1, keepdim=True) + 1e-6
            sides, scale = (values / lengths.to(values.dtype)), SHARPNESS * scale
        else:
            sides = self.keys(tokens)
        logits: Tensor = wide(sides @ sides.transpose(1, 2)) * scale
        return (logits if self.bonus is None else logits + self.bonus.to(logits.dtype)).softmax(dim=-1).to(values.dtype)

    def moved(self, rows: Tensor, tokens: Tensor, values: Tensor) -> Tensor:
        """How a change of all cells along one cell would move the embedding, by values and by the query `(n, D)`."""
        pool, keys = self.pool, self.keys(tokens)
        query = tokens[:1] @ pool.query_weight + pool.query_bias  # (H, 1, d), scaled
        attention = wide(query @ keys.transpose(1, 2)).softmax(dim=-1).to(keys.dtype)  # (H, 1, 1 + n)
        apart = keys - attention @ keys
        turned = apart.transpose(1, 2) @ (attention.transpose(1, 2) * values)  # (H, d, d): from the query to the values' sum
        by_values, by_query = rows @ pool.value_weight, (rows @ pool.query_weight) @ turned
        both: Tensor = joined(by_values + by_query) @ pool.out_weight
        return both


def pool_at(pool: FoldedAttentionPool, old_hw: tuple[int, int], new_hw: tuple[int, int]) -> FoldedAttentionPool:
    """The pool for a grid of another size: its positions are spread over it, and every weight is shared."""
    if old_hw == new_hw:
        return pool
    table = pool.position.float()
    grid = table[1:].reshape(1, *old_hw, -1).permute(0, 3, 1, 2)
    spread = F.interpolate(grid, new_hw, mode="bilinear", align_corners=False)[0].flatten(1).t()
    other = copy.copy(pool)
    other._buffers = {**pool._buffers, "position": torch.cat([table[:1], spread]).to(pool.position.dtype)}
    return other
