"""Turns in rounds: who comes when, what the budget cuts, what a failure costs; and the numbers made of turns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.compare.job import Agreement, Facts, Turn, UnavailableError, Whole
from bench.compare.rounds import Taken, take_turns
from bench.compare.rows import Row, add_rate, add_turns, add_whole, started
from bench.compare.scores import compare, spaced
from bench.compare.statistics import middle
from bench.compare.ways import BY_NAME, WAYS, chosen
from tests.bench.compare_made import REFERENCE


def taken_by(names: str, rounds: int, budget: float = 1e9, bad: str = "") -> tuple[Taken, list[str]]:
    order: list[str] = []

    def turn(name: str) -> Turn:
        order.append(name)
        if name == bad and order.count(name) > 1:
            raise UnavailableError("gone")
        return Turn(1, 1.0)

    ways = {name: (lambda name=name: turn(name)) for name in names}
    return take_turns(ways, rounds, budget, lambda text: None, lambda: order.append("|")), order


def test_ways_take_turns_there_and_back() -> None:
    taken, order = taken_by("abc", 3)
    assert "".join(order) == "abc|cba|abc|"
    assert {name: len(turns) for name, turns in taken.turns.items()} == {"a": 3, "b": 3, "c": 3}
    assert taken.rounds == 3


def test_a_spent_budget_still_gives_every_way_one_turn() -> None:
    taken, order = taken_by("ab", 5, budget=0.0)
    assert "".join(order) == "ab|"
    assert taken.rounds == 1


def test_a_way_that_fails_is_left_out_from_then_on() -> None:
    taken, order = taken_by("abc", 3, bad="b")
    assert "".join(order) == "abc|cba|ac|"
    assert taken.failures == {"b": "gone"}
    assert taken.turns["b"] == []


def test_the_middle_is_median_and_quartiles() -> None:
    found = middle([4.0, 1.0, 2.0, 3.0, 100.0])
    assert (found.low, found.median, found.high, found.spread, found.count) == (2, 3, 4, 2, 5)
    assert found.relative == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="at least one"):
        middle([])


@given(st.lists(st.floats(1e-3, 1e3), min_size=1))
def test_the_middle_lies_within(values: list[float]) -> None:
    found = middle(values)
    assert min(values) <= found.low <= found.median <= found.high <= max(values)


def test_seconds_follow_from_the_rate_and_what_a_picture_needs() -> None:
    row = started(BY_NAME["exact"], Facts(8, "made", {}), Agreement(0.0, 0.0, 0, 4))
    add_turns(row, [Turn(4, 2.0, once=1.0), Turn(4, 2.0, once=1.0)])
    add_rate(row, REFERENCE, {"fp32": 8.0})
    assert row.passes_per_s == [2, 2, 2]
    assert row.seconds_per_picture == [5, 5, 5]
    assert (row.derived, row.gflops, row.share) == (True, 2, 0.25)


def test_a_turn_that_is_a_picture_needs_no_reckoning() -> None:
    row = started(BY_NAME["instant"], Facts(0, "made", {}), Agreement(0.0, 0.0, 0, 0))
    add_turns(row, [Turn(0, 0.0, once=0.5)])
    add_rate(row, REFERENCE, {"fp32": 8.0})
    assert (row.passes_per_s, row.seconds_per_picture, row.derived, row.gflops) == (None, [0.5, 0.5, 0.5], False, None)


def test_whole_pictures_are_held_against_the_published_answer() -> None:
    grid = np.array([[0.0, 1.0]])
    theirs = Whole(2.0, 3, np.array([[0, 0, 2, 2]]), grid, np.array([0.1, -0.2, 0.3]))
    three = replace(REFERENCE, live=np.array([True, True, True]))
    mine = Whole(1.0, 2, np.array([[0, 0, 2, 1]]), grid / 2, np.array([0.1, 0.1, 0.3]))
    row = started(BY_NAME["exact"], Facts(2, "made", {}), Agreement(0.0, 0.0, 0, 4))
    add_whole(row, mine, theirs, three)
    assert row.whole == {
        "seconds": 1,
        "passes": 2,
        "boxes": 1,
        "kept": 3,
        "box_agreement": 0.5,
        "flips": 1,
        "max_score_difference": pytest.approx(0.3),
        "max_saliency_difference": 0.5,
    }
    assert Row.from_dict(row.to_dict()) == row
    add_whole(row, mine, theirs, replace(REFERENCE, live=np.array([True, False, True])))
    assert row.whole is not None
    assert (row.whole["flips"], row.whole["kept"]) == (0, 2)  # a constant map may fall on either side


def test_scores_are_compared_by_size_and_side() -> None:
    wanted = np.array([0.1, -0.1, 0.1, 0.00001])
    assert compare(wanted, wanted).deviation == 0
    other = compare(np.array([0.1, 0.1, 0.1, -0.00001]), wanted)
    assert (other.flips, other.checked) == (1, 4)  # the last is too near the base to count
    assert other.error == pytest.approx(0.1, rel=1e-3)
    assert compare(np.array([np.nan, 0, 0, 0]), wanted).deviation == np.inf


def test_precision_decides_what_agrees() -> None:
    near, far, lost = (Agreement(error, 3 * error, 0, 4) for error in (0.001, 0.02, np.inf))
    exact, half = BY_NAME["exact"], BY_NAME["torch-bf16"]
    assert exact.accepts(near)
    assert not exact.accepts(far)
    assert half.accepts(far)
    assert not half.accepts(lost)


def test_samples_are_live_and_spread() -> None:
    live = np.ones(100, bool)
    live[0] = False
    assert spaced(live, 3).tolist() == [1, 50, 99]
    assert spaced(live[:3], 16).tolist() == [1, 2]


def test_ways_are_chosen_by_name_in_their_order() -> None:
    assert [way.name for way in chosen(["exact", "published"])] == ["published", "exact"]
    assert chosen([]) == list(WAYS)
    assert len(BY_NAME) == len(WAYS)
    with pytest.raises(ValueError, match="way `exat` is unknown"):
        chosen(["exat"])
