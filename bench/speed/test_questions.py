"""Asking an encoded picture: words, the saliency graph, boxes, and all of it together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.speed.conftest import Open
from engine.boxes import find_boxes
from engine.saliency import to_picture
from runtime import Localizer, Query, Scene
from runtime.pictures import Pixels
from runtime.scene import Floats

MANY = 1000


@pytest.fixture(scope="module")
def texts(localizer: Localizer) -> Floats:
    """Sixteen texts (16, D)."""
    return localizer.text.embed([Query((f"a thing of kind {number}",)) for number in range(16)])


@pytest.fixture(scope="module")
def vocabulary(localizer: Localizer) -> list[str]:
    """A thousand queries whose words are already known."""
    words = [f"kind {number}" for number in range(MANY)]
    localizer.text.embed([Query((word,)) for word in words])
    return words


@pytest.mark.parametrize(
    ("count", "ending"), [(1, ""), (80, ""), (1, " in the old part of a small town by a lake in a wide valley")]
)
def test_words(benchmark: BenchmarkFixture, localizer: Localizer, count: int, ending: str) -> None:
    """Texts never seen before, short or long: tokens and the text tower."""
    numbers = iter(range(10**6))

    def ask() -> Floats:
        return localizer.text.embed([Query((f"something new, number {next(numbers)}{ending}",)) for _ in range(count)])

    assert np.linalg.norm(ask()[0]) == pytest.approx(1, abs=1e-5)
    benchmark.extra_info["queries"] = count
    benchmark.pedantic(ask, rounds=20, warmup_rounds=2)


@pytest.mark.parametrize("count", [1, 16])
def test_saliency_graph(benchmark: BenchmarkFixture, localizer: Localizer, scene: Scene, texts: Floats, count: int) -> None:
    """Scores and saliency of some texts."""

    def ask() -> list[tuple[Floats, Floats]]:
        return list(localizer.answerer.scores_and_maps(scene, texts[:count]))

    scores = np.array([found for found, _ in ask()])
    np.testing.assert_allclose(scores, texts[:count] @ (scene.embeddings - scene.base).T, atol=1e-5)
    benchmark.extra_info["queries"] = count
    benchmark.pedantic(ask, rounds=30, warmup_rounds=2)


def test_boxes(benchmark: BenchmarkFixture, localizer: Localizer, scene: Scene) -> None:
    """The saliency grid over the whole picture, and its boxes."""
    found = localizer.locate(scene, "an astronaut")
    assert len(found.xyxy)

    def cut() -> Floats:
        return find_boxes(to_picture(found.map, found.frame, found.spec.resize), found.spec).xyxy

    np.testing.assert_array_equal(cut(), found.xyxy)
    benchmark(cut)


def test_one_question(benchmark: BenchmarkFixture, localizer: Localizer, scene: Scene) -> None:
    """One further query in known words."""
    assert localizer.locate(scene, "an astronaut").maps == len(scene.maps)
    benchmark.pedantic(localizer.locate, (scene, "an astronaut"), rounds=20, warmup_rounds=1)


def test_many_questions(benchmark: BenchmarkFixture, localizer: Localizer, scene: Scene, vocabulary: list[str]) -> None:
    """A thousand further queries in known words."""
    few = localizer.locate(scene, vocabulary[:2])
    assert localizer.locate(scene, vocabulary[1]).margin == pytest.approx(few[1].margin, abs=1e-6)
    benchmark.extra_info["queries"] = MANY
    benchmark.pedantic(localizer.locate, (scene, vocabulary), rounds=2)


def test_fast_between_its_passes(
    benchmark: BenchmarkFixture, open_model: Open, picture: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one answer of `fast` takes beside its passes: how alike maps are, which to run, what they tell, the map."""
    localizer = open_model(preset="fast")
    scene = localizer.encode(picture)
    (text,) = texts = localizer.text.embed([Query(("a cat",))])
    found = scene.embeddings + np.float32(0.1) * text
    monkeypatch.setattr(localizer.encoder, "run_maps", lambda pixels, maps: found[: len(maps)])  # passes cost nothing here

    def answer() -> object:
        findings = localizer.opened.refiner.refine(replace(scene), texts)  # a copy: the scene itself keeps what was worked out
        assert findings is not None
        return list(localizer.answerer.weighed(findings, texts))

    benchmark.pedantic(answer, rounds=40, warmup_rounds=3)
