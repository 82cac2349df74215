"""Intervals and resampling."""

from __future__ import annotations

import numpy as np
import pytest

from bench.accuracy.statistics import Estimate, draws, mean, resampled, share, wilson


@pytest.mark.parametrize(
    ("hits", "tries", "low", "high"),
    [(0, 10, 0.0, 0.27753), (10, 10, 0.72247, 1.0), (5, 10, 0.23659, 0.76341), (88, 100, 0.80188, 0.93001)],
)
def test_wilson_intervals(hits: int, tries: int, low: float, high: float) -> None:
    found = wilson(hits, tries)
    assert found.value == hits / tries
    assert (found.low, found.high) == (pytest.approx(low, abs=2e-5), pytest.approx(high, abs=2e-5))


def test_wilson_needs_tries() -> None:
    with pytest.raises(ValueError, match="0 of 0"):
        wilson(0, 0)
    with pytest.raises(ValueError, match="3 of 2"):
        wilson(3, 2)


def test_share_counts_true_values() -> None:
    assert share(np.array([True, False, True, True])).value == 0.75


def test_draws_are_seeded_and_draw_as_many_as_there_are() -> None:
    first = draws(7)
    assert (first == draws(7)).all()
    assert (first != draws(7, seed=1)).any()
    assert first.shape == (1000, 7)
    assert (first.sum(axis=1) == 7).all()


def test_mean_resamples_whole_pictures() -> None:
    """Queries of one picture stand or fall together, so their interval is that of the pictures."""
    values = np.tile([0.0, 1.0], 50)
    alone, together = mean(values, np.arange(100)), mean(np.sort(values), np.repeat(np.arange(10), 10))
    assert alone.value == together.value == 0.5
    assert alone.low == pytest.approx(0.4, abs=0.02)
    assert together.low < 0.25


def test_the_interval_of_equal_values_is_a_point() -> None:
    assert mean(np.full(9, 0.5), np.arange(9)) == Estimate(0.5, 0.5, 0.5)


def test_resampled_figures_are_those_of_the_summed_tables() -> None:
    tables = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0], [0.0, 4.0]])
    found = resampled(tables, lambda table: float(table[0] / table.sum()))
    assert found.value == pytest.approx(6 / 16)
    assert 0 <= found.low < found.value < found.high <= 0.75
