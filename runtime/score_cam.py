"""Score-CAM and gScoreCAM: the masked copies of a scene, weighed in their ways."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from engine.manifest import Manifest
from engine.methods import DEFAULT_METHOD, Method
from engine.saliency import sum_maps
from engine.score_cam import TOP, Flags, probabilities, softmax_weights, top_channels
from engine.spec import Spec
from runtime.answers import Answerer
from runtime.backends.session import Session
from runtime.dense import Asking
from runtime.encoder import Progress
from runtime.errors import BundleError, SceneError
from runtime.findings import Findings
from runtime.localization import Localization
from runtime.presets import LEAST, PassPlan
from runtime.query import Query
from runtime.refine import Refiner
from runtime.rivals import Rivals, refuse_alone, usual_rivals
from runtime.scene import Floats, Scene
from runtime.text import TextEncoder
from runtime.word_graph import WordGraph

Ask = Callable[[Floats], Floats]
STEP = 2  # batches between two reports of progress


@dataclass(frozen=True)
class Ranking:
    """Which maps a question chooses, by a graph that its words go into. Holds no scene; safe to share between threads."""

    words: WordGraph

    def chosen(self, scene: Scene, texts: Floats) -> Flags:
        """The maps `(Q, K)` that gScoreCAM runs for unit texts `(Q, D)`."""
        slopes = self.words.run(np.ascontiguousarray(scene.maps.reshape(len(scene.maps), -1).T), texts, "slopes")
        if not np.isfinite(slopes).all():
            raise BundleError("the model's gradients hold NaN or infinity; build the bundle again (fp32 if it is fp16)")
        return top_channels(slopes)


class ScoreCamAnswerer(Answerer):
    """Weighs masked copies by a softmax over their scores, without a base; with a ranking, over those that a question chose."""

    def __init__(
        self,
        model: tuple[Method, Manifest],
        saliency: Session,
        spec: Spec,
        text: TextEncoder,
        asking: Asking,
        ranking: Ranking | None,
    ) -> None:
        """Let nouns of backgrounds compete where scores are probabilities."""
        method, manifest = model
        super().__init__(manifest, saliency, spec, asking.affinity)
        self.method, self.logit_scale, self.ranking = method, manifest.logit_scale, ranking
        nouns = usual_rivals(manifest) if asking.background is None else tuple(asking.background)
        self.rivals = Rivals(text, asking.templates, nouns)
        self.competing: Floats | None = None  # embeddings of the nouns that compete with one call's questions

    def answer(
        self, scene: Scene, queries: Sequence[Query], texts: Floats, findings: Findings | None = None
    ) -> list[Localization]:
        """Answer queries, which compete with each other and with all nouns that none of them names."""
        asked = self
        if self.spec.score_space == "probability":
            asked = copy.copy(self)  # other threads ask other questions
            asked.competing = self.rivals.to(queries, texts)
            refuse_alone("`score_space` = `probability`", len(queries) + len(asked.competing))
        found = super(ScoreCamAnswerer, asked).answer(scene, queries, texts, findings)
        if self.ranking is not None:  # passes that a question chose leave nothing to predict
            found = [replace(one, preset="exact", estimate_error=None) for one in found]
        return [replace(one, method=self.method.name) for one in found]

    def scores_and_maps(self, scene: Scene, texts: Floats) -> Iterator[tuple[Floats, Floats]]:
        """Scores relative to the base, of the maps that count, and saliency `(h, w)` for each text."""
        relative = scene.embeddings - scene.base
        return self.cams(scene, texts, lambda words: np.asarray(words @ relative.T, np.float32), scene.known)

    def weighed(self, findings: Findings, texts: Floats) -> Iterator[tuple[Floats, Floats]]:
        """The same with what was run for a question."""
        return self.cams(findings.scene, texts, findings.scores, findings.known)

    def cams(self, scene: Scene, texts: Floats, ask: Ask, known: Flags) -> Iterator[tuple[Floats, Floats]]:
        """Weigh the maps of a scene; `ask` gives scores `(Q, K)` relative to the base."""
        chosen = None if self.ranking is None else self.ranking.chosen(scene, texts)
        if chosen is not None and not known[chosen.any(axis=0)].all():
            raise SceneError(
                f"this scene lacks passes that `{self.method.name}` chooses for the question, and they cannot be run here: open "
                "the model without `scenes_only`, or encode the picture with all its passes"
            )
        scores = ask(texts)
        felt = scores if self.spec.score_space != "probability" else self.probabilities(scene, texts, ask)
        weights = softmax_weights(felt, self.options.temperature, chosen)
        for row in range(len(texts)):
            counted = slice(None) if chosen is None else chosen[row]
            yield scores[row, counted], sum_maps(weights[row : row + 1], scene.maps, self.options)[0]

    def probabilities(self, scene: Scene, texts: Floats, ask: Ask) -> Floats:
        """The probability `(Q, K)` of each text among all, and the nouns of backgrounds that nobody asked for."""
        words = texts if self.competing is None else np.concatenate([texts, self.competing])
        return probabilities(ask(words) + (words @ scene.base)[:, None], self.logit_scale)[: len(texts)]

    def margin(self, scores: Floats, scene: Scene, findings: Findings | None) -> float:
        """The same; maps that a question chose were all run."""
        return super().margin(scores, scene, findings) if self.ranking is None else float(scores.max())

    def error(self, findings: Findings | None, text: Floats) -> float | None:
        """Nothing tells how far a map may be from the exact one."""
        return 0.0 if findings is not None and findings.complete else None


@dataclass(frozen=True)
class ChosenPasses:
    """Runs the maps that questions choose and that a scene does not know yet. Safe to share between threads."""

    refiner: Refiner
    ranking: Ranking

    def refine(self, scene: Scene, texts: Floats, progress: Progress | None = None) -> Findings | None:
        """Run what texts `(Q, D)` choose; None where nothing is missing, or nothing can be run."""
        encoder = self.refiner.encoder
        missing = np.flatnonzero(self.ranking.chosen(scene, texts).any(axis=0) & ~scene.known)
        if not len(missing) or scene.picture is None or not self.refiner.runs:
            return None
        pixels, _ = encoder.place(scene.picture, scene.frame.geometry)
        findings, step = Findings.of(scene), STEP * encoder.batch
        total = len(findings.runs) + len(missing)
        for start in range(0, len(missing), step):
            rows = missing[start : start + step]
            findings = findings.add(rows, encoder.run_maps(pixels, scene.maps[rows]))
            if progress is not None:
                progress(findings.passes, total)
        return findings


def chosen_plan(method: Method, plan: PassPlan, manifest: Manifest) -> PassPlan:
    """The passes of a method whose questions choose them: before any question the fewest that a scene can do with."""
    if method.family != "masked" or method.head is None:
        return plan
    return PassPlan("fast", 0 if "instant" in manifest.graphs else LEAST, TOP)


def open_masked(
    method: Method,
    manifest: Manifest,
    session: Callable[[str], Session],
    spec: Spec,
    text: TextEncoder,
    asking: Asking,
) -> Answerer:
    """What answers from masked passes, by the method in use."""
    saliency = session("saliency")
    if method.family != "masked" or method.name == DEFAULT_METHOD:
        return Answerer(manifest, saliency, spec, asking.affinity)
    words = WordGraph.of(method, manifest, session)
    ranking = None if words is None else Ranking(words)
    return ScoreCamAnswerer((method, manifest), saliency, spec, text, asking, ranking)


def open_refiner(refiner: Refiner) -> Refiner | ChosenPasses:
    """What runs further passes for a question: those that seem to matter, or those that it chooses."""
    answerer = refiner.answerer
    if isinstance(answerer, ScoreCamAnswerer) and answerer.ranking is not None:
        return ChosenPasses(refiner, answerer.ranking)
    return refiner
