from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from engine.frame import Frame
from engine.resample import centers
from engine.saliency import normalise, to_picture
from engine.spec import Geometry, Interpolation


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ((0.4875026, 0.5124974), [[0, 0.1638661], [0.3277323, 1.0]]),
        ((0.00669285, 0.99330715), [[0, 0.0033242], [0.0066485, 1.0]]),
    ],
)
def test_toy_golden(weights: tuple[float, float], expected: list[list[float]]) -> None:
    kept = np.array([[[0, 1], [2, 4]], [[0, 0], [0, 2]]], np.float64)
    summed = np.maximum(np.tensordot(weights, kept, 1), 0)
    np.testing.assert_allclose(normalise(summed), expected, atol=2e-7)


@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2), elements=st.floats(-1e3, 1e3, width=32)))
def test_normalised_range(saliency: np.ndarray) -> None:
    unit = normalise(saliency)
    assert unit.dtype == np.float32
    assert unit.min() == 0
    assert unit.max() <= 1
    if np.ptp(saliency) > 1e-3:
        assert unit.max() > 0.999


@pytest.mark.parametrize("value", [0.0, 5.0, -2.0])
def test_constant_becomes_zero(value: float) -> None:
    assert not normalise(np.full((3, 4), value)).any()


def test_broken_saliency_is_told() -> None:
    with pytest.raises(ValueError, match="`saliency` must be finite"):
        normalise(np.array([[0.0, np.nan]]))
    with pytest.raises(ValueError, match=r"`saliency` must have the shape \(h, w\), found \(3,\)"):
        normalise(np.zeros(3))
    with pytest.raises(ValueError, match="`normalised` must have the shape"):
        to_picture(np.zeros((0, 3)), Frame.fit((4, 4), 8, "crop"))


def test_squash_is_a_plain_resize() -> None:
    saliency = np.random.default_rng(0).random((7, 5)).astype(np.float32)
    spread = to_picture(saliency, Frame.fit((30, 41), 16, "squash"))
    assert spread.dtype == np.float32
    np.testing.assert_allclose(spread, centers(30, 7) @ saliency @ centers(41, 5).T, atol=1e-6)


def test_crop_pastes_back_and_leaves_the_rest_zero() -> None:
    spread = to_picture(np.ones((7, 7)), Frame.fit((100, 200), 50, "crop"))
    np.testing.assert_allclose(spread[:, 50:150], 1, atol=1e-6)
    assert not spread[:, :50].any()
    assert not spread[:, 150:].any()


def test_stretch_spreads_the_crop_over_the_whole_picture() -> None:
    spread = to_picture(np.ones((7, 7)), Frame.fit((100, 200), 50, "stretch"))
    np.testing.assert_allclose(spread, 1, atol=1e-6)


def test_letterbox_drops_its_padding() -> None:
    """Only the middle rows of the grid hold the picture, so a bright border of padding must not be seen."""
    saliency = np.zeros((8, 8))
    saliency[:2] = saliency[-2:] = 1  # padding: rows 0-1 and 6-7 of 8, for a picture twice as wide as high
    spread = to_picture(saliency, Frame.fit((20, 40), 16, "letterbox"))
    assert not spread[4:-4].any()
    assert spread.max() < 0.5


def test_mirror_differs_at_the_border_only() -> None:
    saliency = np.random.default_rng(1).random((7, 7))
    frame = Frame.fit((70, 70), 14, "squash")
    clamped, mirrored = to_picture(saliency, frame), to_picture(saliency, frame, "mirror")
    np.testing.assert_allclose(clamped[5:-5, 5:-5], mirrored[5:-5, 5:-5], atol=1e-6)
    assert np.abs(clamped - mirrored).max() > 0.01


@given(
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.sampled_from(["crop", "squash", "letterbox", "stretch"]),
    st.integers(0, 99),
)
def test_interpolation_never_overshoots(size: tuple[int, int], geometry: Geometry, seed: int) -> None:
    saliency = normalise(np.random.default_rng(seed).random((4, 6)))
    spread = to_picture(saliency, Frame.fit(size, 12, geometry))
    assert spread.shape == size
    assert spread.min() >= 0
    assert spread.max() <= saliency.max() + 1e-6


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
def test_interpolations_stay_between_0_and_1(interpolation: Interpolation) -> None:
    grid = np.array([[0, 1, 0], [1, 0, 1]], np.float32)
    spread = to_picture(grid, Frame.fit((20, 30), 16, "squash"), "clamp", interpolation)
    assert (spread.min(), spread.max()) == (0, 1)
    assert (len(np.unique(spread)) == 2) == (interpolation == "nearest")
