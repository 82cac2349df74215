"""From scenes to answers: scores by hand, many queries at once, and nothing found is an empty answer."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.boxes import find_boxes
from engine.outline import Outline
from engine.saliency import normalise, to_picture, weigh_maps
from engine.spec import DEFAULT
from runtime import Localization, Localizer, Query, Scene, answers, scene
from runtime.answers import Answerer
from runtime.backends.session import HostSession
from tests.configs import photo


@pytest.fixture(scope="module")
def found(tiny_localizer: Localizer, cat_scene: Scene) -> Localization:
    return tiny_localizer.locate(cat_scene, "a cat")


def test_scores_are_cosines_above_the_base(tiny_localizer: Localizer, cat_scene: Scene, found: Localization) -> None:
    text = tiny_localizer.text.embed([Query(("a cat",))])[0].astype(np.float64)
    scores = (cat_scene.embeddings.astype(np.float64) - cat_scene.base) @ text
    assert found.kept == int((scores > 0).sum())
    assert 0 < found.kept < found.maps == 512
    assert found.margin == pytest.approx(scores.max(), abs=1e-6)
    assert found.similarity == pytest.approx(float(cat_scene.embedding @ text), abs=1e-6)
    assert np.linalg.norm(cat_scene.embeddings, axis=1) == pytest.approx(1, abs=1e-5)


def test_the_answer_by_hand(tiny_localizer: Localizer, cat_scene: Scene, found: Localization) -> None:
    """Softmax over the kept maps at CLIP's own temperature, raw maps summed, boxes cut in the picture's pixels."""
    text = tiny_localizer.text.embed([Query(("a cat",))])[0].astype(np.float64)
    scores = (cat_scene.embeddings.astype(np.float64) - cat_scene.base) @ text
    kept = scores > 0
    weights = np.exp((scores[kept] - scores.max()) / tiny_localizer.spec.tau(tiny_localizer.manifest.logit_scale))
    grid = normalise(np.tensordot(weights / weights.sum(), cat_scene.maps[kept].astype(np.float64), 1).astype(np.float32))
    if DEFAULT.contrast == 0 and DEFAULT.combine == "raw":
        np.testing.assert_allclose(found.map, grid, atol=1e-4)
    boxes = find_boxes(to_picture(found.map, cat_scene.frame, DEFAULT.resize), DEFAULT)
    np.testing.assert_array_equal(found.xyxy, boxes.xyxy)
    np.testing.assert_array_equal(found.scores, boxes.scores)


def test_an_answer_carries_its_scene(found: Localization, cat_scene: Scene, tiny_localizer: Localizer) -> None:
    assert found.query == "a cat"
    assert found.present
    assert len(found) > 0
    assert (found.xyxy.dtype, found.scores.dtype, found.map.dtype) == (np.float32, np.float32, np.float32)
    assert found.saliency.shape == (300, 451)
    assert (found.preset, found.passes) == ("exact", int(cat_scene.live.sum()))
    assert found.frame is cat_scene.frame
    assert found.picture is cat_scene.picture
    assert found.spec is tiny_localizer.spec


@pytest.mark.parametrize("count", [1, 15, 16, 17, 40])
def test_many_queries_are_answered_as_each_alone(tiny_localizer: Localizer, cat_scene: Scene, count: int) -> None:
    words = [f"thing number {number}" for number in range(count)]
    several = tiny_localizer.locate(cat_scene, words)
    assert [one.query for one in several] == words
    for word, one in zip(words, several, strict=True):
        alone = tiny_localizer.locate(cat_scene, word)
        np.testing.assert_allclose(one.map, alone.map, atol=1e-5)
        assert (one.kept, one.present) == (alone.kept, alone.present)


def test_queries_run_in_full_rows_only(tiny_localizer: Localizer, cat_scene: Scene) -> None:
    shapes = []
    inner = tiny_localizer.answerer.session

    class Counted(HostSession):
        def run(self, inputs: Any) -> Any:
            shapes.append(inputs["texts"].shape)
            return inner.run(inputs)

    answerer = Answerer(tiny_localizer.manifest, Counted(), tiny_localizer.spec)
    texts = np.zeros((17, 64), dtype=np.float32)
    assert len(list(answerer.scores_and_maps(cat_scene, texts))) == 17
    assert shapes == [(16, 64), (16, 64)]


def nothing_above(scene: Scene) -> Scene:
    """A scene whose every masked copy is the base."""
    return dataclasses.replace(scene, embeddings=np.broadcast_to(scene.base, scene.embeddings.shape).copy())


def check_empty(found: Localization) -> None:
    assert isinstance(found, Localization)
    assert not found.present
    assert len(found) == found.kept == 0
    assert (found.xyxy.shape, found.scores.shape) == ((0, 4), (0,))
    assert (found.xyxy.dtype, found.scores.dtype) == (np.float32, np.float32)
    assert not found.map.any()
    assert found.saliency.shape == (300, 451)
    assert not found.saliency.any()
    assert found.margin <= 0
    assert found.to_dict()["boxes"] == []


def test_nothing_above_the_base_is_an_empty_answer(tiny_localizer: Localizer, cat_scene: Scene, tmp_path: Path) -> None:
    found = tiny_localizer.locate(nothing_above(cat_scene), "a cat")
    check_empty(found)
    found.save(tmp_path / "nothing.png")


def test_everything_below_the_base_is_an_empty_answer(tiny_localizer: Localizer, cat_scene: Scene) -> None:
    text = tiny_localizer.text.embed([Query(("a cat",))])[0]
    below = dataclasses.replace(cat_scene, embeddings=cat_scene.base - np.float32(0.1) * np.tile(text, (512, 1)))
    found, other = tiny_localizer.locate(below, ["a cat", "a dog"])
    check_empty(found)
    assert found.margin == pytest.approx(-0.1, abs=1e-6)
    assert other.query == "a dog"


def test_one_map_above_the_base_is_the_answer(tiny_localizer: Localizer, cat_scene: Scene) -> None:
    text = tiny_localizer.text.embed([Query(("a cat",))])[0]
    embeddings = nothing_above(cat_scene).embeddings
    chosen = int(np.argmax(cat_scene.maps.std(axis=(1, 2))))
    embeddings[chosen] += 0.05 * text
    found = tiny_localizer.locate(dataclasses.replace(cat_scene, embeddings=embeddings), "a cat")
    assert (found.present, found.kept) == (True, 1)
    if DEFAULT.contrast == 0:
        np.testing.assert_allclose(found.map, normalise(cat_scene.maps[chosen]), atol=1e-5)


def with_margin(localizer: Localizer, margin: float, **switches: object) -> Answerer:
    """The same graph with a margin measured for the model."""
    manifest = dataclasses.replace(localizer.manifest, presence=margin)
    return Answerer(manifest, localizer.answerer.session, localizer.spec.replace(**switches))


def test_below_the_measured_margin_a_thing_is_absent_and_has_no_box(
    tiny_localizer: Localizer, cat_scene: Scene, found: Localization
) -> None:
    query = [Query(("a cat",))]
    texts = tiny_localizer.text.embed(query)
    for margin, present in ((found.margin * 0.99, True), (found.margin * 1.01, False)):
        answer = with_margin(tiny_localizer, margin).answer(cat_scene, query, texts)[0]
        assert answer.present is present
        assert len(answer) == (len(found) if present else 0)
        np.testing.assert_array_equal(answer.map, found.map)  # what the maps say can still be looked at
        assert (answer.kept, answer.margin) == (found.kept, found.margin)


def test_the_published_rule_knows_no_margin(tiny_localizer: Localizer, cat_scene: Scene, found: Localization) -> None:
    texts = tiny_localizer.text.embed([Query(("a cat",))])
    answer = with_margin(tiny_localizer, 1.9, presence="any").answer(cat_scene, [Query(("a cat",))], texts)[0]
    assert answer.present
    np.testing.assert_array_equal(answer.xyxy, found.xyxy)


def test_constant_saliency_is_present_without_boxes(tiny_localizer: Localizer, cat_scene: Scene) -> None:
    flat = dataclasses.replace(cat_scene, maps=np.ones_like(cat_scene.maps))
    found = tiny_localizer.locate(flat, "a cat")
    assert found.present
    assert len(found) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 20.0},
        {"score_space": "cosine"},
        {"combine": "masks"},
        {"contrast": 0.8},
        {"threshold": 0.3},
        {"geometry": "crop"},
    ],
)
def test_each_switch_changes_the_answer(tiny_vit_bundle: Path, change: dict[str, Any]) -> None:
    base = DEFAULT.replace(contrast=0.0, combine="raw", temperature=1.0, threshold=0.6)
    specs = (base, base.replace(**change))
    plain, other = (Localizer(tiny_vit_bundle, device="cpu", spec=spec)(photo("coffee"), "a cat") for spec in specs)
    assert plain.present
    assert other.present
    assert not (np.array_equal(plain.xyxy, other.xyxy) and np.array_equal(plain.map, other.map))


class Holding(HostSession):
    """A saliency graph that counts what it is given to hold."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.held = inner, 0

    def run(self, inputs: Any) -> Any:
        return self.inner.run(inputs)

    def hold(self, inputs: Any) -> Any:
        self.held += 1
        return super().hold(inputs)


def test_a_scene_and_its_outlines_are_kept_between_questions(
    tiny_localizer: Localizer, cat_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    class Watched(Outline):
        def __init__(self, *given: Any) -> None:
            made.append(1)
            super().__init__(*given)

    monkeypatch.setattr(scene, "Outline", Watched)
    session = Holding(tiny_localizer.answerer.session)
    answerer = Answerer(tiny_localizer.manifest, session, tiny_localizer.spec)
    query = [Query(("a cat",))]
    texts = tiny_localizer.text.embed(query)
    partly = dataclasses.replace(cat_scene, preset="fast", known=np.arange(len(cat_scene.maps)) % 2 == 0)
    for _ in range(3):
        answer = answerer.answer(partly, query, texts)[0]
        assert answer.error is not None
    assert (len(made), session.held) == (1, 1)
    answerer.answer(dataclasses.replace(cat_scene), query, texts)
    assert (len(made), session.held) == (2, 2)


def test_the_plain_function_weighs_maps_as_the_graph_does(tiny_localizer: Localizer, cat_scene: Scene) -> None:
    texts = tiny_localizer.text.embed([Query((words,)) for words in ("a cat", "a dog", "a red bus")])
    for switches in ({}, {"combine": "masks"}, {"contrast": 0.0}, {"temperature": 30.0}):
        answerer = Answerer(tiny_localizer.manifest, tiny_localizer.answerer.session, DEFAULT.replace(**switches))
        scores, graph = (np.stack(each) for each in zip(*answerer.scores_and_maps(cat_scene, texts), strict=True))
        plain = weigh_maps(scores, cat_scene.maps, answerer.options)
        np.testing.assert_allclose(plain, graph, atol=2e-6 * float(np.abs(graph).max()))


def test_an_answer_travels_to_another_process(tiny_localizer: Localizer, cat_scene: Scene) -> None:
    partly = dataclasses.replace(cat_scene, preset="fast", known=np.arange(len(cat_scene.maps)) % 2 == 0)
    found = tiny_localizer.locate(partly, "a cat")
    again = pickle.loads(pickle.dumps(found))
    assert again.error == found.error
    np.testing.assert_array_equal(again.xyxy, found.xyxy)


def test_the_map_behind_the_boxes_is_kept_for_few_answers_only(
    tiny_localizer: Localizer, cat_scene: Scene, found: Localization, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found.spread is not None
    monkeypatch.setattr(answers, "KEPT_PIXELS", 300 * 451)
    one, other = tiny_localizer.locate(cat_scene, ["a cat", "a dog"])
    assert one.spread is other.spread is None
    np.testing.assert_array_equal(one.saliency, found.saliency)
