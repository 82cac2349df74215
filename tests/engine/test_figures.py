"""Golden values and properties of the metrics that need more than boxes."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from engine.metrics import boxes, curves, max_box, pixels, segments
from engine.metrics.max_box import MaxBox

planes = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.floats(0, 1, width=32))
THRESHOLDS = np.array([0, 0.2, 0.4, 0.6, 0.8])
U = np.array([[0, 0, 0, 0, 0], [0, 0.4, 0.4, 0.4, 0.6], [0, 0.4, 1, 0.8, 0.6], [0, 0.4, 0.4, 0.4, 0.6]])
M = np.array([[0.4, 0, 0.2, 0.2, 0.2], [0.4, 0.4, 0, 0.4, 0], [0, 0, 0, 0.4, 0], [1, 0.6, 0.8, 0.2, 0.2]])


def inclusive(boxes_: list[list[int]]) -> np.ndarray:
    return np.array(boxes_, np.int64)


def largest(scores: np.ndarray, wanted: list[int], threshold: float) -> bool:
    """Whether the box of the largest contour is the wanted one: its overlap with that one alone is full."""
    found = max_box.max_box(scores, inclusive([wanted]), np.array([threshold]))
    return found.largest[0] == 1.0


@pytest.mark.parametrize(
    ("scores", "wanted"),
    [
        (U, [[1, 1, 4, 3], [1, 1, 4, 3], [2, 1, 4, 3], [2, 2, 4, 3], [2, 2, 3, 3]]),
        (M, [[0, 0, 4, 3], [0, 0, 2, 2], [0, 3, 3, 3], [2, 3, 3, 3], [0, 3, 1, 3]]),
        (np.zeros((4, 5)), [[0, 0, 0, 0]] * 5),
    ],
)
def test_extraction_golden(scores: np.ndarray, wanted: list[list[int]]) -> None:
    assert all(largest(scores, box, at) for box, at in zip(wanted, THRESHOLDS, strict=True))


def test_true_boxes_are_cut_off_on_the_grid() -> None:
    """Golden: (1, 2, 4, 3) from 10 x 20 to 35 x 10 pixels is (3, 1, 14, 1)."""
    across, down = (max_box.resized_boxes([[1, 2, 4, 3]], (20, 10), side)[0].tolist() for side in (35, 10))
    assert [across[0], down[1], across[2], down[3]] == [3, 1, 14, 1]
    assert max_box.resized_boxes([[0, 0, 499, 374]], (375, 500)).tolist() == [[0, 0, 223, 223]]


def test_score_map_is_stretched_and_broken_ones_are_zero() -> None:
    scores = max_box.score_map(np.array([[1.0, 2.0], [3.0, 5.0]]))
    assert (scores.shape, scores.min(), scores.max()) == ((224, 224), 0, 1)
    assert not max_box.score_map(np.full((3, 3), 7.0)).any()
    assert not max_box.score_map(np.array([[np.nan, 1.0]])).any()


@given(planes, st.integers(1, 50))
def test_thresholds_share_their_levels(scores: np.ndarray, count: int) -> None:
    """Many thresholds in one call are each threshold alone."""
    truth = inclusive([[0, 0, 1, 1]])
    at = np.linspace(0, 1, count, endpoint=False)
    together = max_box.max_box(scores, truth, at)
    alone = [max_box.max_box(scores, truth, np.array([each])) for each in at]
    np.testing.assert_array_equal(together.largest, [one.largest[0] for one in alone])
    assert (together.any >= together.largest).all()


def test_max_box_acc_takes_one_threshold_for_all_and_one_per_overlap() -> None:
    overlaps = np.array([[0.6, 0.2, 0.3], [0.1, 0.8, 0.3], [0.5, 0.9, 0.3]])
    assert max_box.max_box_acc(overlaps) == pytest.approx(2 / 3)
    assert max_box.max_box_acc_v2(overlaps) == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    assert isinstance(max_box.max_box(U, inclusive([[0, 0, 1, 1]]), THRESHOLDS), MaxBox)


@pytest.mark.parametrize("value", [np.nan, 1.1, -0.1])
def test_values_beyond_0_and_1_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"`scores` must lie in \[0, 1\]"):
        max_box.max_box(np.array([[0.5, value]]), inclusive([[0, 0, 1, 1]]), THRESHOLDS)
    with pytest.raises(ValueError, match=r"`saliency` must lie in \[0, 1\]"):
        pixels.value_counts(np.array([[0.5, value]]), np.ones((1, 2), bool))


def test_pixels_by_value_golden() -> None:
    counts = pixels.value_counts(np.array([[0.9, 0.4, 0.6, 0.1]]), np.array([[True, True, False, False]]))
    assert pixels.pxap(counts) == pytest.approx(0.8333, abs=5e-5)
    assert pixels.peak_iou(counts) == pytest.approx(0.6667, abs=5e-5)


def test_pxap_of_perfect_and_of_constant_maps() -> None:
    mask = np.arange(12).reshape(3, 4) < 5
    assert pixels.pxap(pixels.value_counts(mask.astype(float), mask)) == 1.0
    assert pixels.pxap(pixels.value_counts(np.full((3, 4), 0.3), mask)) == pytest.approx(5 / 12)
    with pytest.raises(ValueError, match="no pixel inside a mask"):
        pixels.pxap(pixels.value_counts(np.ones((2, 2)), np.zeros((2, 2), bool)))


def test_ignored_pixels_count_only_inside_the_mask() -> None:
    inside = np.array([[True, False, False]])
    counts = pixels.value_counts(np.array([[0.9, 0.9, 0.1]]), inside, ignore=np.array([[True, True, False]]))
    assert counts.sum(axis=1).tolist() == [1, 1]


@given(planes, st.data())
def test_bins_are_those_of_the_public_evaluator(plane: np.ndarray, data: st.DataObject) -> None:
    mask = data.draw(arrays(bool, plane.shape))
    counts = pixels.value_counts(plane, mask)
    for row, kind in zip(counts, (mask, ~mask), strict=True):
        expected, _ = np.histogram(plane[kind].astype(np.float64), bins=pixels.value_edges())
        np.testing.assert_array_equal(row, expected)


@given(planes, st.data())
def test_one_walk_counts_as_every_threshold_alone(plane: np.ndarray, data: st.DataObject) -> None:
    mask = data.draw(arrays(bool, plane.shape))
    at = np.linspace(0, 1, 100).astype(np.float32)
    found = pixels.overlap_above(plane, mask, at)
    for place in (0, 17, 50, 99):
        above = plane > at[place]
        assert (found.hits[place], found.found[place]) == (np.count_nonzero(above & mask), np.count_nonzero(above))
    assert (np.diff(found.found) <= 0).all()
    for shares in (found.iou(), found.precision(), found.recall(), found.f1()):
        assert ((shares >= 0) & (shares <= 1)).all()
    np.testing.assert_allclose(found.f1(), 2 * found.iou() / (1 + found.iou()), atol=1e-12)


def test_figures_of_one_threshold_by_hand() -> None:
    mask = np.array([[True, True, True, False]])
    found = pixels.overlap_above(np.array([[0.9, 0.8, 0.1, 0.7]]), mask, [0.5])
    figures = [float(share[0]) for share in (found.iou(), found.precision(), found.recall(), found.f1())]
    assert figures == pytest.approx([2 / 4, 2 / 3, 2 / 3, 4 / 6])
    assert pixels.overlap_above(np.zeros((1, 4)), mask, [0.0]).iou() == 0


def test_the_brightest_pixel_and_the_energy() -> None:
    saliency, mask = np.zeros((5, 5), np.float32), np.zeros((5, 5), bool)
    mask[0, 0] = mask[0, 1] = True
    saliency[3, 4], saliency[0, 0] = 0.75, 0.25
    assert not pixels.points_at(saliency, mask)
    assert not pixels.points_at(saliency, mask, tolerance=4.2)
    assert pixels.points_at(saliency, mask, tolerance=4.3)
    assert pixels.energy_inside(saliency, mask) == pytest.approx(0.25)
    assert not pixels.points_at(np.zeros((5, 5)), mask, tolerance=9)
    assert pixels.energy_inside(np.zeros((5, 5)), mask) == 0


def test_classes_compete_with_the_background() -> None:
    maps = np.array([[[0.9, 0.2, 0.0, 0.6]], [[0.1, 0.4, 0.0, 0.5]]])
    truth = np.array([[3, 7, 0, 255]])
    found = segments.label_counts(maps, [3, 7], truth, thresholds=[0.0, 0.3, 0.5])
    assert found.classes == (0, 3, 7)
    assert found.given.tolist() == [[1, 1, 2], [1, 1, 1], [1, 1, 0]]
    assert found.right.tolist() == [[1, 1, 1], [1, 1, 1], [1, 1, 0]]
    assert found.true.tolist() == [1, 1, 1]
    expected = [1, 1, (1 / 2 + 1 + 0) / 3]
    np.testing.assert_allclose(segments.mean_iou(found.right, found.given, found.true), expected, atol=1e-9)


@given(planes, planes, st.data())
def test_every_pixel_is_given_once(first: np.ndarray, second: np.ndarray, data: st.DataObject) -> None:
    maps = np.stack([first, np.resize(second, first.shape)])
    truth = data.draw(arrays(np.uint8, first.shape, elements=st.sampled_from([0, 1, 2, 5, 255])))
    found = segments.label_counts(maps, [1, 2], truth)
    assert (found.given.sum(axis=0) == np.count_nonzero(truth != 255)).all()
    assert found.true.sum() == np.count_nonzero(truth != 255)
    assert (found.right <= np.minimum(found.given, found.true[:, None])).all()
    at = 30
    labels = np.where(maps.max(axis=0).astype(np.float64) > segments.THRESHOLDS[at], maps.argmax(axis=0) + 1, 0)
    for place, each in enumerate(found.classes):
        assert found.right[place, at] == np.count_nonzero((labels == each) & (truth == each))


def test_localised_by_hand() -> None:
    rates = boxes.localised([0.5, 0.51, 0.9, 0.9], [0, 0, 4, 5])
    assert (rates.gt_known, rates.top1, rates.top5) == (0.75, 0.25, 0.5)
    assert rates.box_iou == pytest.approx(0.7025)
    with pytest.raises(ValueError, match="must have the same shape"):
        boxes.localised([0.5], [0, 1])


def test_roc_by_hand() -> None:
    curve = curves.roc([0.9, 0.8, 0.8, 0.1], [True, True, False, False])
    assert curve.area == pytest.approx(3.5 / 4)
    assert curve.across.tolist() == [0, 0, 0.5, 1]
    assert curve.up.tolist() == [0, 0.5, 1, 1]
    with pytest.raises(ValueError, match="both kinds"):
        curves.roc([0.5], [True])


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30), st.randoms())
def test_ranks_alone_matter(answers: list[tuple[int, bool]], order: object) -> None:
    values, there = np.array([value for value, _ in answers]), np.array([known for _, known in answers])
    if there.all() or not there.any():
        return
    wins = np.sign(values[there][:, None] - values[~there][None]) / 2 + 0.5
    curve = curves.roc(values, there)
    assert curve.area == pytest.approx(wins.mean())
    turned = np.random.default_rng(0).permutation(len(values))
    again = curves.precision_recall(np.exp(values[turned]), there[turned])
    assert again.area == pytest.approx(curves.precision_recall(values, there).area)


def test_average_precision_by_hand() -> None:
    curve = curves.precision_recall([0.9, 0.8, 0.7, 0.6], [True, False, True, False])
    assert curve.area == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    with pytest.raises(ValueError, match="no right answer"):
        curves.precision_recall([0.5], [False])


def test_brightest_first_reveals_all_in_the_end() -> None:
    saliency = np.array([[0.1, 0.9], [0.9, 0.4]])
    masks = [mask.astype(int).tolist() for mask in curves.brightest_first(saliency, 4)]
    assert masks == [[[0, 0], [0, 0]], [[0, 1], [0, 0]], [[0, 1], [1, 0]], [[0, 1], [1, 1]], [[1, 1], [1, 1]]]
    assert curves.area_under([0, 1]) == 0.5
    assert curves.area_under([0.2, 0.2, 0.2]) == pytest.approx(0.2)


@given(planes, st.data())
def test_pixels_twice_as_fine_change_no_share(plane: np.ndarray, data: st.DataObject) -> None:
    mask = data.draw(arrays(bool, plane.shape))
    fine, fine_mask = (array.repeat(2, axis=0).repeat(2, axis=1) for array in (plane, mask))
    levels = np.linspace(0, 1, 11).astype(np.float32)
    coarse, other = pixels.overlap_above(plane, mask, levels), pixels.overlap_above(fine, fine_mask, levels)
    np.testing.assert_allclose(other.iou(), coarse.iou(), atol=1e-12)
    assert pixels.energy_inside(fine, fine_mask) == pytest.approx(pixels.energy_inside(plane, mask), abs=1e-6)
    if mask.any():
        counts, others = pixels.value_counts(plane, mask), pixels.value_counts(fine, fine_mask)
        assert pixels.pxap(others) == pytest.approx(pixels.pxap(counts))


@given(arrays(np.float64, (6, 9), elements=st.floats(0, 1)), st.randoms(use_true_random=False))
def test_max_box_acc_falls_with_the_overlap_asked_for_whatever_the_order(overlaps: np.ndarray, order: random.Random) -> None:
    rates = [max_box.max_box_acc(overlaps, least) for least in (0.1, 0.3, 0.5, 0.7, 0.9)]
    assert rates == sorted(rates, reverse=True)
    turned = overlaps[order.sample(range(6), 6)]
    assert max_box.max_box_acc_v2(turned) == max_box.max_box_acc_v2(overlaps)
    assert max_box.max_box_acc(overlaps) >= (overlaps >= 0.5).mean(axis=0).max()
