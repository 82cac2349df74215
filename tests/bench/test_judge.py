"""Answers against a truth that was made by hand, the search for a planted best, and the way through numpy."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from bench.accuracy.evaluation import seen
from bench.accuracy.figures import box_figures, measure
from bench.accuracy.frontier import compare, settings
from bench.accuracy.judge import BoxOverlaps, judge_boxes, overlaps, pixel_row, planes
from bench.accuracy.presence import best_margin, study
from bench.accuracy.scored import ranks, saliency_under, score_picture, shows_any, truths_of
from bench.accuracy.search import SWITCHES, THRESHOLDS, Merit, Trials, best_published, climb, search
from bench.world.nouns import nouns, number
from bench.world.read import PICTURES, read_split
from bench.world.splits import Example, Thing
from engine.boxes import find_boxes
from engine.spec import DEFAULT, PAPER, Spec
from runtime import Localizer, Query
from runtime.answers import Answerer
from tests.bench.made import LEFT, NEITHER, RIGHT, truth, two_halves

SPEC = Spec(temperature=1.0, score_space="cosine", threshold=0.5, resize="clamp")
SHARP = SPEC.replace(temperature=0.01)


def test_each_half_is_found_by_its_own_words() -> None:
    found = judge_boxes([two_halves()], saliency_under(SHARP, 1.0), SHARP, [0.5])
    assert [found.best.ravel().tolist(), found.first.ravel().tolist()] == [[1.0, 1.0], [1.0, 1.0]]
    assert [found.other.ravel().tolist(), found.boxes.ravel().tolist()] == [[0.0, 0.0], [1.0, 1.0]]
    assert found.pictures.tolist() == [0, 0]


def test_best_takes_any_box_and_first_the_one_ranked_first() -> None:
    plane = np.zeros((10, 40), np.float32)
    plane[:, 0:8], plane[:, 20:40] = 1.0, 0.8
    known = np.array([[20, 0, 40, 10], [0, 0, 10, 10]], np.float64)
    assert overlaps(plane, SPEC, known, 1) == (1.0, 0.0, 0.8, 2)
    assert overlaps(plane, SPEC, known, 2) == (1.0, 0.8, pytest.approx(np.nan, nan_ok=True), 2)
    assert overlaps(np.zeros_like(plane), SPEC, known, 1) == (0.0, 0.0, 0.0, 0)


def test_an_overlap_of_one_half_exactly_is_not_found() -> None:
    scored = two_halves(0, truth(LEFT, 0, 40))
    found = judge_boxes([scored], saliency_under(SHARP, 1.0), SHARP, [0.5])
    assert found.best.tolist() == [[0.5]]
    assert box_figures([scored], found)["gt_known"].value == 0.0
    assert "confused" not in box_figures([scored], found)


def test_confused_when_the_first_box_lies_on_the_other_thing() -> None:
    swapped = two_halves(0, truth(RIGHT, 0, 20), truth(LEFT, 20, 40))
    found = judge_boxes([swapped], saliency_under(SHARP, 1.0), SHARP, [0.5])
    assert box_figures([swapped], found)["confused"].value == 1.0


def test_pixels_at_thresholds() -> None:
    plane = np.array([[0.9, 0.4, 0.6, 0.1]], np.float32)
    ious, pointed, _ = pixel_row(plane, np.array([[True, True, False, False]]), [0.0, 0.5, 0.95])
    assert ious.tolist() == pytest.approx([0.5, 1 / 3, 0.5])
    assert pointed
    assert not pixel_row(plane, np.array([[False, True, False, False]]), [0.5])[1]
    ious, pointed, counts = pixel_row(np.zeros((2, 2), np.float32), np.ones((2, 2), bool), [0.5])
    assert (ious.tolist(), pointed, counts[0, 0]) == ([0.0], False, 4)  # nothing found points nowhere


def test_top_1_loc_needs_both_and_ranks_leave_out_what_else_is_shown() -> None:
    """RIGHT suits the picture less than LEFT, which is there too, and less than NEITHER, which is not."""
    found = measure([two_halves()], saliency_under(SHARP, 1.0), SHARP)
    values = {name: estimate.value for name, estimate in found.estimates.items()}
    assert (found.pictures, found.queries, found.boxes_per_query) == (1, 2, 1.0)
    assert (values["gt_known"], values["top1_loc"], values["top5_loc"], values["top1"]) == (1.0, 0.5, 1.0, 1.0)
    assert (values["box_iou"], values["pixel_miou"], values["pointing"], values["confused"]) == (1.0, 1.0, 1.0, 0.0)
    assert values["pxap"] == pytest.approx(1.0, abs=0.02)
    assert ranks([two_halves()]).tolist() == [0, 1]
    only_right = two_halves(0, truth(RIGHT, 20, 40))
    assert ranks([only_right]).tolist() == [2]
    assert (shows_any([only_right], 1).tolist(), shows_any([only_right], 3).tolist()) == ([False], [True])


def test_things_of_one_noun_are_one_truth() -> None:
    first, second = np.zeros((2, 4, 6), bool)
    first[:, :2], second[:, 4:] = True, True
    dog, cat = nouns()[0], nouns()[1]
    things = (Thing(dog, (0, 0, 2, 4), first), Thing(cat, (0, 0, 2, 4), first), Thing(dog, (4, 0, 6, 4), second))
    found = truths_of(Example("val", 0, np.zeros((4, 6, 3), np.uint8), things, "", ()))
    assert [one.noun for one in found] == [number(dog), number(cat)]
    assert found[0].boxes.tolist() == [[0, 0, 2, 4], [4, 0, 6, 4]]
    assert found[0].mask.sum() == 16


def test_presence_by_the_method_itself_and_by_a_margin() -> None:
    found = study([two_halves(0), two_halves(1)], saliency_under(SHARP, 1.0), 0.99)
    assert (found.any_map.present.value, found.any_map.false_alarms.value) == (1.0, 0.0)
    assert (found.by_margin.present.value, found.by_margin.false_alarms.value) == (0.0, 0.0)
    assert found.curves["margin"].area.value == 1.0
    assert found.to_dict()["roc"]["margin"][0] == [0.0, 1.0]


def test_the_best_margin_parts_present_from_absent() -> None:
    there = dataclasses.replace(two_halves(0), scores=np.full((212, 4), 0.4, np.float32))
    strange = dataclasses.replace(two_halves(1), truths=(), absent=(NEITHER,), scores=np.full((212, 4), 0.2, np.float32))
    assert best_margin([there, strange]) == pytest.approx(0.3, abs=0.011)
    assert best_margin([dataclasses.replace(there, absent=())]) == 0.0


QUERIES = 200
PLANTED = Spec(temperature=0.05, combine="masks", contrast=0.75, resize="mirror", connectivity=8, min_area=0.01, threshold=0.35)


def planted(spec: Spec) -> BoxOverlaps:
    """A made-up world whose best spec is PLANTED: the first queries are found, as many as a spec and a threshold allow."""
    loss = 0.05 * abs(math.log(spec.temperature / PLANTED.temperature)) + 0.2 * abs(spec.contrast - PLANTED.contrast)
    same = ("combine", "resize", "connectivity", "min_area")
    quality = max(0.0, 0.95 - loss - 0.05 * sum(getattr(spec, name) != getattr(PLANTED, name) for name in same))
    shares = [quality - abs(threshold - PLANTED.threshold) for threshold in THRESHOLDS]
    best = np.array([[0.9 if place < QUERIES * share else 0.1 for share in shares] for place in range(QUERIES)])
    return BoxOverlaps(np.arange(QUERIES), np.array(THRESHOLDS), best, best, np.full_like(best, np.nan), np.ones_like(best))


def test_the_search_finds_the_planted_best_and_says_what_each_switch_costs() -> None:
    found = search(Trials(planted), Spec())
    assert found.trial.spec == PLANTED.replace(name="chosen")
    assert found.trial.merit.gt_known == pytest.approx(0.95)
    assert {row.switch for row in found.switches} == set(SWITCHES)
    for switch in SWITCHES:
        rows = [row for row in found.switches if row.switch == switch]
        assert [row.value for row in rows if row.chosen] == [getattr(PLANTED, switch)]
        assert all(row.lead.value <= 0 for row in rows)
    raw = next(row for row in found.switches if row.value == "raw")
    assert raw.lead.low < raw.lead.value == pytest.approx(-0.05)
    assert raw.lead.value < raw.lead.high <= 0
    assert [trial.spec.threshold for trial in found.thresholds] == list(THRESHOLDS)


def test_equal_values_move_nothing_and_a_flicker_beats_nothing() -> None:
    start = Spec(temperature=0.3, threshold=0.9)
    assert climb(Trials(lambda spec: planted(PLANTED)), start).spec == start.replace(threshold=PLANTED.threshold)
    base = Merit(0.8, 0.7, 0.6)
    beating = [Merit(0.8, 0.7, 0.602), Merit(0.8, 0.7, 0.61), Merit(0.8, 0.71, 0.5), Merit(0.79, 0.9, 0.9)]
    assert [each.beats(base) for each in beating] == [False, True, True, False]


def test_specs_that_differ_in_the_threshold_alone_are_judged_once() -> None:
    judged: list[Spec] = []
    trials = Trials(lambda spec: judged.append(spec) or planted(spec))  # type: ignore[func-returns-value]
    trials.best(Spec(threshold=0.2))
    trials.curve(Spec(threshold=0.8, name="other"))
    trials.lead(Spec(threshold=0.3), Spec(threshold=0.4))
    assert len(judged) == 1


def test_the_published_setting_is_swept_in_plain_cosine() -> None:
    found = best_published(Trials(planted), PAPER, 20.0)
    assert {trial.spec.score_space for trial in found.temperatures} == {"cosine"}
    assert 1.0 in [trial.spec.temperature for trial in found.temperatures]
    assert found.trial.spec.temperature == 0.05
    assert {trial.spec.temperature for trial in found.thresholds} == {0.05}


@pytest.fixture(scope="module")
def localizer() -> Localizer:
    return Localizer("demo-rn", device="cpu", threads=2, spec=DEFAULT.replace(presence="any"))


@pytest.fixture(scope="module")
def example() -> Example:
    return next(iter(read_split(PICTURES, "test")))


@pytest.mark.parametrize("changes", [{}, {"combine": "masks", "contrast": 0.7, "temperature": 0.2}, {"outline": "grid"}])
def test_the_way_through_numpy_says_what_the_localizer_says(localizer: Localizer, example: Example, changes: dict) -> None:
    spec = localizer.spec.replace(**changes)
    scene = localizer.encoder.encode_maps(example.pixels, range(0, 512, 8))
    texts = localizer.text.embed([Query((noun,)) for noun in nouns()])
    scored = score_picture(0, example, scene, texts, texts)
    found = planes(scored, saliency_under(spec, localizer.manifest.logit_scale), spec)
    answerer = Answerer(localizer.manifest, localizer.answerer.session, spec)
    queries = [Query((nouns()[noun],)) for noun in scored.asked]
    answers = answerer.answer(scene, queries, texts[scored.asked])
    for noun, mine, answer in zip(scored.asked, found, answers, strict=True):
        np.testing.assert_allclose(mine, answer.saliency, atol=2e-4)
        np.testing.assert_allclose(find_boxes(mine, spec).xyxy, answer.xyxy, atol=1)
        assert scored.similarity[noun] == pytest.approx(answer.similarity, abs=1e-5)
        assert scored.scores[noun].max() == pytest.approx(answer.margin, abs=1e-5)


def test_squares_are_encoded_once_for_all_geometries() -> None:
    square, tall = np.zeros((8, 8, 3), np.uint8), np.zeros((9, 8, 3), np.uint8)
    assert {seen(square, geometry) for geometry in ("squash", "crop", "letterbox", "stretch")} == {"squash"}
    assert [seen(tall, geometry) for geometry in ("squash", "stretch")] == ["squash", "crop"]


def test_an_answer_agrees_with_itself_and_another_does_not(localizer: Localizer, example: Example) -> None:
    every, few = (localizer.encoder.encode_maps(example.pixels, range(0, 512, step)) for step in (8, 64))
    exact, other = ([[localizer.locate(scene, f"a {thing.noun}") for thing in example.things]] for scene in (every, few))
    same, less = (compare("made", answers, exact, [example]) for answers in (exact, other))
    assert (same.agreement[0], same.flips, same.error) == (1.0, 0.0, 0.0)
    assert same.correlation == pytest.approx(1)
    assert less.passes < same.passes
    assert less.error > 0
    assert less.correlation < 1


def test_the_frontier_begins_with_exact_and_holds_every_preset() -> None:
    named = settings("M", 512, ["other-int8"], ["bf16"])
    assert (named[0].name, named[0].options) == ("exact", {})
    assert {setting.options.get("preset") for setting in named} == {None, "fast", "instant"}
    assert [setting.options.get("preset") for setting in named if setting.options.get("precision") == "bf16"] == [None, "fast"]
    assert [setting.model for setting in named[-2:]] == ["M", "other-int8"]
