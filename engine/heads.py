"""How a dense method runs the last blocks of a transformer, as switches; the rows of `engine/methods.py` set them.

The switches are those in which the published methods differ; `export/dense.py` says what each does. Blocks are counted from 1
as in a transformer of twelve, for which the methods were published; `fitted` moves them to another depth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

# Which similarity of tokens serves as attention: that of queries and keys as trained, of one facet with itself, of the
# features of an earlier block, or none at all: every token then keeps its own value.
Term = Literal["qk", "qq", "kk", "vv", "similar", "own"]
Kind = Literal[
    "tokens",
    "similar",
    "layers",
    "grad-eclip",
    "textspan",
    "grad-cam",
    "affinity",
    "legrad",
    "clip-es",
    "grad-cam-plus",
    "channels",
]
Residual = Literal["stream", "none", "class"]
DEPTH = 12


@dataclass(frozen=True, slots=True)
class Similarity:
    """What SC-CLIP and its like add: outlying patches repaired, and features averaged over patches that resemble each other."""

    outliers: Literal["lof", "class"]  # by local density, or by how much the class token looks at them
    before: int = 9  # the block whose features say which patches resemble each other before the last block
    after: int = 4  # and after it
    summed: tuple[int, ...] = (4, 5, 6, 7, 8, 9, 10)  # blocks whose streams go through the last block as a second branch
    second: tuple[Term, ...] = ("kk", "similar")  # the attention of that branch
    floor: float = 0.4  # what resembles less is not averaged over
    sharpness: float = 3.0  # of resemblance as attention
    floored: bool = False  # whether resemblance as attention is of what lies above the floor alone
    class_share: float = 0.3  # of the class token, added to every patch
    neighbours: int = 30


@dataclass(frozen=True, slots=True)
class Head:
    """The switches of a dense method."""

    kind: Kind = "tokens"
    blocks: int = 1  # how many last blocks are run in the other way
    dual: bool = False  # whether that happens on a second stream, which the first one feeds while it runs as trained
    terms: tuple[Term, ...] = ("qk",)
    mean: bool = False  # of several terms: their mean; else their sum
    unit: bool = False  # facets are brought to unit length, and attention is as sharp as tokens are long
    rounds: int = 0  # times that facets are first averaged by their own attention
    nearby: float = 0.0  # width in cells of a bonus for neighbours; 0: none
    mixed: tuple[int, ...] = ()  # blocks whose attention is mixed in
    mixed_terms: tuple[Term, ...] = ("qk",)
    share: float = 0.0  # of what is mixed in
    gain: float = 1.0  # of the mixture
    residual: Residual = "none"
    ffn: bool = False  # whether the last block's MLP is run
    similarity: Similarity | None = None

    def fitted(self, depth: int) -> Head:
        """The same for another depth: of a shallow transformer no more than half is changed, and blocks lie at like heights."""
        if depth == DEPTH:
            return self
        similarity = self.similarity
        if similarity is not None:
            summed = tuple(dict.fromkeys(moved(number, depth) for number in similarity.summed))
            first, last = moved(similarity.after, depth), moved(similarity.before, depth)
            similarity = replace(similarity, before=last, after=first, summed=summed)
        mixed = tuple(dict.fromkeys(moved(number, depth) for number in self.mixed))
        blocks = self.blocks if depth > DEPTH else min(self.blocks, (depth + 1) // 2)
        return replace(self, blocks=blocks, mixed=mixed, similarity=similarity)


def moved(block: int, depth: int) -> int:
    """A block of twelve at the like height of another depth, always before the last one."""
    return min(max(1, round(block * depth / DEPTH)), depth - 1)
