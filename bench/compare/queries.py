"""What a further query costs once a picture is encoded."""

from __future__ import annotations

import time
from collections.abc import Sequence

from bench.compare.partial import partial_scene
from bench.compare.statistics import middle
from runtime import Localizer, Scene
from runtime.pictures import Picture

REPEATS = 5
ENCODED = 32  # maps that are run: enough for an answer with boxes; what a query costs does not depend on it


def ask(localizer: Localizer, picture: Picture, several: int) -> dict[str, float]:
    """Milliseconds for one query in new words, one in known words, and `several` in known words."""
    scene = partial_scene(localizer, picture, count=ENCODED)
    localizer.locate(scene, "a thing to warm up with")
    new = [seconds(localizer, scene, [f"thing number {number}"]) for number in range(REPEATS)]
    known = [seconds(localizer, scene, [f"thing number {number}"]) for number in range(REPEATS)]
    vocabulary = [f"a thing of kind {number}" for number in range(several)]
    first = seconds(localizer, scene, vocabulary)
    again = [seconds(localizer, scene, vocabulary) for _ in range(3)]
    return {
        "one_new_ms": 1000 * middle(new).median,
        "one_known_ms": 1000 * middle(known).median,
        "several": float(several),
        "several_new_ms": 1000 * first,
        "several_known_ms": 1000 * middle(again).median,
    }


def seconds(localizer: Localizer, scene: Scene, queries: Sequence[str]) -> float:
    """Ask once."""
    started = time.perf_counter()
    localizer.locate(scene, list(queries))
    return time.perf_counter() - started
