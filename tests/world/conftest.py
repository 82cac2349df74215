"""A sprite file of plain shapes, so that the tests of the world need neither fonts nor artwork."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from bench.world.artwork import SEEN, UNSEEN, Sprites, load_sprites
from bench.world.nouns import nouns
from bench.world.rasterise import SIDE


def shape(number: int) -> np.ndarray:
    """A star-like sprite (SIDE, SIDE, 4) whose outline and colour depend on the number."""
    rng = np.random.default_rng(number)
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    radius = SIDE / 2 * rng.uniform(0.6, 1.0, 12)
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius[:, None] + SIDE / 2
    sprite = np.zeros((SIDE, SIDE, 4), np.uint8)
    shade = tuple(float(value) for value in rng.integers(0, 256, 3))
    cv2.fillPoly(sprite, [points.astype(np.int32)], (*shade, 255.0))
    return sprite


@pytest.fixture(scope="session")
def sprite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every noun once in the first training set and once in the unseen one."""
    path = tmp_path_factory.mktemp("world") / "sprites.npz"
    count = len(nouns())
    pixels = np.stack([shape(number) for number in range(2 * count)])
    noun = np.tile(np.arange(count), 2)
    artwork = np.repeat([0, len(SEEN)], count)
    sets = np.array(SEEN + UNSEEN)
    np.savez(path, pixels=pixels, noun=noun, artwork=artwork, sets=sets, nouns=np.array(nouns()))
    return path


@pytest.fixture(scope="session")
def sprites(sprite_file: Path) -> Sprites:
    """The loaded sprites."""
    return load_sprites(sprite_file)
