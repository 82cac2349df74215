"""A coarse map follows the outlines of a picture, and stays as it is where there are none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.outline import Outline, follow, shares, shrink
from tests import oracle
from tests.configs import photo

GRID = (4, 4)


def half_and_half(split: int = 27) -> np.ndarray:
    """Grey up to a column, nearly white from it on; 64 pixels square."""
    square = np.full((64, 64, 3), 90, np.uint8)
    square[:, split:] = 230
    return square


def vague() -> np.ndarray:
    """Bright in the left columns of the grid, fading to the right."""
    return np.tile(np.array([1.0, 0.8, 0.2, 0.0], np.float32), (4, 1))


def test_the_edge_of_a_map_moves_onto_the_edge_of_the_picture() -> None:
    found = Outline(shrink(half_and_half(), GRID), GRID).follow(vague())
    assert found.shape == (64, 64)
    assert (found.min() >= 0, found.max()) == (True, 1.0)
    steps = -np.diff(found[32])
    assert steps.argmax() == 26  # between columns 26 and 27
    assert steps.max() > 5 * np.sort(steps)[-2]


def test_without_outlines_a_map_stays_smooth() -> None:
    flat = np.full((64, 64, 3), 120, np.uint8)
    found = Outline(shrink(flat, GRID), GRID).follow(vague())
    assert np.abs(np.diff(found, axis=1)).max() < 0.05
    np.testing.assert_allclose(found, found[:1].repeat(64, axis=0), atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_a_constant_map_stays_constant(value: float) -> None:
    found = Outline(shrink(half_and_half(), GRID), GRID).follow(np.full(GRID, value, np.float32))
    np.testing.assert_allclose(found, 0.0 if value == 0 else 1.0, atol=1e-5)


def test_following_knows_no_direction() -> None:
    square, rng = photo("cat")[:60, :60], np.random.default_rng(0)
    coarse = rng.random((3, 3)).astype(np.float32)
    found = Outline(shrink(square, (3, 3)), (3, 3)).follow(coarse)
    turned = Outline(shrink(np.rot90(square), (3, 3)), (3, 3)).follow(np.rot90(coarse))
    np.testing.assert_allclose(turned, np.rot90(found), atol=1e-4)


@pytest.mark.parametrize(("side", "grid"), [(96, (3, 3)), (50, (3, 3)), (40, (4, 2))])
def test_the_oracle_finds_the_same(side: int, grid: tuple[int, int]) -> None:
    square = np.ascontiguousarray(photo("coffee")[20 : 20 + side, 30 : 30 + side])
    coarse = np.random.default_rng(side).random(grid).astype(np.float32)
    found = Outline(shrink(square, grid), grid).follow(coarse)
    np.testing.assert_allclose(found, oracle.outlined(torch.from_numpy(coarse), square).numpy(), atol=2e-5)


def test_shrinking_is_a_mean_over_area() -> None:
    assert shares(2, 3).tolist() == [
        [pytest.approx(2 / 3), pytest.approx(1 / 3), 0],
        [0, pytest.approx(1 / 3), pytest.approx(2 / 3)],
    ]
    square = np.zeros((64, 64, 3), np.uint8)
    square[::2] = 100
    assert (shrink(square, (2, 2)) == 50).all()
    assert shrink(square, (6, 6)).shape == (64, 64, 3)  # never finer than what the model saw


def test_nothing_to_follow() -> None:
    coarse = vague()
    assert follow(coarse, None) is coarse


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="square"):
        shrink(np.zeros((8, 8), np.uint8), GRID)
    with pytest.raises(ValueError, match="guide"):
        Outline(np.zeros((8, 8), np.uint8), GRID)
    with pytest.raises(ValueError, match="saliency"):
        Outline(shrink(half_and_half(), GRID), GRID).follow(np.zeros(4, np.float32))
