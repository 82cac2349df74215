"""Boxes and pixels against a truth that was made by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bench.accuracy.figures import box_figures, measure
from bench.accuracy.judge import judge, judge_pixels, overlaps, pixel_row
from bench.accuracy.presence import best_margin, roc, rule, study
from bench.accuracy.saliency import maker
from bench.accuracy.sheets import Sheet, truths
from bench.accuracy.zeroshot import holds_any, ranks
from bench.world.nouns import nouns, number
from bench.world.splits import Example, Thing
from engine.spec import Spec
from tests.bench.accuracy_made import LEFT, NEITHER, RIGHT, two_halves
from tests.bench.accuracy_made import truth as band

SPEC = Spec(temperature=1.0, score_space="cosine", threshold=0.5, resize="clamp")
SHARP = SPEC.replace(temperature=0.01)


def always(plane: np.ndarray):  # noqa: ANN201
    """Saliency that is the same for every query."""
    return lambda sheet, asked: np.tile(plane.astype(np.float32).reshape(1, -1), (len(asked), 1))


def test_each_half_is_found_by_its_own_words() -> None:
    found = judge([two_halves()], maker(SHARP, 1.0), SHARP, [0.5])
    assert found.best.ravel().tolist() == [1.0, 1.0]
    assert found.first.ravel().tolist() == [1.0, 1.0]
    assert found.other.ravel().tolist() == [0.0, 0.0]
    assert found.boxes.ravel().tolist() == [1.0, 1.0]
    assert found.pictures.tolist() == [0, 0]


def test_best_takes_any_box_and_first_the_one_ranked_first() -> None:
    plane = np.zeros((10, 40), np.float32)
    plane[:, 0:8], plane[:, 20:40] = 1.0, 0.8
    known = np.array([[20, 0, 40, 10], [0, 0, 10, 10]], np.float64)
    assert overlaps(plane, SPEC, known, 1) == (1.0, 0.0, 0.8, 2)
    assert overlaps(plane, SPEC, known, 2) == (1.0, 0.8, pytest.approx(np.nan, nan_ok=True), 2)
    assert overlaps(np.zeros_like(plane), SPEC, known, 1) == (0.0, 0.0, 0.0, 0)


def test_an_overlap_of_one_half_exactly_is_not_found() -> None:
    sheet = two_halves(0, band(LEFT, 0, 40))
    found = judge([sheet], maker(SHARP, 1.0), SHARP, [0.5])
    assert found.best.tolist() == [[0.5]]
    assert box_figures([sheet], found)["gt_known"].value == 0.0
    assert "confused" not in box_figures([sheet], found)


def test_pixels_at_thresholds() -> None:
    plane = np.array([[0.9, 0.4, 0.6, 0.1]], np.float32)
    ious, pointed, _ = pixel_row(plane, np.array([[True, True, False, False]]), [0.0, 0.5, 0.95])
    assert ious.tolist() == pytest.approx([0.5, 1 / 3, 0.5])
    assert pointed
    assert not pixel_row(plane, np.array([[False, True, False, False]]), [0.5])[1]


def test_nothing_found_points_nowhere() -> None:
    ious, pointed, counts = pixel_row(np.zeros((2, 2), np.float32), np.ones((2, 2), bool), [0.5])
    assert (ious.tolist(), pointed, counts[0, 0]) == ([0.0], False, 4)


def test_pixel_outcome_of_a_sheet() -> None:
    found = judge_pixels([two_halves()], maker(SHARP, 1.0), SHARP, [0.5])
    assert found.iou.tolist() == [[1.0], [1.0]]
    assert found.pointed.tolist() == [True, True]
    assert found.counts.sum(axis=(1, 2)).tolist() == [1600, 1600]


def test_ranks_leave_out_what_else_is_shown() -> None:
    """RIGHT suits the picture less than LEFT, which is there too, and less than NEITHER, which is not."""
    assert ranks([two_halves()]).tolist() == [0, 1]
    assert holds_any([two_halves()], 1).tolist() == [True]
    only_right = two_halves(0, band(RIGHT, 20, 40))
    assert ranks([only_right]).tolist() == [2]
    assert (holds_any([only_right], 1).tolist(), holds_any([only_right], 3).tolist()) == ([False], [True])


def test_top_1_loc_needs_both() -> None:
    found = measure([two_halves()], maker(SHARP, 1.0), SHARP)
    values = {name: estimate.value for name, estimate in found.estimates.items()}
    assert (found.pictures, found.queries, found.boxes_per_query) == (1, 2, 1.0)
    assert (values["gt_known"], values["top1_loc"], values["top5_loc"], values["top1"]) == (1.0, 0.5, 1.0, 1.0)
    assert (values["box_iou"], values["pixel_miou"], values["pointing"], values["confused"]) == (1.0, 1.0, 1.0, 0.0)
    assert values["pxap"] == pytest.approx(1.0, abs=0.02)
    assert set(found.to_dict()) == {"pictures", "queries", "boxes_per_query", *values}


def test_confused_when_the_first_box_lies_on_the_other_thing() -> None:
    swapped = two_halves(0, band(RIGHT, 0, 20), band(LEFT, 20, 40))
    outcome = judge([swapped], maker(SHARP, 1.0), SHARP, [0.5])
    assert box_figures([swapped], outcome)["confused"].value == 1.0


def test_things_of_one_noun_are_one_truth() -> None:
    first, second = np.zeros((2, 4, 6), bool)
    first[:, :2], second[:, 4:] = True, True
    dog, cat = nouns()[0], nouns()[1]
    things = (Thing(dog, (0, 0, 2, 4), first), Thing(cat, (0, 0, 2, 4), first), Thing(dog, (4, 0, 6, 4), second))
    found = truths(Example("val", 0, np.zeros((4, 6, 3), np.uint8), things, "", ()))
    assert [one.noun for one in found] == [number(dog), number(cat)]
    assert found[0].boxes.tolist() == [[0, 0, 2, 4], [4, 0, 6, 4]]
    assert found[0].mask.sum() == 16


def test_roc_of_a_signal_that_tells_all_nothing_and_half() -> None:
    there, places = np.array([True, True, False, False]), np.array([0, 1, 0, 1])
    full = roc(np.array([0.9, 0.8, 0.2, 0.1]), there, places)
    assert (full.area.value, full.area.low, full.false.tolist(), full.true.tolist()) == (
        1.0, 1.0, [0, 0, 0, 0.5, 1], [0, 0.5, 1, 1, 1],
    )  # fmt: skip
    flat = roc(np.full(4, 0.5), there, places)
    assert (flat.area.value, flat.false.tolist(), flat.true.tolist()) == (0.5, [0, 1], [0, 1])
    assert roc(np.array([0.9, 0.1, 0.5, 0.3]), there, places).area.value == 0.5
    with pytest.raises(ValueError, match="both kinds"):
        roc(np.zeros(2), np.ones(2, bool), np.zeros(2, np.int64))


def test_presence_by_the_method_itself() -> None:
    found = study([two_halves(0), two_halves(1)], maker(SHARP, 1.0), 0.99)
    assert (found.any_map.present.value, found.any_map.false_alarms.value) == (1.0, 0.0)
    assert (found.by_margin.present.value, found.by_margin.false_alarms.value) == (0.0, 0.0)
    assert found.curves["margin"].area.value == 1.0
    plain = found.to_dict()
    assert plain["auc"]["margin"][0] == 1.0
    assert plain["roc"]["margin"][0] == [0.0, 1.0]


def test_a_margin_is_passed_or_not() -> None:
    found = rule(np.array([0.1, 0.3, 0.5, 0.7]), np.array([0.0, 0.2, 0.3]), 0.3)
    assert (found.present.value, found.false_alarms.value) == (0.5, 0.0)


def test_the_best_margin_parts_present_from_absent() -> None:
    there, strange = dataclasses.replace(two_halves(0), scores=np.full((212, 4), 0.4, np.float32)), two_halves(1)
    strange = dataclasses.replace(strange, truths=(), absent=(NEITHER,), scores=np.full((212, 4), 0.2, np.float32))
    assert best_margin([there, strange]) == pytest.approx(0.3, abs=0.011)
    assert best_margin([dataclasses.replace(there, absent=())]) == 0.0


def test_a_query_above_no_map_gives_no_saliency() -> None:
    sheet: Sheet = two_halves()
    assert not maker(SPEC, 1.0)(sheet, [NEITHER]).any()
