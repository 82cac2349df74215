"""A picture reduced to what questions need: its maps, every noun's scores, and its truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.world.nouns import number
from bench.world.splits import Example
from engine.frame import Frame
from engine.masks import live_maps
from engine.outline import Outline
from runtime.scene import Floats, Scene

EPS = 1e-7  # of the masks, as in the bundle's graphs


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """One noun that a picture shows: its boxes (m, 4) and its visible pixels (H, W)."""

    noun: int
    boxes: NDArray[np.float64]
    mask: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """Unit embeddings (N, D) of all nouns: as they are asked for, and as classes to choose from."""

    asked: Floats
    classes: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """`scores` (N, K) are relative to the base; `similarity` and `classes` (N,) are of the whole picture."""

    picture: int  # its place in the split's list
    frame: Frame
    maps: Floats  # (K, n): the grid's cells in one row
    scaled: Floats  # (K, n): each map brought to [0, 1]
    live: NDArray[np.bool_]  # (K,)
    scores: Floats
    similarity: Floats
    classes: Floats
    truths: tuple[Truth, ...]
    absent: tuple[int, ...]
    grid_hw: tuple[int, int]
    outline: Outline | None = None  # of the picture, gathered once for every spec to come

    @property
    def asked(self) -> list[int]:
        """The nouns that the picture shows, each a query."""
        return [truth.noun for truth in self.truths]


def make_sheet(place: int, example: Example, scene: Scene, texts: Texts) -> Sheet:
    """Score every noun on an encoded picture."""
    count, height, width = scene.maps.shape
    low, high = (bound(scene.maps, axis=(1, 2), keepdims=True) for bound in (np.min, np.max))
    return Sheet(
        picture=place,
        frame=scene.frame,
        maps=scene.maps.reshape(count, -1),
        scaled=((scene.maps - low) / (high - low + np.float32(EPS))).reshape(count, -1),
        live=live_maps(scene.maps),
        scores=texts.asked @ (scene.embeddings - scene.base).T,
        similarity=texts.asked @ scene.embedding,
        classes=texts.classes @ scene.embedding,
        truths=truths(example),
        absent=tuple(number(noun) for noun in example.absent),
        grid_hw=(height, width),
        outline=None if scene.guide is None else Outline(scene.guide, (height, width)),
    )


def truths(example: Example) -> tuple[Truth, ...]:
    """The nouns of a picture in order; things of one noun are one truth with several boxes."""
    found = []
    for noun in dict.fromkeys(thing.noun for thing in example.things):
        things = [thing for thing in example.things if thing.noun == noun]
        mask = np.logical_or.reduce([thing.mask for thing in things])
        found.append(Truth(number(noun), np.array([thing.box for thing in things], np.float64), mask))
    return tuple(found)
