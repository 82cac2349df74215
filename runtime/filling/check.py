"""What every trained CLIP knows, asked of a freshly filled bundle: weights in the wrong places do not know it.

Two words for one thing are nearer to each other than to another thing, and a picture of one colour is nearest to that colour's
name. Each holds for a trained model nearly always, and for scrambled numbers by chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.manifest import TEXT_GRAPHS
from runtime.backends.session import Backend, LazySession
from runtime.bundles import open_bundle
from runtime.errors import WeightsError
from runtime.query import Query
from runtime.text import TextEncoder

Vectors = NDArray[np.float32]

# A word, another word for the same, and another thing.
WORDS = (
    ("a car", "an automobile", "a banana"),
    ("a cat", "a kitten", "an airplane"),
    ("a dog", "a puppy", "a bridge"),
    ("a boat", "a ship", "an apple"),
    ("the sea", "the ocean", "a fork"),
    ("a child", "a kid", "a truck"),
    ("a road", "a street", "a pizza"),
    ("a sofa", "a couch", "a horse"),
    ("a photo", "a picture", "an elephant"),
    ("a forest", "the woods", "a laptop"),
    ("a bicycle", "a bike", "a sandwich"),
    ("a television", "a tv", "a giraffe"),
)
COLOURS = {
    "red": (220, 20, 20),
    "green": (20, 170, 40),
    "blue": (20, 40, 220),
    "yellow": (250, 220, 20),
    "black": (0, 0, 0),
    "white": (255, 255, 255),
}
# Scrambled numbers know 6 of 12 words and 1 of 6 colours by chance.
ENOUGH_WORDS, ENOUGH_COLOURS = 10, 2
LENGTH_ERROR = 1e-4


@dataclass(frozen=True)
class Known:
    """How much of what it should know a model knows."""

    words: int
    colours: int

    @property
    def enough(self) -> bool:
        """Whether a trained model is likely."""
        return self.words >= ENOUGH_WORDS and self.colours >= ENOUGH_COLOURS

    def __str__(self) -> str:
        return f"it knows {self.words} of {len(WORDS)} pairs of words and {self.colours} of {len(COLOURS)} colours"


def examine(folder: Path, backend: Backend) -> Known:
    """Ask a bundle what it should know; raises WeightsError where its numbers are none."""
    bundle = open_bundle(folder)
    graphs = {name: LazySession(backend, bundle.graph(name)) for name in bundle.manifest.graphs}
    text = TextEncoder(bundle, {name: graphs[name] for name in TEXT_GRAPHS if name in graphs})
    words = units(text.embed([Query((word,)) for row in WORDS for word in row]), "words").reshape(len(WORDS), 3, -1)
    side = bundle.manifest.image.side
    pictures = [np.full((1, side, side, 3), colour, dtype=np.uint8) for colour in COLOURS.values()]
    shown = units(np.stack([graphs["image"].run({"pixels": picture})["embedding"] for picture in pictures]), "pictures")
    names = text.embed([Query((f"the colour {name}",)) for name in COLOURS])
    alike = shown @ names.T  # less what any picture has in common with a name: models have favourites among words
    if "instant" in graphs:
        found = graphs["instant"].run({"pixels": pictures[0]})
        units(found["embeddings"] if "embeddings" in found else found["embedding"], "masked pictures")
        units(found["base"], "the blank picture")
    return Known(
        words=int(((words[:, 0] * words[:, 1]).sum(axis=1) > (words[:, 0] * words[:, 2]).sum(axis=1)).sum()),
        colours=int(((alike - alike.mean(axis=0)).argmax(axis=1) == np.arange(len(COLOURS))).sum()),
    )


def units(vectors: Vectors, what: str) -> Vectors:
    """Refuse embeddings that are not finite or not of unit length."""
    lengths = np.linalg.norm(vectors, axis=-1)
    if not np.isfinite(vectors).all() or np.abs(lengths - 1).max() > LENGTH_ERROR:
        raise WeightsError(
            f"with these weights the embeddings of {what} are no unit vectors: the file is damaged, or its numbers are too large "
            "for the precision asked for"
        )
    return vectors
