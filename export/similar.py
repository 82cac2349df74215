"""SC-CLIP and its like: outlying patches repaired, and features averaged over patches that resemble each other.

The last block sees patches only, with resemblance as one of its attentions. A second branch sends the sum of earlier streams
through it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engine.cells import touching
from engine.heads import Head as Switches
from engine.heads import Similarity, Term
from export.dense import Outputs, summed
from export.encoders import wide
from export.transformer import NEVER, Block, Head, unit

LOOKED_AT, MOST_LOOKED_AT = 1.5, 10  # the class token looks so much more at an outlier than that at itself; how many at most


class SimilarHead(nn.Module):
    """Features of patches by the switches of a row with a `Similarity`."""

    neighbours: Tensor
    identity: Tensor

    def __init__(
        self, blocks: list[Block], head: Head, switches: Switches, similarity: Similarity, grid_hw: tuple[int, int]
    ) -> None:
        super().__init__()
        self.blocks: list[Block] = nn.ModuleList(blocks)  # type: ignore[assignment]
        self.head, self.switches, self.similarity = head, switches, similarity
        dtype = blocks[0].block.attn.in_proj_weight.dtype
        self.register_buffer("neighbours", torch.from_numpy(touching(grid_hw)).to(dtype))
        self.register_buffer("identity", torch.eye(grid_hw[0] * grid_hw[1], dtype=dtype))

    def forward(self, stream: Tensor) -> Outputs:
        """Take the stream `(1 + n, d)` that enters the first block; give unit features `(n, D)` and the embedding `(D,)`."""
        streams, looks = [stream], stream
        for number, block in enumerate(self.blocks[:-1], 1):
            facets = block.facets(stream)
            if number == len(self.blocks) - 1 and self.similarity.outliers == "class":
                looks = block.attention(facets, "qk").mean(dim=0)
            stream = block.after(stream, facets)
            streams.append(stream)
        outliers = self.dense_ones(stream[1:]) if self.similarity.outliers == "lof" else self.looked_at(looks)
        before = alike(self.filled(streams[self.similarity.before][1:], outliers))
        after = alike(streams[self.similarity.after][1:])
        similar = self.as_attention(before)
        first = self.branch(self.average(before, self.filled(stream[1:], outliers)), stream[:1], similar, self.switches.terms)
        earlier = summed([streams[number] for number in self.similarity.summed], mean=False)
        second = self.branch(earlier[1:], earlier[:1], similar, self.similarity.second)
        both = self.average(after, first) + self.average(after, second)
        return unit(self.head(both)), self.head(self.blocks[-1].first(stream))[0]

    def branch(self, patches: Tensor, first: Tensor, similar: Tensor, terms: tuple[Term, ...]) -> Tensor:
        """Patches `(n, d)` through the last block's attention, with a share of the class token added."""
        block = self.blocks[-1]
        facets = block.facets(patches)
        attention = summed(
            [similar if term == "similar" else block.attention(facets, term) for term in terms], self.switches.mean
        )
        return block.out(attention @ facets[2]) + self.similarity.class_share * first

    def as_attention(self, similar: Tensor) -> Tensor:
        """Resemblance `(n, n)` above its mean as attention."""
        kept = self.above_floor(similar) if self.similarity.floored else similar
        logits = self.similarity.sharpness * wide(kept - kept.mean())
        return torch.where(-1 * logits > 0, NEVER, logits).softmax(dim=-1).to(similar.dtype)

    def above_floor(self, similar: Tensor) -> Tensor:
        """What resembles less becomes 0."""
        return torch.where(similar > self.similarity.floor, similar, 0.0)

    def average(self, similar: Tensor, patches: Tensor) -> Tensor:
        """Each patch as the mean of those that resemble it."""
        weights = self.above_floor(similar)
        return weights @ patches / (weights.sum(dim=1, keepdim=True) + 1e-6)

    def filled(self, patches: Tensor, outliers: Tensor) -> Tensor:
        """Outliers `(n, 1)` replaced by the mean of their neighbours that are none, where they have any."""
        kept = 1 - outliers
        count = self.neighbours @ kept
        some = (count > 0).to(patches.dtype)
        mean = self.neighbours @ (kept * patches) / (count + 1 - some)
        return patches + outliers * some * (mean - patches)

    def dense_ones(self, patches: Tensor) -> Tensor:
        """Patches in sparse surroundings `(n, 1)`: the twentieth of them whose local outlier factor is largest."""
        values = wide(patches)
        count = len(patches)
        squares = (values * values).sum(dim=1, keepdim=True)
        apart = squares + squares.t() - 2 * (values @ values.t())
        nearest = min(self.similarity.neighbours, count // 3)
        reach = apart.topk(nearest + 1, dim=1, largest=False).values[:, -1:]  # the first is the patch itself
        near = 1 - (apart > reach).to(values.dtype) - self.identity.to(values.dtype)
        factor = reach * (near @ (torch.ones_like(reach) / reach)) / nearest
        return largest(factor, count - 1 - 19 * (count - 1) // 20).to(patches.dtype)

    def looked_at(self, attention: Tensor) -> Tensor:
        """Patches that the class token looks at more than they look at themselves `(n, 1)`, the ten most looked at."""
        own = (attention[1:, 1:] * self.identity).sum(dim=1, keepdim=True)
        looks = attention[:1, 1:].t()
        found = (LOOKED_AT * looks > own).to(looks.dtype)
        return found * largest(looks * found, min(MOST_LOOKED_AT, len(looks)))


def alike(patches: Tensor) -> Tensor:
    """How much patches `(n, d)` resemble each other: cosines `(n, n)`."""
    units = unit(patches)
    return units @ units.t()


def largest(values: Tensor, count: int) -> Tensor:
    """1 for the largest so many of the values `(n, 1)`, else 0."""
    least = values[:, 0].topk(count).values[-1]
    return 1 - (least > values).to(values.dtype)
