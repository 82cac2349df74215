"""Intervals and resampling, areas and agreement, on numbers that can be checked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.accuracy.presence import roc
from bench.accuracy.statistics import Estimate, draws, mean, resampled, share
from bench.compare.record import quartiles
from bench.compare.task import choose_sample, compare_scores


@pytest.mark.parametrize(
    ("hits", "tries", "low", "high"),
    [(0, 10, 0.0, 0.27753), (10, 10, 0.72247, 1.0), (5, 10, 0.23659, 0.76341), (88, 100, 0.80188, 0.93001)],
)
def test_shares_have_wilsons_interval(hits: int, tries: int, low: float, high: float) -> None:
    found = share(np.arange(tries) < hits)
    assert found.value == hits / tries
    assert (found.low, found.high) == (pytest.approx(low, abs=2e-5), pytest.approx(high, abs=2e-5))


def test_a_share_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="not less than 1"):
        share(np.array([], bool))


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
    assert mean(np.full(9, 0.5), np.arange(9)) == Estimate(0.5, 0.5, 0.5)


def test_resampled_figures_are_those_of_the_summed_tables() -> None:
    tables = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0], [0.0, 4.0]])
    found = resampled(tables, lambda table: float(table[0] / table.sum()))
    assert found.value == pytest.approx(6 / 16)
    assert 0 <= found.low < found.value < found.high <= 0.75


def test_the_middle_is_median_and_quartiles() -> None:
    assert quartiles([4.0, 1.0, 2.0, 3.0, 100.0]) == [3, 2, 4]
    with pytest.raises(ValueError, match="at least one"):
        quartiles([])


@given(st.lists(st.floats(1e-3, 1e3), min_size=1))
def test_the_middle_lies_within(values: list[float]) -> None:
    median, low, high = quartiles(values)
    assert 0.999 * min(values) <= low <= median <= high <= 1.001 * max(values)


def test_the_roc_of_a_signal_that_tells_all_nothing_and_half() -> None:
    there, places = np.array([True, True, False, False]), np.array([0, 1, 0, 1])
    full = roc(np.array([0.9, 0.8, 0.2, 0.1]), there, places)
    assert (full.area.value, full.area.low) == (1.0, 1.0)
    assert (full.false.tolist(), full.true.tolist()) == ([0, 0, 0, 0.5, 1], [0, 0.5, 1, 1, 1])
    flat = roc(np.full(4, 0.5), there, places)
    assert (flat.area.value, flat.false.tolist(), flat.true.tolist()) == (0.5, [0, 1], [0, 1])
    assert roc(np.array([0.9, 0.1, 0.5, 0.3]), there, places).area.value == 0.5
    with pytest.raises(ValueError, match="both kinds"):
        roc(np.zeros(2), np.ones(2, bool), np.zeros(2, np.int64))


def test_scores_are_compared_by_size_and_side() -> None:
    wanted = np.array([0.1, -0.1, 0.1, 0.00001])
    assert compare_scores(wanted, wanted).deviation == 0
    other = compare_scores(np.array([0.1, 0.1, 0.1, -0.00001]), wanted)
    assert (other.flips, other.checked) == (1, 4)  # the last is too near the base to count
    assert other.error == pytest.approx(0.1, rel=1e-3)
    assert compare_scores(np.array([np.nan, 0, 0, 0]), wanted).deviation == np.inf


def test_samples_are_live_and_spread() -> None:
    live = np.ones(100, bool)
    live[0] = False
    assert choose_sample(live, 3).tolist() == [1, 50, 99]
    assert choose_sample(live[:3], 16).tolist() == [1, 2]
