"""Plans of scenes: which objects, where, how large, turned and coloured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from bench.world.artwork import Sprites

TRIES = 24


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the scenes of a split are drawn; lengths are shares of the picture's shorter side."""

    artwork: tuple[str, ...]
    main: float = 1.0  # chance that an object is drawn from the first set, and not from the others
    backgrounds: str = "seen"
    counts: tuple[float, ...] = (0.5, 0.5)  # chance of 1, 2, ... objects
    sizes: tuple[tuple[float, float], ...] = ((0.45, 0.85), (0.4, 0.62), (0.32, 0.48), (0.28, 0.42))
    aspects: tuple[tuple[float, float], ...] = ((1.0, 1.0), (0.625, 1.6))  # ranges of width / height
    turn: float = 18.0
    shear: float = 0.0
    overlap: float = 0.12
    strange: float = 0.0  # chance that the colours of an object change beyond recognition
    occluded: float = 0.15  # chance that something covers a part of an object


@dataclass(frozen=True, slots=True)
class Item:
    """One object: its noun, its sprite and the affine map (2, 2) from sprite (side 1) to picture pixels."""

    noun: int
    sprite: int
    centre_yx: tuple[float, float]
    size: float
    affine: NDArray[np.float64]
    tint: NDArray[np.float32]  # (4, 4) on premultiplied RGBA


@dataclass(frozen=True, slots=True)
class Plan:
    """A picture before it is painted; cover is (y, x, radius, stretch, angle) of an occluder or None."""

    hw: tuple[int, int]
    items: tuple[Item, ...]
    cover: tuple[float, float, float, float, float] | None


def picture_hw(rng: Generator, recipe: Recipe, area: int) -> tuple[int, int]:
    """A picture size of about the given area in pixels."""
    low, high = recipe.aspects[int(rng.integers(len(recipe.aspects)))]
    aspect = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    return round((area / aspect) ** 0.5), round((area * aspect) ** 0.5)


def tint(rng: Generator, strange: float) -> NDArray[np.float32]:
    """A colour change: hue rotation, saturation and gain as one matrix (4, 4) that keeps alpha."""
    odd = rng.random() < strange
    angle = rng.uniform(-np.pi, np.pi) if odd else rng.normal(0, 0.07)
    saturation = (rng.uniform(0, 1.3) if odd else rng.uniform(0.7, 1.3)) / 3
    cosine, sine = np.cos(angle), np.sin(angle) / np.sqrt(3)
    third = (1 - cosine) / 3
    turn = np.array(
        [
            [cosine + third, third - sine, third + sine],
            [third + sine, cosine + third, third - sine],
            [third - sine, third + sine, cosine + third],
        ]
    )
    mix = 3 * saturation * turn + (1 - 3 * saturation) / 3
    matrix = np.zeros((4, 4), np.float32)
    matrix[:3, :3] = mix * rng.uniform(0.8, 1.15)
    matrix[:3, 3] = rng.uniform(-0.06, 0.1)
    matrix[3, 3] = 1
    return matrix


def affine(rng: Generator, recipe: Recipe, size: float) -> NDArray[np.float64]:
    """Size, flip, turn, stretch and shear of one object as a matrix (2, 2) on (x, y)."""
    angle = np.deg2rad(rng.uniform(-recipe.turn, recipe.turn))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    stretch = np.exp(rng.uniform(-0.12, 0.12))
    shape = np.array([[stretch, rng.uniform(-1, 1) * recipe.shear], [0.0, 1 / stretch]])
    shape[:, 0] *= -1 if rng.random() < 0.5 else 1
    return np.asarray(size * turn @ shape)


def _place(
    rng: Generator, hw: tuple[int, int], size: float, taken: list[tuple[float, float, float]], overlap: float
) -> tuple[float, float] | None:
    """A centre for a new object that covers little of the ones before it, or None."""
    half = 0.5 * size
    for _ in range(TRIES):
        y = rng.uniform(min(0.9 * half, hw[0] / 2), max(hw[0] - 0.9 * half, hw[0] / 2))
        x = rng.uniform(min(0.9 * half, hw[1] / 2), max(hw[1] - 0.9 * half, hw[1] / 2))
        for other_y, other_x, other in taken:
            reach = half + 0.5 * other
            shared = max(0.0, reach - abs(y - other_y)) * max(0.0, reach - abs(x - other_x))
            if shared > overlap * min(size, other) ** 2:
                break
        else:
            return y, x
    return None


def _choices(rng: Generator, sprites: Sprites, recipe: Recipe, noun: int) -> NDArray[np.int64]:
    """The sprites that may show a noun; the first set has every noun, the others most."""
    first, others = recipe.artwork[:1], recipe.artwork[1:]
    found = sprites.choices(noun, first if rng.random() < recipe.main else others)
    return found if found.size else sprites.choices(noun, first)


def plan(rng: Generator, sprites: Sprites, recipe: Recipe, hw: tuple[int, int], nouns: tuple[int, ...] | None = None) -> Plan:
    """Plan one scene; nouns fixes what it shows (at least one is always placed)."""
    classes = int(sprites.noun.max()) + 1
    if nouns is None:
        count = 1 + int(rng.choice(len(recipe.counts), p=recipe.counts))
        nouns = tuple(int(noun) for noun in rng.permutation(classes)[:count])
    low, high = recipe.sizes[min(len(nouns), len(recipe.sizes)) - 1]
    items: list[Item] = []
    taken: list[tuple[float, float, float]] = []
    for noun in nouns:
        choices = _choices(rng, sprites, recipe, noun)
        size = min(hw) * float(rng.uniform(low, high))
        spot = _place(rng, hw, size, taken, recipe.overlap)
        if spot is None:
            continue
        sprite = int(choices[int(rng.integers(choices.size))])
        taken.append((*spot, size))
        items.append(Item(noun, sprite, spot, size, affine(rng, recipe, size), tint(rng, recipe.strange)))
    return Plan(hw, tuple(items), _cover(rng, items, recipe))


def _cover(rng: Generator, items: list[Item], recipe: Recipe) -> tuple[float, float, float, float, float] | None:
    """Something flat that reaches over the rim of one object and leaves most of it in sight."""
    if not items or rng.random() >= recipe.occluded:
        return None
    item = items[int(rng.integers(len(items)))]
    angle, away = rng.uniform(0, 2 * np.pi), rng.uniform(0.42, 0.55) * item.size
    y, x = item.centre_yx[0] + away * np.sin(angle), item.centre_yx[1] + away * np.cos(angle)
    radius = rng.uniform(0.12, 0.26) * item.size
    return (float(y), float(x), float(radius), float(rng.uniform(0.7, 1.5)), float(rng.uniform(0, 180)))
