"""Methods that multiply the maps of two others: a scene with the evidence of both, and answers where they agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.manifest import DENSE, Manifest
from engine.methods import METHODS, Method
from engine.saliency import multiplied
from engine.spec import Spec
from runtime.dense import Asking, DenseAnswerer, Further, OpenSession
from runtime.evidence import Looker
from runtime.localization import Localization, cut_boxes
from runtime.query import Query
from runtime.scene import Floats, Scene
from runtime.text import TextEncoder


@dataclass(frozen=True)
class Fusion:
    """The second method, and how its maps change answers of the first. Holds no scene; safe to share between threads."""

    method: Method
    further: Further  # what gathers the evidence of the second one
    second: DenseAnswerer
    spec: Spec

    def answer(self, scene: Scene, queries: Sequence[Query], texts: Floats, first: Sequence[Localization]) -> list[Localization]:
        """Answers by both methods, from those of the first one."""
        second = self.second.answer(scene, queries, texts)
        more = 1 if len(scene.maps) else 0  # the second one's pass, which scenes of masked passes do not count
        return [self.fused(one, other, one.passes + more) for one, other in zip(first, second, strict=True)]

    def fused(self, one: Localization, other: Localization, passes: int) -> Localization:
        """One answer out of two: whether a thing is there is the first one's to say."""
        both = replace(one, map=multiplied(one.map, other.map), passes=passes, method=self.method.name, spread=None)
        if not one.present:
            return both
        boxes, _ = cut_boxes(both.map, one.frame, self.spec)
        return replace(both, xyxy=boxes.xyxy, scores=boxes.scores)


def open_fusion(
    method: Method, manifest: Manifest, session: OpenSession, text: TextEncoder, spec: Spec, asking: Asking
) -> Fusion | None:
    """What multiplies, for a method that does; nothing competes with what its second one is asked."""
    if not method.parts:
        return None
    second = METHODS[method.parts[1]]
    looker = Looker(manifest, second.name, session(f"{DENSE}{second.name}"), asking.windows)
    answerer = DenseAnswerer(second, text, spec, (), asking, manifest.logit_scale)
    return Fusion(method, Further(looker, spec), answerer, spec)
