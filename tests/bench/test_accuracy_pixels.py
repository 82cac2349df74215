"""PxAP and the peak IoU on numbers that can be checked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bench.accuracy.pixels import histogram, peak_iou, pxap


def counts(inside: list[float], outside: list[float]) -> np.ndarray:
    values = np.array([inside + outside], np.float32)
    return histogram(values, np.array([[True] * len(inside) + [False] * len(outside)]))


def test_golden_numbers() -> None:
    found = counts([0.9, 0.4], [0.6, 0.1])
    assert 100 * pxap(found) == pytest.approx(83.33, abs=5e-3)
    assert 100 * peak_iou(found) == pytest.approx(66.67, abs=5e-3)


def test_a_perfect_map() -> None:
    found = counts([1.0, 0.8], [0.2, 0.0])
    assert pxap(found) == pytest.approx(1)
    assert peak_iou(found) == pytest.approx(1)


def test_a_constant_map_is_worth_the_share_of_the_mask() -> None:
    found = counts([0.5], [0.5, 0.5, 0.5])
    assert pxap(found) == pytest.approx(0.25)
    assert peak_iou(found) == pytest.approx(0.25)


def test_counts_add_up_over_pictures() -> None:
    assert pxap(counts([0.9], [0.6]) + counts([0.4], [0.1])) == pytest.approx(pxap(counts([0.9, 0.4], [0.6, 0.1])))


def test_every_pixel_is_counted_once() -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((9, 11)) < 0.3
    found = histogram(rng.random((9, 11)), mask)
    assert found.sum(axis=1).tolist() == [mask.sum(), (~mask).sum()]


def test_no_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="no pixel inside"):
        pxap(counts([], [0.5]))


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        histogram(np.zeros((2, 3)), np.zeros((3, 2), bool))
