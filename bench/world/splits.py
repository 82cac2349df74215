"""The splits of the world and their scenes: one seed, one split and one index give one scene, for ever."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from bench.world.artwork import MAIN, SEEN, UNSEEN, Sprites
from bench.world.captions import caption
from bench.world.layout import Plan, Recipe, picture_hw, plan
from bench.world.nouns import nouns
from bench.world.paint import SOLID, Painted, paint_with_truth

VERSION = 1  # part of every seed: raise it when a change of the drawing code changes the pictures
AREA = 256 * 256
LEAST_SEEN = 0.55  # share of its pixels that every object of a scene shows

_HALF = Recipe(artwork=MAIN)
# For the first part of a training run: one object from close by, on small pictures.
CLOSE = Recipe(
    artwork=SEEN,
    main=0.75,
    counts=(1.0,),
    sizes=((0.5, 1.0),),
    turn=20.0,
    shear=0.04,
    strange=0.02,
    occluded=0.1,
)
RECIPES: dict[str, Recipe] = {
    "train": Recipe(
        artwork=SEEN,
        main=0.75,
        counts=(0.45, 0.4, 0.1, 0.05),
        sizes=((0.42, 0.88), (0.38, 0.64), (0.31, 0.48), (0.27, 0.42)),
        aspects=((1.0, 1.0), (0.5, 2.0)),
        turn=20.0,
        shear=0.04,
        overlap=0.14,
        strange=0.02,
        occluded=0.18,
    ),
    "val": _HALF,
    "test": _HALF,
    "pairs": Recipe(artwork=MAIN, counts=(0.0, 1.0)),
    "crowd": Recipe(artwork=MAIN, counts=(0.0, 0.0, 0.5, 0.5)),
    "wide": Recipe(artwork=MAIN, aspects=((2.0, 2.0), (0.5, 0.5))),
    "absent": _HALF,
    "unseen-background": Recipe(artwork=MAIN, backgrounds="unseen"),
    "other-artwork": Recipe(artwork=SEEN, main=0.0),
    "unseen-artwork": Recipe(artwork=UNSEEN),
}
CODES = {name: code for code, name in enumerate(RECIPES)}


@dataclass(frozen=True, slots=True)
class Thing:
    """One object in a scene: its noun, its box (xyxy, half-open pixels) and its visible mask (h, w)."""

    noun: str
    box: tuple[int, int, int, int]
    mask: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Example:
    """A picture (h, w, 3) with its whole truth; absent names nouns that the picture does not show."""

    split: str
    index: int
    pixels: NDArray[np.uint8]
    things: tuple[Thing, ...]
    caption: str
    absent: tuple[str, ...]


def generator(split: str, index: int, seed: int = 0) -> Generator:
    """The random numbers of one scene; no two scenes of any splits share theirs."""
    if split not in CODES:
        raise ValueError(f"split `{split}` is unknown: choose one of {', '.join(CODES)}")
    return np.random.default_rng([VERSION, CODES[split], seed, index])


def example(sprites: Sprites, split: str, index: int, seed: int = 0) -> Example:
    """Draw one scene with its truth."""
    rng = generator(split, index, seed)
    recipe = RECIPES[split]
    count = 1 + int(rng.choice(len(recipe.counts), p=recipe.counts))
    while True:
        wanted = tuple(int(noun) for noun in rng.permutation(len(nouns()))[:count])
        scene = plan(rng, sprites, recipe, picture_hw(rng, recipe, AREA), wanted)
        painted = paint_with_truth(rng, sprites, scene, recipe.backgrounds)
        if len(scene.items) == count and _all_in_sight(sprites, scene, painted):
            break
    held = tuple(item.noun for item in scene.items)
    things = tuple(Thing(nouns()[noun], box_of(mask), mask) for noun, mask in zip(held, painted.masks, strict=True))
    others = np.setdiff1d(np.arange(len(nouns())), held)
    absent = (nouns()[int(rng.choice(others))],)
    return Example(split, index, painted.pixels, things, caption(rng, held)[0], absent)


def box_of(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """The box (x0, y0, x1, y1), half-open, of the set pixels of a mask (h, w)."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _all_in_sight(sprites: Sprites, scene: Plan, painted: Painted) -> bool:
    """Whether every object shows most of itself: not hidden, and not outside the picture."""
    for item, mask in zip(scene.items, painted.masks, strict=True):
        solid = float((sprites.levels[0][item.sprite, ..., 3] >= SOLID).mean())
        whole = solid * abs(float(np.linalg.det(item.affine)))
        if mask.sum() < LEAST_SEEN * whole:
            return False
    return True
