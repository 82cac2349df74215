"""An answer while it grows: after one pass, then after more and more, until it is sure or exact."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from runtime.errors import ArgumentError
from runtime.findings import Findings
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
        for found in self.steps(seen, texts, sure):
            scene, findings = (found.scene, found) if isinstance(found, Findings) else (found, None)
            yield self.refiner.answerer.answer(scene, queries, texts, findings)

    def scenes(self, seen: Pixels | Scene, texts: Floats, sure: float | None) -> Iterator[Scene]:
        """The scene after every step, for who keeps it for other questions."""
        for found in self.steps(seen, texts, sure):
            yield found.to_scene() if isinstance(found, Findings) else found

    def steps(self, seen: Pixels | Scene, texts: Floats, sure: float | None) -> Iterator[Scene | Findings]:
        """What is known after every step, which ends where the Localizer's own preset does, or earlier where all is sure."""
        scene = seen if isinstance(seen, Scene) else next(self.refiner.encoder.encode([seen]))
        if self.plan.preset == "instant" and not isinstance(seen, Scene):
            scene = replace(scene, preset="instant")
        whole = self.plan.preset == "exact"
        if not (whole and scene.known.all()):
            yield scene
        most = int(scene.live.sum()) if whole or self.plan.auto else self.plan.refine
        if sure is None and self.plan.auto:
            sure = SURE
        for findings in self.refiner.better(scene, texts, most, sure, growth=GROWTH if whole else 1):
            if whole and findings.complete:
                scene = findings.to_scene()
            else:
                yield findings
        if whole and scene.known.all():
            yield replace(scene, preset="exact", guess=None)


def check_sure(sure: object) -> None:
    """Refuse an error that no answer can be asked to fall below."""
    if sure is not None and (isinstance(sure, bool) or not isinstance(sure, int | float) or not 0 <= sure <= 1):
        raise ArgumentError(f"`sure` must be a number from 0 to 1, or left out; found {sure!r}")
