"""An answer while it grows: after one pass, then after more and more, until it is sure or exact."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from runtime.errors import ArgumentError
from runtime.localization import Localization
from runtime.pictures import Pixels
from runtime.presets import PassPlan
from runtime.query import Query
from runtime.refine import SURE, Refiner
from runtime.scene import Floats, Scene

GROWTH = 2  # every step runs so many times as many passes as the one before: soon something, and not too many answers


@dataclass(frozen=True)
class Watcher:
    """Answers queries again and again. Works only while it is asked for the next answer, and holds no thread."""

    refiner: Refiner  # whose encoder begins pictures as `fast` does
    plan: PassPlan

    def watch(
        self, seen: Pixels | Scene, queries: list[Query], texts: Floats, sure: float | None
    ) -> Iterator[list[Localization]]:
        """One list of answers after every step, for a picture or for a scene to go on from."""
        for scene in self.scenes(seen, texts, sure):
            yield self.refiner.answerer.answer(scene, queries, texts)

    def scenes(self, seen: Pixels | Scene, texts: Floats, sure: float | None) -> Iterator[Scene]:
        """What is known after every step, which ends where the Localizer's own preset does, or earlier where all is sure."""
        encoder = self.refiner.encoder
        if not isinstance(seen, Scene):
            if "instant" in encoder.manifest.graphs:
                yield replace(encoder.look_instantly(seen), preset="instant")
            if self.plan.preset == "instant":
                return
            seen = next(encoder.encode([seen]))
        whole = self.plan.preset == "exact"
        if not (whole and seen.known.all()):
            yield seen
        most = int(seen.live.sum()) if whole or self.plan.auto else self.plan.refine
        if sure is None and self.plan.auto:
            sure = SURE
        for scene in self.refiner.better(seen, texts, most, sure, growth=GROWTH if whole else 1):
            seen = scene
            if not (whole and scene.known.all()):
                yield scene
        if whole and seen.known.all():
            yield replace(seen, preset="exact")


def check_sure(sure: object) -> None:
    """Refuse an error that no answer can be asked to fall below."""
    if sure is not None and (isinstance(sure, bool) or not isinstance(sure, int | float) or not 0 <= sure <= 1):
        raise ArgumentError(f"`sure` must be a number from 0 to 1, or left out; found {sure!r}")
