"""What each method finds in the emoji world: boxes and pixels of every noun that a picture shows, each asked for by itself.

Nobody tells a method what else the picture shows. `asked` says what a question competed with: nothing, or all nouns that the
model was taught, as a label list would. The threshold of boxes is chosen on `val`, the figures are of `test`; `own` is GT-known
as a method cuts its maps by itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.accuracy.judge import Ratios, pixel_row
from bench.accuracy.scored import truths_of
from bench.accuracy.statistics import mean, share
from bench.world.nouns import nouns
from bench.world.read import PICTURES, read_split
from bench.world.splits import Example
from engine.boxes import find_boxes
from engine.methods import METHODS, Method, askable
from engine.metrics import iou, pixels
from engine.spec import Spec
from runtime import Localizer, Scene
from runtime.bundles import find_bundle, read_manifest

THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
FOUND = 0.5  # a box that overlaps by more than this has found its thing
ALONE, VOCABULARY = "alone", "vocabulary"


@dataclass
class Judged:
    """The questions of a split: by threshold `(Q, T)`, and their pixels `(2, bins)` in one sum."""

    pictures: list[int] = field(default_factory=list)
    best: list[list[float]] = field(default_factory=list)
    first: list[list[float]] = field(default_factory=list)
    own: list[float] = field(default_factory=list)  # `(Q,)`, cut as the method's own spec says
    pixels: list[Ratios] = field(default_factory=list)
    counts: Ratios | float = 0.0
    passes: int = 0
    look_ms: list[float] = field(default_factory=list)
    ask_ms: list[float] = field(default_factory=list)

    def add(self, picture: int, saliency: NDArray[np.float32], boxes: Ratios, mask: NDArray[np.bool_], spec: Spec) -> None:
        """Judge one question: its saliency against the true boxes and pixels of its noun."""
        tables = [iou(find_boxes(saliency, spec.replace(cut="peak", threshold=each)).xyxy, boxes) for each in THRESHOLDS]
        self.own.append(float(iou(find_boxes(saliency, spec).xyxy, boxes).max(initial=0.0)))
        self.pictures.append(picture)
        self.best.append([float(table.max(initial=0.0)) for table in tables])
        self.first.append([float(table[:1].max(initial=0.0)) for table in tables])
        overlap, _, counts = pixel_row(saliency, mask, THRESHOLDS)
        self.pixels.append(overlap)
        self.counts = self.counts + counts


@dataclass
class Kept:
    """Scenes and the milliseconds they took, by split: all masked methods ask the same passes."""

    val: list[tuple[Scene, float]] = field(default_factory=list)
    test: list[tuple[Scene, float]] = field(default_factory=list)


def measure(model: str, chosen: Sequence[str], limit: int, affinity: bool = False) -> Iterator[dict[str, Any]]:
    """Judge methods of a bundle, a row each for every way to ask; with `affinity` their maps are spread by it."""
    manifest, kept = read_manifest(find_bundle(model)), Kept()
    for name in chosen or askable(manifest.methods, manifest.tower):
        alike = METHODS[name].family == "masked" and not METHODS[name].parts
        for asked in ways_to_ask(METHODS[name]):
            figures = judge_method(model, name, asked, limit, affinity, kept if alike else Kept())
            yield {"method": name, "asked": f"{asked}, affinity" if affinity else asked, **figures}


def ways_to_ask(method: Method) -> Iterable[str]:
    """What the questions of a method may compete with."""
    if method.ask == "against":  # it has nothing to say alone
        return (VOCABULARY,)
    competes = method.family != "masked" and method.ask in ("softmax", "layers", "surgery")
    return (ALONE, VOCABULARY) if competes else (ALONE,)


def judge_method(model: str, name: str, asked: str, limit: int, affinity: bool, kept: Kept) -> dict[str, Any]:
    """Choose the threshold of a method on `val`, and give its figures on `test`."""
    options: dict[str, Any] = {} if METHODS[name].family == "masked" else {"background": nouns() if asked == VOCABULARY else []}
    localizer = Localizer(model, method=name, templates="plain", device="cpu", affinity=affinity, **options)
    choice = judge(localizer, "val", limit // 2, kept.val)
    best = int(np.argmax((np.array(choice.best) > FOUND).mean(axis=0)))
    final = judge(localizer, "test", limit, kept.test)
    pictures = np.array(final.pictures)
    found, first = (np.array(each)[:, best] > FOUND for each in (final.best, final.first))
    own = np.array(final.own) > FOUND
    return {
        "threshold": THRESHOLDS[best],
        "own": {"cut": localizer.spec.cut, "threshold": localizer.spec.threshold, "gt_known": share(own).to_list()},
        "pictures": len(set(final.pictures)),
        "questions": len(pictures),
        "gt_known": share(found).to_list(),
        "first_box": share(first).to_list(),
        "box_iou": mean(np.array(final.best)[:, best], pictures).to_list(),
        "miou": mean(np.array(final.pixels)[:, best], pictures).to_list(),
        "pxap": round(pixels.pxap(np.asarray(final.counts)), 5),
        "passes": round(final.passes / len(set(final.pictures)), 1),
        "look_ms": round(float(np.median(final.look_ms)), 2),
        "ask_ms": round(float(np.median(final.ask_ms)), 2),
    }


def judge(localizer: Localizer, split: str, limit: int, kept: list[tuple[Scene, float]]) -> Judged:
    """Ask every picture of a split for each noun that it shows; scenes that are kept are not encoded again."""
    judged = Judged()
    for place, example in enumerate(examples(split, limit)):
        if place == len(kept):
            began = time.perf_counter()
            scene = localizer.encode(example.pixels)
            kept.append((scene, 1000 * (time.perf_counter() - began)))
        scene, took = kept[place]
        judged.look_ms.append(took)
        judged.passes += scene.passes
        for truth in truths_of(example):
            began = time.perf_counter()
            found = localizer.locate(scene, nouns()[truth.noun])
            judged.ask_ms.append(1000 * (time.perf_counter() - began))
            judged.add(place, found.saliency, truth.boxes, truth.mask, localizer.spec)
    return judged


def examples(split: str, limit: int) -> Iterator[Example]:
    """The first pictures of a split."""
    for place, example in enumerate(read_split(PICTURES, split)):
        if place == limit:
            return
        yield example
