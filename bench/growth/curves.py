"""The curves: the same work in growing amounts, each amount timed several times."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.compare.partial import partial_scene
from bench.compare.statistics import Middle, middle
from runtime import Localizer
from runtime.pictures import Pixels

REPEATS = 3
ENCODED = 32


@dataclass(frozen=True)
class Curve:
    """Seconds over an amount; `per_unit` is the slope of the best line, `exponent` that of the best power law."""

    name: str
    unit: str
    amounts: tuple[int, ...]
    seconds: tuple[Middle, ...]
    per_unit: float
    fixed: float
    exponent: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        rows = [[amount, *(float(f"{v:.4g}") for v in (s.median, s.low, s.high))] for amount, s in self.points()]
        figures = {key: float(f"{getattr(self, key):.4g}") for key in ("per_unit", "fixed", "exponent")}
        return {"name": self.name, "unit": self.unit, "points": rows, **figures}

    def points(self) -> Iterator[tuple[int, Middle]]:
        """Amounts with their seconds."""
        return zip(self.amounts, self.seconds, strict=True)


def curve(name: str, unit: str, work: Mapping[int, Callable[[], object]], repeats: int = REPEATS) -> Curve:
    """Time the work for each amount, round after round, so that a slow moment does not fall on one amount alone."""
    times: dict[int, list[float]] = {amount: [] for amount in work}
    for do in work.values():
        do()
    for _ in range(repeats):
        for amount, do in work.items():
            started = time.perf_counter()
            do()
            times[amount].append(time.perf_counter() - started)
    found = {amount: middle(values) for amount, values in times.items()}
    slope, fixed = line(list(found), [seconds.median for seconds in found.values()])
    exponent = power(list(found), [seconds.median for seconds in found.values()])
    return Curve(name, unit, tuple(found), tuple(found.values()), slope, fixed, exponent)


def line(amounts: Sequence[float], seconds: Sequence[float]) -> tuple[float, float]:
    """Slope and intercept of the least squares line; a single amount gives its own share and nothing fixed."""
    if len(amounts) < 2:
        return seconds[0] / amounts[0], 0.0
    slope, fixed = np.polyfit(amounts, seconds, 1)
    return float(slope), float(fixed)


def power(amounts: Sequence[float], seconds: Sequence[float]) -> float:
    """The exponent of the power law that fits best: 1 grows in proportion, 0 not at all; NaN for a single amount."""
    if len(amounts) < 2:
        return float("nan")
    return float(np.polyfit(np.log(amounts), np.log(seconds), 1)[0])


def doubling(most: int, first: int = 1) -> list[int]:
    """`first`, twice that, and so on, and `most` itself."""
    amounts = []
    while first < most:
        amounts.append(first)
        first *= 2
    return [*amounts, most]


def maps_curve(localizer: Localizer, picture: Pixels) -> Curve:
    """Seconds to encode some of a picture's maps."""
    most = partial_scene(localizer, picture, count=0).live
    work = {n: _encode(localizer, picture, n) for n in doubling(most, localizer.manifest.batch)}
    return curve("maps", "maps of one picture", work)


def pictures_curve(localizer: Localizer, picture: Pixels, most: int) -> Curve:
    """Seconds to encode several pictures, their passes packed into full batches."""
    work = {n: _stream(localizer, [picture] * n) for n in range(1, most + 1)}
    return curve("pictures", "pictures in one stream", work, repeats=2)


def queries_curve(localizer: Localizer, picture: Pixels, most: int) -> Curve:
    """Seconds to ask an encoded picture several queries in known words."""
    scene = partial_scene(localizer, picture, count=ENCODED)
    words = [f"a thing of kind {number}" for number in range(most)]
    localizer.locate(scene, words)

    def ask(count: int) -> Callable[[], object]:
        return lambda: localizer.locate(scene, words[:count])

    return curve("queries", "queries to one encoded picture", {n: ask(n) for n in doubling(most)[::2]})


def batch_curve(localizers: Sequence[Localizer], picture: Pixels) -> Curve:
    """Seconds of one run of the masked graph, by the batch that the bundle was built with."""
    work = {}
    for localizer in localizers:
        batch = localizer.encoder.gather([localizer.encoder.begin(picture)])
        work[localizer.manifest.batch] = _run(localizer, batch)
    return curve("batch", "passes per run of the graph", dict(sorted(work.items())), repeats=9)


def threads_curve(open_with: Callable[[int], Localizer], picture: Pixels, most: int) -> Curve:
    """Seconds of some passes, by the threads of the sessions."""
    work = {n: _encode(open_with(n), picture, 3 * ENCODED) for n in doubling(most)}
    return curve("threads", "threads", work)


def _encode(localizer: Localizer, picture: Pixels, count: int) -> Callable[[], object]:
    return lambda: partial_scene(localizer, picture, count=count)


def _stream(localizer: Localizer, pictures: Sequence[Pixels]) -> Callable[[], object]:
    return lambda: list(localizer.scenes(pictures))


def _run(localizer: Localizer, batch: Any) -> Callable[[], object]:  # noqa: ANN401 - the runtime's own record of a batch
    return lambda: localizer.encoder.run_arrays(batch)
