"""What many blocks attend to, together: CLIPer's features of early layers, and the affinity by which CLIP-ES refines maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from export.dense import Outputs, summed
from export.encoders import Tower, wide
from export.graphs import Pixels
from export.transformer import Block, Head, unit


class LayersHead(nn.Module):
    """CLIPer: values of every block's input gathered by the attention of all blocks, a set of features for each."""

    def __init__(self, blocks: list[Block], head: Head) -> None:
        super().__init__()
        self.blocks: list[Block] = nn.ModuleList(blocks)  # type: ignore[assignment]
        self.head = head

    def forward(self, stream: Tensor) -> Outputs:
        """Take the stream `(1 + n, d)`; give unit features `(L, n, D)`, the embedding `(D,)` and the attention `(n, n)`."""
        inputs, attentions = [], []
        for block in self.blocks[:-1]:
            facets = block.facets(stream)
            inputs.append(block.block.ln_1(stream))
            attentions.append(wide(block.attention(facets, "qk")))
            stream = block.after(stream, facets)
        last, shared = self.blocks[-1], summed(attentions, mean=False)
        features, gathering = [], shared
        for tokens in [*inputs, stream]:
            # One round more for every set: so did the published code, which normalised in place.
            shared = shared / shared.sum(dim=1, keepdim=True)
            shared = shared / shared.sum(dim=2, keepdim=True)
            gathering = (shared + shared.transpose(1, 2)) / 2
            gathering = (gathering - gathering.mean(dim=1, keepdim=True)).relu()
            gathering = gathering / gathering.sum(dim=2, keepdim=True)
            values = last.facets(tokens)[2]
            features.append(unit(self.head(last.out(gathering.to(values.dtype) @ values))[1:]))
        return torch.stack(features), self.head(last.first(stream))[0], gathering.mean(dim=0)[1:, 1:]


class AffinityGraph(nn.Module):
    """A picture, once: which patches the last blocks tie together, by their attention."""

    def __init__(self, pixels: Pixels, visual: Tower, blocks: list[Block], count: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.pixels, self.visual, self.count, self.dtype = pixels, visual, count, dtype
        self.blocks: list[Block] = nn.ModuleList(blocks)  # type: ignore[assignment]

    def forward(self, pixels: Tensor) -> tuple[Tensor]:
        """Take u8 `(1, R, R, 3)`; give the affinity of patches `(n, n)`."""
        return (self.affinity(self.visual._embeds(self.pixels(pixels).to(self.dtype))[0]).float(),)

    def affinity(self, stream: Tensor) -> Tensor:
        """Take the stream `(1 + n, d)` that enters the first block."""
        attentions = []
        for number, block in enumerate(self.blocks):
            facets = block.facets(stream)
            if number >= len(self.blocks) - self.count:
                attentions.append(wide(block.attention(facets, "qk")).mean(dim=0)[1:, 1:])
            stream = block.after(stream, facets)
        return ties_between(attentions)


def ties_between(attentions: list[Tensor]) -> Tensor:
    """Which patches are tied together `(n, n)` by the attention of several blocks `(n, n)` each."""
    ties = summed(attentions, mean=True)
    for _ in range(3):
        ties = ties / ties.sum(dim=0, keepdim=True)
        ties = ties / ties.sum(dim=1, keepdim=True)
    ties = (ties + ties.t()) / 2
    return ties @ ties
