"""Threads share one Localizer: the same answers as alone, and what is made once is made once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from runtime import Localization, Localizer, Scene
from runtime.backends.onnx_cpu import OnnxCpuBackend
from runtime.backends.session import HostSession, LazySession
from tests.configs import photo

THREADS = 8
NAMES = ("astronaut", "cat", "coffee", "rocket")
Result = TypeVar("Result")


def at_once(work: Callable[[int], Result]) -> list[Result]:
    """Run the same in eight threads that start together."""
    barrier = threading.Barrier(THREADS)

    def begin(number: int) -> Result:
        barrier.wait(30)
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(begin, range(THREADS)))


def same(a: Localization, b: Localization) -> bool:
    return a.to_dict() == b.to_dict() and np.array_equal(a.map, b.map) and np.array_equal(a.xyxy, b.xyxy)


def test_threads_that_encode_and_ask_get_what_one_gets(tiny_vit_bundle: Path) -> None:
    """A fresh Localizer, so that sessions, base and texts are all first needed by eight threads at once."""
    alone = Localizer(tiny_vit_bundle, device="cpu", threads=2)
    expected = [alone(photo(name), ["a cat", f"a {name}"]) for name in NAMES]
    assert any(found.present for both in expected for found in both)
    shared = Localizer(tiny_vit_bundle, device="cpu", threads=2)

    def work(number: int) -> list[Localization]:
        name = NAMES[number % len(NAMES)]
        return shared(photo(name), ["a cat", f"a {name}"])

    for number, found in enumerate(at_once(work)):
        assert all(same(a, b) for a, b in zip(found, expected[number % len(NAMES)], strict=True))


def test_threads_that_ask_one_scene(tiny_localizer: Localizer, cat_scene: Scene) -> None:
    words = [f"thing {number}" for number in range(40)]
    expected = {word: tiny_localizer.locate(cat_scene, word) for word in words}

    def work(number: int) -> bool:
        order = words[number:] + words[:number]
        return all(same(tiny_localizer.locate(cat_scene, word), expected[word]) for word in order)

    assert all(at_once(work))


def test_threads_that_stream(tiny_vit_localizer: Localizer) -> None:
    pictures = [photo(name) for name in NAMES[2:]]
    expected = [found[0] for found in tiny_vit_localizer.stream(pictures, ["a cat"])]
    assert any(found.present for found in expected)

    def work(_: int) -> list[Localization]:
        return [found[0] for found in tiny_vit_localizer.stream(pictures, ["a cat"])]

    assert all(same(a, b) for found in at_once(work) for a, b in zip(found, expected, strict=True))


def test_a_graph_is_opened_once(tiny_bundle: Path) -> None:
    opened: list[Path] = []

    class Backend:
        device, detail = "cpu", "counted"

        def open(self, graph: Path, precision: str = "fp32") -> Any:
            opened.append(graph)
            return OnnxCpuBackend(1).open(graph)

    session = LazySession(Backend(), tiny_bundle / "text.onnx")
    assert opened == []
    tokens = np.zeros((1, 77), dtype=np.int64)
    results = at_once(lambda _: session.run({"tokens": tokens})["embeddings"])
    assert opened == [tiny_bundle / "text.onnx"]
    assert all(np.array_equal(result, results[0]) for result in results)


def test_the_base_is_run_once(tiny_vit_bundle: Path) -> None:
    localizer = Localizer(tiny_vit_bundle, device="cpu", threads=2)
    runs: list[int] = []
    inner = localizer.encoder.sessions["masked"]

    class Counted(HostSession):
        def run(self, inputs: Any) -> Any:
            runs.append(1)
            return inner.run(inputs)

    localizer.encoder.sessions["masked"] = Counted()
    scenes = at_once(lambda _: localizer.encode(photo("cat")))
    assert len(runs) <= THREADS * 2  # 36 passes and perhaps the base: no batch was spent on the base alone
    assert all(np.array_equal(scene.base, scenes[0].base) for scene in scenes)
