from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from engine import rectangle
from engine.rectangle import heaviest_rectangle, refined

whole = arrays(np.int64, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(-9, 9))


def total(values: np.ndarray, box: tuple[int, int, int, int]) -> float:
    x0, y0, x1, y1 = box
    return float(values[y0:y1, x0:x1].sum())


@given(whole)
def test_no_rectangle_holds_more(values: np.ndarray) -> None:
    height, width = values.shape
    every = [
        total(values, (x0, y0, x1, y1))
        for y0 in range(height)
        for y1 in range(y0 + 1, height + 1)
        for x0 in range(width)
        for x1 in range(x0 + 1, width + 1)
    ]
    found = heaviest_rectangle(values)
    assert (found is None) == (max(every) <= 0)
    if found:
        assert total(values, found) == max(every)


def test_by_hand() -> None:
    values = np.full((4, 5), -1.0)
    values[1:3, 1:4] = 2
    values[1, 2] = -1  # cheaper to take in than to leave out
    assert heaviest_rectangle(values) == (1, 1, 4, 3)
    assert heaviest_rectangle(values.T) == (1, 1, 3, 4)
    assert heaviest_rectangle(-np.ones((3, 3))) is None


@given(whole, st.data())
def test_refining_never_loses(values: np.ndarray, data: st.DataObject) -> None:
    height, width = values.shape
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = (x0, y0, data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height)))
    better = refined(values, box)
    assert better[0] < better[2]
    assert better[1] < better[3]
    assert total(values, better) >= total(values, box)


@pytest.mark.parametrize("seed", range(3))
def test_large_maps_end_at_the_pixel(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A smooth hill, searched on a reduced copy: the refined sides are those of the full search."""
    rng = np.random.default_rng(seed)
    cy, cx = rng.uniform(0.3, 0.7, 2) * (90, 120)
    rows, cols = np.mgrid[:90, :120]
    values = np.exp(-(((rows - cy) / 20) ** 2) - ((cols - cx) / 30) ** 2) - 0.4
    exact = heaviest_rectangle(values)
    monkeypatch.setattr(rectangle, "EXACT", 16)
    assert heaviest_rectangle(values) == exact
