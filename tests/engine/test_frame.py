from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.frame import Frame
from engine.resample import centers, weights_at
from engine.spec import Edge, Geometry

GEOMETRIES: tuple[Geometry, ...] = ("crop", "squash", "letterbox", "stretch")
sizes = st.tuples(st.integers(1, 300), st.integers(1, 300))
sides = st.integers(1, 64)
geometries = st.sampled_from(GEOMETRIES)


@pytest.mark.parametrize(
    ("picture_wh", "side", "resized_wh", "offset_xy", "window"),
    [
        ((500, 375), 224, (298, 224), (37, 0), (62.081, 0, 437.919, 375)),
        ((500, 333), 224, (336, 224), (56, 0), (83.333, 0, 416.667, 333)),
        ((640, 480), 288, (384, 288), (48, 0), (80, 0, 560, 480)),
        ((300, 450), 384, (384, 576), (0, 96), (0, 75, 300, 375)),
        ((256, 256), 224, (224, 224), (0, 0), (0, 0, 256, 256)),
    ],
)
def test_crop_golden(
    picture_wh: tuple[int, int],
    side: int,
    resized_wh: tuple[int, int],
    offset_xy: tuple[int, int],
    window: tuple[float, ...],
) -> None:
    frame = Frame.fit((picture_wh[1], picture_wh[0]), side, "crop")
    assert frame.resized_hw == resized_wh[::-1]
    assert frame.offset_yx == offset_xy[::-1]
    np.testing.assert_allclose(frame.window_xyxy(), window, atol=5e-4)


def test_crop_offsets_round_halves_to_even() -> None:
    assert Frame.fit((10, 11), 10, "crop").offset_yx == (0, 0)  # 0.5 -> 0
    assert Frame.fit((10, 13), 10, "crop").offset_yx == (0, 2)  # 1.5 -> 2


def test_letterbox_pads_both_sides() -> None:
    frame = Frame.fit((100, 200), 50, "letterbox")
    assert frame.resized_hw == (25, 50)
    assert frame.offset_yx == (-12, 0)
    assert frame.window_xyxy() == (0, 0, 200, 100)


@pytest.mark.parametrize("picture_hw", [(1, 1), (1, 5000), (5000, 1), (3, 1000)])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_thin_pictures_keep_a_pixel_and_a_window(picture_hw: tuple[int, int], geometry: Geometry) -> None:
    frame = Frame.fit(picture_hw, 32, geometry)
    assert min(frame.resized_hw) >= 1
    for weights, length in ((frame.rows(7), picture_hw[0]), (frame.cols(7), picture_hw[1])):
        assert weights.shape == (length, 7)
        assert weights.sum() > 0


@given(sizes, sides, geometries)
def test_window_lies_inside_the_picture(size: tuple[int, int], side: int, geometry: Geometry) -> None:
    x0, y0, x1, y1 = Frame.fit(size, side, geometry).window_xyxy()
    assert 0 <= x0 < x1 <= size[1]
    assert 0 <= y0 < y1 <= size[0]
    if geometry in ("squash", "letterbox"):
        assert (x0, y0, x1, y1) == (0, 0, size[1], size[0])


@given(sizes, sides, geometries, st.integers(1, 20), st.sampled_from(["clamp", "mirror"]))
def test_rows_sum_to_one_inside_the_window_and_to_zero_outside(
    size: tuple[int, int], side: int, geometry: Geometry, n: int, edge: Edge
) -> None:
    frame = Frame.fit(size, side, geometry)
    x0, y0, x1, y1 = frame.window_xyxy()
    for weights, start, stop in ((frame.rows(n, edge), y0, y1), (frame.cols(n, edge), x0, x1)):
        assert weights.dtype == np.float32
        sums = weights.sum(axis=1)
        assert ((np.abs(sums - 1) < 1e-6) | (sums == 0)).all()
        assert sums.any()
        centres = np.arange(len(weights)) + 0.5
        if geometry in ("squash", "stretch"):
            assert sums.all()
        else:
            assert sums[(centres > start + 1e-6) & (centres < stop - 1e-6)].all()
            assert not sums[(centres < start - 1e-6) | (centres > stop + 1e-6)].any()


@given(sizes, st.integers(2, 64), st.sampled_from(["crop", "squash", "letterbox"]))
@example((1, 300), 64, "crop")
def test_a_point_on_the_square_maps_back_to_its_pixel(size: tuple[int, int], side: int, geometry: Geometry) -> None:
    """A ramp of square coordinates, carried to the picture, tells where each pixel lies on the square."""
    frame = Frame.fit(size, side, geometry)
    ramp = np.arange(side) + 0.5
    for axis, weights in enumerate((frame.rows(side), frame.cols(side))):
        seen = weights.any(axis=1)
        square = (weights.astype(np.float64) @ ramp)[seen]
        inner = (square > 0.5 + 1e-4) & (square < side - 0.5 - 1e-4)  # the ramp is clamped beyond its centres
        scale = size[axis] / frame.resized_hw[axis]
        back = (square + frame.offset_yx[axis]) * scale
        expected = (np.arange(size[axis]) + 0.5)[seen]
        np.testing.assert_allclose(back[inner], expected[inner], atol=1e-4 * max(1.0, scale))


@pytest.mark.parametrize("picture_hw", [(9, 14), (14, 9), (1, 8), (8, 1), (6, 6)])
@pytest.mark.parametrize("geometry", ["crop", "letterbox"])
def test_weights_follow_the_formula_pixel_by_pixel(picture_hw: tuple[int, int], geometry: Geometry) -> None:
    side, n = 8, 3
    frame = Frame.fit(picture_hw, side, geometry)
    for axis, weights in enumerate((frame.rows(n), frame.cols(n))):
        for pixel in range(picture_hw[axis]):
            square = (pixel + 0.5) * frame.resized_hw[axis] / picture_hw[axis] - frame.offset_yx[axis]
            expected = np.zeros(n)
            if 0 <= square < side:
                grid = min(max(square * n / side - 0.5, 0), n - 1)
                low = math.floor(grid)
                expected[low] += 1 - (grid - low)
                expected[min(low + 1, n - 1)] += grid - low
            np.testing.assert_allclose(weights[pixel], expected, atol=1e-6)


@given(sizes, sides, st.sampled_from(["squash", "stretch"]), st.integers(1, 9))
def test_squash_and_stretch_cover_the_whole_picture(size: tuple[int, int], side: int, geometry: Geometry, n: int) -> None:
    frame = Frame.fit(size, side, geometry)
    np.testing.assert_array_equal(frame.rows(n), centers(size[0], n).astype(np.float32))
    mirrored = weights_at((np.arange(size[1]) + 0.5) * n / size[1] - 0.5, n, "mirror")
    np.testing.assert_array_equal(frame.cols(n, "mirror"), mirrored.astype(np.float32))


def test_stretch_sees_what_crop_sees() -> None:
    crop, stretch = (Frame.fit((375, 500), 224, geometry) for geometry in ("crop", "stretch"))
    assert (crop.resized_hw, crop.offset_yx) == (stretch.resized_hw, stretch.offset_yx)
    assert crop.window_xyxy() == stretch.window_xyxy()


@given(sizes, sides, geometries)
def test_round_trip_through_json(size: tuple[int, int], side: int, geometry: Geometry) -> None:
    frame = Frame.fit(size, side, geometry)
    assert Frame.from_dict(json.loads(json.dumps(frame.to_dict()))) == frame


def test_bad_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="`picture_hw` must be at least 1 x 1 pixel, found 0 x 5"):
        Frame.fit((0, 5), 8, "crop")
    with pytest.raises(ValueError, match="`side` must be at least 1 pixel, found 0"):
        Frame("squash", (4, 4), 0, (1, 1), (0, 0))
    with pytest.raises(ValueError, match="`geometry` must be one of"):
        Frame.fit((4, 4), 8, "zoom")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"`frame` lacks the field\(s\) `offset_yx`"):
        Frame.from_dict({"geometry": "crop", "picture_hw": [1, 1], "side": 1, "resized_hw": [1, 1]})


def test_weights_are_shared_and_cannot_be_spoilt() -> None:
    frame = Frame.fit((40, 60), 32, "crop")
    assert frame.rows(4) is frame.rows(4)
    assert frame.rows(4) is not frame.rows(4, "mirror")
    with pytest.raises(ValueError, match="read-only"):
        frame.cols(4)[0, 0] = 1
