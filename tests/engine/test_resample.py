from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.resample import centers, corners, upsampler, weights_at
from engine.spec import Align, Edge

RAMP = np.arange(7.0)
SAMPLED = [0, 8, 16, 100, 215, 223]
EDGES: tuple[Edge, ...] = ("clamp", "mirror")
lengths = st.integers(1, 40)


def half_pixel(n_out: int, n_in: int) -> np.ndarray:
    return (np.arange(n_out) + 0.5) * n_in / n_out - 0.5


def test_corners_golden() -> None:
    expected = [0, 0.215247, 0.430493, 2.690583, 5.784753, 6]
    np.testing.assert_allclose((corners(224, 7) @ RAMP)[SAMPLED], expected, atol=5e-7)


def test_centers_golden() -> None:
    expected = [0, 0, 0.015625, 2.640625, 6, 6]
    np.testing.assert_allclose((centers(224, 7) @ RAMP)[SAMPLED], expected, atol=1e-12)


def test_mirrored_golden() -> None:
    expected = [0.484375, 0.234375, 0.015625, 2.640625, 5.765625, 5.515625]
    np.testing.assert_allclose((weights_at(half_pixel(224, 7), 7, "mirror") @ RAMP)[SAMPLED], expected, atol=1e-12)


@given(lengths, lengths)
def test_rows_sum_to_one_and_weights_are_shares(n_out: int, n_in: int) -> None:
    matrices = [corners(n_out, n_in), centers(n_out, n_in), weights_at(half_pixel(n_out, n_in), n_in, "mirror")]
    for weights in matrices:
        assert weights.shape == (n_out, n_in)
        np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-12)
        assert weights.min() >= 0
        assert (np.count_nonzero(weights, axis=1) <= 2).all()


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), lengths, st.sampled_from(EDGES))
def test_any_coordinate_gives_shares(coords: list[float], n_in: int, edge: Edge) -> None:
    weights = weights_at(np.array(coords), n_in, edge)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-12)
    assert weights.min() >= 0


@given(st.integers(2, 40), st.data())
def test_a_ramp_returns_its_coordinate(n_in: int, data: st.DataObject) -> None:
    coord = data.draw(st.floats(0, n_in - 1))
    for edge in EDGES:
        assert (weights_at(np.array([coord]), n_in, edge) @ np.arange(n_in))[0] == pytest.approx(coord, abs=1e-9)


@given(lengths)
def test_same_size_changes_nothing(n: int) -> None:
    np.testing.assert_array_equal(corners(n, n), np.eye(n))
    np.testing.assert_array_equal(centers(n, n), np.eye(n))


@given(st.integers(2, 40), st.integers(2, 40))
def test_corners_hit_both_ends_exactly(n_out: int, n_in: int) -> None:
    weights = corners(n_out, n_in)
    assert weights[0, 0] == 1
    assert weights[-1, -1] == 1


def test_single_output_takes_the_first_input() -> None:
    np.testing.assert_array_equal(corners(1, 3), [[1, 0, 0]])


def test_single_input_is_repeated() -> None:
    for edge in EDGES:
        np.testing.assert_array_equal(weights_at(np.array([-3.0, 0.0, 0.4, 9.0]), 1, edge), np.ones((4, 1)))


def test_edges_differ_only_outside() -> None:
    coords = np.array([-0.5, 2.5])
    np.testing.assert_allclose(weights_at(coords, 3, "clamp") @ np.arange(3), [0, 2])
    np.testing.assert_allclose(weights_at(coords, 3, "mirror") @ np.arange(3), [0.5, 1.5])


@pytest.mark.parametrize(("align", "function"), [("corners", corners), ("centers", centers)])
def test_upsampler_by_name(align: Align, function: Callable[[int, int], np.ndarray]) -> None:
    np.testing.assert_array_equal(upsampler(align, 9, 4), function(9, 4))


def test_upsampled_maximum_misses_the_source_maximum() -> None:
    peak = np.zeros(7)
    peak[3] = 1.0
    assert (corners(224, 7) @ peak).max() < 1


def test_bad_sizes_are_refused() -> None:
    for upsample in (corners, centers):
        with pytest.raises(ValueError, match="`n_out` must be at least 1, found 0"):
            upsample(0, 3)
    with pytest.raises(ValueError, match="`n_in` must be at least 1, found 0"):
        centers(3, 0)
    with pytest.raises(ValueError, match="`coords` must be a list of finite numbers"):
        weights_at(np.array([np.nan]), 3, "clamp")


@pytest.mark.parametrize(("n_in", "n_out"), [(7, 224), (14, 37), (5, 5), (1, 4), (2, 9)])
def test_bicubic_is_that_of_opencv(n_in: int, n_out: int) -> None:
    samples = np.random.default_rng(n_in).random((1, n_in))
    expected = cv2.resize(samples, (n_out, 1), interpolation=cv2.INTER_CUBIC)[0]
    weights = weights_at(half_pixel(n_out, n_in), n_in, "clamp", "bicubic")
    np.testing.assert_allclose(weights @ samples[0], expected, atol=1e-6)  # OpenCV's own weights are in single precision


@given(lengths, lengths, st.sampled_from(EDGES))
def test_nearest_takes_the_sample_whose_cell_holds_the_point(n_out: int, n_in: int, edge: Edge) -> None:
    weights = weights_at(half_pixel(n_out, n_in), n_in, edge, "nearest")
    expected = np.minimum(np.floor((np.arange(n_out) + 0.5) * n_in / n_out + 1e-9), n_in - 1)
    np.testing.assert_array_equal(weights.argmax(axis=1), expected)
    assert (weights.sum(axis=1) == 1).all()


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), lengths, st.sampled_from(EDGES))
def test_bicubic_rows_sum_to_one(coords: list[float], n_in: int, edge: Edge) -> None:
    np.testing.assert_allclose(weights_at(np.array(coords), n_in, edge, "bicubic").sum(axis=1), 1, atol=1e-9)
