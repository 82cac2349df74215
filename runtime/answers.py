"""From a scene and queries to answers: the saliency graph, then boxes in the picture's own pixels."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.anchors import Kinship, estimate
from engine.boxes import Boxes, find_boxes
from engine.manifest import Manifest
from engine.masks import live
from engine.outline import Outline, follow
from engine.saliency import normalise, to_picture
from engine.spec import Spec
from runtime.backends.protocol import Session
from runtime.errors import SceneError
from runtime.localization import Localization
from runtime.query import Query
from runtime.scene import Floats, Scene


@dataclass
class Kept:
    """The scene asked last, while it lives: held where the graph runs, with its outlines once they were wanted."""

    scene: weakref.ref[Scene]
    session: Session
    outline: Outline | None = None


class Answerer:
    """Runs the saliency graph, several queries at a time. Holds no scene; safe to share between threads."""

    def __init__(self, manifest: Manifest, saliency: Session, spec: Spec) -> None:
        self.session, self.spec = saliency, spec
        self.lock = threading.Lock()
        self.last: Kept | None = None
        self.least = manifest.presence if spec.presence == "margin" else 0.0
        self.rows = manifest.graphs["saliency"].inputs["texts"][1][0]
        self.switches = {
            "temperature": np.float32(spec.tau(manifest.logit_scale)),
            "combine": np.float32(spec.combine == "masks"),
            "contrast": np.float32(spec.contrast),
        }

    def answer(self, scene: Scene, queries: Sequence[Query], texts: Floats) -> list[Localization]:
        """Answer queries, whose unit embeddings are `texts` `(Q, D)`."""
        outline = self.outline(scene)
        scored = zip(queries, texts, self.scores_and_maps(scene, texts), strict=True)
        return [
            self.one(scene, query, text, (scores, follow(normalise(map_), outline))) for query, text, (scores, map_) in scored
        ]

    def outline(self, scene: Scene) -> Outline | None:
        """The outlines that the saliency of a scene follows, gathered once for all queries to it."""
        if self.spec.outline == "grid":
            return None
        if scene.guide is None:
            raise SceneError(
                f"spec `{self.spec.name}` wants `outline` = `picture`, but this scene holds no outlines of its picture; encode "
                f"the picture again, or ask with `outline` = `grid`"
            )
        kept = self.keep(scene)
        if kept.outline is None:  # two threads may both make it: they make the same
            kept.outline = Outline(scene.guide, (scene.maps.shape[1], scene.maps.shape[2]))
        return kept.outline

    def scores_and_maps(self, scene: Scene, texts: Floats) -> Iterator[tuple[Floats, Floats]]:
        """Scores relative to the base `(K,)` and saliency `(h, w)` for each text."""
        return self.run(self.keep(scene).session, texts)

    def run(self, session: Session, texts: Floats) -> Iterator[tuple[Floats, Floats]]:
        """Scores and saliency of each text, by the graph that holds the scene."""
        for start in range(0, len(texts), self.rows):
            part = texts[start : start + self.rows]
            padded = np.zeros((self.rows, texts.shape[1]), dtype=np.float32)
            padded[: len(part)] = part
            outputs = session.run({"texts": padded})
            yield from zip(outputs["scores"][: len(part)], outputs["saliency"][: len(part)], strict=True)

    def keep(self, scene: Scene) -> Kept:
        """A scene where the graph runs; the one asked last stays there."""
        with self.lock:
            if self.last is None or self.last.scene() is not scene:
                self.last = Kept(weakref.ref(scene, self.forget), self.hold(scene))
            return self.last

    def hold(self, scene: Scene) -> Session:
        """The saliency graph with a scene's arrays."""
        arrays: dict[str, NDArray[np.float32]] = {"embeddings": scene.embeddings, "base": scene.base, "maps": scene.maps}
        arrays.update({name: np.asarray(value) for name, value in self.switches.items()})
        return self.session.hold(arrays)

    def forget(self, gone: weakref.ref[Scene]) -> None:
        """Let go of a scene that nobody has any more. Called by the collector, at any time: it must not wait for the lock."""
        last = self.last
        if last is not None and last.scene is gone:
            self.last = None

    def one(self, scene: Scene, query: Query, text: Floats, found: tuple[Floats, Floats]) -> Localization:
        """Cut the boxes of one query out of its saliency; `found` is its scores `(K,)` and that map in [0, 1]."""
        scores, grid = found
        margin = float(scores.max())
        present = margin > self.least  # without a measured margin: any map above the base
        boxes = find_boxes(to_picture(grid, scene.frame, self.spec.resize), self.spec) if present else Boxes.none()
        return Localization(
            query=query.label,
            xyxy=boxes.xyxy,
            scores=boxes.scores,
            present=present,
            map=grid,
            frame=scene.frame,
            spec=self.spec,
            kept=int((scores > 0).sum()),
            maps=len(scores),
            margin=margin,
            similarity=float(scene.embedding @ text),
            preset=scene.preset,
            passes=scene.passes,
            error=self.error(scene, text),
            picture=scene.picture,
        )

    def error(self, scene: Scene, text: Floats) -> float | None:
        """How far the map in [0, 1] may be from the exact one, on average over its cells; None where nothing can tell.

        The scores of maps that were not run are varied by as much as held-out ones were wrong. The saliency graph takes
        scores only as embeddings times texts, so the variations are handed to it as embeddings along its first axes.
        """
        if scene.known.all():
            return 0.0
        if scene.preset != "fast":
            return None
        alive = live(scene.maps)
        told = estimate(Kinship.of(scene.maps, alive), scene.known & alive, scene.embeddings)
        doubt = np.where(scene.known, 0, told.errors(text[np.newaxis])[0])
        noise = np.random.default_rng(0).standard_normal((len(doubt), self.rows)).astype(np.float32)
        noise[:, 0] = 0
        varied = np.zeros_like(scene.embeddings)
        varied[:, : self.rows] = ((scene.embeddings - scene.base) @ text)[:, None] + doubt[:, None] * noise
        axes = np.eye(self.rows, varied.shape[1], dtype=np.float32)
        stand_in = replace(scene, embeddings=varied, base=np.zeros_like(scene.base))
        expected, *others = (normalise(map_) for _, map_ in self.run(self.hold(stand_in), axes))
        return float(np.mean([np.abs(other - expected).mean() for other in others]))
