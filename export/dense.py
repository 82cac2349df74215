"""The dense graphs: one pass gives features of every patch, which are multiplied with words afterwards, as often as you like.

`TokenHead` follows the switches of `engine.heads.Head`: the last blocks of a transformer, run in another way than they were
trained.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engine.cells import nearby
from engine.heads import Head as Switches
from engine.heads import Term
from export.encoders import Tower, wide
from export.graphs import Pixels
from export.transformer import Block, Head, unit

Outputs = tuple[Tensor, ...]


class DenseGraph(nn.Module):
    """A picture, once: features of its patches, and its embedding."""

    def __init__(self, pixels: Pixels, visual: Tower, head: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.pixels, self.visual, self.head, self.dtype = pixels, visual, head, dtype
        self.grid_hw: tuple[int, int] = tuple(visual.grid_size)

    def forward(self, pixels: Tensor) -> Outputs:
        """Take u8 `(1, R, R, 3)`; give features `(L, h, w, D)`, the unit embedding `(D,)`, and what else the head gives."""
        stream = self.visual._embeds(self.pixels(pixels).to(self.dtype))[0]
        features, embedding, *more = self.head(stream)
        height, width = self.grid_hw
        on_grid = features.reshape(-1, height, width, features.shape[-1])
        return on_grid.float(), unit(embedding.float()), *(each.float() for each in more)


class TokenHead(nn.Module):
    """Features of patches by the switches of a row; what is asked of the class token is as the model was trained."""

    bonus: Tensor | None

    def __init__(self, blocks: list[Block], head: Head, switches: Switches, grid_hw: tuple[int, int]) -> None:
        super().__init__()
        self.early: list[Block] = nn.ModuleList(blocks[: -switches.blocks])  # type: ignore[assignment]
        self.late: list[Block] = nn.ModuleList(blocks[-switches.blocks :])  # type: ignore[assignment]
        self.head, self.switches = head, switches
        bonus = torch.from_numpy(nearby(grid_hw, switches.nearby)).to(dtype_of(blocks)) if switches.nearby else None
        self.register_buffer("bonus", bonus)

    def forward(self, stream: Tensor) -> Outputs:
        """Take the stream `(1 + n, d)` that enters the first block; give unit features `(n, D)` and the embedding `(D,)`."""
        mixed = []
        for number, block in enumerate(self.early, 1):
            facets = block.facets(stream)
            if number in self.switches.mixed:
                mixed.append(summed([block.attention(facets, term) for term in self.switches.mixed_terms], self.switches.mean))
            stream = block.after(stream, facets)
        out, last = self.two_streams(stream) if self.switches.dual else self.one_stream(stream, mixed)
        return unit(self.head(out)[1:]), self.head(last)[0]

    def one_stream(self, stream: Tensor, mixed: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Run the last block in the other way; also give the class token after the block as it was trained."""
        switches, block = self.switches, self.late[-1]
        facets = block.facets(stream)
        if switches.terms == ("own",):
            gathered = facets[2]
        else:
            attention = summed([block.attention(facets, term, bonus=self.bonus) for term in switches.terms], switches.mean)
            if mixed:
                attention = switches.gain * ((1 - switches.share) * attention + switches.share * summed(mixed, True))
            gathered = attention @ facets[2]
        out = block.out(gathered)
        if switches.residual == "stream":
            out = stream + out
        return block.fed(out) if switches.ffn else out, block.first(stream)

    def two_streams(self, stream: Tensor) -> tuple[Tensor, Tensor]:
        """Let a second stream gather what each of the last blocks adds in the other way, while the first runs as trained."""
        other = stream
        for block in self.late:
            facets = block.facets(stream)
            scale = None
            if self.switches.unit:
                scale = wide(block.block.ln_1(stream)).norm(dim=-1).mean() * block.scale
            alike = [self.self_attention(block, facets, term, scale) for term in self.switches.terms]
            out = block.out(summed(alike, self.switches.mean) @ facets[2])
            other = other + out if self.switches.residual == "stream" else out
            stream = block.after(stream, facets)
        return other, stream[:1]

    def self_attention(self, block: Block, facets: list[Tensor], term: Term, scale: Tensor | None) -> Tensor:
        """The attention of a facet with itself, which may first be averaged by it."""
        if not self.switches.unit:
            return block.attention(facets, term)
        facet = unit(facets["qkv".index(term[0])])
        for _ in range(self.switches.rounds):
            facet = unit(block.attention((facet, facet, facet), "qq", scale) @ facet)
        return block.attention((facet, facet, facet), "qq", scale)


def summed(parts: list[Tensor], mean: bool) -> Tensor:
    """The sum of several, or their mean."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total / len(parts) if mean else total


def dtype_of(blocks: list[Block]) -> torch.dtype:
    """The type that sums of attention are made in."""
    kind = blocks[0].block.attn.in_proj_weight.dtype
    return torch.float64 if kind == torch.float64 else torch.float32
