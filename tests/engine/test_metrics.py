from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.metrics import best_iou, box_agreement, iou

NONE = np.zeros((0, 4))
one_box = st.tuples(*[st.integers(0, 20)] * 2, *[st.integers(1, 20)] * 2).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))
box_sets = st.lists(one_box, max_size=5)


def test_half_open_by_hand() -> None:
    overlap = iou([[0, 0, 2, 2], [5, 5, 6, 6]], [[1, 0, 3, 2], [0, 0, 2, 2], [2, 0, 4, 2]])
    np.testing.assert_allclose(overlap, np.array([[1 / 3, 1, 0], [0, 0, 0]]))


def test_inclusive_golden() -> None:
    np.testing.assert_allclose(iou([[1, 2, 5, 6]], [[3, 1, 4, 5]], inclusive=True), [[8 / 27]])


def test_boxes_without_area_overlap_nothing() -> None:
    assert iou([[1, 1, 1, 1]], [[1, 1, 1, 1]]) == 0
    assert iou([[3, 3, 1, 1]], [[0, 0, 4, 4]]) == 0


def test_empty_sets() -> None:
    assert iou(NONE, [[0, 0, 1, 1]]).shape == (0, 1)
    assert iou([], []).shape == (0, 0)
    assert best_iou(NONE, [[0, 0, 1, 1]]) == best_iou([[0, 0, 1, 1]], NONE) == best_iou(NONE, NONE) == 0
    assert box_agreement(NONE, NONE) == 1
    assert box_agreement(NONE, [[0, 0, 1, 1]]) == box_agreement([[0, 0, 1, 1]], NONE) == 0


def test_agreement_by_hand() -> None:
    """Two boxes against one of them: the extra box has no partner, so two of three bests are 1."""
    assert box_agreement([[0, 0, 2, 2], [5, 5, 6, 6]], [[0, 0, 2, 2]]) == pytest.approx(2 / 3)


@given(box_sets, box_sets)
def test_symmetry_and_range(a: list[tuple[int, ...]], b: list[tuple[int, ...]]) -> None:
    overlap = iou(a, b)
    np.testing.assert_array_equal(overlap, iou(b, a).T)
    assert ((overlap >= 0) & (overlap <= 1)).all()
    assert best_iou(a, b) == best_iou(b, a)
    assert box_agreement(a, b) == pytest.approx(box_agreement(b, a))


@given(box_sets)
def test_a_set_agrees_with_itself(boxes: list[tuple[int, ...]]) -> None:
    assert box_agreement(boxes, boxes) == 1


def test_bad_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`b` must have the shape \(n, 4\), found \(4,\)"):
        iou([[0, 0, 1, 1]], [0, 0, 1, 1])
