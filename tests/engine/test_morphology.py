from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from engine.morphology import kernel_side, morph

planes = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.floats(0, 1, width=32))
sides = st.sampled_from([0, 1, 3, 5, 9])


def slow(plane: np.ndarray, side: int, pick: str) -> np.ndarray:
    reach = side // 2
    out = np.empty_like(plane)
    for y, x in np.ndindex(*plane.shape):
        window = plane[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
        out[y, x] = getattr(window, pick)()
    return out


@given(planes, sides, sides)
def test_highest_then_lowest_of_a_square(plane: np.ndarray, dilate: int, erode: int) -> None:
    np.testing.assert_array_equal(morph(plane, dilate, erode), slow(slow(plane, dilate, "max"), erode, "min"))


@given(planes, sides, sides, st.floats(0, 1, width=32))
def test_commutes_with_a_threshold(plane: np.ndarray, dilate: int, erode: int, threshold: float) -> None:
    late = morph(plane, dilate, erode) > threshold
    np.testing.assert_array_equal(late, morph((plane > threshold).astype(np.float32), dilate, erode) > 0.5)


def test_a_gap_is_closed() -> None:
    plane = np.zeros((7, 11), np.float32)
    plane[2:5, [3, 4, 6, 7]] = 1
    expected = plane.copy()
    expected[2:5, 5] = 1
    np.testing.assert_array_equal(morph(plane, 3, 3), expected)


def test_what_touches_the_border_is_not_eroded_there() -> None:
    plane = np.zeros((5, 6), np.float32)
    plane[:3, :3] = 1
    np.testing.assert_array_equal(np.argwhere(morph(plane, 0, 3)), [[0, 0], [0, 1], [1, 0], [1, 1]])


def test_even_sides_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="`erode` must be an odd number of pixels, or 0 for none, found 4"):
        morph(np.ones((3, 3)), 3, 4)


@given(st.floats(0, 0.99), st.integers(1, 3000), st.integers(1, 3000))
def test_a_share_is_the_nearest_odd_side(share: float, height: int, width: int) -> None:
    side = kernel_side(share, (height, width))
    assert side % 2 == 1
    assert abs(side - max(1, share * min(height, width))) <= 1


@pytest.mark.parametrize("side", [41, 47, 61])
def test_sides_of_the_study_come_back_from_their_shares(side: int) -> None:
    assert kernel_side(side / 256, (256, 256)) == side
