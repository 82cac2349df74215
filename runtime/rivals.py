"""Nouns that compete with what is asked, where a method compares words with words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from engine.manifest import Manifest
from runtime.errors import QueryError
from runtime.query import Query
from runtime.scene import Floats
from runtime.text import TextEncoder, mentions

# Nouns of backgrounds, as the published segmentation recipes for Pascal VOC list them.
BACKGROUND = (
    "sky", "wall", "tree", "wood", "grass", "road", "sea", "river", "mountain", "sands", "desk", "bed", "building", "cloud",
    "lamp", "door", "window", "wardrobe", "ceiling", "shelf", "curtain", "stair", "floor", "hill", "rail", "fence",
)  # fmt: skip


def usual_rivals(manifest: Manifest) -> tuple[str, ...]:
    """What competes where nobody says: all nouns that a small model knows, else those of common backgrounds."""
    return tuple(manifest.nouns or BACKGROUND)


@dataclass(frozen=True)
class Rivals:
    """The nouns, and how they are put into sentences. Safe to share between threads."""

    text: TextEncoder
    templates: tuple[str, ...]
    nouns: tuple[str, ...]

    @cached_property
    def all(self) -> Floats:
        """The embeddings `(K, D)` of all nouns."""
        return self.text.embed([Query((noun,), self.templates) for noun in self.nouns])

    def to(self, queries: Sequence[Query], texts: Floats) -> Floats:
        """The embeddings `(M, D)` of the nouns that none of the queries names; `texts` `(Q, D)` are the queries' own."""
        rows = [row for row, noun in enumerate(self.nouns) if not any(mentions(query, noun) for query in queries)]
        return self.all[rows] if rows else np.zeros((0, texts.shape[1]), np.float32)


def refuse_alone(what: str, words: int) -> None:
    """Refuse a lone word where words are shown by what they beat."""
    if words < 2:
        raise QueryError(
            f"{what} shows where words beat other words, and there are none: ask for several things at once, or name what else "
            "may be there, `background=[...]`"
        )
