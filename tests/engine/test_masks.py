from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engine.masks import live_maps, masks
from engine.spec import Align, MaskOrder

ALIGNS = st.sampled_from(["corners", "centers"])
ORDERS = st.sampled_from(["upsample-first", "normalise-first"])


def test_constant_maps_are_not_live() -> None:
    maps = np.zeros((5, 2, 2), np.float32)
    maps[1] = 7.5
    maps[2, 0, 0] = 1e-3
    maps[3] = 1000.0
    maps[3, 0, 0] += 5e-5  # below 1e-7 of the maximum
    maps[4, 1, 1] = -1.0
    np.testing.assert_array_equal(live_maps(maps), [False, False, True, False, True])


def test_a_single_map_needs_its_axis() -> None:
    with pytest.raises(ValueError, match=r"`maps` must have the shape \(K, h, w\)"):
        live_maps(np.zeros((2, 2)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_broken_maps_are_told(value: float) -> None:
    maps = np.zeros((3, 2, 2))
    maps[1, 0, 0] = value
    with pytest.raises(ValueError, match=r"NaN or infinity in 1 of 3 maps \(first: 1\)"):
        live_maps(maps)


def test_upsampling_first_by_hand() -> None:
    """2 x 2 to 3 x 3 with aligned corners puts averages in between, and the extremes stay at the corners."""
    made = masks(np.array([[[0.0, 1.0], [2.0, 4.0]]]), 3)[0]
    np.testing.assert_allclose(made, np.array([[0, 0.5, 1], [1, 1.75, 2.5], [2, 3, 4]]) / 4, atol=1e-6)


def test_order_matters_when_the_peak_is_missed() -> None:
    maps = np.zeros((1, 3, 3))
    maps[0, 1, 1] = 2.0
    upsampled_first = masks(maps, 4, order="upsample-first")
    normalised_first = masks(maps, 4, order="normalise-first")
    assert upsampled_first.max() == pytest.approx(1, abs=1e-6)
    assert normalised_first.max() == pytest.approx(4 / 9, abs=1e-6)


def test_align_centers_by_hand() -> None:
    made = masks(np.array([[[0.0, 1.0]]]), 4, align="centers")[0]
    np.testing.assert_allclose(made, np.tile([0, 0.25, 0.75, 1], (4, 1)), atol=1e-6)


@given(arrays(np.float32, (2, 3, 5), elements=st.floats(-100, 100, width=32)), st.integers(1, 20), ALIGNS, ORDERS)
def test_masks_stay_in_the_unit_range(maps: np.ndarray, side: int, align: Align, order: MaskOrder) -> None:
    before = maps.copy()
    made = masks(maps, side, align, order)
    assert made.shape == (2, side, side)
    assert made.dtype == np.float32
    assert made.min() >= -1e-6
    assert made.max() <= 1 + 1e-6
    np.testing.assert_array_equal(maps, before)


@given(st.floats(-1e3, 1e3), ORDERS)
def test_a_constant_map_makes_a_zero_mask(value: float, order: MaskOrder) -> None:
    np.testing.assert_allclose(masks(np.full((1, 7, 7), value), 16, order=order), 0, atol=1e-4)


def test_eps_is_in_the_denominator() -> None:
    maps = np.array([[[0.0, 1.0]]])
    assert masks(maps, 2, eps=1.0).max() == pytest.approx(0.5)
