from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from engine import boxes
from engine.boxes import Boxes, find_boxes
from engine.spec import DEFAULT, PAPER, Connectivity, Find, Order

ANY_AREA = PAPER.replace(min_area=0)
shapes = array_shapes(min_dims=2, max_dims=2, max_side=15)
SIDES = ((-1, 0), (1, 0), (0, -1), (0, 1))
DIAGONALS = ((-1, -1), (-1, 1), (1, -1), (1, 1))


def flood(foreground: np.ndarray, connectivity: int) -> list[list[tuple[int, int]]]:
    """Connected parts as lists of (row, column), in the raster order of their first pixels."""
    steps = SIDES if connectivity == 4 else SIDES + DIAGONALS
    left = {(int(y), int(x)) for y, x in np.argwhere(foreground)}
    parts = []
    for seed in sorted(left):
        if seed not in left:
            continue
        left.remove(seed)
        part, queue = [], deque([seed])
        while queue:
            y, x = queue.popleft()
            part.append((y, x))
            near = {(y + dy, x + dx) for dy, dx in steps} & left
            left -= near
            queue.extend(near)
        parts.append(part)
    return parts


@given(
    arrays(np.float32, shapes, elements=st.sampled_from([0, 0.3, 0.7, 1])),
    st.sampled_from([4, 8]),
    st.sampled_from([0.0, 0.05, 0.2]),
)
def test_agrees_with_a_flood_fill(saliency: np.ndarray, connectivity: Connectivity, min_area: float) -> None:
    found = find_boxes(saliency, PAPER.replace(connectivity=connectivity, min_area=min_area, threshold=0.5))
    parts = [part for part in flood(saliency > 0.5 * saliency.max(), connectivity) if saliency.max() > 0]
    kept = [np.array(part) for part in parts if len(part) > min_area * saliency.size]
    expected = [[*part.min(axis=0)[::-1], *(part.max(axis=0)[::-1] + 1)] for part in kept]
    np.testing.assert_array_equal(found.xyxy, np.array(expected, np.float32).reshape(-1, 4))
    means = [saliency[part[:, 0], part[:, 1]].mean(dtype=np.float64) for part in kept]
    np.testing.assert_allclose(found.scores, np.array(means), rtol=1e-6)


@given(arrays(np.float32, shapes, elements=st.floats(0, 1, width=32)))
def test_boxes_lie_inside_the_picture(saliency: np.ndarray) -> None:
    found = find_boxes(saliency, DEFAULT.replace(min_area=0))
    height, width = saliency.shape
    x0, y0, x1, y1 = found.xyxy.T
    assert ((x0 >= 0) & (x0 < x1) & (x1 <= width)).all()
    assert ((y0 >= 0) & (y0 < y1) & (y1 <= height)).all()
    assert (np.diff(found.scores) <= 0).all()
    assert (found.scores <= saliency.max()).all()
    assert found.xyxy.dtype == found.scores.dtype == np.float32


def test_half_open_in_xy_order() -> None:
    saliency = np.zeros((6, 8))
    saliency[1:3, 2:4] = 1
    np.testing.assert_array_equal(find_boxes(saliency, ANY_AREA).xyxy, [[2, 1, 4, 3]])


def test_diagonal_pixels() -> None:
    saliency = np.eye(2)
    np.testing.assert_array_equal(find_boxes(saliency, ANY_AREA).xyxy, [[0, 0, 1, 1], [1, 1, 2, 2]])
    np.testing.assert_array_equal(find_boxes(saliency, ANY_AREA.replace(connectivity=8)).xyxy, [[0, 0, 2, 2]])


def test_a_ring_is_one_part_and_its_hole_does_not_count() -> None:
    saliency = np.zeros((20, 20))
    saliency[3:17, 3:17] = 0.8
    saliency[7:12, 7:12] = 0.1
    for min_area, count in ((170 / 400, 1), (171 / 400, 0)):
        assert len(find_boxes(saliency, PAPER.replace(min_area=min_area))) == count
    found = find_boxes(saliency, PAPER)
    np.testing.assert_array_equal(found.xyxy, [[3, 3, 17, 17]])
    np.testing.assert_allclose(found.scores, [0.8], rtol=1e-6)


def test_threshold_is_strict() -> None:
    saliency = np.array([[1.0, 0.5, 0.0, 0.75]])
    found = find_boxes(saliency, ANY_AREA.replace(threshold=0.5))
    np.testing.assert_array_equal(found.xyxy, [[0, 0, 1, 1], [3, 0, 4, 1]])


def test_threshold_is_a_fraction_of_the_maximum() -> None:
    saliency = np.array([[0.1, 0.05, 0.0, 0.08]])
    assert len(find_boxes(saliency, ANY_AREA)) == 2


def test_smallest_area_is_strict() -> None:
    saliency = np.zeros((10, 10))
    saliency[0, :2] = saliency[5, :3] = 1
    np.testing.assert_array_equal(find_boxes(saliency, PAPER.replace(min_area=0.02)).xyxy, [[0, 5, 3, 6]])


@pytest.mark.parametrize("connectivity", [4, 8])
def test_orders(connectivity: Connectivity) -> None:
    """Raster order goes by the first pixel: the right part starts a row higher than the left one."""
    saliency = np.zeros((9, 30))
    saliency[1:3, 0:2] = 0.9
    saliency[0:3, 20:22] = 0.7
    saliency[6:8, 5:9] = 1.0
    spec = PAPER.replace(connectivity=connectivity)
    assert [box[0] for box in find_boxes(saliency, spec).xyxy] == [20, 0, 5]
    assert [box[0] for box in find_boxes(saliency, spec.replace(order="score")).xyxy] == [5, 0, 20]


@pytest.mark.parametrize("connectivity", [4, 8])
def test_equal_scores_keep_raster_order(connectivity: Connectivity) -> None:
    saliency = np.zeros((5, 9))
    saliency[0, 4] = saliency[1, 0] = saliency[4, 8] = 1
    found = find_boxes(saliency, DEFAULT.replace(connectivity=connectivity))
    assert [box[0] for box in found.xyxy] == [4, 0, 8]


@pytest.mark.parametrize(("peak", "threshold"), [(1.0, 1 - 1e-9), (1e-45, 0.6)])
def test_a_bound_that_rounds_up_to_the_maximum_gives_nothing(peak: float, threshold: float) -> None:
    saliency = np.zeros((3, 3), np.float32)
    saliency[1, 1] = peak
    assert saliency.any()
    assert len(find_boxes(saliency, ANY_AREA.replace(threshold=threshold))) == 0


@pytest.mark.parametrize("saliency", [np.zeros((5, 5)), np.full((5, 5), -1.0)])
def test_nothing_bright_gives_nothing(saliency: np.ndarray) -> None:
    found = find_boxes(saliency, DEFAULT)
    assert len(found) == 0
    assert found.xyxy.shape == (0, 4)


def test_all_parts_too_small_gives_nothing() -> None:
    saliency = np.zeros((10, 10))
    saliency[4, 4] = 1
    assert find_boxes(saliency, DEFAULT.replace(min_area=0.5)).xyxy.shape == (0, 4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
def test_thin_pictures(shape: tuple[int, int]) -> None:
    np.testing.assert_array_equal(find_boxes(np.ones(shape), DEFAULT).xyxy, [[0, 0, shape[1], shape[0]]])


def test_views_and_other_types_are_read() -> None:
    saliency = np.zeros((12, 8))
    saliency[2:6, 1:3] = 1
    expected = find_boxes(saliency.T.copy(), PAPER).xyxy
    np.testing.assert_array_equal(find_boxes(saliency.T, PAPER).xyxy, expected)
    np.testing.assert_array_equal(find_boxes(saliency.T.astype(np.float16), PAPER).xyxy, expected)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_broken_saliency_is_told(value: float) -> None:
    saliency = np.zeros((3, 3))
    saliency[1, 1] = value
    with pytest.raises(ValueError, match="`saliency` must be finite"):
        find_boxes(saliency, DEFAULT)


def test_bad_shapes_are_told() -> None:
    with pytest.raises(ValueError, match=r"`saliency` must have the shape \(H, W\)"):
        find_boxes(np.zeros((2, 2, 3)), DEFAULT)
    with pytest.raises(ValueError, match=r"the shapes \(n, 4\) and \(n,\), found \(2, 4\) and \(3,\)"):
        Boxes(np.zeros((2, 4), np.float32), np.zeros(3, np.float32))


def test_none_is_empty() -> None:
    assert len(Boxes.none()) == 0


@pytest.mark.parametrize("order", ["score", "raster"])
def test_many_parts_are_the_same_however_they_are_counted(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).random((60, 80)).astype(np.float32)
    spec = DEFAULT.replace(threshold=0.7, min_area=0, order=order)
    walked = find_boxes(noise, spec)
    monkeypatch.setattr(boxes, "MANY", 10**9)
    looked = find_boxes(noise, spec)
    assert len(walked) > 500
    np.testing.assert_array_equal(walked.xyxy, looked.xyxy)
    np.testing.assert_allclose(walked.scores, looked.scores, rtol=1e-6)


@pytest.mark.parametrize(("share", "count"), [(0.0, 3), (0.5, 3), (0.51, 2), (0.8, 2), (0.81, 1), (1.0, 1)])
def test_boxes_far_below_the_best_one_are_left_out(share: float, count: int) -> None:
    saliency = np.zeros((20, 20), np.float32)
    saliency[1:4, 1:4], saliency[8:12, 8:12], saliency[15:18, 15:18] = 0.5, 1.0, 0.8
    found = find_boxes(saliency, DEFAULT.replace(min_score=share, threshold=0.3))
    assert len(found) == count
    np.testing.assert_array_equal(found.xyxy[0], [8, 8, 12, 12])
    assert len(find_boxes(saliency, PAPER.replace(threshold=0.3))) == 3


def test_equal_boxes_are_all_the_best_one() -> None:
    saliency = np.zeros((20, 20), np.float32)
    saliency[1:4, 1:4] = saliency[8:11, 8:11] = 0.9
    assert len(find_boxes(saliency, DEFAULT.replace(min_score=1.0))) == 2


HILLS = np.zeros((20, 30), np.float32)
HILLS[2:6, 3:9], HILLS[10:18, 12:28] = 1.0, 0.8


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, [[3, 2, 9, 6], [12, 10, 28, 18]]),
        ({"keep": "largest"}, [[12, 10, 28, 18]]),
        ({"cut": "value", "threshold": 0.9}, [[3, 2, 9, 6]]),
        ({"cut": "value", "threshold": 0.0}, [[3, 2, 9, 6], [12, 10, 28, 18]]),
        ({"cut": "mean", "threshold": 0.99}, [[3, 2, 9, 6], [12, 10, 28, 18]]),
        ({"cut": "otsu"}, [[3, 2, 9, 6], [12, 10, 28, 18]]),
        ({"dilate": 0.15}, [[2, 1, 10, 7], [11, 9, 29, 19]]),
        ({"erode": 0.15}, [[4, 3, 8, 5], [13, 11, 27, 17]]),
        ({"dilate": 0.15, "erode": 0.15}, [[3, 2, 9, 6], [12, 10, 28, 18]]),
        ({"find": "rectangle", "cut": "mean", "threshold": 0.8}, [[12, 10, 28, 18]]),
        ({"find": "contours"}, [[3, 2, 9, 6], [12, 10, 28, 18]]),
        ({"find": "contours", "keep": "largest"}, [[12, 10, 28, 18]]),
    ],
)
def test_ways_to_a_box(changes: dict[str, object], wanted: list[list[int]]) -> None:
    found = find_boxes(HILLS, DEFAULT.replace(min_score=0, **changes))
    np.testing.assert_array_equal(found.xyxy, wanted)


def test_otsu_separates_two_levels_whatever_their_scale() -> None:
    plane = np.full((20, 20), 0.2, np.float32)
    plane[5:9, 6:12] = 0.9
    for scale in (1.0, 1e-3):
        found = find_boxes(scale * plane, DEFAULT.replace(cut="otsu"))
        np.testing.assert_array_equal(found.xyxy, [[6, 5, 12, 9]])


def test_contours_of_a_ring_are_its_outer_and_its_inner_border() -> None:
    foreground = np.zeros((20, 20), np.uint8)
    foreground[3:17, 3:17] = 1
    foreground[7:12, 7:12] = 0
    _, corners, areas = boxes.outlines(foreground)
    assert sorted(zip(corners.tolist(), areas.tolist(), strict=True)) == [([3, 3, 17, 17], 169.0), ([6, 6, 13, 13], 34.0)]


def test_contours_join_diagonals_and_lines_have_no_area() -> None:
    _, corners, areas = boxes.outlines(np.eye(2, dtype=np.uint8))
    assert corners.tolist() == [[0, 0, 2, 2]]
    assert areas.tolist() == [0.0]


@given(arrays(np.float32, shapes, elements=st.sampled_from([0, 0.3, 0.7, 1])))
def test_parts_and_outer_contours_are_the_same_boxes(saliency: np.ndarray) -> None:
    """But for holes, and for parts inside of holes, which contours have and parts have too."""
    parts = find_boxes(saliency, ANY_AREA.replace(connectivity=8, threshold=0.5)).xyxy.tolist()
    _, corners, _ = boxes.outlines((saliency > 0.5 * saliency.max()).astype(np.uint8))
    assert all(box in corners.tolist() for box in parts)


@pytest.mark.parametrize("find", ["parts", "contours", "rectangle"])
@given(saliency=arrays(np.float32, shapes, elements=st.floats(0, 1, width=32)))
def test_every_way_stays_inside_and_scores_a_mean(find: Find, saliency: np.ndarray) -> None:
    spec = DEFAULT.replace(find=find, min_area=0, cut="mean" if find == "rectangle" else "peak")
    found = find_boxes(saliency, spec)
    height, width = saliency.shape
    assert ((found.xyxy >= 0) & (found.xyxy <= [width, height, width, height])).all()
    assert ((found.scores >= 0) & (found.scores <= saliency.max() * (1 + 1e-6))).all()
    assert len(find_boxes(saliency, spec.replace(keep="largest"))) == min(1, len(found))
