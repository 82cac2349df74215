"""Answers that grow: more passes each, the last one the preset's own, nothing left behind when they are no longer wanted."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from runtime import ArgumentError, Localizer, PictureError, Query
from tests.runtime.samples import noise

PICTURE = noise(60, 90)
QUERY = "a cat"


@pytest.fixture(scope="module")
def exact(tiny_bundle: Path) -> Localizer:
    return Localizer(tiny_bundle, device="cpu")


def test_the_first_answer_takes_one_pass_and_the_last_is_exact(tiny_bundle: Path, exact: Localizer) -> None:
    found = list(exact.watch(PICTURE, QUERY))
    passes = [each.passes for each in found]
    assert passes[0] == 1
    assert all(few < many for few, many in itertools.pairwise(passes))
    assert len(found) > 4
    first, last, whole = found[0], found[-1], exact(PICTURE, QUERY)
    assert first.map == pytest.approx(Localizer(tiny_bundle, device="cpu", preset="instant")(PICTURE, QUERY).map, abs=1e-5)
    assert (last.preset, last.passes, last.error) == ("exact", whole.passes, 0.0)
    assert last.map == pytest.approx(whole.map, abs=1e-5)
    assert all(each.preset == "fast" for each in found[1:-1])


def test_answers_are_those_of_a_plain_call_at_the_same_passes(tiny_bundle: Path) -> None:
    *_, before, last = Localizer(tiny_bundle, device="cpu", preset="fast", passes=8, refine=64).watch(PICTURE, QUERY)
    for found, refine in ((before, 32), (last, 64)):
        plain = Localizer(tiny_bundle, device="cpu", preset="fast", passes=8, refine=refine)(PICTURE, QUERY)
        assert (found.passes, found.preset) == (plain.passes, "fast")
        assert np.array_equal(found.map, plain.map)
        assert found.error == plain.error


def test_it_ends_where_it_is_sure(exact: Localizer) -> None:
    *_, before, last = exact.watch(PICTURE, QUERY, sure=0.02)
    assert last.error is not None
    assert last.error <= 0.02 < (before.error or 1)


def test_several_queries_and_scenes(tiny_bundle: Path, exact: Localizer) -> None:
    fast = Localizer(tiny_bundle, device="cpu", preset="fast", passes=8, refine=32)
    scene = fast.encode(PICTURE)
    both = list(fast.watch(scene, [QUERY, "a dog"]))
    assert [[each.query for each in found] for found in both] == [[QUERY, "a dog"]] * len(both)
    assert both[-1][0].passes > both[0][0].passes == scene.passes
    assert [each.passes for each in fast.watch(replace(scene, picture=None), QUERY)] == [scene.passes]
    kept = Localizer(tiny_bundle, device="cpu", scenes_only=True)
    assert [each.passes for each in kept.watch(scene, QUERY)] == [scene.passes]
    whole = exact.encode(PICTURE)
    assert [each.passes for each in exact.watch(whole, QUERY)] == [whole.passes]


def test_scenes_after_every_step_answer_as_the_steps_do(exact: Localizer) -> None:
    texts = exact.text.embed([Query((QUERY,))])
    kept = list(itertools.islice(exact.opened.watcher.scenes(PICTURE, texts, None), 3))
    for scene, found in zip(kept, exact.watch(PICTURE, QUERY), strict=False):
        assert scene.passes == found.passes
        assert exact.answerer.answer(scene, [Query((QUERY,))], texts)[0].map == pytest.approx(found.map, abs=1e-4)


def test_leaving_it_runs_nothing_more(exact: Localizer, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = threading.active_count()
    answers = exact.watch(PICTURE, QUERY)
    next(answers)
    next(answers)
    monkeypatch.setattr(exact.opened.watcher.refiner.encoder, "start", None)  # no masked pass may be run from here on
    answers.close()  # type: ignore[attr-defined]
    assert list(answers) == []
    assert threading.active_count() == threads


def test_what_cannot_be_watched_is_refused_at_once(tiny_bundle: Path, exact: Localizer) -> None:
    with pytest.raises(PictureError):
        exact.watch("nowhere.png", QUERY)
    for sure in (-1, True, "yes", float("nan")):
        with pytest.raises(ArgumentError, match="`sure` must be a number from 0 to 1"):
            exact.watch(PICTURE, QUERY, sure=sure)  # type: ignore[arg-type]
    instant = Localizer(tiny_bundle, device="cpu", preset="instant")
    assert [found.passes for found in instant.watch(PICTURE, QUERY)] == [1]
