"""From a scene and queries to answers: the saliency graph, then boxes in the picture's own pixels."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from engine.boxes import Boxes
from engine.manifest import Manifest
from engine.prediction import expected_error
from engine.saliency import SaliencyOptions, normalise, weigh_maps
from engine.spec import Spec
from runtime.backends.session import Session
from runtime.dense import spread_by_affinity
from runtime.errors import BundleError
from runtime.findings import Findings
from runtime.localization import Localization, cut_boxes
from runtime.query import Query
from runtime.scene import Floats, Scene

KEPT_PIXELS = 16_000_000  # of saliency spread over pictures that one call may keep; beyond, `saliency` makes it again


class Answerer:
    """Runs the saliency graph, several queries at a time. Holds no scene; safe to share between threads."""

    def __init__(self, manifest: Manifest, saliency: Session, spec: Spec, affinity: bool = False) -> None:
        """With `affinity` maps are spread to the patches that belong together, as far as the scene says."""
        self.session, self.spec, self.affinity = saliency, spec, affinity
        self.options = SaliencyOptions(spec.tau(manifest.logit_scale), spec.combine == "masks", spec.contrast)
        self.least_margin = manifest.presence if spec.presence == "margin" else 0.0
        self.rows = manifest.graphs["saliency"].inputs["texts"][1][0]
        self.lock = threading.Lock()
        self.last: tuple[weakref.ref[Scene], Session] | None = None

    def answer(
        self, scene: Scene, queries: Sequence[Query], texts: Floats, findings: Findings | None = None
    ) -> list[Localization]:
        """Answer queries, whose unit embeddings are `texts` `(Q, D)`, with what was run of the scene for them."""
        outline = scene.outline_for(self.spec)
        height, width = scene.frame.picture_hw
        keep = len(queries) * height * width <= KEPT_PIXELS
        found = []
        looked = self.scores_and_maps(scene, texts) if findings is None else self.weighed(findings, texts)
        if findings is None and scene.preset == "fast" and not scene.known.all():
            findings = Findings.of(scene)
        for query, text, (scores, grid) in zip(queries, texts, looked, strict=True):
            tied = spread_by_affinity(scene, grid[np.newaxis])[0] if self.affinity else grid
            saliency = normalise(tied) if outline is None else outline.follow(normalise(tied))
            found.append(self.localization(scene, query, text, scores, saliency, keep, findings))
        return found

    def scores_and_maps(self, scene: Scene, texts: Floats) -> Iterator[tuple[Floats, Floats]]:
        """Scores relative to the base `(K,)` and saliency `(h, w)` for each text, by the graph."""
        session = self.session_for(scene)
        for start in range(0, len(texts), self.rows):
            part = texts[start : start + self.rows]
            padded = np.zeros((self.rows, texts.shape[1]), dtype=np.float32)
            padded[: len(part)] = part
            outputs = session.run({"texts": padded})
            if not all(np.isfinite(values).all() for values in outputs.values()):  # NaN compares as "not there"
                raise BundleError("the model's scores hold NaN or infinity; build the bundle again (fp32 if it is fp16)")
            yield from zip(outputs["scores"][: len(part)], outputs["saliency"][: len(part)], strict=True)

    def weighed(self, findings: Findings, texts: Floats) -> Iterator[tuple[Floats, Floats]]:
        """The same from predicted scores, which the graph does not take; it would want the embeddings of all maps."""
        scores = findings.scores(texts)
        return zip(scores, weigh_maps(scores, findings.scene.maps, self.options), strict=True)

    def localization(
        self,
        scene: Scene,
        query: Query,
        text: Floats,
        scores: Floats,
        saliency: Floats,
        keep: bool,
        findings: Findings | None,
    ) -> Localization:
        """Cut the boxes of one query out of its saliency in [0, 1]; `scores` `(K,)` are relative to the base."""
        margin = self.margin(scores, scene, findings)
        present = margin > self.least_margin  # without a measured margin: any map above the base
        boxes, spread = cut_boxes(saliency, scene.frame, self.spec) if present else (Boxes.none(), None)
        return Localization(
            query=query.label,
            xyxy=boxes.xyxy,
            scores=boxes.scores,
            present=present,
            map=saliency,
            frame=scene.frame,
            spec=self.spec,
            kept=int((scores > 0).sum()),
            maps=len(scores),
            margin=margin,
            similarity=float(scene.embedding @ text),
            preset=scene.preset,
            passes=scene.passes if findings is None else findings.passes,
            estimate_error=None if findings is None and scene.known.all() else lambda: self.error(findings, text),
            picture=scene.picture,
            spread=spread if keep else None,
        )

    def margin(self, scores: Floats, scene: Scene, findings: Findings | None) -> float:
        """By how much the best map beats the blank picture: among those that were run, if any were, since a guess is no proof."""
        known = scene.known if findings is None else findings.known
        return float((scores[known] if (known & scene.live).any() else scores).max())

    def session_for(self, scene: Scene) -> Session:
        """The saliency graph holding a scene's arrays; the scene asked last stays where the graph runs."""
        with self.lock:
            if self.last is None or self.last[0]() is not scene:
                held: dict[str, NDArray[np.float32]] = {
                    "embeddings": scene.embeddings,
                    "base": scene.base,
                    "maps": scene.maps,
                    "temperature": np.asarray(self.options.temperature, dtype=np.float32),
                    "combine": np.asarray(self.options.masks, dtype=np.float32),
                    "contrast": np.asarray(self.options.contrast, dtype=np.float32),
                }
                self.last = (weakref.ref(scene, self.forget), self.session.hold(held))
            return self.last[1]

    def forget(self, gone: weakref.ref[Scene]) -> None:
        """Let go of a scene that nobody has any more. Called by the collector, at any time: it must not wait for the lock."""
        last = self.last
        if last is not None and last[0] is gone:
            self.last = None

    def error(self, findings: Findings | None, text: Floats) -> float | None:
        """How far the map in [0, 1] may be from the exact one, on average over its cells; None where nothing can tell."""
        if findings is not None and findings.complete:
            return 0.0
        if findings is None or len(findings.runs) < 2:
            return None  # one map alone tells nothing about how wrong the others' predictions are
        scores, errors = findings.scores(text[np.newaxis])[0], findings.errors(text[np.newaxis])[0]
        return expected_error(scores, errors, findings.scene.maps, self.options)
